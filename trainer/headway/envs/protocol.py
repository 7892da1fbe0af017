"""The seam between environments and everything that learns: vectors of environments that reset themselves.

Autoreset is SAME_STEP (Gymnasium's name): the step that ends an episode returns the first observation of the next one,
and the last observations of the ended ones in `final_observation`. No dummy step exists. `terminated` and `truncated`
stay apart all the way to the value targets.

N environments, O observation entries, G goal entries, F features, A action entries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

# Keys: "observation" [N, O] (nothing in it depends on the goal), "achieved_goal" and "desired_goal" [N, G]: of
# headway/Nav-v0 the robot's and the goal's x, y; of an environment without goals G is 0.
Observation = dict[str, Tensor]
# VectorEnv.features: a pure function of the rows that it is given, so an algorithm may ask for a few of them only.
Featurise = Callable[[Observation], Tensor]


class NotFiniteActionError(ValueError):
    """An action that holds a value that is not finite. The environment is as it was."""


@dataclass(frozen=True)
class EpisodeEnds:
    """What ended at this step. Rows are environments; entries where `ended` is false mean nothing."""

    ended: Tensor  # bool [N]: terminated or truncated
    stage: Tensor  # int64 [N]: stage in which the episode began
    success: Tensor  # bool [N]: reached the goal
    collision: Tensor  # bool [N]: hit an obstacle or a person
    total_reward: Tensor  # float32 [N]: undiscounted sum
    length: Tensor  # int64 [N]: steps
    level: Tensor  # int64 [N, 2]: (episode, global environment index) that name the level
    slot: Tensor  # int64 [N]: which of the remembered levels it was (see `remember_levels`), -1: a fresh one


@dataclass(frozen=True)
class Step:
    """The result of one step of all environments.

    `observation` may be the environment's own memory: valid until the step after the next one, not to be written to.
    Everything else is the caller's.
    """

    observation: Observation  # what to act on next; of a new episode where one ended
    reward: Tensor  # float32 [N]
    terminated: Tensor  # bool [N]
    truncated: Tensor  # bool [N]
    final_rows: Tensor  # int64 [K], rising: the environments whose episode ended
    final_observation: Observation  # [K, ...]: their last observations
    episodes: EpisodeEnds


@dataclass(frozen=True)
class Transition:
    """One step of N environments, with what a network sees before and after it: what algorithms learn from."""

    observation: Observation  # [N, ...]: before it
    features: Tensor  # [N, F]: before it
    action: Tensor  # [N, A] or int64 [N]
    step: Step
    next_features: Tensor  # [N, F]: after it, of the next episode where one ended
    featurise: Featurise  # VectorEnv.features, for an ended episode's last observations


@dataclass(frozen=True)
class ActionSpace:
    """What a policy chooses: `size` numbers in [-1, 1], or one of `size` choices."""

    size: int
    discrete: bool = False


@dataclass(frozen=True)
class FeatureLayout:
    """How the columns of features are laid out: plain ones first, then `channels` rows of `beams` neighbours each."""

    plain: int
    channels: int = 0
    beams: int = 0
    circular: bool = False  # the last beam is a neighbour of the first

    @property
    def size(self) -> int:
        """F."""
        return self.plain + self.channels * self.beams


@runtime_checkable
class HasOthers(Protocol):
    """An environment with other agents that a policy can drive."""

    def drive_others(self, policy: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Let `policy` (features [M, F], begins bool [M], to actions) drive them, from the next reset or state on."""
        ...


class Judge(Protocol):
    """Says what steps would have earned with other goals: hindsight (Andrychowicz et al. 2017, arXiv 1707.01495).

    What it leaves out, collisions for one, is the rest: the step's reward less what it says for the step's own goal,
    and an end that it does not say for that goal. With another goal a step earns what is said for that one, and the
    rest; it ends where that is said, or where the rest ends. With its own goal it is so what it was.

    A step's own goal is the one that comes with its result, which an environment may have changed since the last one.
    Where a collision ends an episode within reach of its own goal, nobody can tell from places that it did not arrive:
    the rest then lacks the goal's bonus once more, and no end.
    """

    def __call__(self, before: Tensor, achieved: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """What of reward, float32 [B], and termination, bool [B], depends on the goal; on the tensors' device.

        `before`, `achieved`, `goal` [B, G]: the goal achieved before the step, the one after it, and the one wanted, as
        observations have them. Pure but for its stage; rows are independent.
        """
        ...


class VectorEnv(Protocol):
    """N environments of one rank: global indices `offset` to `offset + num_envs - 1`.

    All randomness is a function of (seed, global environment index, episode, step, stream): the same for any split of
    the environments over ranks.
    """

    num_envs: int
    layout: FeatureLayout
    actions: ActionSpace
    exact_state: bool  # whether `set_state` goes on in the middle of episodes; else new ones begin
    step_seconds: float  # simulated time between two decisions; NaN: nobody knows
    observation_size: int  # O
    goal_size: int  # G, 0 without goals
    knows_success: bool  # whether `EpisodeEnds.success` means anything; an environment may find out as it is stepped

    def reset(self) -> Observation:
        """Begin episode 0 in every environment."""
        ...

    def step(self, action: Tensor) -> Step:
        """Advance every environment by one step.

        `action`: float32 [N, A], clipped to [-1, 1] inside; int64 [N] where actions are discrete. Raises
        NotFiniteActionError.
        """
        ...

    def skip_episodes(self, count: int) -> None:
        """Leave out so many numbers of episodes in every environment: those that begin from now on are others."""
        ...

    def set_stage(self, stage: int) -> None:
        """Episodes that begin from now on are of this stage (or replay an earlier one, as the curriculum says)."""
        ...

    def remember_levels(self, levels: Tensor, weights: Tensor, share: float) -> None:
        """Let `share` of the fresh episodes of the stage play a remembered level again, drawn by its weight.

        `levels` int64 [M, 2] name them, as `EpisodeEnds.level` does; `weights` int64 [M], all 0: none is played again.
        Raises SpecError where levels cannot be named.
        """
        ...

    def expert(self, name: str) -> Tensor:
        """What the planner of that name would do now, as `step` takes it: a function of the present state.

        Raises SpecError where there is none.
        """
        ...

    def features(self, observation: Observation) -> Tensor:
        """Turn an observation into the network's input, float32 [N, F]; the goal enters here and only here."""
        ...

    def get_state(self) -> dict[str, Tensor]:
        """Everything that the future depends on, mid-episode."""
        ...

    def set_state(self, state: dict[str, Tensor]) -> Observation:
        """Go on exactly where `get_state` was called (see `exact_state`); return what to act on next.

        Raises ValueError if the state is of another size.
        """
        ...

    def shortest_path_meters(self, begins: Tensor) -> Tensor:
        """Shortest way to the goal in environments where `begins` (bool [N]); float64 [N], NaN where nobody knows."""
        ...

    def judge(self) -> Judge | None:
        """What judges steps for other goals, as the present stage does, also after `set_stage`; until `close`.

        None: this environment has no goals, or cannot judge steps for other ones. Raises SpecError where it says that
        it can and does not do it for many steps at once.
        """
        ...

    def close(self) -> None:
        """End its processes and threads; nothing can be asked of it afterwards."""
        ...
