"""Environments: the seam to learners (`protocol`), what is behind it by name (`registry`), and headway/Nav-v0."""

import gymnasium

gymnasium.register(id="headway/Nav-v0", entry_point="headway.envs.nav.gym_env:NavGymEnv")
