"""The calls of headway_api.study_wire over HTTP. Who calls is checked first; a storage that is down answers 503."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Awaitable, Callable
from typing import Any

import sqlalchemy
from aiohttp import web
from headway_api import names
from headway_api.base import Contract
from headway_api.study_wire import AskedTrial, AskTrial, OpenStudy, ReportReply, ReportTrial, TellTrial
from optuna.exceptions import StorageInternalError
from pydantic import ValidationError

from headway.hpo.core import UnknownTrialError
from headway.hpo.service.studies import Studies, UnknownStudyError

MAX_BODY = 1024**2  # bytes; etcd holds no larger object
RETRY_SECONDS = 5
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
UID = re.compile(r"[A-Za-z0-9-]{1,64}")
STUDY = f"{names.STUDIES_PATH}/{{namespace}}/{{name}}/{{uid}}"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(studies: Studies, token: str) -> web.Application:
    """Return the service. Every call but /healthz needs `Authorization: Bearer <token>`. Raises ValueError: empty."""
    if not token:
        raise ValueError("the token is empty: anybody could call")
    app = web.Application(middlewares=[_authenticate(token), _explain], client_max_size=MAX_BODY)

    async def opened(request: web.Request) -> web.Response:
        key, said = _key(request), OpenStudy.model_validate_json(await request.read(), by_alias=True, by_name=False)
        return _json(await asyncio.to_thread(lambda: studies.open(key, said.spec).snapshot()))

    async def seen(request: web.Request) -> web.Response:
        key = _key(request)
        return _json(await asyncio.to_thread(lambda: studies.get(key).snapshot()))

    async def ask(request: web.Request) -> web.Response:
        key, said = _key(request), AskTrial.model_validate_json(await request.read(), by_alias=True, by_name=False)
        values = await asyncio.to_thread(lambda: studies.get(key).ask(said.number))
        return _json(AskedTrial(number=said.number, values=values))

    async def report(request: web.Request) -> web.Response:
        key, said = _key(request), ReportTrial.model_validate_json(await request.read(), by_alias=True, by_name=False)
        stop = await asyncio.to_thread(
            lambda: studies.get(key).report(said.number, said.seed_index, said.evaluations, said.ended)
        )
        return _json(ReportReply(stop=stop))

    async def tell(request: web.Request) -> web.Response:
        key, said = _key(request), TellTrial.model_validate_json(await request.read(), by_alias=True, by_name=False)

        def told() -> Contract:
            core = studies.get(key)
            core.tell(said.number, said.outcome, said.steps, said.reason)
            return core.snapshot()

        return _json(await asyncio.to_thread(told))

    async def healthz(_request: web.Request) -> web.Response:
        await asyncio.to_thread(studies.storage.get_all_studies)
        return web.Response(text="ok\n")

    app.add_routes([web.put(STUDY, opened), web.get(STUDY, seen), web.get("/healthz", healthz)])
    app.add_routes([web.post(f"{STUDY}/{call.__name__}", call) for call in (ask, report, tell)])
    return app


def _authenticate(token: str) -> Any:
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if request.path != "/healthz" and not hmac.compare_digest(given, expected):
            return web.Response(status=401, text="no valid bearer token\n")
        return await handler(request)

    return check


@web.middleware
async def _explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what goes wrong into one message and the status that says whose turn it is."""
    try:
        return await handler(request)
    except ValidationError as error:
        first = error.errors()[0]
        return web.Response(status=400, text=f"{'.'.join(map(str, first['loc']))}: {first['msg']}\n")
    except UnknownStudyError:
        return web.Response(status=404, text="no such study: open it first\n")
    except UnknownTrialError:
        return web.Response(status=404, text="no such trial: ask for it first\n")
    except IndexError as error:
        return web.Response(status=400, text=f"seedIndex: {error}\n")
    except (StorageInternalError, sqlalchemy.exc.DBAPIError):
        headers = {"Retry-After": str(RETRY_SECONDS)}
        return web.Response(status=503, text="the storage does not answer\n", headers=headers)


def _key(request: web.Request) -> str:
    namespace, name, uid = (request.match_info[part] for part in ("namespace", "name", "uid"))
    if not (NAME.fullmatch(namespace) and NAME.fullmatch(name) and UID.fullmatch(uid)):
        raise web.HTTPBadRequest(text="the path is …/namespace/name/uid of an HPOStudy\n")
    return f"{namespace}/{name}/{uid}"


def _json(answer: Contract) -> web.Response:
    return web.json_response(answer.to_wire())
