"""What off-policy algorithms learn from: the newest transitions, drawn by surprise, joined over steps, relabelled.

`memory.Replay` is what algorithms use. Below it: `ring` keeps columns of the newest steps; `tree` and `priorities` draw
by surprise, on the CPU and elsewhere; `plain` and `relabelled` make what a network learns from of what was kept;
`windows` and `hindsight` are the formulas; `draws` the random words.
"""

from headway.replay.memory import Replay
from headway.replay.transitions import Batch, Source

__all__ = ["Batch", "Replay", "Source"]
