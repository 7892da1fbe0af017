"""The images as they are delivered: small where they should be, not root, at home on a read-only file system."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

READ_ONLY = ["--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def inspect(image: str) -> dict:
    return json.loads(docker("image", "inspect", image))[0]


@pytest.fixture
def operator() -> str:
    return os.environ["E2E_OPERATOR"]


@pytest.fixture
def trainer() -> str:
    return os.environ["E2E_TRAINER"]


def test_the_operator_is_less_than_200_megabytes_over_its_base(operator):
    over = inspect(operator)["Size"] - inspect(os.environ["E2E_BASE"])["Size"]
    assert 0 < over < 200e6, f"{over / 1e6:.0f} MB"


def test_both_run_as_a_user_that_is_a_number_and_not_root(operator, trainer):
    users = [inspect(image)["Config"]["User"].split(":")[0] for image in (operator, trainer)]
    assert all(user.isdigit() and int(user) > 0 for user in users), users


def test_the_operator_has_no_torch_and_the_trainer_no_kopf(operator, trainer):
    script = "import importlib.util, sys; sys.exit(any(map(importlib.util.find_spec, sys.argv[1:])))"
    docker("run", *READ_ONLY, "--entrypoint", "python", operator, "-c", script, "torch", "numba", "numpy")
    docker("run", *READ_ONLY, "--entrypoint", "python", trainer, "-c", script, "kopf", "kubernetes")


def test_the_trainer_trains_on_a_read_only_root_file_system(trainer, tmp_path):
    from runs import short_run

    document = short_run("read-only")
    document["metadata"]["namespace"] = "default"
    (tmp_path / "run.json").write_text(json.dumps(document))
    tmp_path.chmod(0o755)
    docker("run", *READ_ONLY, "-v", f"{tmp_path}:/spec:ro", trainer, "run", "/spec/run.json", "--out", "/tmp/out")


def test_the_trainer_brings_its_kernels_compiled(trainer):
    script = "cp -r /opt/headway/numba /tmp/numba && python -m headway.precompile"
    settings = ["-e", "NUMBA_CACHE_DIR=/tmp/numba", "-e", "NUMBA_DEBUG_CACHE=1", "--entrypoint", "sh"]
    said = docker("run", *READ_ONLY, *settings, trainer, "-c", script)
    assert "data loaded from" in said and "data saved to" not in said


def test_the_operator_starts_on_a_read_only_root_file_system_and_says_what_it_lacks(operator):
    command = ["docker", "run", *READ_ONLY, "-e", "HEADWAY_WORKERS=none", operator]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "HEADWAY_WORKERS" in done.stderr and "Traceback" not in done.stderr
