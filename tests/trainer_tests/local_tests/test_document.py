import copy

import pytest
from headway.local.document import apply_set, cluster_fields, on_this_machine, read, to_wire
from headway_api import load
from headway_api.load import SpecError

MINIMAL = {
    "apiVersion": "headway.dev/v1alpha1",
    "kind": "TrainingRun",
    "metadata": {"name": "nav"},
    "spec": {
        "train": {
            "totalSteps": 1000,
            "numEnvs": 12,
            "env": {"nav": {}},
            "algo": {"ppo": {"rolloutSteps": 4, "minibatchSize": 12}},
            "network": {"mlp": {}},
            "curriculum": {"stages": [{"name": "empty", "levels": {"world": {"empty": {}}}}]},
        }
    },
}


def run(**spec):
    return load.validate(MINIMAL | {"spec": MINIMAL["spec"] | spec})


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("train.seed=7", ["train", "seed"], 7),
        ("train.algo.ppo.learningRate=3e-4", ["train", "algo", "ppo", "learningRate"], 3e-4),
        ("train.network.mlp.hidden=[32, 32]", ["train", "network", "mlp", "hidden"], [32, 32]),
        ("train.curriculum.stages[0].name=first", ["train", "curriculum", "stages", 0, "name"], "first"),
        ("train.curriculum.stages.0.name=first", ["train", "curriculum", "stages", 0, "name"], "first"),
        ("train.trackers.tensorboard={}", ["train", "trackers", "tensorboard"], {}),
        ("checkpoint.resume=./a=b", ["checkpoint", "resume"], "./a=b"),
        ('train.curriculum.stages[0].name="yes"', ["train", "curriculum", "stages", 0, "name"], "yes"),
        ("suspend=true", ["suspend"], True),
        ("activeDeadlineSeconds=", ["activeDeadlineSeconds"], None),
    ],
)
def test_a_value_is_yaml_and_a_path_begins_below_spec(assignment, path, value):
    node = apply_set(MINIMAL, assignment)["spec"]
    for key in path:
        node = node[key]
    assert node == value


def test_the_document_itself_is_left_alone():
    before = copy.deepcopy(MINIMAL)
    apply_set(MINIMAL, "train.curriculum.stages[0].name=other")
    assert before == MINIMAL


def test_a_later_assignment_wins(tmp_path):
    (tmp_path / "run.yaml").write_text(str(MINIMAL))
    assert read(tmp_path / "run.yaml", ["train.seed=1", "train.seed=2"], None).spec.train.seed == 2


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.seed", "--set train.seed: is not an assignment: write path=value, e.g. train.seed=1"),
        ("=3", "--set =3: is not an assignment: write path=value, e.g. train.seed=1"),
        ("spec.train.seed=1", "--set spec.train.seed=1: paths begin below spec: write train.seed=…"),
        (
            "train.totalSteps.x=1",
            "--set train.totalSteps.x=1: spec.train.totalSteps: found 1000: the path leads through it, so it must "
            "be a mapping",
        ),
        (
            "train.curriculum.stages[3].name=a",
            "--set train.curriculum.stages[3].name=a: spec.train.curriculum.stages is a list of 1: "
            "give an index from 0 to 0",
        ),
        (
            "train[0]=1",
            "--set train[0]=1: spec.train: found a mapping: the path leads through it, so it must be a list",
        ),
        ("train.seed=[1", "write it as YAML"),
    ],
)
def test_an_assignment_that_makes_no_sense_is_explained(assignment, message):
    with pytest.raises(SpecError) as error:
        apply_set(MINIMAL, assignment)
    assert message in str(error.value)


def test_the_gang_of_a_file_becomes_processes_of_this_machine():
    given = run(nodes=4, gpusPerNode=8, checkpoint={"volume": {"claimName": "c"}}, processesPerNode=3)
    assert on_this_machine(given, None, None).spec.world_size == 3
    assert on_this_machine(given, 2, None).spec.world_size == 6
    assert on_this_machine(given, None, 1).spec.world_size == 1
    assert on_this_machine(run(gpusPerNode=4), None, None).spec.world_size == 1


@pytest.mark.parametrize(
    ("nodes", "processes", "message"),
    [
        (0, None, "--nodes: found 0: give a whole number of at least 1"),
        (None, -1, "--processes: found -1: give a whole number of at least 1"),
        (8, 9, "found 72 ranks: give at most 64"),
        (None, 5, "train.numEnvs must be a multiple of the number of ranks"),
    ],
)
def test_ranks_that_cannot_be_are_refused(nodes, processes, message):
    with pytest.raises(SpecError, match=message.replace("*", ".")):
        on_this_machine(run(), nodes, processes)


def test_fields_that_only_a_cluster_uses_are_named_if_the_file_sets_them():
    given = run(image="x", nodes=2, checkpoint={"volume": {"claimName": "c"}, "keep": 2}, stallSeconds=60)
    assert cluster_fields(given) == ["image", "nodes", "checkpoint.volume"]
    assert cluster_fields(run()) == []


def test_what_is_written_is_read_back_as_the_same_run(tmp_path):
    wire = to_wire(run())
    assert wire["metadata"] == {"name": "nav", "namespace": "default"}
    assert load.validate(wire) == run()
