"""The kernel's decorator: numba.njit with a cache on disk that notices every change.

numba's own check looks at the file of the entry point alone: a change in a module that it calls would go unnoticed and
the old machine code would run. So the cache lies in a folder named by a hash of all files of this package.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numba


@cache
def cache_folder() -> str:
    """Return the folder for this version of the sources: in NUMBA_CACHE_DIR, else in the user's own cache folder.

    Empty where neither can be written: then every process compiles for itself. Never a shared temporary folder, because
    numba unpickles what it finds.
    """
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    base = os.environ.get("NUMBA_CACHE_DIR") or os.path.join(home, "headway", "numba")
    folder = Path(base) / f"nav-{digest.hexdigest()[:16]}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return str(folder)
    except OSError:  # no home, or a read-only file system
        return ""


@contextmanager
def _numba_cache() -> Iterator[None]:
    """Let numba cache in our folder while a function is decorated; other packages' settings stay as they are."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = cache_folder()
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def kernel(function: Callable[..., Any] | None = None, **options: bool) -> Any:
    """Compile a function of the kernel: `@kernel` or `@kernel(parallel=True)`. Never with fastmath."""
    if function is None:
        return lambda f: kernel(f, **options)
    with _numba_cache():
        return numba.njit(cache=bool(cache_folder()), **options)(function)
