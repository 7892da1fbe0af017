"""Fixtures of the chart's tests: helm, found but never downloaded, and renderings as lists of objects."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "headway"
Render = Callable[..., list[dict[str, Any]]]


def _find_helm() -> str | None:
    cache = (
        os.environ.get("HEADWAY_CACHE") or f"{os.environ.get('XDG_CACHE_HOME', str(Path.home() / '.cache'))}/headway"
    )
    cached = sorted(Path(cache).glob("kubernetes-*/bin/helm"))
    return os.environ.get("HELM") or shutil.which("helm") or (str(cached[-1]) if cached else None)


@pytest.fixture(scope="session")
def helm() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run helm with arguments. Without a binary: a failure in CI, elsewhere a skip that says how to get it."""
    binary = _find_helm()
    if binary is None:
        message = "no helm on PATH or in the cache: run `make tools`"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return lambda *arguments: subprocess.run([binary, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def template(helm: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `helm template` with values given as a dict; release headway in headway-system."""

    def run(values: dict[str, Any] | None = None, release: str = "headway") -> subprocess.CompletedProcess[str]:
        options = [f"--set-json={key}={json.dumps(value)}" for key, value in (values or {}).items()]
        return helm(
            "template", release, str(CHART), "--namespace", "headway-system", "--kube-version", "1.34", *options
        )

    return run


@pytest.fixture(scope="session")
def render(template: Callable[..., subprocess.CompletedProcess[str]]) -> Render:
    """Render the chart with values; returns its objects. An error of helm fails the test."""

    def run(values: dict[str, Any] | None = None, release: str = "headway") -> list[dict[str, Any]]:
        done = template(values, release)
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if document]

    return run
