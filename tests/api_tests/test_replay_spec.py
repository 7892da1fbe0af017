"""The replay in a spec: what it is by default, and what is refused of it."""

import pytest
from headway_api.load import SpecError, validate
from headway_api.offpolicy_spec import Dqn, Sac, Td3
from headway_api.replay_spec import Replay
from pydantic import ValidationError
from specs import small_run


def run(kind="sac", **own):
    env = {"nav": {"actions": {"discrete": {}} if kind == "dqn" else {"continuous": {}}}}
    return small_run(env=env, algo={kind: own})


def test_by_default_it_is_uniform_of_single_steps_and_never_relabels():
    replay = Replay()
    assert (replay.capacity, replay.n_steps, replay.storage) == (1_000_000, 1, "device")
    assert replay.prioritized is None and replay.hindsight is None


def test_priorities_and_hindsight_are_as_published_where_nothing_is_said():
    replay = Replay.model_validate({"prioritized": {}, "hindsight": {}})
    assert (replay.prioritized.alpha, replay.prioritized.beta) == (0.6, 0.4)
    assert (replay.hindsight.strategy, replay.hindsight.goals) == ("future", 4)


@pytest.mark.parametrize(
    ("replay", "message"),
    [
        ({"nSteps": 0}, "nSteps: found 0: give a value of at least 1"),
        ({"nSteps": 101}, "nSteps: found 101: give a value of at most 100"),
        ({"nSteps": 3.0}, "nSteps: found 3.0: give a whole number"),  # CEL takes no 3.0 for one
        ({"capacity": 0}, "capacity: found 0: give a value of at least 1"),
        ({"capacity": 1e6}, "capacity: found 1000000.0: give a whole number"),
        ({"prioritized": {"alpha": 1.5}}, "prioritized.alpha: found 1.5: give a value of at most 1.0"),
        ({"prioritized": {"beta": -0.1}}, "prioritized.beta: found -0.1: give a value of at least 0.0"),
        ({"prioritized": {"epsilon": 0}}, "prioritized.epsilon: found 0: give a value above 0.0"),
        ({"prioritized": True}, "prioritized: found True: give a mapping"),
        ({"hindsight": {"goals": 0}}, "hindsight.goals: found 0: give a value of at least 1"),
        (
            {"hindsight": {"strategy": "past"}},
            "hindsight.strategy: found 'past': give one of 'future', 'final', 'episode' or 'random'",
        ),
        ({"storage": "tape"}, "storage: found 'tape': give one of 'device' or 'disk'"),
    ],
    ids=str,
)
def test_what_is_refused_names_field_value_and_fix(replay, message):
    with pytest.raises(SpecError) as refused:
        validate(run(replay=replay))
    assert str(refused.value) == f"spec.train.algo.sac.replay.{message}"


@pytest.mark.parametrize(("kind", "model"), [("dqn", Dqn), ("sac", Sac), ("td3", Td3)])
def test_a_batch_is_no_larger_than_the_replay(kind, model):
    with pytest.raises(SpecError) as refused:
        validate(run(kind, batchSize=65, replay={"capacity": 64}))
    said = f"{kind}.batchSize must not exceed replay.capacity: lower it, or raise the capacity (found 65)"
    assert str(refused.value) == f"spec.train.algo.{kind}: {said}"
    assert validate(run(kind, batchSize=64, replay={"capacity": 64}))
    with pytest.raises(ValidationError):  # the default of a batch counts too
        model.model_validate({"replay": {"capacity": model().batch_size - 1}})
