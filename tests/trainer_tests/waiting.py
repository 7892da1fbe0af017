"""Waiting for something that another process does."""

import time


def wait_for(condition, timeout: float = 30):
    """Wait until `condition` is true; its value."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return value
