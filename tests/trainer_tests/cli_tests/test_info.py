import importlib.util
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from headway import extras
from headway.commands.info import info
from headway.errors import UserError
from rich.console import Console

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_the_modules_of_an_extra_are_those_that_the_distribution_declares(extra):
    declared = {re.split(r"[>=\[]", line)[0].lower() for line in PROJECT["optional-dependencies"][extra]}
    known = packages_distributions()
    found = {known[module][0].replace("_", "-").lower() for module in extras.EXTRAS[extra]}
    assert found == declared


def test_what_is_missing_is_named_with_the_line_that_installs_it(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "numba" else find(name))
    with pytest.raises(UserError, match=r"numba: not installed: pip install 'headway\[trainer\]'"):
        extras.require("trainer")


def test_info_names_versions_cores_and_extras(capsys):
    assert info(Console(width=120)) == 0
    said = capsys.readouterr().out
    for part in ("headway", "python", "cores usable", "torch", "[trainer]", "[operator]"):
        assert part in said
