"""Threads share the environments of a step among them: each takes the next few as long as there are some."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

GROUP = 16  # environments taken at once; the last ones keep the others waiting for at most 0.1 ms


@intrinsic
def take(_context: Any, counter: Any) -> Any:
    """Return `counter[0]`, int64 [1], and add 1 to it, in one go for all threads: numba has that for GPUs only."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.atomic_rmw("add", array.data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), generate
