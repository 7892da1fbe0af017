"""By what ranks talk: votes and messages on the CPU by gloo, tensors on GPUs by NCCL where every rank has its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
import torch.distributed as dist

GLOO: Final = "gloo"
WITH_NCCL: Final = "cpu:gloo,cuda:nccl"


def gpu_of(device: str) -> str:
    """Return the name of a GPU that no other has, on any machine; empty for the CPU, and where NCCL is missing."""
    if torch.device(device).type != "cuda" or not dist.is_nccl_available():
        return ""
    return str(torch.cuda.get_device_properties(device).uuid)


def backend(gpus: Sequence[str]) -> str:
    """Choose from what `gpu_of` says of every rank, so that all choose alike.

    NCCL refuses two ranks on one GPU; gloo takes CUDA tensors too, by way of the CPU.
    """
    return WITH_NCCL if all(gpus) and len(set(gpus)) == len(gpus) else GLOO
