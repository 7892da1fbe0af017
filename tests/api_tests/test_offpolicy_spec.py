"""Off-policy algorithms and PQN in a spec."""

import pytest
from headway_api.load import SpecError, validate
from headway_api.offpolicy_spec import Dqn, Pqn, Sac, Td3
from specs import DISCRETE, small_run


def run(kind, **own):
    env = {"nav": {"actions": {"discrete": {}} if kind in DISCRETE else {"continuous": {}}}}
    return small_run(env=env, algo={kind: own})


def test_what_papers_say_is_the_default():
    assert Dqn().double and not Dqn().dueling
    assert Dqn().target.chosen()[0] == "hard" and Dqn().max_grad_norm == 10
    sac, td3 = Sac(), Td3()
    assert sac.auto_temperature and sac.target_entropy is None and sac.policy_delay == 1
    assert (td3.policy_delay, td3.target_noise, td3.target_noise_clip) == (2, 0.2, 0.5)
    assert sac.tau == td3.tau == 0.005
    assert (td3.exploration.start, td3.exploration.end) == (0.1, 0.1)
    assert Pqn().q_lambda == 0.65
    assert all(model().gamma == 0.99 for model in (Dqn, Sac, Td3, Pqn))


def test_one_target_of_two_is_named():
    for given in ({"hard": {"everySteps": 5}}, {"polyak": {"tau": 0.5}}):
        target = validate(run("dqn", target=given)).spec.train.algo.dqn.target
        assert target.to_wire() == given


@pytest.mark.parametrize(
    ("kind", "own", "message"),
    [
        ("dqn", {"target": {}}, "target: set exactly one of: hard, polyak (found {})"),
        ("dqn", {"target": {"hard": {}, "polyak": {}}}, "target: set exactly one of: hard, polyak (found"),
        ("dqn", {"target": {"hard": {"everySteps": 0}}}, "target.hard.everySteps: found 0: give a value of at least 1"),
        ("dqn", {"target": {"polyak": {"tau": 0}}}, "target.polyak.tau: found 0: give a value above 0.0"),
        ("dqn", {"exploration": {"start": 1.1}}, "exploration.start: found 1.1: give a value of at most 1.0"),
        ("pqn", {"exploration": {"steps": -1}}, "exploration.steps: found -1: give a value of at least 0"),
        ("pqn", {"qLambda": 1.5}, "qLambda: found 1.5: give a value of at most 1.0"),
        ("dqn", {"double": 1}, "double: found 1: give true or false"),
        ("dqn", {"batchSize": 0}, "batchSize: found 0: give a value of at least 1"),
        ("dqn", {"trainEvery": 0}, "trainEvery: found 0: give a value of at least 1"),
        ("dqn", {"gradientSteps": 0}, "gradientSteps: found 0: give a value of at least 1"),
        ("dqn", {"updateSteps": 0}, "updateSteps: found 0: give a value of at least 1"),
        ("sac", {"learningStarts": -1}, "learningStarts: found -1: give a value of at least 0"),
        ("sac", {"gamma": 0}, "gamma: found 0: give a value above 0.0"),
        ("sac", {"temperature": 0}, "temperature: found 0: give a value above 0.0"),
        ("sac", {"targetEntropy": "auto"}, "targetEntropy: found 'auto': give a number"),
        ("sac", {"tau": 1.5}, "tau: found 1.5: give a value of at most 1.0"),
        ("td3", {"policyDelay": 0}, "policyDelay: found 0: give a value of at least 1"),
        ("td3", {"targetNoise": -0.1}, "targetNoise: found -0.1: give a value of at least 0.0"),
        ("sac", {"exploration": {}}, "exploration: is not a known field"),  # it explores by its own policy
        ("td3", {"temperature": 1}, "temperature: is not a known field"),
        ("pqn", {"target": {"hard": {}}}, "target: is not a known field"),
    ],
    ids=str,
)
def test_what_is_refused_names_field_value_and_fix(kind, own, message):
    with pytest.raises(SpecError) as refused:
        validate(run(kind, **own))
    assert str(refused.value).startswith(f"spec.train.algo.{kind}.{message}")


def test_one_algorithm_is_chosen():
    with pytest.raises(SpecError, match=r"^spec\.train\.algo: set exactly one of: ppo, dqn, pqn, sac, td3, dagger \("):
        validate(small_run(algo={"dqn": {}, "sac": {}}))
