"""Files that are whole or not there: written, synced, renamed, hashed. Tensors in safetensors, never pickle."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from headway.checkpoint.manifest import FILE, FileRecord


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file. Raises ValueError if it is none; shapes and types are the caller's to check."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies in host memory, each dense and with memory of its own."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format).cpu() for name, tensor in tensors.items()
    }


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write one safetensors file, whole or not at all."""
    # Copies: views of one buffer (parameters, here) are refused by safetensors unless each has its own memory.
    write_atomically(path, save(copied(tensors)))


def write_tensors_hashed(path: Path, tensors: dict[str, Tensor]) -> FileRecord:
    """Write one safetensors file and sync it; return its size and hash. `tensors` are as `copied` gives them."""
    content = save(tensors)
    write(path, content)
    # The hash of what was meant to be written, so that it also tells of a disk that wrote something else.
    return FileRecord(size=len(content), sha256=hashlib.sha256(content).hexdigest())


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file and sync it and its folder: it is there whole, or as it was."""
    partial = path.with_name(f".{path.name}.partial")
    write(partial, content)
    partial.rename(path)
    sync_directory(path.parent)


def write(path: Path, content: bytes) -> None:
    """Write a file and sync it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Make the names in a folder last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def delete_checkpoint(path: Path) -> None:
    """Delete a checkpoint's directory, the manifest first: half deleted it must not look whole."""
    (path / FILE).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)
