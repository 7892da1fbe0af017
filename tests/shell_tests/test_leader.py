import asyncio
from datetime import timedelta

import pytest
from core_tests.makers import NOW, at, condition, text
from headway_api import names
from headway_operator.shell import metrics
from headway_operator.shell.cluster import ApiError, Key
from headway_operator.shell.health import Health
from headway_operator.shell.leader import BUSY_RETRY_S, Leader
from headway_operator.shell.settings import Settings


class Runs:
    """A cluster of which only the list of runs is asked."""

    def __init__(self):
        self.runs, self.studies, self.fails, self.asked = [], [], False, []

    async def each(self, kind, namespace, selector=""):
        self.asked.append(namespace)
        if self.fails:
            raise ApiError(0, "Unreachable", "away")
        for thing in self.runs if kind == names.TRAINING_RUN else self.studies:
            yield thing


class Moment:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


def run(name, phase="Running", finished=None, ttl=None, **progress):
    status = {"phase": phase}
    if finished is not None:
        status |= {"conditions": [condition(names.FINISHED, "True", "Succeeded")], "completionTime": text(finished)}
    if progress:
        status["progress"] = progress
    return {
        "metadata": {"name": name, "namespace": "team", "uid": name},
        "spec": {"ttlSecondsAfterFinished": ttl},
        "status": status,
    }


def lead(moment, runs, **settings):
    health = Health(300, lambda: 0.0, lambda: True)
    return Leader(Settings(resync_seconds=60, **settings), runs, None, None, health, moment)


def waiting(leader):
    return {key.name for key in leader._queue._waiting}


def story(coroutine):
    return asyncio.run(coroutine)


def test_the_first_resync_looks_at_every_run_and_later_ones_not_at_those_at_rest():
    async def tell():
        moment, runs = Moment(), Runs()
        runs.runs = [
            run("active"),
            run("long over", finished=at(-7200)),
            run("just over", finished=at(-10)),
            run("pods still to go", finished=at(-7200), ttl=86400),
        ]
        leader = lead(moment, runs)
        await leader.resync()
        assert waiting(leader) == {"active", "long over", "just over", "pods still to go"}
        while leader._queue._waiting:
            leader._queue.release(await leader._queue.take())
        await leader.resync()
        assert waiting(leader) == {"active", "just over", "pods still to go"}

    story(tell())


def test_an_outage_of_the_api_server_is_not_taken_for_the_runs_silence():
    async def tell():
        moment, runs = Moment(), Runs()
        leader = lead(moment, runs)
        await leader.resync()
        moment.now = at(60)
        await leader.resync()
        assert leader._observing_since == NOW
        runs.fails, moment.now = True, at(120)
        task = asyncio.create_task(leader._resync_for_ever())
        await asyncio.sleep(0.01)
        task.cancel()
        runs.fails, moment.now = False, at(150)
        await leader.resync()
        assert leader._observing_since == at(150)

    story(tell())


def test_an_outage_between_two_resyncs_is_one_and_a_webhook_that_fails_is_none():
    async def tell():
        moment, runs = Moment(), Runs()
        leader = lead(moment, runs)
        await leader.resync()

        for status, since in ((500, NOW), (0, at(60))):

            async def get(kind, namespace, name, status=status):
                raise ApiError(status, "Nothing", "no")

            runs.get = get
            with pytest.raises(ApiError):
                await leader.reconcile(Key("team", "nav"))
            moment.now = at(60)
            await leader.resync()
            assert leader._observing_since == since

    story(tell())


def test_a_gap_between_resyncs_is_an_outage_too():
    async def tell():
        moment, runs = Moment(), Runs()
        leader = lead(moment, runs)
        await leader.resync()
        moment.now = NOW + timedelta(seconds=181)
        await leader.resync()
        assert leader._observing_since == moment.now

    story(tell())


def test_only_the_served_namespaces_are_asked():
    async def tell():
        runs = Runs()
        await lead(Moment(), runs).resync()
        await lead(Moment(), runs, watch_namespaces="team-a,team-b").resync()
        assert runs.asked == ["", "", "team-a", "team-b", "team-a", "team-b"]

    story(tell())


def test_the_gauges_say_what_runs():
    moment = Moment()
    saved = {"checkpoint": {"time": text(at(-30))}, "stepsPerSecond": 1200.0, "goodput": {"fraction": 0.96}}
    metrics.observe_runs([run("fast", **saved), run("new", phase="Pending"), run("other", phase="Pending")], moment())
    said = metrics.exposition().decode()
    assert 'headway_runs{phase="Pending"} 2.0' in said and 'headway_runs{phase="Running"} 1.0' in said
    assert 'headway_run_steps_per_second{name="fast",namespace="team"} 1200.0' in said
    assert 'headway_run_goodput{name="fast",namespace="team"} 0.96' in said
    assert 'headway_run_checkpoint_age_seconds{name="fast",namespace="team"} 30.0' in said
    metrics.observe_runs([run("fast", stepsPerSecond=1.0)], moment())  # of a trainer that tells no goodput
    assert 'headway_run_goodput{name="fast"' not in metrics.exposition().decode()
    metrics.observe_runs([], moment())
    assert "fast" not in metrics.exposition().decode()


def test_a_resync_is_a_sign_of_life():
    async def tell():
        leader = lead(Moment(), Runs())
        await leader.resync()
        assert leader._health.resynced_at is not None

    story(tell())


def test_keys_are_namespace_and_name():
    async def tell():
        runs = Runs()
        runs.runs = [run("active")]
        leader = lead(Moment(), runs)
        await leader.resync()
        assert await leader._queue.take() == Key("team", "active")

    story(tell())


def test_studies_are_looked_at_until_they_are_finished_and_counted_by_phase():
    async def tell():
        runs = Runs()
        runs.studies = [run("searching"), run("searched", phase="Succeeded", finished=at(-7200))]
        leader = lead(Moment(), runs)
        await leader.resync()
        while leader._queue._waiting:
            leader._queue.release(await leader._queue.take())
        await leader.resync()
        assert set(leader._queue._waiting) == {Key("team", "searching", names.HPO_STUDY)}

    story(tell())
    said = metrics.exposition().decode()
    assert 'headway_studies{phase="Running"} 1.0' in said and 'headway_studies{phase="Succeeded"} 1.0' in said


def test_studies_that_wait_for_the_service_leave_half_of_the_workers_to_runs():
    async def tell():
        runs, hold = Runs(), asyncio.Event()

        async def get(kind, namespace, name):
            await hold.wait()

        runs.get = get
        leader = lead(Moment(), runs, workers=4)
        busy = [asyncio.create_task(leader.reconcile(Key("team", f"s{n}", names.HPO_STUDY))) for n in range(2)]
        await asyncio.sleep(0)
        assert await leader.reconcile(Key("team", "s2", names.HPO_STUDY)) == BUSY_RETRY_S
        run = asyncio.create_task(leader.reconcile(Key("team", "nav")))
        await asyncio.sleep(0)
        assert not run.done(), "a run is looked at all the same"
        hold.set()
        assert await asyncio.gather(*busy, run) == [None] * 3
        assert await leader.reconcile(Key("team", "s2", names.HPO_STUDY)) is None

    story(tell())
