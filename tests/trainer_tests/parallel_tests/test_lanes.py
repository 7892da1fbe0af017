"""Two lanes of work, and how their threads compute."""

import threading
import time
from contextlib import nullcontext

import pytest
from headway.parallel import Lanes, flushes_subnormals, subnormals_are_zero


def in_a_thread(function):
    """Call in a thread that starts from the calling one's settings; they end with it."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_numbers_below_the_smallest_normal_one_are_zero_while_a_thread_trains_and_not_afterwards():
    def train():
        before = flushes_subnormals()
        with subnormals_are_zero():
            within = flushes_subnormals()
        return before, within, flushes_subnormals()

    assert in_a_thread(train) == (False, True, False)


@pytest.mark.parametrize("joins", [False, True])
@pytest.mark.parametrize("trains", [False, True])
def test_lanes_compute_as_the_thread_does_that_made_them(joins, trains):
    def train():
        with subnormals_are_zero() if trains else nullcontext():
            return Lanes(2, joins).run(flushes_subnormals, flushes_subnormals)

    assert in_a_thread(train) == [trains, trains]


def test_results_come_in_the_order_of_the_work():
    assert Lanes(2).run(lambda: 1, lambda: 2) == Lanes(1).run(lambda: 1, lambda: 2) == [1, 2]


@pytest.mark.parametrize("joins", [False, True])
def test_what_one_lane_raises_is_heard_when_the_other_has_ended(joins):
    ended = threading.Event()

    def refuse():
        raise MemoryError

    def go_on():
        time.sleep(0.1)
        ended.set()

    with pytest.raises(MemoryError):
        Lanes(2, joins).run(refuse, go_on)
    assert ended.is_set()  # nothing is still being added to a gradient
