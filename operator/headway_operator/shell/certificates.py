"""The certificates of our servers, made by our own authority, kept and rotated in Secrets."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from headway_operator.shell.authority import CA, CERTIFICATE, KEY, bundle, issued, load, renewed
from headway_operator.shell.cluster import ApiError, ConflictError, Raw

log = logging.getLogger(__name__)

REFRESH_S = 30.0


class SecretStore(Protocol):
    """The part of the cluster that a Secret needs."""

    async def get(self, kind: str, namespace: str, name: str) -> Raw | None:
        """Return the Secret, or None."""

    async def replace(self, kind: str, document: Raw) -> Raw:
        """Replace what was read. Raises ConflictError."""


@dataclass(frozen=True)
class Served:
    """Another server of ours: the Secret in our namespace that holds its certificate, and its DNS names."""

    secret: str
    names: tuple[str, ...]


class Certificates:
    """What the Secret holds, in this process: read by every replica, written by the leader alone."""

    def __init__(
        self,
        store: SecretStore,
        namespace: str,
        name: str,
        server_names: Sequence[str],
        days: float,
        others: Sequence[Served] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._namespace, self._name = store, namespace, name
        self._server_names, self._validity, self._clock = server_names, timedelta(days=days), clock
        self._others = others
        self._data: dict[str, bytes] = {}
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.ready = asyncio.Event()

    @property
    def ca_bundle(self) -> str:
        """PEM of all authorities to trust."""
        return bundle(self._data)

    async def read(self) -> Raw:
        """Read the Secret, and serve what it holds from now on. Raises ApiError if the chart has not made it."""
        secret = await self._secret(self._name)
        self._use(_decoded(secret))
        return secret

    async def renew(self, store: SecretStore) -> None:
        """Bring the Secrets up to date, as the leader."""
        secret = await self.read()
        held = _decoded(secret)
        wanted = renewed(held, self._server_names, self._validity, self._clock())
        if wanted != held:
            secret["data"] = _encoded(wanted)
            await store.replace("Secret", secret)
            log.info("certificates of the progress server are renewed")
            self._use(wanted)
        for other in self._others:
            await self._renew_other(store, other)

    async def _renew_other(self, store: SecretStore, other: Served) -> None:
        secret = await self._secret(other.secret)
        held = _decoded(secret)
        wanted = issued(self._data, held, other.names, self._validity, self._clock())
        if wanted != held:
            secret["data"] = _encoded(wanted)
            await store.replace("Secret", secret)
            log.info("certificate in secret %s/%s is renewed", self._namespace, other.secret)

    async def _secret(self, name: str) -> Raw:
        secret = await self._store.get("Secret", self._namespace, name)
        if secret is None:
            raise ApiError(404, "NotFound", f"secret {self._namespace}/{name} is missing: the chart makes it")
        return secret

    async def follow(self) -> None:
        """Read the Secret for ever."""
        await self._again_and_again(self.read)

    async def lead(self, store: SecretStore) -> None:
        """Renew for ever, through the leader's fence."""
        await self._again_and_again(lambda: self.renew(store))

    async def _again_and_again(self, step: Callable[[], object]) -> None:
        while True:
            try:
                await step()  # type: ignore[misc]
            except (ApiError, ConflictError) as error:
                log.warning("certificates: %s", error)
            await asyncio.sleep(REFRESH_S if self.ready.is_set() else 1.0)

    def _use(self, data: dict[str, bytes]) -> None:
        """Load certificates that are new: connections from now on get them, and none is broken. What cannot be loaded
        is as good as none: what was served before goes on being served, until the leader has mended the Secret."""
        if data == self._data or not {CA, CERTIFICATE, KEY} <= data.keys():
            return
        with tempfile.TemporaryDirectory() as folder:  # private to this user; ssl reads files only
            chain = Path(folder, "chain.pem")
            chain.touch(mode=0o600)
            chain.write_bytes(data[KEY] + data[CERTIFICATE])
            try:
                load(data[CA])
                # First elsewhere: a pair that does not match would leave the context in use without a key.
                for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.context):
                    context.load_cert_chain(chain, password="")  # never asks a terminal for one
            except (ValueError, ssl.SSLError) as error:
                log.warning("secret %s/%s holds no usable certificate: %s", self._namespace, self._name, error)
                return
        self._data = data
        self.ready.set()


def _decoded(secret: Raw) -> dict[str, bytes]:
    """Return what the Secret holds, without what is not base64."""
    data: dict[str, bytes] = {}
    for key, value in (secret.get("data") or {}).items():
        try:
            data[key] = base64.b64decode(value, validate=True)
        except ValueError as error:
            log.warning("key %s of the certificates' secret is damaged: %s", key, error)
    return data


def _encoded(data: dict[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(value).decode() for key, value in data.items()}
