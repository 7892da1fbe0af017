"""The kernel's decorator: numba.njit with a cache on disk that notices every change.

numba's own check looks at the file of the entry point alone: a change in a module that it calls would go unnoticed and
the old machine code would run. So the cache lies in a folder named by a hash of all files of this package, and, for
kernels of another package that call these, of that package's files too.
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
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


@cache
def cache_folder(package: Path | None = None) -> str:
    """Return the folder for this version of the sources: in NUMBA_CACHE_DIR, else in the user's own cache folder.

    `package` is the folder of the kernel's own package, this one's if not given.

    Empty where neither can be written: then every process compiles for itself. Never a shared temporary folder, because
    numba unpickles what it finds.
    """
    digest, here = hashlib.sha256(), Path(__file__).parent
    package = package or here
    for file in sorted({*here.glob("*.py"), *package.glob("*.py")}):
        digest.update(file.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    base = os.environ.get("NUMBA_CACHE_DIR") or os.path.join(home, "headway", "numba")
    folder = Path(base) / f"{package.name if package != here else 'nav'}-{digest.hexdigest()[:16]}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return str(folder)
    except OSError:  # no home, or a read-only file system
        return ""


@contextmanager
def _numba_cache(folder: str) -> Iterator[None]:
    """Let numba cache in our folder while a function is decorated; other packages' settings stay as they are."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = folder
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


class _Part(JITCodeLibrary):
    """Code of a function that others call: not optimised, and no machine code made of it by itself."""

    def finalize(self) -> None:
        """Collect the code of what this function calls."""
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True


class _PartCompiler(Compiler):
    """numba's compiler for functions that others call: they cannot be called from Python."""

    def define_pipelines(self) -> list[Any]:
        """As for any function, into a `_Part`."""
        state = self.state
        state.flags.no_compile = state.flags.no_cpython_wrapper = state.flags.no_cfunc_wrapper = True
        state.library = _Part(state.targetctx.codegen(), state.func_id.func_qualname)
        return super().define_pipelines()

    def _compile_core(self) -> Any:
        found = super()._compile_core()._replace(entry_point=[].append)  # a name for the code: numba wants a built-in
        self.state.targetctx.insert_user_function(found.entry_point, found.fndesc, [found.library])
        return found


def kernel(function: Callable[..., Any] | None = None, *, allocates: bool = False, **options: bool | str) -> Any:
    """Compile a function of the kernel: `@kernel` or `@kernel(nogil=True)`. Never with fastmath.

    Kernels of this package make no arrays and return none, so nobody counts references to arrays in them: counting is
    atomic, and was a third of a step's time. One that `allocates` or returns arrays says so. It must be called by such
    ones only, or be inlined: its caller would have to give the reference back.

    A float divided by 0 is infinite, as on a GPU: a test for it would keep loops from being vectorised.

    numba would optimise each function with all that it calls, and so those at the bottom a dozen times. Here only what
    Python calls is compiled so; within it a function is a `_Part`, optimised where all parts have come together.
    """
    if function is None:
        return lambda f: kernel(f, allocates=allocates, **options)
    package = Path(function.__code__.co_filename).parent
    counts = allocates or package != Path(__file__).parent  # planners allocate
    folder = cache_folder(package if package.is_relative_to(Path(__file__).parents[2]) else None)
    with _numba_cache(folder):
        whole = numba.njit(cache=bool(folder), error_model="numpy", _nrt=counts, **options)(function)
    part = numba.njit(error_model="numpy", _nrt=counts, pipeline_class=_PartCompiler, **options)(function)
    whole.get_call_template, whole.get_overload = part.get_call_template, part.get_overload
    return whole
