"""Self-play around the real environment and the real loop."""

import pytest
import torch
from headway.checkpoint import load_tensors
from headway.envs.nav.vector import NavVectorEnv
from headway.errors import SpecError
from headway.evaluation import evaluate, trained
from headway.parallel import Group
from headway.policy import load_policy
from headway.selfplay import RunningSelfPlay
from headway.selfplay.league import POINT, PRESENT, START
from headway.session import Session
from headway.train import collect, train
from trainer_tests.curriculum_tests.making import ends
from trainer_tests.selfplay_tests.making import (
    CPU,
    UPDATE,
    Half,
    Learner,
    all_end,
    ignore,
    model,
    never,
    own,
    play_spec,
    plays,
    rows,
)


def test_an_episode_has_one_driver_for_all_its_robots_and_the_next_one_another():
    """Every policy of the pool, and the present one, is told by what it does; robots make many trips meanwhile."""
    spec = play_spec({"pool": {"size": 4, "everySteps": 1}}, robots=2, env={"nav": {"others": "self", "maxSteps": 40}})
    env = NavVectorEnv(spec, 12)
    play = RunningSelfPlay(spec, env, Learner(env, spec), Group(), CPU)
    play.begin()
    for number in range(4):
        play.advance(number, number + 1)
        for name, tensor in play.partners.stack.items():  # policy k always asks for (k / 10, 0)
            tensor[number] = 0.0 if not name.startswith("distribution") else tensor[number]
        play.partners.stack["actor.head.bias"][number] = torch.tensor([number / 10, 0.0])
    asked = []
    env.drive_others(lambda features, begins: asked.append(play(features, begins)) or asked[-1])
    env.reset()
    play._meet(torch.arange(12))  # as if the run began now, with a full pool
    seen, trips = set(), 0
    for _ in range(100):
        before = play.opponent.clone()
        step = env.step(torch.zeros(12, 2))
        wanted = torch.where(before == PRESENT, -1.0, before / 10)
        assert torch.allclose(asked[-1].view(12, 2, 2)[..., 0], wanted[:, None].expand(12, 2), atol=1e-6)
        play.add(step.episodes)
        assert torch.equal(play.opponent[~step.episodes.ended], before[~step.episodes.ended])
        assert play.episode.tolist() == env.arrays.count[:, 0].tolist()
        seen |= set(play.opponent.tolist())
        trips = max(trips, int(env.arrays.trips.max()))
    assert seen == {PRESENT, 0, 1, 2, 3}
    assert trips > 1  # where `begins` was true and the driver stayed


def test_a_session_lets_it_drive(context):
    session, asked = Session(play_spec(robots=2), context(), Group()), []
    act = session.self_play.partners.act
    session.self_play.partners.act = lambda *given: asked.append(len(given[0])) or act(*given)
    session.begin()
    collect(session)
    assert asked == [24] * 8  # both robots of 12 environments, at every step


def test_episodes_count_for_who_drove_to_their_end():
    play = plays(play_spec({"pool": {"size": 2, "everySteps": 100}}))
    play.begin()
    play.advance(0, 300)  # three multiples at once: one policy enters
    assert play.league.entered == 1
    play.opponent[:] = torch.tensor([0] * 6 + [PRESENT] * 6)
    play._row[:] = torch.tensor([0] * 6 + [3] * 6)
    play.add(all_end([True] * 4 + [False] * 5 + [True] * 3))
    assert play.counts.tolist() == [[6, 4], [0, 0], [0, 0], [6, 3]]
    metrics = play.advance(300, 310)
    assert metrics["selfplay/win_rate"] == 4 / 6 and metrics["selfplay/present_win_rate"] == 0.5
    assert metrics["selfplay/episodes"] == 6.0 and metrics["selfplay/pool"] == 1.0
    assert metrics["selfplay/rating"] == 1000 + 32 / 16  # one win of 16 more than expected
    assert metrics["selfplay/opponent_rating_mean"] == 1000 - 32 / 16
    assert play.counts.sum() == 0
    assert "selfplay/win_rate" not in play.advance(310, 320)


def test_outcomes_beside_who_was_replaced_are_nobodys():
    play = plays(play_spec({"pool": {"size": 1, "everySteps": 1}}))
    play.begin()
    for step in range(3):  # number 0 has left the pool, and then its place too
        play.advance(step, step + 1)
    play.opponent[:] = torch.tensor([0] * 4 + [1] * 4 + [2] * 4)
    play._row[:] = torch.tensor([0] * 4 + [1] * 4 + [0] * 4)
    play.add(all_end([True] * 12))
    assert play.counts.tolist() == [[4, 4], [4, 4], [0, 0]]


def test_episodes_without_other_robots_are_not_counted():
    levels = {"world": {"empty": {"sizeMeters": 6.0}}}
    stages = [{"name": "alone", "levels": levels}, {"name": "two", "levels": levels | {"robots": 1}}]
    play = plays(play_spec(curriculum={"stages": stages}))
    play.begin()
    play.add(all_end([True] * 12, stage=[0] * 7 + [1] * 5))
    assert play.counts.tolist()[-1] == [5, 5]
    assert play.episode.tolist() == [1] * 12


def test_any_split_over_ranks_draws_and_rates_alike():
    spec = play_spec({"pool": {"size": 3, "everySteps": 10}})
    whole = plays(spec)
    halves = [plays(spec, group=Half(rank, 2), num_envs=6) for rank in range(2)]
    for play in (whole, *halves):
        play.begin()
    for k in range(40):
        generator = torch.Generator().manual_seed(k)
        ended, success = (torch.rand((2, 12), generator=generator) < 0.5).tolist()
        whole.add(ends(ended, success))
        for half, part in zip(halves, (slice(0, 6), slice(6, 12)), strict=True):
            half.add(ends(ended[part], success[part]))
        assert torch.equal(whole.opponent, torch.cat([half.opponent for half in halves]))
        Half.total = sum(half.counts for half in halves)
        metrics = [play.advance(4 * k, 4 * k + 4) for play in (whole, *halves)]
        assert metrics[0] == metrics[1] == metrics[2]
        for half in halves:
            assert all(torch.equal(half.shared_state()[name], t) for name, t in whole.shared_state().items())
    assert whole.league.entered == 16 and len(set(whole.opponent.tolist())) > 2


def test_the_pool_is_of_the_policies_that_were(context):
    """Each enters at its update's end, as the checkpoint of that moment has it."""
    spec = play_spec({"pool": {"size": 3, "everySteps": 2 * UPDATE}})
    calls, policies = iter(range(100)), []

    def after(snapshot):
        policies.append({n: t.clone() for n, t in load_tensors(snapshot.checkpoint.path / "model.safetensors").items()})

    last = model(train(spec, context(checkpoint_every_s=0.0, keep=9), lambda: next(calls) > 99, after))
    assert last["selfplay.league"][0] == 3  # at updates 2, 4 and 6, the last one too
    for place, update in enumerate((2, 4, 6)):
        then = policies[update - 1]
        for name in (name for name in then if name.startswith("network.")):
            stacked = last["selfplay.weights." + name.removeprefix("network.")]
            assert torch.equal(stacked[place], then[name]), name


@pytest.mark.parametrize(("kind", "actions"), [("dqn", "discrete"), ("pqn", "discrete"), ("sac", "continuous")])
def test_other_algorithms_meet_their_past_as_ppo_does(context, kind, actions):
    """Each of the pool has the whole network of its kind, and what it drives with is an action of its kind."""
    learning = {"batchSize": 24, "learningStarts": 24, "updateSteps": UPDATE, "replay": {"capacity": 600}}
    own = {"rolloutSteps": 8, "minibatchSize": 48} if kind == "pqn" else learning
    env = {"others": "self", "maxSteps": 10, "lidar": {"beams": 8}, "actions": {actions: {}}}
    result = train(play_spec(algo={kind: own}, env={"nav": env}), context(), never, ignore)
    last = model(result)
    networks = {name.removeprefix("network.") for name in last if name.startswith("network.")}
    assert {name.removeprefix("selfplay.weights.") for name in last if ".weights." in name} == networks
    assert all(torch.equal(last[f"selfplay.weights.{n}"][5 % 3], last[f"network.{n}"]) for n in networks)  # the sixth
    assert last["selfplay.league"][0] == 6 and sum(row["selfplay/episodes"] for row in rows(context())) > 0


def test_a_run_tells_how_it_stands(context):
    train(play_spec(), context(), never, ignore)
    told = rows(context())
    assert [row["selfplay/pool"] for row in told] == [1, 2, 2, 2, 2, 2]
    assert sum(row["selfplay/episodes"] for row in told) > 0
    assert all("selfplay/rating" in row for row in told)
    assert {k for row in told for k in row if k.startswith("selfplay/")} == {
        f"selfplay/{name}"
        for name in ("rating", "pool", "episodes", "win_rate", "present_win_rate", "opponent_rating_mean")
    }


def test_without_self_play_nothing_of_it_is_kept_or_told(context):
    spec = play_spec().model_copy(update={"self_play": None})
    result = train(spec, context(), never, ignore)
    assert not any("selfplay" in name for name in (model(result) | own(result)).keys() | result.metrics.keys())


def test_evaluation_is_with_the_present_policy(context):
    """As the same weights score without any self-play."""
    spec = play_spec(evaluation={"everySteps": UPDATE * 6, "levels": 40})
    result = train(spec, context(), never, ignore)
    policy = load_policy(result.checkpoint)
    alone = policy.spec.model_copy(update={"self_play": None})
    scores = evaluate(trained(policy.act), alone, 0, "validation", 40, others=policy.act)
    assert result.metrics["evaluation/success_rate"] == scores.success.value
    assert result.metrics["evaluation/reward"] == scores.reward


def test_a_frozen_partner_drives_in_every_episode_and_never_changes(context, tmp_path):
    partner = train(play_spec(), context("partner"), never, ignore).checkpoint
    spec = play_spec({"frozen": {"policy": str(partner)}})
    result = train(spec, context("b"), lambda: True, ignore)
    partner.rename(tmp_path / "gone")  # a run that goes on has it in its own checkpoint
    result = train(spec, context("b", attempt=2), never, ignore)
    then = {n: t for n, t in load_tensors(tmp_path / "gone" / "model.safetensors").items() if n.startswith("network.")}
    last = model(result)
    for name, tensor in then.items():
        assert torch.equal(last["selfplay.weights." + name.removeprefix("network.")][0], tensor), name
    assert last["selfplay.league"][0] == 1 and result.step == UPDATE * 6
    assert (own(result)["selfplay.opponent"] == 0).all()
    assert last["selfplay.games"][0] > 0 and last["selfplay.games"][-1] == 0


def test_a_frozen_partner_that_does_not_fit_is_told_with_field_shapes_and_fix(context):
    partner = train(play_spec(), context("partner"), never, ignore).checkpoint
    wide = play_spec({"frozen": {"policy": str(partner)}}, network={"mlp": {"hidden": [9]}})
    message = r"^train\.selfPlay\.frozen\.policy: '.*': its network does not fit: .*8.* there and .*9.* here: give both"
    with pytest.raises(SpecError, match=message):
        train(wide, context("b"), never, ignore)
    with pytest.raises(SpecError, match=r"^train\.selfPlay\.frozen\.policy: 'nowhere': no weights can be loaded: "):
        train(play_spec({"frozen": {"policy": "nowhere"}}), context("c"), never, ignore)


def test_who_begins_has_the_rating_of_all_who_begin():
    play = plays(play_spec())
    play.begin()
    assert play.league.learner == START and play.advance(0, 1)["selfplay/rating"] == START / POINT
