import asyncio
import time

from headway_api import names
from headway_api.progress import EvaluationPoint
from headway_operator.shell import trial_reports
from headway_operator.shell.studies_client import StudiesAwayError, StudyDeclinedError, StudyKey
from headway_operator.shell.trial_reports import TrialReports
from shell_tests.fakes import FakeService

KEY = StudyKey("team", "search", "s")


def run(owner=names.HPO_STUDY, controller=True, **labels):
    labels = {names.LABEL_TRIAL: "3", names.LABEL_SEED_INDEX: "0", **labels}
    owners = [{"kind": owner, "name": "search", "uid": "s", "controller": controller}]
    metadata = {"name": "search-3", "namespace": "team", "uid": "u", "labels": labels, "ownerReferences": owners}
    return {"metadata": metadata}


def points(*indices):
    return [EvaluationPoint(index=i, step=512 * i, metrics={"evaluation/reward": 1.0}) for i in indices]


def ask(reports, *evaluations, of=None):
    async def story():
        return [await reports.is_to_stop(of or run(), each) for each in evaluations]

    return asyncio.run(story())


def handed_on(service):
    return [[point.index for point in said.evaluations] for _, said in service.reports]


def test_the_service_is_asked_once_for_each_new_evaluation_and_its_verdict_is_given_again():
    service = FakeService(stop=True)
    assert ask(TrialReports(service), points(), points(1), points(1), points(1, 2)) == [False, True, True, True]
    assert handed_on(service) == [[1], [1, 2]]


def test_what_could_not_be_handed_on_goes_with_the_next_report():
    service = FakeService(stop=True)
    service.failures = [StudiesAwayError("away"), StudyDeclinedError(KEY, 404, "no such trial")]
    assert ask(TrialReports(service), points(1), points(1, 2), points(1, 2)) == [False, False, True]
    assert handed_on(service) == [[1, 2]] and len(service.calls) == 3


def test_another_replica_hands_it_on_again():
    service = FakeService()
    for _ in range(2):
        ask(TrialReports(service), points(1))
    assert handed_on(service) == [[1], [1]]


def test_runs_without_a_study_are_not_asked_about():
    service = FakeService(stop=True)
    others = [run(owner="Pipeline"), run(controller=False), run(**{names.LABEL_TRIAL: "x"})]
    assert [ask(TrialReports(service), points(1), of=other) for other in others] == [[False]] * 3
    assert service.calls == []


def test_a_service_that_hangs_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(trial_reports, "VERDICT_S", 0.05)

    class Hanging:
        async def report(self, study, report):
            await asyncio.sleep(30)

    began = time.monotonic()
    assert ask(TrialReports(Hanging()), points(1)) == [False]
    assert time.monotonic() - began < 5


def test_only_so_many_runs_are_remembered(monkeypatch):
    monkeypatch.setattr(trial_reports, "MAX_REMEMBERED", 2)
    reports = TrialReports(FakeService())
    for uid in "abc":
        of = run()
        of["metadata"]["uid"] = uid
        ask(reports, points(1), of=of)
    assert list(reports._verdicts) == ["b", "c"]
