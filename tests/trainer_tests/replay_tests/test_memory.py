import pytest
import torch
from headway.replay.priorities import SCALE
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_tests.replay_tests.streams import Stream, make, slowly

STRATEGIES = ("future", "final", "episode", "random")
PLAIN = [{"nSteps": n} for n in (1, 3)]
HINDSIGHT = [{"nSteps": n, "hindsight": {"strategy": s, "goals": 4}} for n in (1, 3) for s in STRATEGIES]
EVERYTHING = [given | {"prioritized": p} if p else given for given in PLAIN + HINDSIGHT for p in (None, {})]


def name(given):
    parts = [f"{given['nSteps']}-step"]
    parts += [given["hindsight"]["strategy"]] if "hindsight" in given else []
    return " ".join(parts + (["prioritized"] if "prioritized" in given else []))


def filled(steps, stream=None, **given):
    replay = make(**given)
    stream = stream or Stream(3, seed=0)
    for _ in range(steps):
        replay.add(stream.step())
    return replay, stream


def check(replay, stream, batch, step):
    rows = (batch.features, batch.action, batch.reward, batch.discount, batch.next_features)
    for row, slot in enumerate(batch.slot.tolist()):
        found = [tensor[row].tolist() for tensor in rows]
        expected = slowly(replay, stream, slot, step, row)
        for one, other in zip(found, expected, strict=True):
            assert one == pytest.approx(other, abs=1e-6), f"row {row}, slot {slot}: {found} is not {expected}"


@pytest.mark.parametrize("given", EVERYTHING, ids=name)
@pytest.mark.parametrize("steps", [15, 20, 53], ids=["half full", "just full", "around the end"])
def test_every_composition_is_what_a_slow_replay_says(given, steps):
    replay, stream = filled(steps, **given)
    for step, batch in enumerate(replay.batches(0, 12, beta=0.4)):
        check(replay, stream, batch, step)
        replay.learned(batch, torch.rand(16))


@settings(max_examples=40)
@given(st.sampled_from(EVERYTHING), st.integers(0, 10**6), st.integers(6, 60), st.integers(1, 5))
def test_it_is_so_for_any_stream(given, seed, steps, num_envs):
    replay, stream = filled(steps, Stream(num_envs, seed), num_envs=num_envs, seed=seed, **given)
    (batch,) = replay.batches(seed, 1, beta=1.0)
    check(replay, stream, batch, seed)


def test_batches_of_several_gradient_steps_are_those_of_each():
    replay, _ = filled(30, nSteps=3, hindsight={})
    for step, batch in enumerate(replay.batches(5, 70, 0.0), start=5):
        (alone,) = replay.batches(step, 1, 0.0)
        assert torch.equal(batch.slot, alone.slot) and torch.equal(batch.features, alone.features)
        assert torch.equal(batch.reward, alone.reward)


def test_all_that_is_there_is_drawn_alike():
    replay, _ = filled(53)
    counts = torch.zeros(60)
    for batch in replay.batches(0, 3750, 0.0):  # 60,000 draws of 60 slots
        counts += torch.bincount(batch.slot, minlength=60)
    assert ((counts - 1000) ** 2 / 1000).sum() < 98.3  # chi-square of 59, 0.999


def test_only_what_was_added_is_drawn():
    replay, _ = filled(4)
    assert max(int(batch.slot.max()) for batch in replay.batches(0, 50, 0.0)) == 11


def test_a_priority_belongs_to_the_first_transition_of_the_window():
    replay, _ = filled(30, nSteps=3, prioritized={"alpha": 1.0, "epsilon": 1.0})
    (batch,) = replay.batches(0, 1, 0.4)
    before = replay.priorities.get_leaves()
    replay.learned(batch, torch.full((16,), 6.0))
    changed = (replay.priorities.get_leaves() != before).nonzero()[:, 0]
    assert torch.equal(changed, batch.slot.unique())
    assert (replay.priorities.get_leaves()[changed] == 7 * SCALE).all()


def test_what_is_written_over_an_old_transition_has_the_highest_priority():
    replay, stream = filled(20, prioritized={})
    (batch,) = replay.batches(0, 1, 0.4)
    replay.learned(batch, torch.full((16,), 0.0))
    replay.learned(batch, torch.full((16,), 50.0))
    replay.learned(batch, torch.full((16,), 0.0))
    replay.add(stream.step())  # into row 0
    assert (replay.priorities.get_leaves()[:3] == replay.priorities.highest).all()


def test_the_share_of_relabelled_goals_is_k_of_k_plus_one():
    replay, stream = filled(400, num_envs=3, hindsight={"goals": 4}, capacity=1200)
    relabelled = total = 0
    for batch in replay.batches(0, 200, 0.0):
        own = torch.tensor([stream.history[s % 3][s // 3].goal for s in batch.slot.tolist()])
        relabelled += int((batch.features[:, 2] != own).sum())
        total += 16
    assert 0.6 < relabelled / total < 0.8  # some new goals are the old one


def test_what_happens_after_a_cut_is_another_episode():
    replay, stream = filled(10, nSteps=3, hindsight={"strategy": "final", "goals": 100})
    replay.cut()
    assert (replay.ring.columns["truncated"] | replay.ring.columns["terminated"])[9].all()
    assert (replay.ring.columns["until"][:10] >= 0).all()  # every episode has an end now
    replay.add(stream.step())
    assert (replay.ring.columns["since"][10] == 0).all() and (replay.ring.columns["until"][10] <= 0).all()


@pytest.mark.parametrize("given", [EVERYTHING[0], EVERYTHING[-1], HINDSIGHT[4]], ids=name)
def test_a_replay_goes_on_where_it_was_saved(given):
    replay, stream = filled(33, **given)
    for batch in replay.batches(0, 5, 0.4):
        replay.learned(batch, torch.rand(16))
    other = make(**given)
    other.set_state(replay.get_state())
    other.put(13, replay.rows(13, 33))
    for _ in range(3):
        transition = stream.step()
        replay.add(transition)
        other.add(transition)
    for batch, same in zip(replay.batches(5, 9, 0.4), other.batches(5, 9, 0.4), strict=True):
        for one, another in zip(vars(batch).values(), vars(same).values(), strict=True):
            assert torch.equal(one, another) if one is not None else another is None
        error = torch.rand(16)
        replay.learned(batch, error)
        other.learned(same, error)
    for key, tensor in replay.get_state().items():
        assert torch.equal(tensor, other.get_state()[key])


def test_state_of_another_size_or_with_impossible_priorities_is_refused():
    replay, _ = filled(10, prioritized={})
    state = replay.get_state()
    with pytest.raises(ValueError, match="leaves of the replay: a priority is out of bounds"):
        make(prioritized={}).set_state(state | {"leaves": state["leaves"] - 2**40})
    with pytest.raises(ValueError, match="truncated of the replay is torch"):
        make(prioritized={}).set_state(state | {"truncated": state["truncated"][:, 1:]})
    with pytest.raises(ValueError, match="state of the replay"):
        make().set_state(state)
    with pytest.raises(ValueError, match="columns of the replay"):
        make(hindsight={}).put(0, replay.rows(0, 5))


def test_a_replay_on_disk_is_the_same_and_leaves_no_file(tmp_path):
    here, _ = filled(30, nSteps=3)
    there = make(nSteps=3, storage="disk", scratch=tmp_path)
    again = Stream(3, seed=0)
    for _ in range(30):
        there.add(again.step())
    for batch, same in zip(here.batches(0, 5, 0.4), there.batches(0, 5, 0.4), strict=True):
        assert torch.equal(batch.features, same.features) and torch.equal(batch.reward, same.reward)
    assert list(tmp_path.iterdir()) == []


def test_more_than_can_be_summed_is_refused():
    with pytest.raises(ValueError, match="cannot be prioritised: at most 16777216"):
        make(capacity=60_000_000, num_envs=1, prioritized={}, storage="disk", scratch=None)
