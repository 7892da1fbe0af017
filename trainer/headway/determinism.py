"""Kernels whose results do not depend on the order in which a GPU's threads happen to come. A CPU has no others here.

See https://docs.pytorch.org/docs/stable/notes/randomness.html.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

# cuBLAS reads it once, as it starts: eight buffers of 4 MiB, with which its results are always the same.
WORKSPACE: Final = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


@contextmanager
def deterministic_kernels(wanted: bool) -> Iterator[None]:
    """Let torch choose such kernels until the end, and refuse with RuntimeError an operation that has none.

    Call it before anything is done on a GPU.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if wanted:
        for name, value in WORKSPACE.items():
            os.environ.setdefault(name, value)
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(wanted)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


@contextmanager
def order_does_not_matter() -> Iterator[None]:
    """Allow an operation that torch takes for one without order, although whole numbers make it exact."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
