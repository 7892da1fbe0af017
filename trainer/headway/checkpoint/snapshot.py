"""One rank's state at the boundary of an update, in memory of its own: training goes on while it is written."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from headway.checkpoint.files import copied
from headway.checkpoint.manifest import Manifest
from headway.checkpoint.segments import NOTHING, Backlog


@dataclass(frozen=True)
class Snapshot:
    """What one rank is to write. Make it by `Snapshot.of`."""

    draft: Manifest  # lists no files yet
    shared: dict[str, Tensor]  # equal on all ranks; rank 0's alone is written
    own: dict[str, Tensor]
    backlog: Backlog  # rows of the replay

    @classmethod
    def of(
        cls, draft: Manifest, shared: dict[str, Tensor], own: dict[str, Tensor], backlog: Backlog = NOTHING
    ) -> Snapshot:
        """Copy tensors of any device into host memory; nothing that training changes is looked at again.

        But for a backlog that is live: then training waits until the snapshot is written.
        """
        return cls(draft, copied(shared), copied(own), backlog)

    def as_the_last(self) -> Snapshot:
        """Return it as one after which no update follows."""
        return replace(self, draft=self.draft.model_copy(update={"left": True}))

    @property
    def bytes(self) -> int:
        """Of what is written, about."""
        return self.backlog.bytes + sum(t.nbytes for part in (self.shared, self.own) for t in part.values())
