"""What of self-play is taken back from a checkpoint, and what is refused there."""

import pytest
import torch
from headway.errors import CheckpointError
from headway.parallel import Group
from headway.session import Session
from trainer_tests.selfplay_tests.making import UPDATE, all_end, play_spec, plays


def test_what_is_restored_is_what_was_kept():
    play = plays(play_spec())
    play.begin()
    for step in range(3):
        play.add(all_end([True] * 12))
        play.algorithm.number = step
        play.advance(step * UPDATE, step * UPDATE + UPDATE)
    other = plays(play_spec())
    other.restore(play.own_state(), play.shared_state())
    kept, restored = (p.own_state() | p.shared_state() | {"row": p._row} for p in (play, other))
    assert all(torch.equal(restored[name], tensor) for name, tensor in kept.items())
    assert kept["episode"].tolist() == [3] * 12 and kept["games"].sum() == 36


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("opponent", 0, 6, "an opponent"),
        ("opponent", 0, -2, "an opponent"),
        ("episode", 0, -1, "an opponent or an episode"),
        ("league", 0, -1, "a number of past policies"),
        ("league", 1, 2**60, "a rating"),
        ("rating", 0, -(2**60), "a rating"),
        ("games", 0, 512, "a record"),
        ("wins", 0, 500, "a record"),
        ("wins", 1, -1, "a record"),
    ],
)
def test_a_state_that_no_run_leaves_behind_is_refused(name, place, value, message):
    play = plays(play_spec())
    play.begin()
    for step in range(6):
        play.advance(step * UPDATE, step * UPDATE + UPDATE)
    mine, shared = play.own_state(), play.shared_state()
    (mine if name in mine else shared)[name][place] = value
    with pytest.raises(ValueError, match=message):
        plays(play_spec()).restore(mine, shared)


def test_a_state_without_its_frozen_partner_is_refused():
    spec = play_spec({"frozen": {"policy": "somewhere"}})
    play = plays(spec)  # has not begun, so nobody has entered
    with pytest.raises(ValueError, match="a number of past policies"):
        plays(spec).restore(play.own_state(), play.shared_state())


def test_a_checkpoint_without_it_is_refused(context):
    spec = play_spec()
    session = Session(spec, context(), Group())
    session.begin()
    shared = session.self_play.shared_state
    session.self_play.shared_state = lambda: {k: v for k, v in shared().items() if k != "rating"}
    session.save()
    with pytest.raises(CheckpointError, match="self-play's 'rating' is missing"):
        Session(spec, context(attempt=2), Group()).begin()
