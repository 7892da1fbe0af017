"""`headway studies`: what the chart's Deployment runs, and pictures of what it holds."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings

from headway.errors import UserError
from headway.extras import require

STORAGE = "HEADWAY_STUDIES_STORAGE"  # has the password: no argument, which everybody on the machine can read


def serve(options: argparse.Namespace) -> int:
    """Serve studies until SIGTERM. Raises UserError for what the user can mend."""
    _prepare()
    from headway.hpo.service import serve as service
    from headway.hpo.service.identity import Identity, ServiceAccounts, TokenFile, review_by_api_server
    from headway.hpo.service.tls import Pair

    identity: Identity
    if options.token_file is not None:
        identity = TokenFile(options.token_file)
    else:
        identity = ServiceAccounts(options.operator_account, review_by_api_server())
    calls = service.Address.read("--listen", options.listen)
    storage = service.Address.read("--grpc-listen", options.grpc_listen) if options.grpc_listen else None
    try:
        service.serve(_url(options.storage), calls, storage, Pair(options.tls_dir), identity)
    except OSError as error:
        raise UserError(f"{options.listen}: {error.strerror or error}: is the address free?") from None
    return 0


def dashboard(options: argparse.Namespace) -> int:
    """Serve optuna-dashboard until it is interrupted."""
    _prepare()
    from headway.hpo import dashboard as dashboards
    from headway.hpo.service.serve import Address, wait_for_storage

    where = Address.read("--listen", options.listen)
    app = dashboards.dashboard(wait_for_storage(_url(options.storage)))
    try:
        server = dashboards.serve(app, where.host, where.port)
    except OSError as error:
        raise UserError(f"--listen: {options.listen}: {error.strerror}: is the address free?") from None
    print(f"the dashboard is at http://{Address(where.host, server.server_port)}/", file=sys.stderr, flush=True)
    with server:
        server.serve_forever()
    return 0


def picture(options: argparse.Namespace) -> int:
    """Draw a study of a storage."""
    _prepare()
    import optuna

    from headway.hpo.plots import plot
    from headway.hpo.storage import open_storage

    storage = open_storage(_url(options.storage))
    names = [study.study_name for study in storage.get_all_studies()]
    name = options.study or (names[0] if len(names) == 1 else "")
    if name not in names:
        raise UserError(f"--study: found {name!r}: give one of {', '.join(names[:20]) or '(the storage has none)'}")
    if options.picture.suffix not in (".png", ".svg"):
        raise UserError(f"--picture: found {str(options.picture)!r}: give a .png or .svg file")
    try:
        plot(optuna.load_study(study_name=name, storage=storage), options.picture, name, "first objective")
    except OSError as error:
        raise UserError(f"--picture: {error.strerror}: {options.picture}") from None
    print(f"picture: {options.picture}")
    return 0


def _prepare() -> None:
    require("hpo")
    import optuna

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


def _url(given: str | None) -> str:
    url = given or os.environ.get(STORAGE, "")
    if not url:
        raise UserError(f"--storage: missing: give a URL, or set {STORAGE}: sqlite:///studies.db, or PostgreSQL's")
    return url
