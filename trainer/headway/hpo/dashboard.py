"""optuna-dashboard for looking: it has no users, and so may change nothing here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna.storages import BaseStorage

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

LOOKING = frozenset({"GET", "HEAD", "OPTIONS"})


def dashboard(storage: BaseStorage) -> Application:
    """Return the dashboard of all studies in a storage, which answers 405 to what would change one."""
    from optuna_dashboard import wsgi

    return read_only(wsgi(storage))


def read_only(app: Application) -> Application:
    """Refuse what is more than looking."""

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in LOOKING:
            start_response("405 Method Not Allowed", [("Content-Type", "text/plain"), ("Allow", "GET, HEAD")])
            return [b"this dashboard is for looking: change the HPOStudy\n"]
        return app(environ, start_response)

    return guarded


def serve(app: Application, host: str, port: int) -> WSGIServer:
    """Return the server, listening; `serve_forever` and `shutdown` are the caller's. Port 0 takes a free one."""
    return make_server(host, port, app, _Server, _Quiet)  # type: ignore[arg-type]


class _Server(ThreadingMixIn, WSGIServer):
    """A browser asks for several things at a time."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """No line for each request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""
