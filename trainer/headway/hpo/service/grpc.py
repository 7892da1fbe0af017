"""Optuna's own storage protocol for notebooks and dashboards, behind TLS and a token for one namespace.

Optuna's server has neither (optuna.storages.run_grpc_proxy_server); its servicer is used as it is, one for each
namespace, over what that namespace sees of the storage (tenants.py).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.storages._grpc.auto_generated import api_pb2_grpc
from optuna.storages._grpc.servicer import OptunaStorageProxyService

from headway.hpo.service.identity import Identity, UnknownNowError
from headway.hpo.service.tenants import ReadOnlyError, TenantStorage
from headway.hpo.service.tls import Pair

log = logging.getLogger("headway")

THREADS = 16  # calls at a time; SQLAlchemy keeps as many connections
CODES: dict[type[Exception], grpc.StatusCode] = {
    ReadOnlyError: grpc.StatusCode.PERMISSION_DENIED,
    UnknownNowError: grpc.StatusCode.UNAVAILABLE,
    StorageInternalError: grpc.StatusCode.UNAVAILABLE,
    sqlalchemy.exc.DBAPIError: grpc.StatusCode.UNAVAILABLE,
    sqlalchemy.exc.TimeoutError: grpc.StatusCode.UNAVAILABLE,
    ValueError: grpc.StatusCode.INVALID_ARGUMENT,
    TypeError: grpc.StatusCode.INVALID_ARGUMENT,
}
Rpc = Callable[[Any, grpc.ServicerContext], Any]


def make_server(storage: BaseStorage, identity: Identity, pair: Pair, listen: str) -> tuple[grpc.Server, int]:
    """Return a server that listens on HOST:PORT, not started, and its port. Raises RuntimeError: the port is taken."""
    server = grpc.server(ThreadPoolExecutor(THREADS, "storage"))
    api_pb2_grpc.add_StorageServiceServicer_to_server(tenants_service(storage, identity), server)
    first = grpc.ssl_server_certificate_configuration([_key_first(pair)])
    credentials = grpc.dynamic_ssl_server_credentials(first, _renewed(pair))
    return server, server.add_secure_port(listen, credentials)


def tenants_service(storage: BaseStorage, identity: Identity) -> api_pb2_grpc.StorageServiceServicer:
    """Return the servicer: every RPC that the protocol has goes to that of the caller's namespace."""
    services: dict[str, OptunaStorageProxyService] = {}
    lock = threading.Lock()

    def of(namespace: str) -> OptunaStorageProxyService:
        with lock:
            return services.setdefault(namespace, OptunaStorageProxyService(TenantStorage(storage, namespace)))

    def guarded(name: str) -> Rpc:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                namespace = identity.namespace(_token(context))
            except UnknownNowError as error:
                context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
            if namespace is None:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token that gives a namespace's storage")
            try:
                return getattr(of(namespace), name)(request, context)
            except tuple(CODES) as error:
                code = next(code for kind, code in CODES.items() if isinstance(error, kind))
                text = "the storage does not answer" if code == grpc.StatusCode.UNAVAILABLE else str(error)
                context.abort(code, text)

        return call

    servicer = api_pb2_grpc.StorageServiceServicer()
    for name in rpc_names():
        setattr(servicer, name, guarded(name))
    return servicer


def rpc_names() -> list[str]:
    """Return the names of all calls of the protocol."""
    return [name for name in vars(api_pb2_grpc.StorageServiceServicer) if not name.startswith("_")]


def _token(context: grpc.ServicerContext) -> str:
    for key, value in context.invocation_metadata():
        scheme, _, token = str(value).partition(" ")
        if key == "authorization" and scheme.lower() == "bearer":
            return token
    return ""


def _key_first(pair: Pair) -> tuple[bytes, bytes]:
    certificate, key = pair.read()
    return key, certificate


def _renewed(pair: Pair) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    """Return what gRPC asks before each handshake: a new pair, or None."""
    served = pair.read()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal served
        if not pair.renew() or pair.read() == served:
            return None
        served = pair.read()
        return grpc.ssl_server_certificate_configuration([_key_first(pair)])

    return fetch
