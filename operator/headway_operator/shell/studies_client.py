"""The calls of headway_api.study_wire, to the study service. Each may be repeated, and is, by the next pass."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import aiohttp
from headway_api import names
from headway_api.base import Contract
from headway_api.hpo_study import HPOStudySpec
from headway_api.study_wire import (
    AskedTrial,
    AskTrial,
    OpenStudy,
    ReportReply,
    ReportTrial,
    StudySnapshot,
    TellTrial,
)
from pydantic import ValidationError

from headway_operator.core.driver import Access
from headway_operator.shell import metrics

CALL_TIMEOUT_S = 5.0
TRIES = 2  # a kept connection that a restart of the service has ended is found so only by the first
MAX_TEXT = 512
# Not about this study: our token, the service's or a proxy's state.
_AWAY = frozenset({401, 403, 407, 408, 425, 429})

Answer = TypeVar("Answer", bound=Contract)


class StudyKey(NamedTuple):
    """Which study; one that was deleted and made again under its name is another."""

    namespace: str
    name: str
    uid: str


class StudiesAwayError(Exception):
    """The service cannot be reached, or cannot reach its storage. `str()` is the reason."""


class StudyDeclinedError(Exception):
    """The service will not do this (4xx). `str()` names the study."""

    def __init__(self, study: StudyKey, status: int, reason: str) -> None:
        super().__init__(f"study {study.namespace}/{study.name}: the study service refuses: {status}: {reason}")
        self.status, self.reason = status, reason


class StudiesClient:
    """Speaks for the operator. The token's file is read for every call: the kubelet replaces it."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        token_file: Path,
        authorities: Callable[[], str],
        fence: Callable[[], None] = lambda: None,
    ) -> None:
        """`authorities` returns the PEM of those to trust, as it is now. `fence` is called before every call, and does
        not return if this process may no longer write."""
        self._session, self._url, self._token_file = session, url.rstrip("/"), token_file
        self._authorities, self._fence = authorities, fence
        self._trusted: tuple[str, ssl.SSLContext] | None = None

    def fenced(self, fence: Callable[[], None]) -> StudiesClient:
        """Return the same client behind a fence."""
        return StudiesClient(self._session, self._url, self._token_file, self._authorities, fence)

    @property
    def access(self) -> Access:
        """Where drivers find the service, and whom they trust there."""
        return Access(self._url, self._authorities())

    async def open(self, study: StudyKey, spec: HPOStudySpec) -> StudySnapshot:
        """Make the study, or let it take over the budget. Raises StudiesAwayError, StudyDeclinedError, as all calls."""
        return await self._call("PUT", study, "", OpenStudy(spec=spec), StudySnapshot)

    async def ask(self, study: StudyKey, number: int) -> AskedTrial:
        """Have a trial decided."""
        return await self._call("POST", study, "/ask", AskTrial(number=number), AskedTrial)

    async def report(self, study: StudyKey, report: ReportTrial) -> ReportReply:
        """Hand over evaluations of a seed's run."""
        return await self._call("POST", study, "/report", report, ReportReply)

    async def tell(self, study: StudyKey, told: TellTrial) -> StudySnapshot:
        """Hand over how a trial ended."""
        return await self._call("POST", study, "/tell", told, StudySnapshot)

    async def _call(self, method: str, study: StudyKey, call: str, body: Contract, kind: type[Answer]) -> Answer:
        name = call.removeprefix("/") or "open"
        try:
            status, data = await self._send(method, study, call, body)
        except StudiesAwayError:
            metrics.STUDY_CALLS.labels(name, "none").inc()
            raise
        metrics.STUDY_CALLS.labels(name, str(status)).inc()
        text = " ".join(data[: 4 * MAX_TEXT].decode("utf-8", "replace").split())[:MAX_TEXT]
        if 400 <= status < 500 and status not in _AWAY:
            raise StudyDeclinedError(study, status, text)
        if status != 200:
            raise StudiesAwayError(f"{status}: {text}")
        try:
            return kind.model_validate_json(data, by_alias=True, by_name=False)
        except ValidationError as error:
            raise StudiesAwayError(
                f"its answer to {name} is no {kind.__name__}: {error.error_count()} errors"
            ) from None

    async def _send(self, method: str, study: StudyKey, call: str, body: Contract) -> tuple[int, bytes]:
        if not self._url:
            raise StudiesAwayError("there is none: set HEADWAY_STUDIES_URL (studies.enabled in the chart)")
        url = f"{self._url}{names.STUDIES_PATH}/{study.namespace}/{study.name}/{study.uid}{call}"
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                for left in reversed(range(TRIES)):
                    self._fence()
                    try:
                        return await self._once(method, url, body)
                    except aiohttp.ServerDisconnectedError:
                        if not left:
                            raise
        except TimeoutError:
            raise StudiesAwayError(f"no answer within {CALL_TIMEOUT_S:.0f} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise StudiesAwayError(f"no trust in {self._url}: {error.certificate_error}") from error
        except aiohttp.ClientConnectorError as error:
            raise StudiesAwayError(f"no connection to {self._url}: {error.os_error.strerror or error}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:  # also a file or a certificate that cannot be read
            raise StudiesAwayError(str(error) or type(error).__name__) from error
        raise AssertionError("the last try returns or raises")

    async def _once(self, method: str, url: str, body: Contract) -> tuple[int, bytes]:
        token = self._token_file.read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data, context = body.model_dump_json(by_alias=True, exclude_none=True), self._context()
        async with self._session.request(
            method, url, data=data, headers=headers, ssl=context, allow_redirects=False
        ) as response:
            return response.status, await response.read()

    def _context(self) -> ssl.SSLContext:
        """Trust nobody but the given authorities; made anew when they change."""
        authorities = self._authorities()
        if self._trusted is None or self._trusted[0] != authorities:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cadata=authorities)
            self._trusted = (authorities, context)
        return self._trusted[1]
