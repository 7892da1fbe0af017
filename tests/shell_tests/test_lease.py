import asyncio

import pytest
from headway_operator.shell.lease import Lease, Terms
from shell_tests.fakes import UNREACHABLE, Clock, FakeStore

TERMS = Terms(duration=15, renew=10, retry=0.001)


class Died(BaseException):
    pass


def die(message):
    raise Died(message)


def candidate(store, clock, name):
    return Lease(store, "system", "headway", name, TERMS, clock, die)


def holder(store):
    return store.objects["Lease", "system", "headway"]["spec"]["holderIdentity"]


def attempt(lease):
    return asyncio.run(lease._try())


def test_the_first_to_ask_leads():
    store, clock = FakeStore(), Clock()
    first, second = candidate(store, clock, "a"), candidate(store, clock, "b")
    assert attempt(first) and not attempt(second)
    assert first.is_held and not second.is_held
    assert holder(store) == first.identity


def test_a_lease_that_is_renewed_is_never_taken():
    store, clock = FakeStore(), Clock()
    first, second = candidate(store, clock, "a"), candidate(store, clock, "b")
    attempt(first)
    for _ in range(20):
        clock.forward(5)
        assert attempt(first) and not attempt(second)


def test_a_lease_is_taken_when_nobody_renewed_it_while_the_candidate_watched():
    store, clock = FakeStore(), Clock()
    first, second = candidate(store, clock, "a"), candidate(store, clock, "b")
    attempt(first)
    clock.forward(100)  # the candidate was not there: this says nothing to it
    assert not attempt(second)
    clock.forward(14.9)
    assert not attempt(second)
    clock.forward(0.1)
    assert attempt(second) and holder(store) == second.identity
    assert store.objects["Lease", "system", "headway"]["spec"]["leaseTransitions"] == 1


def test_there_is_never_a_moment_with_two_holders():
    store, clock = FakeStore(), Clock()
    first, second = candidate(store, clock, "a"), candidate(store, clock, "b")
    attempt(first)
    for _ in range(300):  # the first is stopped from now on
        clock.forward(0.1)
        attempt(second)
        assert not (first.is_held and second.is_held)
    assert second.is_held


def test_the_fence_ends_a_leader_that_was_stopped_before_its_lease_can_be_taken():
    store, clock = FakeStore(), Clock()
    lease = candidate(store, clock, "a")
    attempt(lease)
    clock.forward(9.9)
    lease.fence()
    clock.forward(0.1)
    with pytest.raises(Died, match="was not renewed in time"):
        lease.fence()


def test_who_never_led_may_not_pass_the_fence():
    with pytest.raises(Died):
        candidate(FakeStore(), Clock(), "a").fence()


def test_a_renewal_counts_from_when_it_was_sent_not_from_its_answer():
    store, clock = FakeStore(), Clock()
    lease = candidate(store, clock, "a")
    attempt(lease)
    slow_replace = store.replace

    async def replace(kind, document):
        answer = await slow_replace(kind, document)
        clock.forward(8)
        return answer

    store.replace = replace
    attempt(lease)
    clock.forward(2)
    assert not lease.is_held


def test_a_leader_outlives_an_api_server_that_is_away_for_a_moment():
    store, clock = FakeStore(), Clock()
    lease = candidate(store, clock, "a")
    attempt(lease)
    store.failures = [UNREACHABLE]
    clock.forward(5)
    assert not attempt(lease) and lease.is_held
    assert attempt(lease)


def test_a_leader_whose_renewals_fail_dies():
    store, clock = FakeStore(), Clock()
    lease = candidate(store, clock, "a")
    attempt(lease)

    async def story():
        clock.forward(10)
        store.failures = [UNREACHABLE]
        await lease.hold()

    with pytest.raises(Died, match="is lost"):
        asyncio.run(story())


def test_a_leader_whose_lease_is_anothers_dies_at_once():
    store, clock = FakeStore(), Clock()
    lease = candidate(store, clock, "a")
    attempt(lease)
    store.objects["Lease", "system", "headway"]["spec"]["holderIdentity"] = "somebody"
    with pytest.raises(Died, match="is lost"):
        asyncio.run(lease.hold())


def test_of_two_that_take_it_at_once_one_wins():
    store, clock = FakeStore(), Clock()
    first, second = candidate(store, clock, "a"), candidate(store, clock, "b")

    async def story():
        return await asyncio.gather(first._try(), second._try())

    assert sorted(asyncio.run(story())) == [False, True]


def test_a_lease_that_was_let_go_is_taken_without_waiting():
    store, clock = FakeStore(), Clock()
    first, second = candidate(store, clock, "a"), candidate(store, clock, "b")
    attempt(first)
    asyncio.run(first.release())
    assert not first.is_held and attempt(second)


def test_a_container_that_starts_again_in_its_pod_is_another_candidate():
    store, clock = FakeStore(), Clock()
    attempt(candidate(store, clock, "pod"))
    assert not attempt(candidate(store, clock, "pod"))


def test_trying_is_a_sign_of_life_even_if_it_fails():
    store, clock = FakeStore(), Clock()
    lease = candidate(store, clock, "a")
    clock.forward(50)
    store.failures = [UNREACHABLE]
    attempt(lease)
    assert lease.ticked_at == clock()
