"""The calls of headway_api.study_wire over HTTP. Who calls is checked first; a storage that is down answers 503."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable
from typing import Any

import sqlalchemy
from aiohttp import web
from headway_api import names
from headway_api.base import Contract
from headway_api.study_wire import (
    AskedTrial,
    AskTrial,
    ChangeTrial,
    Curves,
    OpenStudy,
    ReportReply,
    ReportTrial,
    TellTrial,
)
from optuna.exceptions import StorageInternalError
from pydantic import ValidationError

from headway.errors import UserError
from headway.hpo.core import UnknownTrialError
from headway.hpo.service.identity import Identity, UnknownNowError
from headway.hpo.service.studies import FixedFieldError, Studies, UnknownStudyError

MAX_BODY = 1024**2  # bytes; etcd holds no larger object
RETRY_SECONDS = 5
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
UID = re.compile(r"[A-Za-z0-9-]{1,64}")
STUDY = f"{names.STUDIES_PATH}/{{namespace}}/{{name}}/{{uid}}"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(studies: Studies, identity: Identity) -> web.Application:
    """Return the service. Every call but /healthz needs `Authorization: Bearer <the operator's token>`."""
    app = web.Application(middlewares=[_explain, _authenticate(identity)], client_max_size=MAX_BODY)

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

    async def change(request: web.Request) -> web.Response:
        key, said = _key(request), ChangeTrial.model_validate_json(await request.read(), by_alias=True, by_name=False)

        def changed() -> Contract:
            core = studies.get(key)
            core.change(said.number, said.values)
            return core.snapshot()

        return _json(await asyncio.to_thread(changed))

    async def curves(request: web.Request) -> web.Response:
        key = _key(request)
        found = await asyncio.to_thread(lambda: studies.get(key).curves())
        finite = {str(n): {str(k): v for k, v in curve.items() if math.isfinite(v)} for n, curve in found.items()}
        return _json(Curves(values=finite))

    app.add_routes([web.put(STUDY, opened), web.get(STUDY, seen), web.get("/healthz", healthz)])
    app.add_routes([web.post(f"{STUDY}/{call.__name__}", call) for call in (ask, report, tell, change)])
    app.add_routes([web.get(f"{STUDY}/curves", curves)])
    return app


def _authenticate(identity: Identity) -> Any:
    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path != "/healthz":
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not await _may_call(identity, token, request):
                return web.Response(status=401, text="no bearer token of the operator, or of the study's driver\n")
        return await handler(request)

    return check


async def _may_call(identity: Identity, token: str, request: web.Request) -> bool:
    """The operator may call everything, a driver may speak of its study. Ask in a thread only where somebody else has
    to be asked."""
    known = identity.known_operator(token)
    if known if known is not None else await asyncio.to_thread(identity.is_operator, token):
        return True
    namespace, uid = (request.match_info.get(part, "") for part in ("namespace", "uid"))
    if request.method == "PUT" or not UID.fullmatch(uid):
        return False
    return await asyncio.to_thread(identity.is_driver, token, namespace, uid)


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
    except FixedFieldError as error:
        return web.Response(status=409, text=f"{error}\n")
    except UserError as error:  # a beginning that cannot be made: the document is well-formed
        return web.Response(status=422, text=f"{error}\n")
    except (StorageInternalError, sqlalchemy.exc.DBAPIError, sqlalchemy.exc.TimeoutError):
        return _later("the storage does not answer")
    except UnknownNowError as error:
        return _later(str(error))


def _later(text: str) -> web.Response:
    return web.Response(status=503, text=f"{text}\n", headers={"Retry-After": str(RETRY_SECONDS)})


def _key(request: web.Request) -> str:
    namespace, name, uid = (request.match_info[part] for part in ("namespace", "name", "uid"))
    if not (NAME.fullmatch(namespace) and NAME.fullmatch(name) and UID.fullmatch(uid)):
        raise web.HTTPBadRequest(text="the path is …/namespace/name/uid of an HPOStudy\n")
    return f"{namespace}/{name}/{uid}"


def _json(answer: Contract) -> web.Response:
    return web.json_response(answer.to_wire())
