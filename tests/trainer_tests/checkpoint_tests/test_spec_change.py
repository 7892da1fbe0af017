"""Which changes of a spec its owner may insist on."""

import pytest
from headway.checkpoint import Manifest, spec_differences
from headway.checkpoint.spec_change import impossible
from headway.curriculum import CurriculumRecord
from headway_api.train_spec import TrainSpec
from trainer_tests.conftest import line_spec

OLD = line_spec()


def changed(**changes):
    """The differences to line_spec, and the new spec."""
    new = TrainSpec.model_validate(OLD.to_wire() | changes)
    return spec_differences(OLD.to_wire(), new.to_wire()), new


def record(stage=0, demotions=0):
    return CurriculumRecord(stage=stage, passed=False, streak=0, fallen=0, demotions=demotions, advanced_at=0)


def stages(*changes):
    """Those of line_spec, each with changes; more of them are new."""
    own = OLD.to_wire()["curriculum"]["stages"]
    return {"stages": [(own[i] if i < len(own) else own[0]) | change for i, change in enumerate(changes)]}


FAR = {"levels": {"world": {"empty": {}}, "minGoalMeters": 4.0}}
NAV = OLD.to_wire()["env"]["nav"]


@pytest.mark.parametrize(
    "changes",
    [
        {"algo": {"ppo": OLD.to_wire()["algo"]["ppo"] | {"learningRate": 1e-4, "epochs": 3, "rolloutSteps": 16}}},
        {"precision": "bf16"},
        {"deterministic": True},
        {"env": {"nav": NAV | {"reward": NAV["reward"] | {"goal": 3.0}}}},
        {"curriculum": stages({"name": "first", "gate": {"successRate": 0.9}}, {})},  # renamed, with another gate
        {"curriculum": stages({}, FAR)},  # a stage that is to come
        {"curriculum": stages({}, {}, FAR | {"name": "s2"})},  # one more
        {"curriculum": stages({})},  # one less
        {"curriculum": stages({}, {}) | {"schedule": {"manual": {"stage": "s0"}}}},
        {"network": {"mlp": {"hidden": [8, 8]}}},  # for the tensors to refuse
    ],
)
def test_what_its_state_may_fit_can_change(changes):
    lines, new = changed(**changes)
    assert lines and impossible(lines, new, record()) == []


@pytest.mark.parametrize(
    ("changes", "place", "said"),
    [
        ({"seed": 5}, {}, "train.seed: 0 -> 5: levels and noise under way"),
        ({"numEnvs": 24}, {}, "train.numEnvs: 12 -> 24: the state has a row for each environment"),
        ({"initFrom": "runs/a"}, {}, "it says where learning begins"),
        ({"algo": {"dagger": {"minibatchSize": 48}}}, {}, "another algorithm"),
        ({"env": {"nav": NAV | {"maxSteps": 99}}}, {}, "train.env.nav.maxSteps: 300 -> 99: episodes under way"),
        ({"env": {"nav": NAV | {"lidar": {"beams": 8}}}}, {}, "train.env.nav.lidar.beams: 36 -> 8: episodes"),
        ({"curriculum": stages(FAR, {})}, {}, "train.curriculum.stages[0].levels.minGoalMeters"),
        ({"curriculum": stages({}, FAR)}, {"stage": 1}, "train.curriculum.stages[1].levels.minGoalMeters"),
        ({"curriculum": stages({}, FAR)}, {"demotions": 1}, "levels under way are of that stage"),  # it was there
        ({"curriculum": stages({})}, {"stage": 1}, "train.curriculum.stages[1]: {"),
        (
            {"curriculum": stages({}, {}) | {"schedule": {"manual": {"stage": "s1"}}}},
            {},
            "train.curriculum.schedule.manual.stage: s1: the run is in stage s0",
        ),
    ],
)
def test_what_makes_nonsense_of_what_is_under_way_cannot(changes, place, said):
    lines, new = changed(**changes)
    assert any(said in line for line in impossible(lines, new, record(**place)))


def test_stages_that_come_and_go_are_told_one_by_one():
    lines, _ = changed(curriculum=stages({"name": "first"}, {}, FAR | {"name": "s2"}))
    assert [line.partition(":")[0] for line in lines] == [
        "train.curriculum.stages[0].name", "train.curriculum.stages[2]",
    ]  # fmt: skip


def test_a_field_that_a_checkpoint_did_not_have_yet_is_as_it_is_by_default():
    spec = line_spec()
    older = {name: value for name, value in spec.to_wire().items() if name not in ("deterministic", "microBatch")}
    manifest = Manifest.model_construct(spec=older)
    assert spec_differences(manifest.spec_with_defaults(), spec.to_wire()) == []
    changed = line_spec(deterministic=True).to_wire()
    assert spec_differences(manifest.spec_with_defaults(), changed) == ["train.deterministic: false -> true"]
    assert Manifest.model_construct(spec={"is": "none"}).spec_with_defaults() == {"is": "none"}
