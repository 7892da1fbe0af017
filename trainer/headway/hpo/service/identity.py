"""Whose a token is: the operator's, or a namespace's. By the API server's TokenReview, or by a file of fixed tokens."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from headway_api import names

from headway.errors import UserError

REVIEW_CACHE_S = 60.0
REVIEW_TIMEOUT_S = 5.0
MAX_CACHED = 10_000
REVIEWS_AT_ONCE = 8  # whoever reaches the port can send tokens, and the API server is everybody's
API_SERVER = "https://kubernetes.default.svc"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class UnknownNowError(Exception):
    """Nobody can be asked at the moment: whose the token is may be known later."""


class Identity(Protocol):
    """Answers may take a while: call from a thread. Both may raise UnknownNowError."""

    def is_operator(self, token: str) -> bool:
        """Say whether the token is the operator's, for this service."""

    def known_operator(self, token: str) -> bool | None:
        """Say the same without waiting for anybody; None if somebody has to be asked. Raises nothing but as above."""

    def is_driver(self, token: str, namespace: str, uid: str) -> bool:
        """Say whether the token is a driver's of that study."""

    def namespace(self, token: str) -> str | None:
        """Return the namespace that the token gives the storage of; None for a token that gives none."""


class TokenFile:
    """Fixed tokens without Kubernetes: {"operator": "…", "namespaces": {"team-a": "…"}}. Read at each call."""

    def __init__(self, path: Path) -> None:
        """Raises UserError for a file that is no such thing."""
        self._path = path
        self._read()

    def is_operator(self, token: str) -> bool:
        """Say whether it is the file's `operator`."""
        return _same(token, self._now()[0])

    def known_operator(self, token: str) -> bool | None:
        """Say the same: a small file is read at once."""
        return self.is_operator(token)

    def is_driver(self, token: str, namespace: str, uid: str) -> bool:
        """Say no: there are drivers in clusters alone."""
        return False

    def namespace(self, token: str) -> str | None:
        """Return the namespace that has this token in the file."""
        found = [name for name, own in self._now()[1].items() if _same(token, own)]  # all are looked at: no timing
        return found[0] if found else None

    def _now(self) -> tuple[str, dict[str, str]]:
        try:
            return self._read()
        except UserError as error:  # of the service's keeper, not of who calls
            raise UnknownNowError("the tokens cannot be read") from error

    def _read(self) -> tuple[str, dict[str, str]]:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            operator, spaces = document.get("operator", ""), document.get("namespaces", {})
            tokens = [operator, *spaces.values()]
        except (OSError, ValueError, AttributeError) as error:
            raise UserError(f"{self._path}: {error}: give a JSON object with operator and namespaces") from None
        given = [token for token in tokens if token]
        if not all(isinstance(token, str) for token in tokens) or not given or len(set(given)) < len(given):
            raise UserError(f"{self._path}: give every token as a text, each another, and at least one")
        return operator, spaces


class ServiceAccounts:
    """ServiceAccount tokens, reviewed by the API server and remembered for a minute."""

    def __init__(
        self, operator: str, review: Callable[[str, str], dict[str, Any]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`operator` is NAMESPACE/NAME of its account; `review` answers token and audience with a review's status."""
        namespace, _, name = operator.partition("/")
        if not namespace or not name:
            raise UserError(f"--operator-account: found {operator!r}: give NAMESPACE/NAME")
        self._operator = f"system:serviceaccount:{namespace}:{name}"
        self._review, self._clock = review, clock
        self._known: dict[tuple[str, str], tuple[float, str]] = {}  # (audience, token's digest) -> when, user
        self._lock = threading.Lock()
        self._reviewing = threading.Semaphore(REVIEWS_AT_ONCE)

    def is_operator(self, token: str) -> bool:
        """Say whether it is the operator's account's token, for the calls."""
        return self._user(token, names.STUDIES_AUDIENCE) == self._operator

    def known_operator(self, token: str) -> bool | None:
        """Say the same of a token that was reviewed within the last minute."""
        user = self._remembered(_key(token, names.STUDIES_AUDIENCE))
        return None if user is None else user == self._operator

    def is_driver(self, token: str, namespace: str, uid: str) -> bool:
        """Say whether it was made for that study in its namespace: a notebook's tokens are for another audience."""
        return _namespace(self._user(token, f"{names.DRIVER_AUDIENCE}{uid}")) == namespace

    def namespace(self, token: str) -> str | None:
        """Return the namespace of a token for the storage."""
        return _namespace(self._user(token, names.STORAGE_AUDIENCE))

    def _user(self, token: str, audience: str) -> str:
        """Whose the token is; "" for a token that is not for this audience."""
        if not token:
            return ""
        key = _key(token, audience)
        if (known := self._remembered(key)) is not None:
            return known
        with self._reviewing:
            user = _user_of(self._review(token, audience), audience)
        with self._lock:
            self._known.pop(key, None)
            if len(self._known) >= MAX_CACHED:
                del self._known[next(iter(self._known))]
            self._known[key] = self._clock(), user
        return user

    def _remembered(self, key: tuple[str, str]) -> str | None:
        with self._lock:
            at, user = self._known.get(key, (0.0, ""))
            return user if key in self._known and self._clock() - at < REVIEW_CACHE_S else None


def _namespace(user: str) -> str | None:
    """Return a service account's namespace."""
    parts = user.split(":")
    return parts[2] if parts[:2] == ["system", "serviceaccount"] and len(parts) == 4 else None


def _key(token: str, audience: str) -> tuple[str, str]:
    """What a review is remembered by."""
    return audience, hashlib.sha256(token.encode()).hexdigest()


def review_by_api_server(url: str = API_SERVER, account: Path = ACCOUNT) -> Callable[[str, str], dict[str, Any]]:
    """Return a review by the API server, as the pod that this is. Its own token and CA are read anew each time."""

    def review(token: str, audience: str) -> dict[str, Any]:
        document = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }
        try:
            context = ssl.create_default_context(cafile=str(account / "ca.crt"))
            headers = {
                "Authorization": f"Bearer {(account / 'token').read_text().strip()}",
                "Content-Type": "application/json",
            }
            request = urllib.request.Request(
                f"{url}/apis/authentication.k8s.io/v1/tokenreviews", json.dumps(document).encode(), headers
            )
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
            )
            with opener.open(request, timeout=REVIEW_TIMEOUT_S) as answer:
                status = json.load(answer).get("status")
        except (OSError, ValueError) as error:  # HTTPError is an OSError
            raise UnknownNowError(f"the API server reviews no token: {error}") from error
        return status if isinstance(status, dict) else {}

    return review


def _user_of(status: dict[str, Any], audience: str) -> str:
    is_good = status.get("authenticated") is True and audience in (status.get("audiences") or ())
    return str((status.get("user") or {}).get("username") or "") if is_good else ""


def _same(given: str, own: str) -> bool:
    return bool(own) and hmac.compare_digest(given.encode("utf-8", "surrogateescape"), own.encode())
