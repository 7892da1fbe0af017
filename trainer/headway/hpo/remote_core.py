"""A study's record as its driver in a cluster has it: the study service's calls, with what StudyCore does here.

A service that restarts is waited for; every call may be repeated, since it names its trial.
"""

from __future__ import annotations

import http.client
import json
import logging
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from headway_api import names
from headway_api.base import Contract
from headway_api.hpo_study import HPOStudySpec
from headway_api.progress import EvaluationPoint
from headway_api.study_wire import (
    AskedTrial,
    AskTrial,
    ChangeTrial,
    Curves,
    Outcome,
    ReportReply,
    ReportTrial,
    StudySnapshot,
    TellTrial,
)
from headway_api.training_run import Metadata

from headway.errors import UserError

log = logging.getLogger("headway")

CALL_TIMEOUT_S = 30.0
RETRY_S = 2.0
PATIENCE_S = 900.0  # then the driver leaves, and its Job begins another pod
FRESH_S = 2.0  # a screen looks five times a second
# Not about this call: the service's, its storage's or the API server's state.
_LATER = frozenset({401, 403, 408, 425, 429, 500, 502, 503, 504})

Answer = TypeVar("Answer", bound=Contract)


class StudyServiceAwayError(Exception):
    """The study service has not answered for longer than we wait."""


class RemoteCore:
    """One study at the service. All methods may be called from several threads. Raise StudyServiceAwayError."""

    def __init__(
        self,
        url: str,
        study: Metadata,
        spec: HPOStudySpec,
        token: Path,
        ca: Path,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`token` and `ca` are files that the kubelet replaces: read for each call."""
        self.spec = spec
        self._base = f"{url.rstrip('/')}{names.STUDIES_PATH}/{study.namespace}/{study.name}/{study.uid}"
        self._token, self._ca, self._sleep = token, ca, sleep
        self._lock = threading.Lock()
        self._seen: tuple[float, StudySnapshot] | None = None

    def ask(self, number: int) -> dict[str, Any]:
        """Return the point that is trial `number`, values by path."""
        return self._changing("/ask", AskTrial(number=number), AskedTrial).values

    def change(self, number: int, values: dict[str, Any]) -> None:
        """Note the values that a trial goes on with."""
        self._changing("/change", ChangeTrial(number=number, values=values), StudySnapshot)

    def report(self, number: int, seed_index: int, evaluations: Sequence[EvaluationPoint], ended: bool = False) -> bool:
        """Note evaluations; return whether the trial is to stop."""
        body = ReportTrial(number=number, seed_index=seed_index, evaluations=list(evaluations), ended=ended)
        return self._changing("/report", body, ReportReply).stop

    def tell(self, number: int, outcome: Outcome, steps: int, reason: str = "") -> None:
        """Note how a trial ended."""
        body = TellTrial(number=number, outcome=outcome, steps=steps, reason=reason[:1024])
        self._changing("/tell", body, StudySnapshot)

    def snapshot(self) -> StudySnapshot:
        """Return the study as it was at most two seconds ago, and never as it was before our own last word."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] > FRESH_S:
                self._seen = time.monotonic(), self._call("GET", "", None, StudySnapshot)
            return self._seen[1]

    def curves(self) -> dict[int, dict[int, float]]:
        """Return the objective by evaluation of each trial."""
        found = self._call("GET", "/curves", None, Curves).values
        return {int(n): {int(k): value for k, value in curve.items()} for n, curve in found.items()}

    def reported(self, number: int) -> int:
        """Return the newest evaluation that is noted of a trial; 0 before the first."""
        return max(self.curves().get(number, {}), default=0)

    def values_of(self, number: int) -> list[float]:
        """Return what the trial reached; nothing before its first evaluation."""
        curve = self.curves().get(number, {})
        return [curve[max(curve)]] if curve else []

    # --- one call -----------------------------------------------------------------------------------------------
    def _changing(self, call: str, body: Contract, kind: type[Answer]) -> Answer:
        try:
            return self._call("POST", call, body, kind)
        finally:
            with self._lock:
                self._seen = None

    def _call(self, method: str, call: str, body: Contract | None, kind: type[Answer]) -> Answer:
        """Call until there is an answer. Raises UserError for what the service will never do."""
        waited = 0.0
        while True:
            problem = ""
            try:
                return kind.model_validate_json(self._once(method, call, body), by_alias=True, by_name=False)
            except urllib.error.HTTPError as error:
                text = error.read(512).decode("utf-8", "replace").strip()
                if error.code not in _LATER:
                    raise UserError(f"the study service refuses {call or 'the study'}: {error.code}: {text}") from None
                problem = f"{error.code}: {text}"
            except (OSError, http.client.HTTPException) as error:
                problem = str(error) or type(error).__name__
            if waited == 0.0:
                log.warning("the study service is away (%s): trying again", problem)
            if waited >= PATIENCE_S:
                raise StudyServiceAwayError(f"the study service is away: {problem}")
            self._sleep(RETRY_S)
            waited += RETRY_S

    def _once(self, method: str, call: str, body: Contract | None) -> bytes:
        data = None if body is None else json.dumps(body.to_wire()).encode()
        headers = {"Authorization": f"Bearer {self._token.read_text().strip()}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._base + call, data, headers, method=method)
        context = ssl.create_default_context(cafile=str(self._ca))
        with urllib.request.urlopen(request, timeout=CALL_TIMEOUT_S, context=context) as answer:
            return bytes(answer.read())
