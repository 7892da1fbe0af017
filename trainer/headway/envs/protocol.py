"""The seam between environments and everything that learns: vectors of environments that reset themselves.

Autoreset is SAME_STEP (Gymnasium's name): the step that ends an episode returns the first observation of the next one,
and the last observation of the ended one in `final_observation`. No dummy step exists. `terminated` and `truncated`
stay apart all the way to the value targets.

N environments, O observation entries, F features, A action entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

# Keys: "observation" [N, O] (nothing in it depends on the goal), "achieved_goal" [N, 2], "desired_goal" [N, 2].
Observation = dict[str, Tensor]


@dataclass(frozen=True)
class EpisodeEnds:
    """What ended at this step. Rows are environments; entries where `ended` is false mean nothing."""

    ended: Tensor  # bool [N]: terminated or truncated
    stage: Tensor  # int64 [N]: stage in which the episode began
    success: Tensor  # bool [N]: reached the goal
    collision: Tensor  # bool [N]: hit an obstacle or a person
    total_reward: Tensor  # float32 [N]: undiscounted sum
    length: Tensor  # int64 [N]: steps


@dataclass(frozen=True)
class Step:
    """The result of one step of all environments."""

    observation: Observation  # what to act on next; of a new episode where one ended
    reward: Tensor  # float32 [N]
    terminated: Tensor  # bool [N]
    truncated: Tensor  # bool [N]
    final_observation: Observation  # the ended episode's last observation; equal to `observation` elsewhere
    episodes: EpisodeEnds


class VectorEnv(Protocol):
    """N environments of one rank: global indices `offset` to `offset + num_envs - 1`.

    All randomness is a function of (seed, global environment index, episode, step, stream): the same for any split of
    the environments over ranks.
    """

    num_envs: int
    feature_size: int  # F
    action_size: int  # A; actions are float32 in [-1, 1]

    def reset(self) -> Observation:
        """Begin episode 0 in every environment."""
        ...

    def step(self, action: Tensor) -> Step:
        """Advance every environment by one step. `action`: float32 [N, A], clipped to [-1, 1] inside."""
        ...

    def set_stage(self, stage: int) -> None:
        """Episodes that begin from now on are of this stage (or replay an earlier one, as the curriculum says)."""
        ...

    def features(self, observation: Observation) -> Tensor:
        """Turn an observation into the network's input, float32 [N, F]; the goal enters here and only here."""
        ...

    def get_state(self) -> dict[str, Tensor]:
        """Everything that the future depends on, mid-episode."""
        ...

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on exactly where `get_state` was called. Raises ValueError if the state is of another size."""
        ...
