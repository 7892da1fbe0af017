"""Waiting, with calls that end when these tests say so, and a pulse that hears what they say."""

from types import SimpleNamespace

import pytest
from headway.errors import RankLostError
from headway.parallel import vigil as module
from headway.parallel.roll import LOOK_S, Patience, Roll, Sign
from headway.parallel.vigil import Vigil

LIFE_TICKS = 3


class Call:
    """A call of all ranks that ends after so many ticks, as torch says it: by raising until then."""

    def __init__(self, ticks, error=None):
        self.ticks, self.error, self.done = ticks, error, False

    def wait(self, timeout=None):
        if self.ticks > 0:
            self.ticks -= 1
            raise RuntimeError("Operation timed out!")
        self.done = True
        if self.error:
            raise self.error

    def is_completed(self):
        return self.done


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)


@pytest.fixture
def pulse():
    """Of rank 0 of two; the other has said that it is at call 1."""
    roll = Roll(0, 2)
    roll.hear({1: Sign(1, 0, "", 1)})
    pulse = SimpleNamespace(roll=roll, calls=0, listening=False, verdict=None, error=None, told=[], rounds=0)
    pulse.tell = lambda lost: pulse.told.append(lost) or lost
    return pulse


def watch(pulse, beat=lambda: None, arrival_s=100.0):
    heart = SimpleNamespace(beat=beat, where=lambda: "start")
    return Vigil(pulse, Patience(arrival_s, LIFE_TICKS * module.TICK_S), heart)


def hearing(pulse):
    """Return a beat with which the store answers, too."""
    beats = []

    def beat():
        beats.append(pulse.listening)
        pulse.rounds += 1

    return beat, beats


def test_a_call_that_ends_at_once_looks_at_nobody(pulse):
    watch(pulse).run(lambda: Call(0))
    assert (pulse.calls, pulse.listening) == (1, False)


def test_while_others_are_waited_for_they_are_listened_to_and_the_watchdog_is_told_each_tick(pulse):
    beat, beats = hearing(pulse)
    watch(pulse, beat).run(lambda: Call(20))
    assert beats == [True] * 20
    assert pulse.listening is False


def test_a_call_that_ends_just_as_the_tick_does_has_ended(pulse):
    call = Call(1)
    call.done = True
    beat, beats = hearing(pulse)
    watch(pulse, beat).run(lambda: call)
    assert beats == []


def test_who_is_behind_after_the_whole_wait_is_named_to_all_with_where_this_rank_gave_up(pulse):
    beat, beats = hearing(pulse)
    vigil = watch(pulse, beat, arrival_s=5.0)
    vigil.run(lambda: Call(0))
    vigil._heart.where = lambda: "votes, update 12"
    with pytest.raises(
        RankLostError, match=r"rank 1 \(node 0\) has not come .* for 5 s: given up \(votes, update 12\)"
    ):
        vigil.run(lambda: Call(100))
    assert len(beats) == 5
    assert [lost.ranks for lost in pulse.told] == [(1,)]


def test_waits_of_one_call_do_not_count_for_the_next(pulse):
    beat, _ = hearing(pulse)
    vigil = watch(pulse, beat, arrival_s=5.0)
    for _ in range(4):
        vigil.run(lambda: Call(4))


def test_what_another_rank_has_said_first_is_repeated(pulse):
    pulse.verdict = RankLostError("rank 3 (node 1) is gone: given up (votes, update 2)", (3,))
    with pytest.raises(RankLostError, match=r"rank 3 \(node 1\) is gone: given up \(votes, update 2\)"):
        watch(pulse).run(lambda: Call(100))
    assert pulse.told == []


def test_a_store_that_answers_nothing_is_named(pulse):
    with pytest.raises(RankLostError, match="node 0, which keeps the ranks' store, has not answered for 3 s") as raised:
        watch(pulse).run(lambda: Call(100))
    assert raised.value.hung


def test_after_a_broken_connection_whoever_has_gone_silent_is_named(pulse, monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda seconds: pulse.roll.hear({1: Sign(1, 0, "", 1)}))
    with pytest.raises(RankLostError, match=r"rank 1 \(node 0\) is gone: given up \(start\)"):
        watch(pulse).run(lambda: Call(0, RuntimeError("Connection closed by peer")))


def test_an_error_that_nobody_else_explains_stays_what_it_is(pulse):
    with pytest.raises(RuntimeError, match="Invalid scalar type") as raised:
        watch(pulse).run(lambda: Call(0, RuntimeError("Invalid scalar type")))
    assert not isinstance(raised.value, RankLostError)


def test_looks_and_ticks_are_counted_in_the_same_seconds():
    assert module.TICK_S / LOOK_S == 2
