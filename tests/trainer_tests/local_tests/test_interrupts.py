import os
import signal

import pytest
from headway.errors import UserError
from headway.local.interrupts import Interrupts, parse_budget


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("11h30m", 41400), ("90s", 90), ("2d", 172800), ("1d2h3m4s", 93784), ("5m", 300)],
)
def test_a_budget_is_days_hours_minutes_seconds(text, seconds):
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "11", "1.5h", "30m1h", "-5m", "0s", "soon"])
def test_what_is_no_budget_is_named_with_an_example(text):
    with pytest.raises(UserError, match=r"--budget .*is not a duration.*e\.g\. 11h30m"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("budget", "update", "leaves_at"), [(100.0, 1.0, 90.0), (36000.0, 1.0, 35940.0), (100.0, 30.0, 40.0)]
)
def test_a_run_leaves_before_its_budget_is_used_up(budget, update, leaves_at):
    now = [0.0]
    interrupts = Interrupts(budget, clock=lambda: now[0])
    interrupts.update_s = update
    now[0] = leaves_at - 1
    assert not interrupts.asked_to_leave
    now[0] = leaves_at
    assert interrupts.asked_to_leave


def test_ctrl_c_is_counted_and_sigterm_noted():
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert (interrupts.ctrl_c, interrupts.terminated) == (2, True)
    assert signal.getsignal(signal.SIGTERM) is before
