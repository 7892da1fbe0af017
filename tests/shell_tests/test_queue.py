import asyncio

import pytest
from headway_operator.shell.queue import FIRST_BACKOFF_S, LAST_BACKOFF_S, WorkQueue, work


def run(story):
    asyncio.run(asyncio.wait_for(story(), 5))


async def due_now(queue):
    """Keys that can be taken without waiting."""
    keys = []
    while True:
        try:
            async with asyncio.timeout(0.02):
                keys.append(await queue.take())
        except TimeoutError:
            return keys


def test_a_key_that_is_added_twice_is_due_once():
    async def story():
        queue = WorkQueue()
        queue.add("a")
        queue.add("a")
        queue.add("b")
        assert await due_now(queue) == ["a", "b"]

    run(story)


def test_a_key_that_is_added_while_it_is_worked_on_is_due_afterwards_and_not_before():
    async def story():
        queue = WorkQueue()
        queue.add("a")
        await queue.take()
        queue.add("a")
        queue.add("a")
        assert await due_now(queue) == []
        queue.release("a")
        assert await due_now(queue) == ["a"]

    run(story)


def test_a_key_is_due_at_the_earliest_of_its_times():
    async def story():
        queue = WorkQueue()
        queue.add_after("a", 30)
        queue.add_after("a", 0.05)
        queue.add_after("a", 30)
        assert await due_now(queue) == []
        async with asyncio.timeout(1):
            assert await queue.take() == "a"
        queue.release("a")
        await asyncio.sleep(0.1)
        assert await due_now(queue) == []

    run(story)


def test_adding_a_key_now_takes_back_its_later_time():
    async def story():
        queue = WorkQueue()
        queue.add_after("a", 0.05)
        queue.add("a")
        assert await due_now(queue) == ["a"]
        queue.release("a")
        await asyncio.sleep(0.1)
        assert await due_now(queue) == []

    run(story)


def test_backoff_doubles_to_its_end_and_begins_anew_after_a_success():
    async def story():
        queue = WorkQueue()
        waits = [queue.retry("a") for _ in range(30)]
        assert waits[:4] == [FIRST_BACKOFF_S, 2 * FIRST_BACKOFF_S, 4 * FIRST_BACKOFF_S, 8 * FIRST_BACKOFF_S]
        assert waits[-1] == LAST_BACKOFF_S
        queue.forget("a")
        assert queue.retry("a") == FIRST_BACKOFF_S

    run(story)


def test_a_poison_key_stops_neither_the_worker_nor_the_others():
    async def story():
        queue, seen = WorkQueue(), []

        async def act(key):
            seen.append(key)
            if key == "poison":
                raise RuntimeError("bad object")
            return None

        worker = asyncio.create_task(work(queue, act))
        for key in ("a", "poison", "b", "c"):
            queue.add(key)
        await asyncio.sleep(0.1)
        assert seen == ["a", "poison", "b", "c"]
        await asyncio.sleep(FIRST_BACKOFF_S + 0.1)
        assert seen[4:] == ["poison"], "it is tried again, after its backoff"
        worker.cancel()

    run(story)


def test_a_key_that_asks_for_it_comes_again():
    async def story():
        queue, seen = WorkQueue(), []

        async def act(key):
            seen.append(key)
            return 0.0 if len(seen) < 3 else None

        worker = asyncio.create_task(work(queue, act))
        queue.add("a")
        await asyncio.sleep(0.1)
        assert seen == ["a"] * 3
        worker.cancel()

    run(story)


@pytest.mark.parametrize("workers", [1, 4])
def test_no_key_is_worked_on_by_two_workers(workers):
    async def story():
        queue, active, most = WorkQueue(), set(), []

        async def act(key):
            assert key not in active
            active.add(key)
            most.append(len(active))
            await asyncio.sleep(0.005)
            active.remove(key)
            return None

        tasks = [asyncio.create_task(work(queue, act)) for _ in range(workers)]
        for number in range(40):
            queue.add(number % 8)
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.1)
        assert max(most) == workers or (workers == 4 and max(most) >= 2)
        for task in tasks:
            task.cancel()

    run(story)
