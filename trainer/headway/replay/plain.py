"""Transitions as the network saw them: their features are kept, and nothing is computed again."""

from __future__ import annotations

from torch import Tensor

from headway.envs.protocol import Transition
from headway.replay.ring import Column, Ring
from headway.replay.transitions import Drawn, Source
from headway.replay.windows import n_step


class PlainRows:
    """See `transitions.Rows`. `steps`: of a window."""

    seed = 0  # nothing is drawn

    def __init__(self, source: Source, steps: int, gamma: float) -> None:
        self.source, self.steps, self.gamma = source, steps, gamma

    def columns(self) -> dict[str, Column]:
        """Features before and after."""
        return {name: Column(self.source.features) for name in ("features", "next_features")}

    def kept(self, transition: Transition) -> dict[str, Tensor]:
        """What follows an episode's last step is its own last observation, not the next episode's first."""
        step, after = transition.step, transition.next_features
        if len(step.final_rows):
            after = after.clone()
            after[step.final_rows] = transition.featurise(step.final_observation).to(after.device)
        return {"features": transition.features, "next_features": after}

    def draw(self, ring: Ring, records: dict[str, Tensor], slot: Tensor, step: int) -> Drawn:
        """See Rows.draw."""
        if self.steps == 1:
            discount = self.gamma * ~records["terminated"]
            return Drawn(records["features"], records["reward"], discount, records["next_features"])
        slots, inside = ring.windows(slot, self.steps)
        flags = (ring.take(name, slots) for name in ("terminated", "truncated"))
        found = n_step(ring.take("reward", slots), *flags, inside, self.gamma)
        last = slots.gather(1, found.length[:, None] - 1)[:, 0]
        return Drawn(records["features"], found.reward, found.discount, ring.take("next_features", last))
