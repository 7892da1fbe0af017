import json
import subprocess
import sys
import time

import pytest
import yaml
from headway.cli import main
from headway_api import load
from trainer_tests.local_tests.test_document import MINIMAL


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    return path


# arguments after `headway run SPEC` -> what the message must hold: field, value, fix
ERRORS = {
    "an unknown field": (["--set", "train.sede=1"], ["spec.train.sede", "is not a known field", "check the spelling"]),
    "a value out of bounds": (["--set", "train.seed=-1"], ["spec.train.seed", "-1", "at least 0"]),
    "a value of another type": (["--set", "train.seed=one"], ["spec.train.seed", "'one'", "a whole number"]),
    "no assignment": (["--set", "train.seed"], ["--set train.seed", "write path=value"]),
    "a path from the wrong root": (["--set", "spec.train.seed=1"], ["below spec", "write train.seed="]),
    "a rule between fields": (["--set", "train.numEnvs=7"], ["minibatchSize", "12", "choose a divisor"]),
    "ranks that do not divide": (["--processes", "5"], ["train.numEnvs", "12", "multiple of the number of ranks"]),
    "too few ranks": (["--processes", "0"], ["--processes", "0", "at least 1"]),
    "a number that is none": (["--nodes", "two"], ["--nodes", "'two'", "--help"]),
    "a budget that is none": (["--budget", "soon"], ["--budget", "soon", "11h30m"]),
    "a resume that is none": (["--resume", "newest"], ["spec.checkpoint.resume", "'newest'", "auto|never"]),
    "an option that is none": (["--gpus", "2"], ["--gpus", "--help"]),
}


@pytest.mark.parametrize(("arguments", "parts"), ERRORS.values(), ids=ERRORS.keys())
def test_bad_input_is_one_message_with_field_value_and_fix(spec, capsys, monkeypatch, tmp_path, arguments, parts):
    monkeypatch.chdir(tmp_path)
    code = exit_code(["run", str(spec), *arguments])
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    for part in parts:
        assert part in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]  # and nothing was begun


FILES = {
    "no file": (None, ["cannot be read", "No such file", "give the path"]),
    "not YAML": ("spec: [", ["line", "not YAML"]),
    "not a mapping": ("- 1\n", ["expected a mapping"]),
    "nothing": ("", ["expected one document, found 0"]),
    "another kind": (yaml.safe_dump(MINIMAL | {"kind": "Job"}), ["kind", "'Job'", "'TrainingRun'"]),
    "a bad name": (yaml.safe_dump(MINIMAL | {"metadata": {"name": "Nav 1"}}), ["metadata.name", "'Nav 1'", "matches"]),
}


@pytest.mark.parametrize(("text", "parts"), FILES.values(), ids=FILES.keys())
def test_a_file_that_is_no_training_run_is_explained(tmp_path, capsys, text, parts):
    path = tmp_path / "run.yaml"
    if text is not None:
        path.write_text(text)
    assert exit_code(["run", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    for part in parts:
        assert part in said


def test_a_dry_run_prints_the_merged_object_and_begins_nothing(spec, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    changes = ["--set", "train.algo.ppo.learningRate=1e-3", "--resume", "never", "--accept-changes"]
    arguments = [*changes, "--dry-run"]
    assert exit_code(["run", str(spec), *arguments]) == 0
    printed = load.validate(load.parse_yaml(capsys.readouterr().out))
    assert printed.spec.train.algo.ppo.learning_rate == 1e-3
    assert (printed.spec.checkpoint.resume, printed.spec.checkpoint.spec_change) == ("never", "accept")
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_several_faults_are_all_named_at_once(spec, capsys):
    assert exit_code(["run", str(spec), "--set", "train.seed=-1", "--set", "train.numEnvs=0"]) == 2
    assert [line.split(":")[1].strip() for line in capsys.readouterr().err.splitlines()] == [
        "spec.train.numEnvs",
        "spec.train.seed",
    ]


@pytest.mark.parametrize("arguments", [[], ["dance"], ["run"], ["eval"]])
def test_a_command_line_that_is_none_names_the_help(capsys, arguments):
    assert exit_code(arguments) == 2
    assert "--help" in capsys.readouterr().err


def test_a_worker_without_its_environment_says_who_starts_it(capsys, monkeypatch):
    monkeypatch.delenv("HEADWAY_SPEC", raising=False)
    assert exit_code(["worker"]) == 2
    assert "HEADWAY_SPEC: is not set" in capsys.readouterr().err


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch, spec):
    monkeypatch.setattr("headway.local.run.run", lambda options, console: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["run", str(spec)])


def test_the_version_is_the_distributions(capsys):
    assert exit_code(["--version"]) == 0
    assert capsys.readouterr().out.startswith("headway 0.")


@pytest.mark.slow
def test_help_comes_at_once_and_imports_nothing_heavy():
    program = "import sys, json; from headway.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    program += "print(json.dumps(sorted(sys.modules)))"
    seconds = []
    for _ in range(3):
        begun = time.monotonic()
        out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        seconds.append(time.monotonic() - begun)
    assert not {"torch", "numpy", "pydantic", "rich"} & set(json.loads(out.splitlines()[-1]))
    assert min(seconds) < 0.5


def exit_code(arguments):
    try:
        return main(arguments)
    except SystemExit as end:
        return end.code
