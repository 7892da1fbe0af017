import math
from types import SimpleNamespace

import pytest
import torch
from headway.algos import build_algorithm
from headway.algos.divergence import DivergenceError
from headway.algos.dqn import DQNLearner
from headway.algos.loss_scale import LossScale
from headway.algos.offpolicy import OffPolicyAlgorithm
from headway.envs.protocol import ActionSpace
from headway.errors import SpecError
from headway.parallel import Group
from headway.replay import Replay, Source
from headway.replay.priorities import SCALE
from headway_api.offpolicy_spec import Exploration
from headway_api.train_spec import TrainSpec
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_tests.algos_tests.making import Chain, chain_values, q_table, spec_of
from trainer_tests.conftest import line_spec
from trainer_tests.line_env import LineEnv

STATES = 4


class Diary:
    """A learner that writes down what it is asked, and is surprised by 3 each time."""

    name, statistics = "dqn", ("loss/value",)
    scale = LossScale("fp32", torch.device("cpu"))

    def __init__(self, num_envs):
        self.num_envs, self.network, self.totals = num_envs, q_table([[0.0] * 2] * STATES), torch.zeros(1)
        self.weight = torch.zeros(2)
        self.steps, self.trainings, self.rates, self.batches, self.drawn = [], [], [], [], []

    def noise(self, steps):
        self.drawn.append(len(steps))
        return steps[:, None].expand(-1, self.num_envs)

    def random(self, noise):
        return -1 - noise

    def explore(self, features, noise, share):
        self.share = share
        return noise.clone()

    def begin_training(self, env_steps, env_steps_before):
        self.trainings.append((env_steps_before, env_steps))

    def learn(self, batch, step):
        self.steps.append(step)
        self.batches.append(batch)
        self.totals += 2.0
        return torch.full((len(batch.reward),), 3.0)

    def parameter_total(self):
        return self.weight.sum()

    def set_learning_rate(self, rate):
        self.rates.append(rate)

    def state(self):
        return {"weight": self.weight}


def make(num_envs=2, total_steps=1000, learner=None, exploration=None, stages=(None,), **given):
    defaults = {"batchSize": 4, "learningStarts": 0, "updateSteps": 10, "gamma": 0.5}
    spec = spec_of("dqn", **defaults | {"replay": {"capacity": 64 * num_envs} | given.pop("replay", {})} | given)
    source = Source(STATES, STATES, 0, ActionSpace(2, discrete=True), lambda observation: observation["observation"])
    replay = Replay(spec.replay, source, torch.arange(num_envs), num_envs, spec.batch_size, spec.gamma, seed=0)
    learner = learner or Diary(num_envs)
    return OffPolicyAlgorithm(spec, learner, replay, num_envs, total_steps, Group(), exploration, stages)


def walk(algorithm, steps, chain=None):
    """Steps of a chain, an update where one is due; returns the metrics of the updates."""
    chain, metrics = chain or Chain(algorithm.total_envs, STATES, limit=6), []
    for _ in range(steps):
        step = algorithm.steps
        action = algorithm.act(chain.features(), step)
        algorithm.observe(chain.step((action % 3 > 0).long()))  # of Diary's actions two in three go on
        if algorithm.ready():
            metrics.append(algorithm.update(chain.features(), 1.0))
    return metrics


@pytest.mark.parametrize(
    ("num_envs", "steps", "given", "made"),
    [
        (1, 10, {"batchSize": 1}, 10),
        (4, 10, {"batchSize": 1}, 10),  # more environments, no more gradient steps
        (4, 10, {"batchSize": 1, "gradientSteps": 3}, 30),
        (2, 10, {"batchSize": 1, "trainEvery": 4}, 2),  # at steps 4 and 8 of each environment
        (2, 10, {"batchSize": 1, "trainEvery": 4, "gradientSteps": 5}, 10),
        (2, 10, {"batchSize": 1, "learningStarts": 12}, 5),  # from step 6 of each of two
        (2, 10, {"batchSize": 1, "learningStarts": 13}, 4),
        (2, 10, {"batchSize": 1, "learningStarts": 13, "trainEvery": 4}, 1),
        (2, 10, {"batchSize": 15}, 3),  # from step 8, where 16 are there
        (2, 10, {"batchSize": 1, "learningStarts": 1000}, 0),
    ],
)
def test_so_many_gradient_steps_are_made_for_so_many_steps(num_envs, steps, given, made):
    algorithm = make(num_envs, **given)
    walk(algorithm, steps)
    assert algorithm.learner.steps == list(range(made)) and algorithm.gradient_steps == made


@settings(max_examples=60)
@given(*[st.integers(1, n) for n in (4, 25, 5, 3, 20)], st.integers(0, 60))
def test_it_is_so_for_any_numbers(num_envs, steps, every, gradient_steps, batch, starts):
    algorithm = make(num_envs, trainEvery=every, gradientSteps=gradient_steps, batchSize=batch, learningStarts=starts)
    walk(algorithm, steps)
    trainings = [s * num_envs for s in range(1, steps + 1) if s % every == 0 and s * num_envs >= max(starts, batch)]
    assert algorithm.learner.trainings == [(now - every * num_envs, now) for now in trainings]
    assert algorithm.gradient_steps == gradient_steps * len(trainings)


def test_actions_are_random_before_learning_starts():
    algorithm = make(learningStarts=6)
    actions = [algorithm.act(torch.zeros(2, STATES), step)[0].item() for step in range(5)]
    assert actions == [-1, -2, -3, 3, 4]  # as Diary has them: after three steps of two environments it explores


def test_the_noise_of_a_step_is_its_own_wherever_a_run_goes_on():
    algorithm = make()
    steps = [0, 1, 255, 256, 300, 7, 8]  # from 7 on as if it had been resumed
    assert [algorithm.act(torch.zeros(2, STATES), step)[0].item() for step in steps] == steps
    assert len(algorithm.learner.drawn) == 3  # and it is drawn ahead


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 500))
def test_an_update_is_whole_trainings_and_the_fewest_that_are_enough(total_envs, every, wanted):
    spec = spec_of("dqn", updateSteps=wanted, trainEvery=every)
    replay = SimpleNamespace(device=torch.device("cpu"))
    algorithm = OffPolicyAlgorithm(spec, Diary(1), replay, total_envs, 1000, Group(), None, (None,))
    assert algorithm.update_every % every == 0
    assert wanted <= algorithm.update_every * total_envs < wanted + every * total_envs


def test_updates_come_at_their_step_and_tell_what_was_learned_since():
    metrics = walk(make(num_envs=2, updateSteps=10, learningStarts=16, trainEvery=2), 18)  # every 6 steps of each
    assert [row["dqn/gradient_steps"] for row in metrics] == [0, 3, 3]
    assert [row["replay/transitions"] for row in metrics] == [12, 24, 36]
    assert [row.get("loss/value") for row in metrics] == [None, 2, 2]
    assert "dqn/exploration" not in metrics[0]


def test_a_full_replay_holds_no_more():
    (*_, last) = walk(make(replay={"capacity": 14}), 20)
    assert last["replay/transitions"] == 14


def test_exploration_falls_by_steps_of_all_environments_and_a_stage_may_set_it():
    own = Exploration(start=0.5, end=0.1, steps=10)
    algorithm = make(exploration=Exploration(start=1.0, end=0.0, steps=100), stages=(None, own))
    metrics = walk(algorithm, 5)
    assert algorithm.learner.share == pytest.approx(1 - 8 / 100)  # when the fifth step of two was chosen
    assert metrics[0]["dqn/exploration"] == pytest.approx(1 - 10 / 100)
    algorithm.begin_stage(1, 10)
    walk(algorithm, 3)
    assert algorithm.learner.share == pytest.approx(0.5 - 0.4 * 4 / 10)


def test_the_learning_rate_falls_to_nothing_at_the_end_if_asked():
    algorithm = make(annealLearningRate=True, learningRate=0.5, total_steps=20)
    walk(algorithm, 12)
    assert algorithm.learner.rates == pytest.approx([0.5 * max(0, 1 - 2 * s / 20) for s in range(2, 13)])
    still = make()
    walk(still, 4)
    assert still.learner.rates == []


def test_importance_weights_correct_fully_at_the_end():
    algorithm = make(total_steps=40, replay={"prioritized": {"beta": 0.4}})
    betas, draw = [], algorithm.replay.batches
    algorithm.replay.batches = lambda first, count, beta: betas.append(beta) or draw(first, count, beta)
    walk(algorithm, 24)
    assert betas == pytest.approx([min(1.0, 0.4 + 0.6 * 2 * s / 40) for s in range(2, 25)])


def test_what_was_drawn_is_drawn_again_by_its_td_error():
    algorithm = make(replay={"prioritized": {"alpha": 1.0, "epsilon": 0.5}}, trainEvery=4)
    walk(algorithm, 4)
    (batch,) = algorithm.learner.batches
    leaves = algorithm.replay.priorities.get_leaves()
    assert leaves[batch.slot].tolist() == pytest.approx([3.5 * SCALE] * 4)
    assert (leaves == int(3.5 * SCALE)).sum() == len(set(batch.slot.tolist()))
    assert batch.weight is not None


def test_without_priorities_all_rows_weigh_the_same():
    algorithm = make()
    walk(algorithm, 4)
    assert all(batch.weight is None for batch in algorithm.learner.batches)


def test_several_steps_are_discounted_together_and_a_termination_cuts_them():
    algorithm = make(replay={"nSteps": 3}, batchSize=64, learningStarts=80)
    walk(algorithm, 60)
    discounts = torch.cat([batch.discount for batch in algorithm.learner.batches])
    assert discounts.unique().tolist() == [0.0, 0.125, 0.25, 0.5]  # of windows cut by the clock or the newest step


def test_a_loss_that_is_not_finite_ends_training_and_is_named():
    algorithm = make()
    walk(algorithm, 4)
    algorithm.learner.totals.fill_(math.nan)
    with pytest.raises(DivergenceError, match=r"^loss/value is nan within gradient steps 1 to 3$"):
        algorithm.update(torch.zeros(2, STATES), 1.0)


def test_a_weight_that_is_no_number_ends_training_though_no_loss_has_met_it():
    algorithm = make()
    walk(algorithm, 4)
    algorithm.learner.weight[1] = math.inf
    with pytest.raises(DivergenceError, match=r"^the sum of the parameters is inf within gradient steps 1 to 3$"):
        algorithm.update(torch.zeros(2, STATES), 1.0)


def test_another_seed_draws_other_noise_from_the_next_step_on_and_other_batches():
    algorithm = make()
    walk(algorithm, 3)
    algorithm.reseed(5)
    assert (algorithm.learner.seed, algorithm.replay.seed) == (5, 5)
    drawn = len(algorithm.learner.drawn)
    walk(algorithm, 1)
    assert len(algorithm.learner.drawn) == drawn + 1  # what was drawn ahead is forgotten


def test_counters_go_on_and_what_does_not_fit_is_refused():
    first, second = make(), make()
    walk(first, 7)
    walk(second, 3)
    second.set_state(first.get_state())
    assert (second.steps, second.gradient_steps) == (7, 6)
    assert not second.ready() and second.learner.totals.item() == 0
    for name in ("steps", "gradient_steps"):
        with pytest.raises(ValueError, match="a counter of the algorithm is below 0"):
            second.set_state(first.get_state() | {name: torch.tensor(-1)})
    with pytest.raises(ValueError, match=r"missing or not known: \['weight'\]"):
        second.set_state({name: t for name, t in first.get_state().items() if name != "weight"})
    assert (second.steps, second.gradient_steps) == (7, 6)
    assert first.get_env_state() == {}


@pytest.mark.parametrize(
    "given",
    [{}, {"double": False, "target": {"polyak": {"tau": 0.1}}}, {"replay": {"prioritized": {}}}],
    ids=["double", "polyak", "prioritised"],
)
def test_values_of_a_chain_become_exact_whoever_acts(given):
    spec = {"learningRate": 0.05, "batchSize": 64, "target": {"hard": {"everySteps": 160}}} | given
    table = q_table([[0.0] * 2] * STATES)
    learner = DQNLearner(spec_of("dqn", **spec), table, 2, torch.arange(16), seed=0, group=Group())
    anything = Exploration(start=1.0, end=1.0)
    algorithm = make(16, learner=learner, exploration=anything, **{"learningStarts": 320} | spec)
    walk(algorithm, 420)
    torch.testing.assert_close(table.body.read(), chain_values(STATES, 0.5), atol=0.02, rtol=0)


class Choices(LineEnv):
    actions = ActionSpace(3, discrete=True)


def built(kind, env, tmp_path, **given):
    own = {"batchSize": 4, "updateSteps": 8, "replay": {"capacity": 400} | given.pop("replay", {})} | given
    wire = line_spec().to_wire() | {"numEnvs": 4, "algo": {kind: own}}
    if kind == "dqn":
        wire["env"] = {"nav": {"actions": {"discrete": {}}}}
    spec = TrainSpec.model_validate(wire)
    return build_algorithm(spec, env(4), Group(), torch.device("cpu"), 1, tmp_path)


@pytest.mark.parametrize(("kind", "env"), [("dqn", Choices), ("sac", LineEnv), ("td3", LineEnv)])
def test_the_parts_are_put_together_by_the_spec(kind, env, tmp_path):
    algorithm = built(kind, env, tmp_path, gamma=0.5, replay={"nSteps": 2, "prioritized": {}})
    replay = algorithm.replay
    assert (replay.batch_size, replay.length, replay.spec.n_steps) == (4, 100, 2)
    assert replay._rows.gamma == 0.5 and replay.priorities is not None
    assert algorithm.learner.name == kind and algorithm.update_every == 2
    action = algorithm.act(torch.zeros(4, 2), 0)
    assert action.shape == (4,) if kind == "dqn" else (4, 1)


@pytest.mark.parametrize(("kind", "env"), [("dqn", Choices), ("sac", LineEnv), ("td3", LineEnv)])
def test_hindsight_without_goals_is_refused_with_field_value_and_fix(kind, env, tmp_path):
    message = rf"^train\.algo\.{kind}\.replay\.hindsight: \{{.*future.*\}}: this environment has no goals .*leave hind"
    with pytest.raises(SpecError, match=message):
        built(kind, env, tmp_path, replay={"hindsight": {}})


def test_more_than_can_be_prioritised_is_refused_with_field_value_and_fix(tmp_path):
    message = r"^train\.algo\.sac\.replay\.capacity: 20000000: 20000000 .* at most 16777216: lower it, use more ranks"
    with pytest.raises(SpecError, match=message):
        built("sac", LineEnv, tmp_path, replay={"capacity": 20_000_000, "prioritized": {}})
