"""Environments: the seam to learners (`protocol`), what is behind it by name (`registry`), tasks by name (`preset`)."""

import gymnasium

from headway.envs.presets import preset

__all__ = ["preset"]

gymnasium.register(
    id="headway/Nav-v0",
    entry_point="headway.envs.nav.gym_env:NavGymEnv",
    vector_entry_point="headway.envs.nav.gym_vector:NavGymVectorEnv",
)
gymnasium.register(id="headway/IrSim-v0", entry_point="headway.envs.foreign.irsim:IrSimEnv")
