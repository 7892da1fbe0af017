"""Two ranks in one process: threads that exchange messages as gloo would, for what ranks do together."""

from __future__ import annotations

import threading

from headway.parallel import Group


class ThreadGroup(Group):
    """A group of `world_size` threads, which all call `gather` alike."""

    def __init__(self, rank, world_size, barrier, table):
        super().__init__(rank, world_size)
        self.barrier, self.table = barrier, table

    def gather(self, message):
        self.table[self.rank] = message
        self.barrier.wait()
        messages = list(self.table)
        self.barrier.wait()
        return messages

    def any(self, *flags):
        votes = self.gather(bytes(flags))
        return [any(vote[k] for vote in votes) for k in range(len(flags))]


def together(world_size, program):
    """Call `program(group)` in a thread a rank; return what each has returned or raised, in rank order."""
    barrier, table, outcomes = threading.Barrier(world_size, timeout=20), [b""] * world_size, [None] * world_size

    def run(rank):
        try:
            outcomes[rank] = program(ThreadGroup(rank, world_size, barrier, table))
        except Exception as error:
            outcomes[rank] = error  # who still waits for this rank gives up in time

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
