"""Our environment as Stable-Baselines3 takes it, with the features of our own networks as observations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from headway.envs import registry
from headway.envs.nav.features import Features
from headway_api.nav_spec import NavEnv
from headway_api.train_spec import TrainSpec
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvWrapper


class FeatureVecWrapper(VecEnvWrapper):
    """Features of all single environments at once, in SB3's own process: in each of theirs they would cost more."""

    def __init__(self, venv: VecEnv) -> None:
        self._features = Features(NavEnv())
        super().__init__(venv, spaces.Box(-np.inf, np.inf, (self._features.layout.size,), np.float32))

    def reset(self) -> np.ndarray:
        """[N, F]."""
        return self._rows(self.venv.reset())

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step; the last features of episodes that ended are in `infos`, as SB3 wants it."""
        observation, reward, ended, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                last = {name: row[None] for name, row in info["terminal_observation"].items()}
                info["terminal_observation"] = self._rows(last)[0]
        return self._rows(observation), reward, ended, infos

    def _rows(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        return self._features({name: torch.from_numpy(rows) for name, rows in observation.items()}).numpy()


def single_face(levels: dict[str, Any], nav: dict[str, Any] | None = None) -> Callable[[], gymnasium.Env]:
    """Return what SubprocVecEnv calls in each of its processes."""

    def make() -> gymnasium.Env:
        torch.set_num_threads(1)
        return gymnasium.make("headway.envs:headway/Nav-v0", nav=nav, levels=levels)

    return make


class FeatureVecEnv(VecEnv):
    """NavVectorEnv behind SB3's interface: all environments step in one call."""

    def __init__(self, wire: dict[str, Any], threads: int) -> None:
        self.env = registry.make_vector_env(spec := TrainSpec.model_validate(wire), spec.num_envs, threads=threads)
        box = spaces.Box(-np.inf, np.inf, (self.env.layout.size,), np.float32)
        super().__init__(spec.num_envs, box, spaces.Box(-1.0, 1.0, (self.env.actions.size,), np.float32))

    def reset(self) -> np.ndarray:
        """[N, F]."""
        return self.env.features(self.env.reset()).numpy()

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions."""
        self._actions = torch.from_numpy(actions)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step; episodes that ended have their last features in `infos`, as SB3 wants it."""
        step = self.env.step(self._actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        rows = step.final_rows.tolist()
        if rows:
            for row, last in zip(rows, self.env.features(step.final_observation).numpy(), strict=True):
                infos[row] = {"terminal_observation": last, "TimeLimit.truncated": bool(step.truncated[row])}
        ended = (step.terminated | step.truncated).numpy()
        return self.env.features(step.observation).numpy(), step.reward.numpy(), ended, infos

    def close(self) -> None:
        """Nothing to end."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """SB3 asks for render_mode; nothing here renders."""
        return [getattr(self.env, attr_name, None)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: environments have no attributes of their own here."""
        raise AttributeError(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Refuse: there are no single environments here."""
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """None is."""
        return [False] * self.num_envs
