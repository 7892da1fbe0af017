"""The study service's storage from a notebook: an Optuna storage over TLS, with a token for one namespace.

from headway.hpo import remote
storage = remote.storage("localhost:13000", "token", "ca.crt", "headway-studies.headway-system.svc")
optuna.load_study(study_name="nav-study/<uid>", storage=storage).trials_dataframe()
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from optuna.storages import GrpcStorageProxy
from optuna.storages._grpc import client
from optuna.storages._grpc.auto_generated import api_pb2_grpc

SERVICE = "optuna.StorageService"
DEADLINE = "60s"
# Calls that must not be made twice: the first reply can be lost, and the second call would make another trial, or be
# told that what it asks for is the case already.
ONCE = frozenset({"CreateNewStudy", "DeleteStudy", "CreateNewTrial", "SetTrialStateValues"})
RETRIED = tuple(n for n in vars(api_pb2_grpc.StorageServiceServicer) if not n.startswith("_") and n not in ONCE)
RETRY = {
    "maxAttempts": 5, "initialBackoff": "0.5s", "maxBackoff": "8s", "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}  # fmt: skip


class RemoteStorage(GrpcStorageProxy):
    """Optuna's client on a channel with TLS, token, deadlines, and a second try where that is safe."""

    def __init__(self, address: str, token: str | Path, ca: bytes, server_name: str = "") -> None:
        self._address, self._token, self._ca, self._server_name = address, token, ca, server_name
        self._read_token()
        host, _, port = address.rpartition(":")
        super().__init__(host=host, port=int(port))

    def _read_token(self) -> str:
        """A mounted token changes every hour."""
        return self._token if isinstance(self._token, str) else self._token.read_text(encoding="utf-8").strip()

    def _setup(self) -> None:
        self._channel = self._connect()
        self._stub = api_pb2_grpc.StorageServiceStub(self._channel)
        self._cache = client.GrpcClientCache(self._stub)

    def _connect(self) -> grpc.Channel:
        def authorize(_context: Any, tell: Callable[[Any, Exception | None], None]) -> None:
            try:
                tell((("authorization", f"Bearer {self._read_token()}"),), None)
            except OSError as error:
                tell((), error)

        credentials = grpc.composite_channel_credentials(
            grpc.ssl_channel_credentials(self._ca), grpc.metadata_call_credentials(authorize)
        )
        options = [("grpc.max_receive_message_length", -1), ("grpc.service_config", json.dumps(service_config()))]
        if self._server_name:
            options.append(("grpc.ssl_target_name_override", self._server_name))
        return grpc.secure_channel(self._address, credentials, options)

    def wait_server_ready(self, timeout: float | None = None) -> None:
        """Wait until the service answers TLS, at most `timeout` seconds. Raises ConnectionError."""
        try:
            grpc.channel_ready_future(self._channel).result(timeout=timeout)
        except grpc.FutureTimeoutError as error:
            raise ConnectionError(f"{self._address} does not answer") from error


def storage(
    address: str, token: str | os.PathLike[str], ca: str | os.PathLike[str], server_name: str = ""
) -> RemoteStorage:
    """Open the storage at HOST:PORT. `token` is a file, read anew for each call, or the token itself; `ca` is a file.

    `server_name` is the service's name in its certificate, where HOST is another: a forwarded port. Raises OSError.
    """
    is_file = not isinstance(token, str) or (len(token) < 256 and Path(token).is_file())
    return RemoteStorage(address, Path(token) if is_file else str(token), Path(ca).read_bytes(), server_name)


def service_config() -> dict[str, Any]:
    """Return gRPC's own settings of deadlines and retries."""
    retried = {"name": [{"service": SERVICE, "method": name} for name in RETRIED], "retryPolicy": RETRY}
    return {"methodConfig": [retried | {"timeout": DEADLINE}, {"name": [{"service": SERVICE}], "timeout": DEADLINE}]}
