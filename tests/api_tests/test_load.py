"""Reading documents: the same numbers as kubectl, and refusals that help."""

import pytest
from headway_api.load import SpecError, load_run, parse_yaml, validate
from hypothesis import HealthCheck, given, settings
from specs import bent_runs, small_run, valid_runs


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 0.0003),
        ("1e3", 1000.0),
        ("1E+3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-2.5e2", -250.0),
        ("1_000", 1000),
        ("0x1f", 31),
        ("010", 8),
        ("0o10", 8),
        ("0b101", 5),
        ("+7", 7),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("1.2.3", "1.2.3"),
        ("yes", True),
        ("off", False),
        ("~", None),
        ("'3e-4'", "3e-4"),
        ("e3", "e3"),
        ("-", "-"),
    ],
)
def test_a_scalar_parses_as_kubectl_parses_it(text: str, value: object) -> None:
    parsed = parse_yaml(f"v: {text}" if text != "-" else "v: '-'")["v"]
    assert parsed == value
    assert type(parsed) is type(value)


def test_a_key_that_stands_twice_is_refused_with_its_line() -> None:
    with pytest.raises(SpecError, match="line 2: key 'a' stands twice"):
        parse_yaml("a: 1\na: 2\n")


@pytest.mark.parametrize("kind", ["requests", "limits"])
def test_gpus_are_asked_for_in_one_place_only(kind: str) -> None:
    run = small_run()
    run["spec"] |= {"gpusPerNode": 1, "podTemplate": {"resources": {kind: {"nvidia.com/gpu": 2}}}}
    with pytest.raises(SpecError, match="must not name the GPUs: gpusPerNode sets how many"):
        validate(run)


@pytest.mark.parametrize("text", ["a: [1", "a: &x [*x]\n---\nb: 1", "\tx: 1", "a: !!python/object:os.system {}"])
def test_what_is_not_one_plain_document_is_refused_without_a_traceback(text: str) -> None:
    with pytest.raises(SpecError):
        validate(parse_yaml(text))


def changed(path: str, value: object) -> dict:
    document = small_run()
    node = document
    *parents, last = path.split(".")
    for key in parents:
        node = node.setdefault(key, {})
    node[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "spec.train.algo.ppo.learningRate",
            -1.0,
            "spec.train.algo.ppo.learningRate: found -1.0: give a value above 0.0",
        ),
        ("spec.train.algo.ppo.learningRate", "fast", "spec.train.algo.ppo.learningRate: found 'fast': give a number"),
        ("spec.train.totalSteps", 2.5, "spec.train.totalSteps: found 2.5: give a whole number"),
        ("spec.train.totalSteps", "100", "spec.train.totalSteps: found '100': give a whole number"),
        ("spec.suspend", "no", "spec.suspend: found 'no': give true or false"),
        ("spec.nodes", None, ""),
        ("spec.activeDeadlineSeconds", None, ""),
        ("spec.train.totalSteps", None, "spec.train.totalSteps: found null: give a value"),
        ("spec.trian", None, "spec.trian: is not a known field: check the spelling"),
        ("spec.trian", 1, "spec.trian: is not a known field: check the spelling"),
        ("spec.train.total_steps", 1, "spec.train.total_steps: is not a known field"),
        (
            "spec.nodes",
            2,
            "spec: nodes above 1 need checkpoint.volume.claimName: the pods share their checkpoints there",
        ),
        ("metadata.name", "Big", "metadata.name: found 'Big': give text that matches"),
        ("metadata.name", "a" * 41, "give at most 40 characters"),
        ("spec.train.numEnvs", 17, "algo.ppo.minibatchSize must divide numEnvs * rolloutSteps"),
        ("spec.processesPerNode", 3, "train.numEnvs must be a multiple of the number of ranks"),
        ("spec.processesPerNode", "all", "auto or a whole number from 1 to 64"),
        ("spec.checkpoint.everySeconds", "often", "auto or a whole number from 1 to 86400"),
        ("spec.checkpoint.everySeconds", 1.5, "auto or a whole number from 1 to 86400"),
        ("spec.checkpoint.everySeconds", 0, "found 0: input should be auto or a whole number from 1 to 86400"),
        ("spec.checkpoint.milestoneSteps", -1, "found -1: give a value of at least 0"),
        ("spec.processesPerNode", 65, "auto or a whole number from 1 to 64"),
        ("spec.train.microBatch", "half", "auto or a whole number from 0 to 4194304"),
        ("spec.train.microBatch", -1, "auto or a whole number from 0 to 4194304"),
        ("spec.train.microBatch", 64.0, "auto or a whole number from 0 to 4194304"),
        ("spec.train.microBatch", True, "auto or a whole number from 0 to 4194304"),
        ("spec.train.env", {}, "set exactly one of: nav"),
        ("spec.checkpoint.resume", "later", "spec.checkpoint.resume: found 'later': give text that matches"),
        ("kind", "TrainingJob", "kind: found 'TrainingJob': give one of 'TrainingRun'"),
    ],
)
def test_a_refusal_names_the_field_the_value_and_the_fix(path: str, value: object, message: str) -> None:
    if not message:
        assert validate(changed(path, value)).spec.nodes == 1  # null means the default, as on the API server
        return
    with pytest.raises(SpecError) as refusal:
        validate(changed(path, value))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(SpecError, match=r"none\.yaml: cannot be read: No such file"):
        load_run(tmp_path / "none.yaml")


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault of the test
@given(valid_runs())
def test_every_generated_valid_document_is_taken_and_survives_a_round_trip(document: dict) -> None:
    run = validate(document)
    assert validate(run.to_wire()) == run


@settings(max_examples=200)
@given(bent_runs())
def test_a_refusal_is_always_one_line_for_each_fault_with_a_field(document: dict) -> None:
    try:
        validate(document)
    except SpecError as refusal:
        for line in str(refusal).splitlines():
            field, _, advice = line.partition(": ")
            assert field.split(".")[0] in {"spec", "metadata", "document"}
            assert advice
