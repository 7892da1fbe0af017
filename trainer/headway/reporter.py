"""Tells the operator, or OUT/progress.json, how training goes. A thread of its own: it can slow or stop nothing.

Only the newest state matters, so what is not acknowledged is sent again only until there is something newer. Numbers
rise over all attempts: they follow the count of updates, which is in the checkpoint; where a killed attempt had come
further, the receiver says so. It also says when it wants the next report.
"""

from __future__ import annotations

import http.client
import json
import logging
import math
import os
import re
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from headway_api import names
from headway_api.progress import CheckpointProgress, MetricName, Progress, ProgressReply, ProgressReport
from pydantic import TypeAdapter, ValidationError

from headway.errors import UserError
from headway.launch.settings import Settings
from headway.run_context import ProgressSnapshot
from headway.units import rfc3339, short_duration

log = logging.getLogger(__name__)

Send = Callable[[ProgressReport], ProgressReply]

LOCAL_SECONDS = 0.5
FIRST_RETRY_S = 1.0
LAST_RETRY_S = 30.0
REQUEST_TIMEOUT_S = 10.0
FLUSH_S = 8.0  # how long the end of training waits for its last report; well below any grace period
MAX_METRICS = 64
MAX_EVALUATIONS = 32
REPLY_BYTES = 16 * 1024

_METRIC_NAME: TypeAdapter[str] = TypeAdapter(MetricName)


def make_reporter(settings: Settings, ends_with_gates: bool) -> Reporter:
    """Return rank 0's reporter: to the progress server if the operator named one, else to OUT/progress.json."""
    if settings.progress_url:
        send = post_to(settings.progress_url, settings.progress_ca, settings.progress_token)
    else:
        send = write_to(settings.out / "progress.json")
    return Reporter(settings.attempt, send, ends_with_gates)


class Reporter:
    """Callable with a snapshot, from the training loop; returns at once and never raises."""

    def __init__(
        self,
        attempt: int,
        send: Send,
        ends_with_gates: bool = True,
        flush_s: float = FLUSH_S,
        first_retry_s: float = FIRST_RETRY_S,
    ) -> None:
        self._attempt = attempt
        self._send = send
        self._ends_with_gates = ends_with_gates
        self._flush_s = flush_s
        self._first_retry_s = first_retry_s
        self._lock = threading.Condition()
        self._snapshot: ProgressSnapshot | None = None  # the newest that no report was made of
        self._pending: ProgressReport | None = None  # the newest report; not acknowledged
        self._number = 0  # of the last report
        self._closing = False
        self._stop_asked = False  # the answer to a report has said so
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    def __call__(self, snapshot: ProgressSnapshot) -> bool:
        """Report `snapshot`, in place of any earlier one that was not sent yet. Returns whether any answer so far has
        said that the run is to save and end."""
        with self._lock:
            self._snapshot = snapshot
            self._lock.notify()
            return self._stop_asked

    def close(self) -> None:
        """Send the newest report, for at most `flush_s` seconds, and stop."""
        with self._lock:
            self._closing = True
            self._lock.notify()
        self._thread.join(self._flush_s)

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        retry_s = self._first_retry_s
        while (report := self._next_report()) is not None:
            try:
                reply = self._send(report)
            except Exception as error:  # whatever it is, training goes on
                if retry_s == self._first_retry_s:
                    log.warning("progress could not be reported (retrying): %s", error)
                self._pause(retry_s, when_closing=self._first_retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)
            else:
                if retry_s > self._first_retry_s:
                    log.info("progress is reported again")
                retry_s = self._first_retry_s
                self._stop_asked = self._stop_asked or reply.stop
                self._acknowledged(report, reply.acknowledged)
                self._pause(reply.next_seconds, when_closing=0.0)

    def _next_report(self) -> ProgressReport | None:
        """Wait for something to report; None once there is nothing more and the reporter is closing."""
        with self._lock:
            while self._snapshot is None and self._pending is None:
                if self._closing:
                    return None
                self._lock.wait()
            if self._snapshot is not None:
                self._number = max(self._number + 1, self._snapshot.update)
                progress = to_progress(self._snapshot, self._attempt, self._number, self._ends_with_gates)
                self._pending = ProgressReport(attempt=self._attempt, number=self._number, progress=progress)
                self._snapshot = None
            return self._pending

    def _acknowledged(self, report: ProgressReport, acknowledged: int) -> None:
        """Forget a report that was recorded. A higher number means that a killed attempt had come further: skip it."""
        with self._lock:
            if acknowledged > report.number:
                self._number = acknowledged + 1
                progress = report.progress.model_copy(update={"number": self._number})
                self._pending = ProgressReport(attempt=self._attempt, number=self._number, progress=progress)
            elif acknowledged == report.number:
                self._pending = None

    def _pause(self, seconds: float, when_closing: float) -> None:
        """Wait `seconds`, or until the reporter is closed; if it is already, `when_closing` seconds."""
        with self._lock:
            if not self._closing:
                self._lock.wait_for(lambda: self._closing, seconds)
            elif when_closing:
                self._lock.wait(when_closing)


def to_progress(snapshot: ProgressSnapshot, attempt: int, number: int, ends_with_gates: bool = True) -> Progress:
    """Return the contract's view of a snapshot; what is not finite or not nameable is left out.

    `ends_with_gates`: passing the last gate ends the run, whatever steps are left.
    """
    curriculum, checkpoint = snapshot.curriculum, snapshot.checkpoint
    left = max(0, snapshot.total_steps - snapshot.step)
    complete = left == 0 or (ends_with_gates and curriculum.passed)
    speed = max(0.0, snapshot.steps_per_second) if math.isfinite(snapshot.steps_per_second) else 0.0
    optional: dict[str, Any] = {}  # the contract knows no null
    if complete or speed > 0:
        optional["eta_seconds"] = 0 if complete else math.ceil(left / speed)
        optional["eta"] = short_duration(optional["eta_seconds"])
    if curriculum.success_rate is not None:
        optional["success"] = f"{100 * curriculum.success_rate:.0f}%"
    if checkpoint is not None:
        at = rfc3339(checkpoint.saved_at)
        optional["checkpoint"] = CheckpointProgress(step=checkpoint.step, uri=str(checkpoint.path)[-1024:], time=at)
    if snapshot.goodput is not None:
        optional["goodput"] = snapshot.goodput
    return Progress(
        step=snapshot.step,
        total_steps=snapshot.total_steps,
        percent=100 if complete else 100 * snapshot.step // snapshot.total_steps,
        steps_per_second=speed,
        metrics=_reportable(snapshot.metrics),
        curriculum=curriculum,
        evaluations=list(snapshot.evaluations[-MAX_EVALUATIONS:]),
        attempt=attempt,
        number=number,
        **optional,
    )


def _reportable(metrics: dict[str, float]) -> dict[str, float]:
    named = {key: float(value) for key, value in metrics.items() if math.isfinite(value) and _is_name(key)}
    return dict(list(named.items())[:MAX_METRICS])


def _is_name(key: str) -> bool:
    try:
        return bool(_METRIC_NAME.validate_python(key))
    except ValidationError:
        return False


def write_to(path: Path) -> Send:
    """Return a sender for local runs: the newest report lies in a file, whole at any moment."""

    def send(report: ProgressReport) -> ProgressReply:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(report.to_wire()), encoding="utf-8")
        os.replace(draft, path)
        return ProgressReply(acknowledged=report.number, next_seconds=LOCAL_SECONDS)

    return send


def post_to(base_url: str, ca: Path, token: Path, timeout_s: float = REQUEST_TIMEOUT_S) -> Send:
    """Return a sender that posts to the operator's progress server over TLS, as the pod that this is.

    CA and token are read anew for every report: both rotate. Redirects and proxies are not followed.
    """
    url = urlsplit(base_url)
    if url.scheme != "https" or not url.hostname:
        raise UserError(f"{names.ENV_PROGRESS_URL}: found {base_url!r}: give an https:// URL")

    def send(report: ProgressReport) -> ProgressReply:
        context = ssl.create_default_context(cafile=str(ca))
        connection = http.client.HTTPSConnection(url.hostname or "", url.port, timeout=timeout_s, context=context)
        headers = {"Authorization": f"Bearer {token.read_text().strip()}", "Content-Type": "application/json"}
        try:
            path = url.path.rstrip("/") + names.PROGRESS_PATH
            connection.request("POST", path, body=json.dumps(report.to_wire()), headers=headers)
            response = connection.getresponse()
            body = response.read(REPLY_BYTES)
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise ConnectionError(f"{base_url} answered {response.status}: {_printable(body)}")
        return ProgressReply.model_validate_json(body)

    return send


def _printable(body: bytes) -> str:
    return re.sub(r"\s+", " ", body.decode("utf-8", "replace"))[:200]
