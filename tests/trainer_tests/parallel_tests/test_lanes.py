"""Two lanes of work, and how their threads compute."""

import threading
import time

import pytest
import torch
from headway.parallel import Lanes, compute_with

SUBNORMAL = 1e-40  # below the smallest normal float32, 1.18e-38


def in_a_thread(function):
    """Call in a thread that starts from the calling one's settings; they end with it."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def is_flushed():
    return float(torch.full((64,), SUBNORMAL).mul(1.0).max()) == 0.0


def test_numbers_below_the_smallest_normal_one_are_zero_in_a_thread_that_trains():
    def train():
        before = is_flushed()
        compute_with(1)
        return before, is_flushed()

    assert in_a_thread(train) == (False, True)


@pytest.mark.parametrize("joins", [False, True])
def test_lanes_compute_as_the_thread_does_that_made_them(joins):
    def train():
        compute_with(2)
        return Lanes(2, joins).run(is_flushed, is_flushed)

    assert in_a_thread(train) == [True, True]


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
