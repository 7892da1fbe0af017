"""Reads our objects from YAML as kubectl does, and turns every refusal into one line: field, value, fix."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from headway_api.hpo_study import HPOStudy
from headway_api.refusals import explain, short
from headway_api.training_run import TrainingRun
from headway_api.trials import problems

Document = TypeVar("Document", bound=BaseModel)


class SpecError(ValueError):
    """A document that cannot be used. `str()` is the message for the person; there is no more to know."""


class _Loader(yaml.SafeLoader):
    """YAML with kubectl's scalars: 3e-4 is a number, 1:30 is text, y is true; a key may stand only once."""


_FLOAT = re.compile(
    r"""^(?:[-+]?(?:[0-9][0-9_]*)?\.?[0-9]+(?:[eE][-+]?[0-9]+)?
        |[-+]?[0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?
        |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""",
    re.X,
)
_INT = re.compile(r"^(?:[-+]?0b[0-1_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?0o?[0-7_]+|[-+]?(?:0|[1-9][0-9_]*))$", re.X)


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """SafeLoader's implicit types, with our numbers in place of YAML 1.1's, and no dates (JSON has none)."""
    dropped = {f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp", "value")}
    table = {
        first: [(tag, pattern) for tag, pattern in entries if tag not in dropped]
        for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for first in "yYnN":  # kubectl's parser takes the short forms of YAML 1.1 for booleans too
        table.setdefault(first, []).append(("tag:yaml.org,2002:bool", re.compile(r"^[yYnN]$")))
    for first in "-+.0123456789":
        table.setdefault(first, []).extend([("tag:yaml.org,2002:int", _INT), ("tag:yaml.org,2002:float", _FLOAT)])
    return table


_Loader.yaml_implicit_resolvers = _resolvers()


def _int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.lstrip("+"))
    if digits[:2] in ("0x", "0b", "0o"):
        return sign * int(digits, 0)
    return sign * (int(digits, 8) if len(digits) > 1 and digits.startswith("0") else int(digits))


def _float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    text = loader.construct_scalar(node).replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _bool(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> bool:
    return loader.construct_scalar(node).lower() in ("y", "yes", "true", "on")


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            key = loader.construct_scalar(key_node)  # JSON's keys are text
        if key in result:
            line = key_node.start_mark.line + 1
            raise SpecError(f"line {line}: key {key!r} stands twice: remove one of them")
        result[key] = loader.construct_object(value_node, deep=True)
    return result


_Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)
_Loader.add_constructor("tag:yaml.org,2002:bool", _bool)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse_yaml(text: str) -> Any:
    """Parse one YAML document into JSON types. Raises SpecError with the line of the fault."""
    try:
        documents = [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise SpecError(f"{where}not YAML: {getattr(error, 'problem', error)}") from error
    except RecursionError as error:
        raise SpecError("the document is nested too deeply: a TrainingRun has about ten levels") from error
    if len(documents) != 1:
        raise SpecError(f"expected one document, found {len(documents)}: keep one TrainingRun in a file")
    return documents[0]


def validate(document: Any) -> TrainingRun:
    """Check a parsed TrainingRun. Raises SpecError with one line for each fault: field, value, fix."""
    return checked(document, TrainingRun)


def validate_study(document: Any) -> HPOStudy:
    """Check a parsed HPOStudy, its space and its template. Raises SpecError as `validate` does."""
    study = checked(document, HPOStudy)
    if found := problems(study.spec):
        raise SpecError("\n".join(f"spec.{problem}" for problem in found))
    return study


def checked(document: Any, model: type[Document]) -> Document:
    """Check a document against one model, and nothing that only functions can see. Raises SpecError."""
    if not isinstance(document, dict):
        raise SpecError(f"expected a mapping with apiVersion, kind, metadata and spec, found {short(document)}")
    try:
        return model.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        raise SpecError("\n".join(sorted({explain(detail) for detail in error.errors()}))) from None


def load_run(path: Path) -> TrainingRun:
    """Read and check a TrainingRun's file. Raises SpecError."""
    return validate(read_document(path))


def load_study(path: Path) -> HPOStudy:
    """Read and check an HPOStudy's file. Raises SpecError."""
    return validate_study(read_document(path))


def read_document(path: Path) -> Any:
    """Read and parse a file without checking what it says. Raises SpecError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}: give the path of a TrainingRun file") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: is not UTF-8 text: give the path of a TrainingRun file") from None
    return parse_yaml(text)
