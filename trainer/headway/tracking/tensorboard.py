"""TensorBoard event files under OUT/tensorboard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.errors import UserError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoardTracker:
    """Writes each metric as a scalar. Every process opens a new event file; TensorBoard reads them as one run."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                "train.trackers.tensorboard: the package tensorboard is not installed: "
                "pip install 'headway[trainer]', or leave the field out"
            ) from error
        self._new_writer = SummaryWriter
        self._folder = folder
        self._writer: SummaryWriter | None = None  # opened at the first row or by `resume`

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record each finite value at `step`."""
        if self._writer is None:
            self._open(purge_step=0)
        for key, value in values.items():
            if math.isfinite(value):
                self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def resume(self, step: int, state: Mapping[str, Any]) -> None:
        """Tell TensorBoard to hide what earlier event files hold after `step`."""
        self.close()
        self._open(purge_step=step + 1)

    def state(self) -> dict[str, Any]:
        """Return nothing: the folder is the run."""
        return {}

    def close(self) -> None:
        """Flush and close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self, purge_step: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writer = self._new_writer(str(self._folder), purge_step=purge_step)
