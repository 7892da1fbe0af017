"""How many CPU threads a rank may use, and the variables that say so: libraries read them once, as they load."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import headway

CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
# Waiting threads sleep instead of spinning: on a shared machine spinning starves the one that they wait for.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
# Tensors of up to 32 MiB are taken from memory that stays the process's own. By default glibc gives blocks of a few
# hundred kilobytes back at once, and each of a gradient step's tensors begins with page faults, a fifth of its time.
KEEPING = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def available_cores(cpu_max: Path = CGROUP_CPU_MAX) -> int:
    """Return the cores that this process may use: its affinity, and in a container its CPU limit, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cpu_max.read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or its quota is "max"
        return cores


def thread_environment(env: Mapping[str, str], ranks: int, cores: int) -> dict[str, str]:
    """Return the variables to set so that `ranks` processes share `cores` evenly; what the user has set stays.

    They count for processes that start with them: the C library reads its own only then.
    """
    wanted = dict.fromkeys(THREAD_VARIABLES, str(max(1, cores // ranks))) | WAITING | KEEPING
    return {name: value for name, value in wanted.items() if not env.get(name)}


def rank_threads(env: Mapping[str, str]) -> int:
    """Return this rank's number of threads, as `thread_environment` or the user has set it."""
    text = env.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() and int(text) > 0 else 1


def numba_cache(env: Mapping[str, str], package: Path = Path(headway.__file__).parent) -> dict[str, str]:
    """Return NUMBA_CACHE_DIR where numba could not write to its cache: it then does without, and compiles each time.

    That is beside the code in read-only images and system-wide installs, or the folder of kernels that an image has
    brought along: they are copied. Numba unpickles what it finds there, so the new folder is the user's own, or one
    that only this process knows.
    """
    given = Path(env["NUMBA_CACHE_DIR"]) if env.get("NUMBA_CACHE_DIR") else None
    if os.access(given or package, os.W_OK) or (given and not given.is_dir()):
        return {}
    own = Path(env.get("XDG_CACHE_HOME") or Path(env.get("HOME", "/nonexistent")) / ".cache") / "headway" / "numba"
    try:
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        private = own.stat().st_uid == os.getuid() and not own.stat().st_mode & 0o022 and os.access(own, os.W_OK)
    except OSError:
        private = False
    folder = own if private else Path(tempfile.mkdtemp(prefix="headway-numba-"))
    if given:
        shutil.copytree(given, folder, dirs_exist_ok=True)
    return {"NUMBA_CACHE_DIR": str(folder)}
