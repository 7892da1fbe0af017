"""Files that are whole or not there: written, synced, renamed, hashed. Tensors in safetensors, never pickle."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from headway.checkpoint.manifest import FileRecord


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file. Raises ValueError if it is none; shapes and types are the caller's to check."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write one safetensors file, whole or not at all."""
    write_atomically(path, _serialised(tensors))


def _serialised(tensors: dict[str, Tensor]) -> bytes:
    # Clones: views of one buffer (parameters, here) are refused by safetensors unless each has its own memory.
    return save({name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()})


def write_tensors_hashed(path: Path, tensors: dict[str, Tensor]) -> FileRecord:
    """Write one safetensors file and sync it; return its size and hash."""
    content = _serialised(tensors)
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
