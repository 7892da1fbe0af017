"""headway/Nav-v0: a differential-drive robot with a lidar drives to a goal among obstacles and people.

One numba kernel of scalar per-environment functions (`step.py`), compiled for the CPU here; everything random in it is
counter-based (`philox.py`). docs/environment.md describes observation, action and reward with frames and units.
"""
