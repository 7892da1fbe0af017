"""Times, counts and paths as people and Kubernetes write them."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path


def short_duration(seconds: float) -> str:
    """45 -> 45s, 75 -> 1m15s, 3900 -> 1h05m, 200000 -> 2d07h."""
    whole = round(seconds)
    for unit, below, size, small in (("d", "h", 86400, 3600), ("h", "m", 3600, 60), ("m", "s", 60, 1)):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // small:02d}{below}"
    return f"{whole}s"


def rfc3339(seconds_since_epoch: float) -> str:
    """Return the time as Kubernetes writes it: UTC, whole seconds."""
    return datetime.fromtimestamp(seconds_since_epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def count(number: float) -> str:
    """1234567 -> 1,234,567."""
    return f"{round(number):,}"


def size(of_bytes: float) -> str:
    """2345678 -> 2.3 MB."""
    for unit, whole in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if of_bytes >= whole:
            return f"{of_bytes / whole:.1f} {unit}"
    return f"{of_bytes:.0f} B"


def percent(share: float) -> str:
    """0.876 -> 88 %."""
    return f"{100 * share:.0f} %"


def typed(command: str) -> str:
    """Return the command as it can be typed here: by its name where PATH has it, else by its place beside Python."""
    beside = Path(sys.executable).parent / command
    return shown(beside) if shutil.which(command) is None and beside.exists() else command


def shown(path: Path) -> str:
    """Return the path as seen from the working directory, if it lies below."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
