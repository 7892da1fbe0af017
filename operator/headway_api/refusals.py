"""Turns pydantic's refusals into one line each: field, value, fix."""

from __future__ import annotations

import math
import re
from typing import Any

from pydantic_core import ErrorDetails

_FIXES = {
    "missing": "is required: add it",
    "extra_forbidden": "is not a known field: check the spelling with `kubectl explain trainingrun.spec --recursive`",
}
_WANTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text (quote it)",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "finite_number": "a finite number",
}
# What people write who take a replay for something that every algorithm has.
_ON_POLICY_REPLAY = tuple(
    f"algo.{algo}.{field}"
    for algo in ("ppo", "pqn", "dagger")
    for field in ("replay", "prioritized", "hindsight", "nSteps")
)
_NO_REPLAY = "this algorithm learns from its own newest steps and draws from no replay: choose dqn, sac or td3"


def explain(detail: ErrorDetails) -> str:
    """Return one line for one fault: the field's path, the value, and what would be right."""
    kind, context = detail["type"], detail.get("ctx", {})
    field = _path(detail["loc"])
    if kind == "extra_forbidden" and field.endswith(_ON_POLICY_REPLAY):
        return f"{field}: {_NO_REPLAY}"
    if kind in _FIXES:
        return f"{field}: {_FIXES[kind]}"
    if kind == "rule":
        return f"{field}: {context['message']} (found {short(_at(detail['input'], str(context['field'])))})"
    if kind == "null":
        return f"{field + '.' if field else ''}{context['field']}: found null: give a value"
    found = short(detail["input"])
    if kind in _WANTED:
        return f"{field}: found {found}: give {_WANTED[kind]}"
    return f"{field}: found {found}: {_bound(kind, context, detail['msg'])}"


def _bound(kind: str, context: dict[str, Any], message: str) -> str:
    words = {
        "greater_than": "give a value above {gt}",
        "greater_than_equal": "give a value of at least {ge}",
        "less_than": "give a value below {lt}",
        "less_than_equal": "give a value of at most {le}",
        "string_too_short": "give at least {min_length} character(s)",
        "string_too_long": "give at most {max_length} characters",
        "too_short": "give at least {min_length} entry",
        "too_long": "give at most {max_length} entries",
        "string_pattern_mismatch": "give text that matches {pattern}",
        "literal_error": "give one of {expected}",
    }
    return words[kind].format(**context) if kind in words else message[0].lower() + message[1:]


def _path(location: tuple[int | str, ...]) -> str:
    """('spec', 'a', 0, 'b') -> 'spec.a[0].b'; pydantic's own branch names are left out."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not re.search(r"[\[\]()]|^(int|literal|function-)", part):
            path += f".{part}" if path else part
    return path or "document"


def _at(value: Any, dotted: str) -> Any:
    for part in filter(None, dotted.split(".")):
        if not isinstance(value, dict) or part not in value:
            return value if isinstance(value, dict) and not value else "nothing there"
        value = value[part]
    return value


def short(value: Any) -> str:
    """Return a value as a message shows it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
