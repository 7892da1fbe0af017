"""One reconciliation of a study against a fake store and a fake service: what is said, what is written, and when."""

import asyncio
import contextlib

import pytest
from core_tests.fake_study import UID, World, make_study
from core_tests.makers import NOW
from headway_api import names
from headway_operator.core.study_status import LEAVING_RETRY_SECONDS, REFUSED_RETRY_SECONDS
from headway_operator.shell.cluster import ApiError, Key, LeavingError
from headway_operator.shell.execute import CONFLICT_RETRY_S
from headway_operator.shell.execute_study import reconcile
from headway_operator.shell.studies_client import StudiesAwayError, StudyDeclinedError, StudyKey
from hypothesis import given, settings
from hypothesis import strategies as st
from shell_tests.fakes import UNREACHABLE, FakeService, FakeStore

KEY = Key("team", "search", names.HPO_STUDY)
AWAY = StudiesAwayError("connection refused")


class Place:
    """A cluster with one study, and the service."""

    def __init__(self, **spec):
        study = make_study(**spec)
        self.store = FakeStore(
            {"apiVersion": names.API_VERSION, "kind": names.HPO_STUDY}
            | {"metadata": study.metadata.to_wire() | {"resourceVersion": "1"}, "spec": study.spec.to_wire()}
        )
        self.service = FakeService(World(study))

    def step(self):
        """One pass; return the seconds to the next."""
        self.store.calls.clear(), self.service.calls.clear()
        return asyncio.run(reconcile(self.store, self.service, KEY, lambda: NOW))

    @property
    def study(self):
        return self.store.objects[names.HPO_STUDY, "team", "search"]

    def condition(self, kind):
        return next(c for c in self.study["status"]["conditions"] if c["type"] == kind)

    def runs(self):
        return {name: thing for (kind, _, name), thing in self.store.objects.items() if kind == names.TRAINING_RUN}

    def events(self):
        found = [thing for (kind, _, _), thing in self.store.objects.items() if kind == "Event"]
        assert all(event["involvedObject"]["uid"] == UID for event in found)
        return {(event["type"], event["reason"]) for event in found}

    def end(self, name, kind=names.SUCCEEDED, evaluations=()):
        conditions = [
            {"type": k, "status": "True", "reason": k, "message": "boom", "lastTransitionTime": "2026-01-31T12:00:00Z"}
            for k in (kind, names.FINISHED)
        ]
        progress = {"step": 4096, "totalSteps": 4096, "percent": 100, "evaluations": list(evaluations)}
        self.runs()[name]["status"] = {"conditions": conditions, "progress": progress}


def test_a_study_is_opened_asked_and_its_runs_are_made_in_the_next_pass():
    place = Place()
    assert place.step() == 0.0, "the service knows more now: look at once"
    assert place.service.calls == ["open", "ask 0", "ask 1"] and place.runs() == {}
    assert place.study["status"]["phase"] == "Running"
    assert place.step() > 1
    assert place.service.calls == ["open"] and sorted(place.runs()) == ["search-0", "search-1"]
    assert place.events() == {("Normal", "Running")}


def test_the_end_of_a_run_is_told_with_its_evaluations_before_anything_is_written():
    place = Place()
    place.step(), place.step(), place.step()
    points = [{"index": i, "step": 512 * i, "metrics": {"evaluation/success_rate": 0.5}} for i in (1, 2)]
    place.end("search-0", evaluations=points)
    place.end("search-1", names.FAILED)
    assert place.step() == 0.0
    assert place.service.calls == ["open", "report 0", "tell 1", "ask 2"]
    ((key, said),) = place.service.reports
    assert key == StudyKey("team", "search", UID) and said.ended
    assert [point.to_wire() for point in said.evaluations] == points
    assert ("Warning", "TrialFailed") in place.events()
    place.step()
    assert place.service.calls == ["open", "tell 0", "ask 3"]
    place.step()
    best = place.store.objects["ConfigMap", "team", "search-best"]
    assert "kind: TrainingRun" in best["data"]["trainingrun.yaml"]


def test_a_service_that_goes_away_in_the_middle_aborts_the_rest_and_is_said():
    place = Place()
    place.step(), place.step()
    place.end("search-0")
    place.service.failures = [None, AWAY]  # opens, and is away when the end is reported
    assert place.step() == 5.0
    assert place.service.calls == ["open", "report 0"]
    assert [what for verb, what in place.store.writes() if verb != "post"] == [f"search by {names.MANAGER_RECONCILER}"]
    condition = place.condition(names.RECONCILING)
    assert (condition["reason"], condition["status"]) == (names.REASON_SERVICE_AWAY, "True")
    assert "connection refused" in condition["message"] and place.study["status"]["phase"] == "Running"
    place.service.failures = [AWAY]
    place.step()
    assert place.store.writes() == [], "said once"
    for _ in range(3):
        place.step()
    assert place.service.world.tells == [0] and place.condition(names.READY)["status"] == "True"


def test_what_the_service_will_not_be_told_is_said_too_and_is_no_crash_loop():
    place = Place()
    place.service.failures = [None, StudyDeclinedError(StudyKey(*KEY[:2], UID), 404, "no such trial")]
    assert place.step() == 5.0 and place.service.calls == ["open", "ask 0"]
    message = place.condition(names.RECONCILING)["message"]
    assert "study team/search: the study service refuses: 404: no such trial" in message
    assert place.step() == 0.0 and sorted(place.service.world.open) == [0, 1]


def test_what_the_service_declines_is_said_in_its_words():
    place = Place()
    place.service.failures = [StudyDeclinedError(StudyKey(*KEY[:2], UID), 409, "spec.seed cannot change")] * 2
    assert place.step() == REFUSED_RETRY_SECONDS
    assert place.condition(names.SPEC_VALID)["status"] == "False"
    assert "spec.seed cannot change" in place.condition(names.SPEC_VALID)["message"]
    assert place.events() == {("Warning", names.REASON_INVALID_SPEC)}
    place.step()
    assert place.store.writes() == []


def test_a_spec_that_is_none_is_said_and_is_no_crash_loop():
    place = Place()
    place.study["spec"]["budget"] = {"trials": "many"}
    assert place.step() is None and place.service.calls == []
    assert "spec.budget.trials" in place.condition(names.SPEC_VALID)["message"]
    assert place.step() is None and place.store.writes() == []


def test_a_study_that_is_gone_or_going_is_left_alone():
    place = Place()
    place.study["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:00Z"
    assert place.step() is None
    place.store.objects.clear()
    assert place.step() is None and place.store.writes() == [] and place.service.calls == []


def test_a_study_that_has_changed_meanwhile_is_read_again():
    place = Place()
    place.store.put({**place.study, "metadata": {**place.study["metadata"], "resourceVersion": "1"}})
    read = place.store.get

    async def get(kind, namespace, name):
        found = await read(kind, namespace, name)
        place.study["metadata"]["resourceVersion"] = "2"
        return found

    place.store.get = get
    assert place.step() == CONFLICT_RETRY_S and "status" not in place.study


def test_suspending_reaches_the_runs():
    place = Place()
    place.step(), place.step()
    for want in (True, False):
        place.study["spec"]["suspend"] = want
        place.step()
        verb = "suspend" if want else "resume"
        assert [w for w in place.store.writes() if w[0] == verb] == [(verb, f"TrainingRun/search-{n}") for n in (0, 1)]
    assert place.study["status"]["phase"] == "Running"


@pytest.mark.parametrize("kind", ["refused", "leaving"])
def test_a_run_that_cannot_be_made_is_said_and_the_others_go_on(kind):
    place = Place()
    place.step()
    place.store.refused["search-1"] = "exceeded quota"
    if kind == "leaving":
        place.store.refusal = LeavingError
    assert place.step() == (LEAVING_RETRY_SECONDS if kind == "leaving" else REFUSED_RETRY_SECONDS)
    assert list(place.runs()) == ["search-0"]
    condition = place.condition(names.READY)
    assert (condition["status"], condition["reason"]) == ("False", names.REASON_RUN_REFUSED)
    assert "exceeded quota" in condition["message"]
    assert place.step() and [verb for verb, _ in place.store.writes()] == ["create", "status"], "its run is seen now"
    assert place.step() and [verb for verb, _ in place.store.writes()] == ["create"], "said once"
    place.store.refused.clear()
    place.step()
    assert sorted(place.runs()) == ["search-0", "search-1"] and place.study["status"]["phase"] == "Running"


def test_the_best_is_written_when_it_changes_and_never_over_somebody_elses():
    place = Place(trialHistoryLimit=0)
    place.step(), place.step()
    place.end("search-0")
    place.step(), place.step(), place.step(), place.step()
    assert "search-0" not in place.runs(), "what is told may go"
    assert not [w for w in place.store.writes() if "search-best" in w[1]], "it is as it should be"
    mine = place.store.objects["ConfigMap", "team", "search-best"]
    mine["data"] = {"trainingrun.yaml": "of another trial"}
    place.step()
    assert ("apply", "ConfigMap/search-best") in place.store.writes()
    mine["metadata"]["ownerReferences"] = []
    place.store.put({**mine, "kind": "ConfigMap", "data": {"theirs": "x"}})
    place.store.refused["search-best"] = "ConfigMap search-best exists already and is not this study's: delete it"
    place.step()
    assert place.store.objects["ConfigMap", "team", "search-best"]["data"] == {"theirs": "x"}
    assert "search-best" in place.condition(names.READY)["message"]


class Unreliable(FakeService):
    """Loses the reply to a call that it has carried out, or the API server's to the next call, as `losses` say."""

    def __init__(self, world):
        super().__init__(world)
        self.losses = []

    async def _losing(self, answer):
        said = await answer
        if self.losses and self.losses.pop(0):
            raise AWAY
        return said

    async def open(self, *call):
        return await self._losing(super().open(*call))

    async def ask(self, *call):
        return await self._losing(super().ask(*call))

    async def report(self, *call):
        return await self._losing(super().report(*call))

    async def tell(self, *call):
        return await self._losing(super().tell(*call))


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.sampled_from(["lost", "away", "api"])), max_size=12),
    st.sampled_from([names.SUCCEEDED, names.FAILED]),
)
def test_whatever_is_lost_on_the_way_every_trial_is_told_once(cuts, end):
    place = Place(budget={"trials": 3, "parallel": 2})
    place.service = Unreliable(place.service.world)
    for ends_one, cut, kind in cuts:
        place.service.losses = [False] * cut + [True] if kind == "lost" else []
        place.service.failures = [None] * cut + [AWAY] if kind == "away" else []
        place.store.failures = []
        if kind == "api":
            calls = place.store._call
            place.store._call = counted(calls, cut)
        with contextlib.suppress(ApiError):  # the queue comes back to it
            place.step()
        place.store.__dict__.pop("_call", None)
        for name in sorted(name for name, run in place.runs().items() if "status" not in run)[: int(ends_one)]:
            place.end(name, end)
    place.service.losses, place.service.failures = [], []
    for _ in range(40):
        place.step()
        for name in [name for name, run in place.runs().items() if "status" not in run]:
            place.end(name, end)
    world = place.service.world
    assert sorted(world.tells) == [0, 1, 2] and world.open == {}
    assert place.condition(names.FINISHED)["status"] == "True"
    assert {outcome for outcome, _, _ in world.told.values()} == {"complete" if end == names.SUCCEEDED else "failed"}


def counted(call, left):
    """Return a call that works so many times, and then no more."""
    calls = iter(range(left))

    def limited(verb, what):
        call(verb, what)
        if next(calls, None) is None:
            raise UNREACHABLE

    return limited
