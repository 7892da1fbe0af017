"""Transitions with goals that are exchanged as they are drawn: hindsight (Andrychowicz et al. 2017).

Observations and goals are kept, and features are made of them when the goal is known. A new goal changes the reward and
the termination of every step of the window; what does not depend on the goal, such as a collision, stays as it was.
"""

from __future__ import annotations

import numpy as np
import torch
from headway_api.replay_spec import Hindsight
from numpy.typing import NDArray
from torch import Tensor

from headway.envs.protocol import Judge, Transition
from headway.replay import hindsight
from headway.replay.draws import GOAL, RELABEL, words
from headway.replay.ring import Column, Ring
from headway.replay.transitions import Drawn, Source
from headway.replay.windows import n_step

KEYS = ("observation", "achieved_goal", "desired_goal")


class RelabelledRows:
    """See `transitions.Rows`. `steps`: of a window; `seed` and `shard` as in `draws.words`."""

    def __init__(
        self, spec: Hindsight, source: Source, judge: Judge, steps: int, gamma: float, seed: int, shard: int, batch: int
    ) -> None:
        self.spec, self.source, self.judge, self.steps, self.gamma = spec, source, judge, steps, gamma
        self.seed, self.shard, self.batch = seed, shard, batch

    def columns(self) -> dict[str, Column]:
        """Observations before and after, what does not depend on the goal, and steps since and until an end."""
        sizes = (self.source.observation, self.source.goal, self.source.goal)
        found = {key: Column(size) for key, size in zip(KEYS, sizes, strict=True)}
        found |= {f"next_{key}": column for key, column in found.items()}
        found |= {"reward_besides": Column(), "terminated_besides": Column(dtype=torch.bool)}
        return found | {"since": Column(dtype=torch.int32), "until": Column(dtype=torch.int32)}

    def kept(self, transition: Transition) -> dict[str, Tensor]:
        """What follows an episode's last step is its own last observation, not the next episode's first."""
        step = transition.step
        rows = {key: transition.observation[key] for key in KEYS}
        for key in KEYS:
            rows[f"next_{key}"] = step.observation[key].clone()
            rows[f"next_{key}"][step.final_rows] = step.final_observation[key]
        of_goal, ends = self.judge(rows["achieved_goal"], rows["next_achieved_goal"], rows["next_desired_goal"])
        # A collision within reach of the goal ends an episode whatever the goal.
        ends &= ~step.episodes.collision.to(ends.device)
        return rows | {"reward_besides": step.reward - of_goal, "terminated_besides": step.terminated & ~ends}

    def draw(self, ring: Ring, records: dict[str, Tensor], slot: Tensor, step: int) -> Drawn:
        """See Rows.draw."""
        slots, inside = ring.windows(slot, self.steps)  # [B, n]
        relabelled, goal = self._goals(ring, records, slot, step)
        goal = torch.where(relabelled[:, None], goal, records["desired_goal"])
        of_goal, ends = self._judged(ring, slots, goal)
        # A step with its own goal has what it earned, to the last bit.
        reward = torch.where(
            relabelled[:, None], ring.take("reward_besides", slots) + of_goal, ring.take("reward", slots)
        )
        terminated = torch.where(
            relabelled[:, None], ring.take("terminated_besides", slots) | ends, ring.take("terminated", slots)
        )
        # An episode that ended by reaching its own goal ends there for any other goal too: nothing more was seen.
        closed = ring.take("truncated", slots) | (ring.take("terminated", slots) & ~terminated)
        found = n_step(reward, terminated, closed, inside, self.gamma)
        last = slots.gather(1, found.length[:, None] - 1)[:, 0]
        next_goal = torch.where(relabelled[:, None], goal, ring.take("next_desired_goal", last))
        observation = {key: records[key] for key in KEYS} | {"desired_goal": goal}
        following = {key: ring.take(f"next_{key}", last) for key in KEYS[:2]} | {"desired_goal": next_goal}
        before, after = (self.source.featurise(rows).to(slot.device) for rows in (observation, following))
        return Drawn(before, found.reward, found.discount, after)

    def _goals(self, ring: Ring, records: dict[str, Tensor], slot: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Which windows get another goal, bool [B], and which, [B, G]."""
        chance, which = (
            words(self.seed, self.shard, step, len(slot) // self.batch, self.batch, purpose, slot.device).flatten()
            for purpose in (RELABEL, GOAL)
        )
        since, until = records["since"].long(), records["until"].long()
        whole = hindsight.is_whole(since, until, ring.ahead(slot), ring.held)
        if self.spec.strategy == "random":
            source = hindsight.any_slot(which, ring.held * ring.num_envs)
        else:
            source = ring.after(slot, hindsight.goal_offset(self.spec.strategy, which, since, until, self.steps))
        return whole & hindsight.is_relabelled(chance, self.spec.goals), ring.take("next_achieved_goal", source)

    def _judged(self, ring: Ring, slots: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Reward float32 [B, n] and termination bool [B, n] of every step of the windows for their goals [B, G]."""
        before, achieved = (
            ring.take(name, slots).flatten(0, 1) for name in ("achieved_goal", "next_achieved_goal")
        )  # [B * n, G]
        repeated = goal[:, None].expand(*slots.shape, goal.shape[1]).flatten(0, 1)
        reward, ends = self.judge(before, achieved, repeated)
        return reward.view(slots.shape), ends.view(slots.shape)


class EpisodeEnds:
    """Tells every transition of an episode, once it has ended, how far its end is: the columns `since` and `until`."""

    def __init__(self, num_envs: int) -> None:
        self.age = np.zeros(num_envs, np.int64)  # [N] steps of the episodes under way

    def add(self, ring: Ring, ended: NDArray[np.bool_]) -> None:
        """Take in the newest row, of which environments' episodes `ended` [N] there."""
        ring.columns["since"][ring.newest].copy_(torch.from_numpy(self.age))
        ring.columns["until"][ring.newest] = -1
        self.age += 1
        self.close(ring, ended)

    def close(self, ring: Ring, ended: NDArray[np.bool_]) -> None:
        """End episodes at the newest row."""
        (rows,) = (ended & (self.age > 0)).nonzero()
        lengths = np.minimum(self.age[rows], ring.held)
        back = np.concatenate([np.arange(length) for length in lengths]) if len(rows) else lengths
        env = torch.from_numpy(np.repeat(rows, lengths)).to(ring.device)
        until = torch.from_numpy(back).to(ring.device)
        slot = ring.after(ring.newest * ring.num_envs + env, -until)
        ring.flat["until"][slot] = until.int()
        self.age[rows] = 0
