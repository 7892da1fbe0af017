"""Servers without TLS and tokens, to compare with: `python -m headway.hpo.bench.plain calls|proxy PORT`."""

from __future__ import annotations

import os
import sys
import warnings

import optuna
from aiohttp import web

from headway.hpo.service.http import make_app
from headway.hpo.service.studies import Studies
from headway.hpo.storage import open_storage


class Anybody:
    """Whoever calls is the operator."""

    def is_operator(self, token: str) -> bool:
        """Say yes."""
        return True

    def known_operator(self, token: str) -> bool | None:
        """Say yes."""
        return True

    def is_driver(self, token: str, namespace: str, uid: str) -> bool:
        """Never asked."""
        return False

    def namespace(self, token: str) -> str | None:
        """Give no namespace: Optuna's protocol is not served here."""
        return None


def main() -> None:
    """Serve until killed: the service's calls, or Optuna's own proxy."""
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kind, port = sys.argv[1], int(sys.argv[2])
    storage = open_storage(os.environ["HEADWAY_STUDIES_STORAGE"])
    if kind == "calls":
        web.run_app(make_app(Studies(storage), Anybody()), host="localhost", port=port, access_log=None, print=None)
    else:
        optuna.storages.run_grpc_proxy_server(storage, host="localhost", port=port)


if __name__ == "__main__":
    main()
