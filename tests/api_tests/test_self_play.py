"""Self-play is refused by name where nobody could be played with."""

import pytest
from headway_api.load import SpecError, validate
from headway_api.self_play_spec import SelfPlay
from specs import playing_run, small_run


def test_self_play_needs_nothing_but_its_name():
    found = validate(playing_run()).spec.train.self_play
    assert found == SelfPlay(pool={"size": 8, "everySteps": 200_000, "opponents": "prioritized", "latestShare": 0.5})
    assert validate(small_run()).spec.train.self_play is None


def test_robots_in_one_stage_are_enough():
    world = {"world": {"empty": {}}}
    stages = [{"name": "alone", "levels": world}, {"name": "two", "levels": world | {"robots": 1}}]
    assert validate(playing_run(curriculum={"stages": stages})).spec.train.self_play is not None


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"env": {"nav": {}}}, "selfPlay needs env.nav with others: self: set it"),
        (
            {"env": {"gym": {"id": "CartPole-v1"}}, "curriculum": {"stages": [{"name": "a"}]}},
            "selfPlay needs env.nav with others: self",
        ),
        ({"network": {"gru": {}}}, "env.nav.others: self needs a network without memory: choose mlp or cnn1d"),
        ({"curriculum": small_run()["spec"]["train"]["curriculum"]}, "selfPlay needs other robots to drive"),
        ({"selfPlay": {}}, "spec.train.selfPlay: set exactly one of: pool, frozen"),
        ({"selfPlay": {"pool": {}, "frozen": {"policy": "runs/a"}}}, "set exactly one of: pool, frozen"),
        ({"totalSteps": 200_000}, "selfPlay.pool.everySteps (200000 unless given) must be below totalSteps"),
        ({"selfPlay": {"pool": {"size": 0}}}, "spec.train.selfPlay.pool.size: found 0"),
        ({"selfPlay": {"pool": {"size": 65}}}, "spec.train.selfPlay.pool.size: found 65"),
        ({"selfPlay": {"pool": {"everySteps": 0}}}, "spec.train.selfPlay.pool.everySteps: found 0"),
        ({"selfPlay": {"pool": {"latestShare": 1.0}}}, "spec.train.selfPlay.pool.latestShare: found 1.0"),
        ({"selfPlay": {"pool": {"opponents": "hardest"}}}, "spec.train.selfPlay.pool.opponents: found 'hardest'"),
        ({"selfPlay": {"frozen": {}}}, "spec.train.selfPlay.frozen.policy"),
        ({"selfPlay": {"frozen": {"policy": ""}}}, "spec.train.selfPlay.frozen.policy"),
    ],
)
def test_what_cannot_be_played_is_refused_by_name(train, message):
    with pytest.raises(SpecError) as refusal:
        validate(playing_run(**train))
    assert message in str(refusal.value)
