"""Real TLS and HTTP; the service's answers are told by the test."""

import asyncio
import ssl

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from core_tests.fake_study import make_study
from headway_api import names
from headway_api.hpo_study import TrialCounts
from headway_api.progress import EvaluationPoint
from headway_api.study_wire import ReportTrial, StudySnapshot, TellTrial
from headway_operator.shell import studies_client
from headway_operator.shell.studies_client import StudiesAwayError, StudiesClient, StudyDeclinedError, StudyKey
from integration_tests.control_plane import Authority

KEY = StudyKey("team", "search", "uid-1")
PATH = f"{names.STUDIES_PATH}/team/search/uid-1"
SNAPSHOT = StudySnapshot(trials=TrialCounts(), running=[])


def wire(contract):
    return web.json_response(contract.to_wire())


class Service:
    """Answers in turn; a callable is awaited with the request."""

    def __init__(self, folder, *answers):
        self.answers, self.asked = list(answers), []
        self.authority = Authority(folder)
        self.token_file = folder / "token"
        self.token_file.write_text("one\n")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*self.authority.issue("studies"))

    async def handle(self, request):
        self.asked.append((request.method, request.path, request.headers["Authorization"], await request.json()))
        answer = self.answers.pop(0)
        return await answer(request) if callable(answer) else answer

    def speak(self, *calls, trusted=None, fence=lambda: None):
        """Make the calls one after the other; return the answers."""

        async def story():
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self.handle)
            async with aiohttp.ClientSession() as session, TestServer(app) as server:
                await server.close()
                server = TestServer(app, host="localhost", scheme="https")
                await server.start_server(ssl=self.context)
                trust = trusted or self.authority.certificate.read_text
                client = StudiesClient(session, str(server.make_url("/")), self.token_file, trust).fenced(fence)
                try:
                    return [await call(client) for call in calls]
                finally:
                    await server.close()

        return asyncio.run(story())


def open_study(client):
    return client.open(KEY, make_study().spec)


def test_every_call_has_its_path_and_body(tmp_path):
    reply = web.json_response({"stop": True})
    service = Service(
        tmp_path, wire(SNAPSHOT), web.json_response({"number": 3, "values": {"a": 1}}), reply, wire(SNAPSHOT)
    )
    point = EvaluationPoint(index=1, step=9, metrics={"evaluation/reward": 0.5})
    answers = service.speak(
        open_study,
        lambda c: c.ask(KEY, 3),
        lambda c: c.report(KEY, ReportTrial(number=3, seed_index=0, evaluations=[point], ended=True)),
        lambda c: c.tell(KEY, TellTrial(number=3, outcome="failed", steps=9, reason="boom")),
    )
    assert (answers[0], answers[1].values, answers[2].stop, answers[3]) == (SNAPSHOT, {"a": 1}, True, SNAPSHOT)
    (put, ask, report, tell) = service.asked
    assert put[:2] == ("PUT", PATH) and put[3] == {"spec": make_study().spec.to_wire()}
    assert ask[:2] == ("POST", f"{PATH}/ask") and ask[3] == {"number": 3}
    assert report[1] == f"{PATH}/report" and report[3]["seedIndex"] == 0 and report[3]["evaluations"][0]["step"] == 9
    assert tell[3] == {"number": 3, "outcome": "failed", "steps": 9, "reason": "boom"}


def test_the_token_is_read_anew_for_every_call(tmp_path):
    service = Service(tmp_path, wire(SNAPSHOT), wire(SNAPSHOT))

    async def second(client):
        service.token_file.write_text("two")
        return await open_study(client)

    service.speak(open_study, second)
    assert [asked[2] for asked in service.asked] == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503, 302])
def test_a_service_that_cannot_or_does_not_know_us_is_away_and_says_why(tmp_path, status):
    answer = web.Response(status=status, text="the storage\n does not answer", headers={"Location": "http://else"})
    with pytest.raises(StudiesAwayError, match=f"^{status}: the storage does not answer$"):
        Service(tmp_path, answer).speak(open_study)


@pytest.mark.parametrize("status", [400, 404, 409, 413])
def test_a_refusal_names_the_study(tmp_path, status):
    with pytest.raises(StudyDeclinedError, match=rf"study team/search: .*{status}: spec.seed cannot change"):
        Service(tmp_path, web.Response(status=status, text="spec.seed cannot change\n")).speak(open_study)


def test_an_answer_of_another_kind_is_no_answer(tmp_path):
    with pytest.raises(StudiesAwayError, match="its answer to open is no StudySnapshot"):
        Service(tmp_path, web.json_response({"hello": 1})).speak(open_study)


def test_another_authoritys_certificate_is_not_believed_and_gets_no_token(tmp_path):
    (tmp_path / "other").mkdir()
    service = Service(tmp_path, wire(SNAPSHOT))
    with pytest.raises(StudiesAwayError, match=r"^no trust in https://localhost:\d+/?: .*CERTIFICATE_VERIFY_FAILED"):
        service.speak(open_study, trusted=Authority(tmp_path / "other").certificate.read_text)
    with pytest.raises(StudiesAwayError, match="Empty certificate data"):
        service.speak(open_study, trusted=lambda: "")
    assert service.asked == []


def test_an_authority_that_is_replaced_is_believed_from_then_on(tmp_path):
    (tmp_path / "other").mkdir()
    service, trusted = Service(tmp_path, wire(SNAPSHOT)), [Authority(tmp_path / "other").certificate.read_text()]

    async def first(client):
        with pytest.raises(StudiesAwayError):
            await open_study(client)
        trusted.append(service.authority.certificate.read_text())

    assert service.speak(first, open_study, trusted=lambda: trusted[-1])[1] == SNAPSHOT


def test_a_kept_connection_that_the_service_has_ended_is_no_absence(tmp_path):
    async def hang_up(request):
        request.transport.close()
        return web.Response()

    service = Service(tmp_path, hang_up, wire(SNAPSHOT))
    assert service.speak(lambda c: c.tell(KEY, TellTrial(number=0, outcome="pruned", steps=1))) == [SNAPSHOT]
    assert len(service.asked) == 2


def test_a_service_that_hangs_or_is_not_there_is_away(tmp_path, monkeypatch):
    monkeypatch.setattr(studies_client, "CALL_TIMEOUT_S", 0.05)

    async def hang(request):
        await asyncio.sleep(1)
        return web.Response()

    with pytest.raises(StudiesAwayError, match="no answer within"):
        Service(tmp_path, hang).speak(open_study)

    async def story(url):
        async with aiohttp.ClientSession() as session:
            service = Service(tmp_path)
            client = StudiesClient(session, url, service.token_file, service.authority.certificate.read_text)
            await open_study(client)

    with pytest.raises(StudiesAwayError, match=r"^no connection to https://localhost:\d+: Connect call failed"):
        asyncio.run(story(f"https://localhost:{unused_port()}"))
    with pytest.raises(StudiesAwayError, match="HEADWAY_STUDIES_URL"):
        asyncio.run(story(""))


def test_a_token_that_is_not_there_is_a_reason(tmp_path):
    service = Service(tmp_path)
    service.token_file.unlink()
    with pytest.raises(StudiesAwayError, match="No such file"):
        service.speak(open_study)


def test_who_may_no_longer_write_may_no_longer_tell(tmp_path):
    def fence():
        raise SystemExit

    service = Service(tmp_path, wire(SNAPSHOT))
    with pytest.raises(SystemExit):
        service.speak(open_study, fence=fence)
    assert service.asked == []
