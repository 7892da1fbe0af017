"""Optuna's storage, opened so that it survives what happens to databases in a cluster."""

from __future__ import annotations

from typing import Any

import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage, get_storage

from headway.errors import UserError

BUSY_SECONDS = 30  # how long SQLite waits for another writer
KINDS = "sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"


def open_storage(url: str) -> BaseStorage:
    """Open a storage, making its tables where there are none. Raises UserError for a URL that is no database's."""
    kind = url.partition(":")[0].partition("+")[0]
    if kind == "sqlite":
        options: dict[str, Any] = {"connect_args": {"timeout": BUSY_SECONDS}}
    elif kind in ("postgresql", "postgres"):
        # Connections that a restart of the database has ended are made again; Optuna asks for that with MySQL only.
        options = {"pool_pre_ping": True}
        url = "postgresql+psycopg:" + url.partition(":")[2]
    else:
        raise UserError(f"storage {url!r}: give {KINDS}")
    try:
        storage = RDBStorage(url, engine_kwargs=options)
    except (sqlalchemy.exc.ArgumentError, ImportError) as error:
        raise UserError(f"storage: {error}: give {KINDS}") from None
    if kind == "sqlite":
        sqlalchemy.event.listen(storage.engine, "connect", _write_ahead)
    return get_storage(storage)


def study_id_of_trial(storage: BaseStorage, trial_id: int) -> int:
    """Return the id of the study that a trial belongs to, of a storage from `open_storage`. Raises KeyError.

    Optuna's interface does not tell. Not remembered: SQLite gives the ids of deleted trials again.
    """
    engine = storage._backend.engine  # type: ignore[attr-defined]
    with engine.connect() as connection:
        query = sqlalchemy.text("SELECT study_id FROM trials WHERE trial_id = :trial")
        found = connection.execute(query, {"trial": trial_id}).scalar()
    if found is None:
        raise KeyError("Record does not exist.")
    return int(found)


def _write_ahead(connection: Any, _record: Any) -> None:
    """Let others read while one writes."""
    connection.execute("PRAGMA journal_mode=WAL")
