"""Refusals in one line each: field, value, fix."""

import pytest
from headway_api.load import SpecError, checked, validate
from headway_api.refusals import short
from headway_api.training_run import TrainingRun
from specs import small_run


def lines(document):
    with pytest.raises(SpecError) as refused:
        checked(document, TrainingRun)
    return str(refused.value).splitlines()


@pytest.mark.parametrize("algo", ["ppo", "pqn", "dagger"])
@pytest.mark.parametrize("field", ["replay", "prioritized", "hindsight", "nSteps"])
def test_who_wants_a_replay_of_an_algorithm_without_one_is_told_which_have_it(algo, field):
    (line,) = lines(small_run(algo={algo: {field: {}}}))
    assert line == (
        f"spec.train.algo.{algo}.{field}: this algorithm learns from its own newest steps and draws from no replay: "
        "choose dqn, sac or td3"
    )


def test_what_stands_beside_the_replay_instead_of_in_it_is_no_known_field():
    (line,) = lines(small_run(algo={"sac": {"prioritized": {}}}))
    assert line.startswith("spec.train.algo.sac.prioritized: is not a known field: check the spelling")


def test_each_fault_has_its_line_in_order():
    algo = {"sac": {"gamma": 2, "replay": {"nSteps": 0, "hindsight": {"goals": 0}}}}
    assert lines(small_run(algo=algo, seed="a")) == [
        "spec.train.algo.sac.gamma: found 2: give a value of at most 1.0",
        "spec.train.algo.sac.replay.hindsight.goals: found 0: give a value of at least 1",
        "spec.train.algo.sac.replay.nSteps: found 0: give a value of at least 1",
        "spec.train.seed: found 'a': give a whole number",
    ]


@pytest.mark.parametrize(
    ("train", "line"),
    [
        ({"algo": {"sac": None}}, "spec.train.algo: set exactly one of: ppo, dqn, pqn, sac, td3, dagger (found {"),
        ({"env": None}, "spec.train.env: found null: give a value"),
        ({"network": {"mlp": {"hidden": []}}}, "spec.train.network.mlp.hidden: found []: give at least 1 entry"),
        ({"network": {"mlp": {"hidden": [0]}}}, "spec.train.network.mlp.hidden[0]: found 0: give a value of at least"),
        ({"initFrom": "a" * 600}, f"spec.train.initFrom: found '{'a' * 56}...: give at most 512 characters"),
        ({"numEnvs": float("inf")}, "spec.train.numEnvs: found inf: give a whole number"),
    ],
    ids=str,
)
def test_a_line_shows_the_path_and_the_value_as_it_was_given(train, line):
    (found,) = lines(small_run(**train))
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", "'a'"),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        (None, "None"),
        ("b" * 58, f"'{'b' * 58}'"),
        ("b" * 59, f"'{'b' * 56}..."),
    ],
)
def test_long_values_are_cut(value, shown):
    assert short(value) == shown and len(short(value)) <= 60


def test_null_is_as_good_as_leaving_an_option_out():
    document = small_run(algo={"sac": {"targetEntropy": None, "replay": {"hindsight": None}}, "ppo": None})
    assert validate(document).spec.train.algo.sac.replay.hindsight is None
