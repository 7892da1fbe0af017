"""Settings of a training that cannot work together, and what is said of them."""

import re

import pytest
from headway_api.load import SpecError, validate
from headway_api.train_rules import RULES
from specs import DISCRETE, EXPLORING, OFF_POLICY, playing_run, small_run

WHOLE = {"rolloutSteps": 16, "minibatchSize": 64}
ALGORITHMS = {"ppo": WHOLE, "pqn": WHOLE, "dagger": {"minibatchSize": 64}, "dqn": {}, "sac": {}, "td3": {}}
NAV_STAGE = {"name": "a", "levels": {"world": {"empty": {}}}}
GYM = {"env": {"gym": {"id": "CartPole-v1"}}, "curriculum": {"stages": [{"name": "a"}]}}
DO_COMMANDS, DO_NUMBERS = {"nav": {"actions": {"discrete": {}}}}, {"nav": {"actions": {"continuous": {}}}}


def train(kind, own=None, **changes):
    """A training that works, but for the changes."""
    env = DO_COMMANDS if kind in DISCRETE else DO_NUMBERS
    return small_run(**{"env": env, "algo": {kind: ALGORITHMS[kind] if own is None else own}} | changes)


def refusal(document):
    with pytest.raises(SpecError) as refused:
        validate(document)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_every_algorithm_works_with_its_defaults_and_with_foreign_environments(kind):
    assert validate(train(kind)).spec.train.algo.chosen()[0] == kind
    assert validate(train(kind, **GYM))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            train("pqn", {}),
            "spec.train: algo.pqn.minibatchSize must divide numEnvs * rolloutSteps: choose a divisor (found",
        ),
        (
            train("pqn", {"rolloutSteps": 16, "minibatchSize": 96}),
            "algo.pqn.minibatchSize must divide numEnvs * rolloutSteps: choose a divisor",
        ),
        *[
            (
                train(kind, {"batchSize": 8, "replay": {"capacity": 63, "nSteps": 3}}),
                f"spec.train: algo.{kind}.replay.capacity must hold nSteps + 1 steps of each of numEnvs environments: "
                "raise it (found 63)",
            )
            for kind in OFF_POLICY
        ],
        *[
            (
                train(kind, {"learningStarts": 4096}, totalSteps=4096),
                f"spec.train: algo.{kind}.learningStarts (1000 unless given) must be below totalSteps, or nothing is "
                "learned: lower it, or train longer (found 4096)",
            )
            for kind in OFF_POLICY
        ],
        *[
            (
                train(kind, env=DO_NUMBERS),
                "spec.train: algo.dqn and algo.pqn choose among commands: set env.nav.actions to {discrete: {}}, or "
                "choose sac, td3 or ppo (found {'continuous': {}})",
            )
            for kind in DISCRETE
        ],
        (train("dqn", env={"nav": {}}), "set env.nav.actions to {discrete: {}}"),  # numbers, by default
        *[
            (
                train(kind, env=DO_COMMANDS),
                "spec.train: algo.sac and algo.td3 steer by numbers: set env.nav.actions to {continuous: {}}, or "
                "choose dqn, pqn or ppo (found {'discrete': {}})",
            )
            for kind in ("sac", "td3")
        ],
        *[
            (
                train(kind, network={"gru": {}}),
                "spec.train: only algo.ppo learns from sequences, which network.gru needs: choose mlp or cnn1d "
                "(found {'gru': {}})",
            )
            for kind in ALGORITHMS
            if kind != "ppo"
        ],
        *[
            (
                train(kind, curriculum={"stages": [NAV_STAGE, NAV_STAGE | {"name": "b", "exploration": {}}]}),
                "spec.train: only algo.dqn, pqn and td3 have an exploration that a stage can set: take "
                "stages[].exploration out (found [{'name': 'a', ",
            )
            for kind in ALGORITHMS
            if kind not in EXPLORING
        ],
    ],
    ids=lambda case: str(case)[:90] if isinstance(case, str) else "",
)
def test_what_cannot_work_together_is_refused_with_field_value_and_fix(document, message):
    assert message in refusal(document)


@pytest.mark.parametrize("kind", OFF_POLICY)
def test_a_replay_that_just_holds_what_is_asked_is_taken(kind):
    assert validate(train(kind, {"batchSize": 64, "replay": {"capacity": 64, "nSteps": 3}}))


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_what_a_gradient_step_learns_from_divides_among_the_ranks(kind):
    field = "batchSize" if kind in OFF_POLICY else "minibatchSize"
    document = train(kind, ALGORITHMS[kind] | {field: 32})
    document["spec"] |= {"processesPerNode": 16}
    assert validate(document)
    document["spec"]["train"]["algo"][kind][field] = 8
    wanted = f"train.algo.{kind}.{field} must be a multiple of the number of ranks (nodes * processesPerNode)"
    assert refusal(document) == f"spec: {wanted} (found 8)"


@pytest.mark.parametrize("kind", EXPLORING)
def test_one_stage_of_many_may_explore_in_its_own_way(kind):
    stages = [NAV_STAGE, NAV_STAGE | {"name": "b", "exploration": {"start": 0.5, "end": 0.1, "steps": 0}}]
    run = validate(train(kind, curriculum={"stages": stages}))
    assert [stage.exploration is None for stage in run.spec.train.curriculum.stages] == [True, False]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.message[:40])
def test_a_rule_points_at_a_field_that_there_is(rule):
    of_algorithm = re.match(r"algo\.(\w+)", rule.field)
    document = playing_run() if rule.field.startswith("selfPlay") else train(of_algorithm[1] if of_algorithm else "ppo")
    node = validate(document).spec.train.to_wire()
    for name in rule.field.split("."):
        node = node[name]
