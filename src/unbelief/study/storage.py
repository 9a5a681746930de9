"""Where trials are kept: Optuna's storages, chosen by what is written on the command line."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from unbelief.errors import RequestError

T = TypeVar("T")
_TRIES = 20
_JOURNALS = (".log", ".journal", ".jsonl")


def optuna() -> Any:
    """Optuna, quiet.

    Raises:
        RequestError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise RequestError(
            "a search needs Optuna, which is not installed",
            remedy="pip install 'unbelief[study]'",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def open_storage(where: str) -> Any:
    """Open a storage, making it where absent.

    Args:
        where: A file (`*.db`: SQLite; `*.log`, `*.journal`, `*.jsonl`: a journal, also for shared
            folders) or a URL (`postgresql://...`, `sqlite:///...`).

    Raises:
        RequestError: It cannot be opened.
    """
    package = optuna()
    path = Path(where).expanduser()
    try:
        if "://" not in where and path.suffix in _JOURNALS:
            path.parent.mkdir(parents=True, exist_ok=True)
            backend = package.storages.journal.JournalFileBackend(str(path))
            return package.storages.JournalStorage(backend)
        url = _with_driver(where)
        if "://" not in where:
            path.parent.mkdir(parents=True, exist_ok=True)
            url = f"sqlite:///{path.absolute()}"
        # Another process may hold SQLite's lock for a moment: wait instead of failing. A server's
        # connections are not kept between the trials, which take minutes.
        sqlite = url.startswith("sqlite")
        options = {"connect_args": {"timeout": 60}} if sqlite else {"poolclass": _null_pool()}
        return patiently(lambda: package.storages.RDBStorage(url, engine_kwargs=options))
    except (OSError, ImportError, ValueError) as error:
        raise _unusable(where, error) from error
    except Exception as error:
        if not _of_database(error):
            raise
        raise _unusable(where, error) from error


def _null_pool() -> Any:
    from sqlalchemy.pool import NullPool

    return NullPool


def _with_driver(url: str) -> str:
    """A PostgreSQL URL with the driver that is installed, where it names none.

    Without one SQLAlchemy looks for psycopg2.

    Raises:
        RequestError: Neither psycopg nor psycopg2 is installed.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("postgresql", "postgres"):
        return url
    for module in ("psycopg", "psycopg2"):
        if importlib.util.find_spec(module) is not None:
            return f"postgresql+{module}://{rest}"
    raise RequestError(
        "a search on PostgreSQL needs psycopg, which is not installed",
        where="--storage",
        remedy="pip install 'unbelief[postgres]'",
    )


def patiently(work: Callable[[], T]) -> T:
    """Do something with a database that other processes are using, again if it is busy.

    Two processes that make the tables of a new database at once, for example, collide.
    """
    for attempt in range(_TRIES):
        try:
            return work()
        except Exception as error:
            if not _of_database(error) or attempt == _TRIES - 1:
                raise
            time.sleep(0.05 * (attempt + 1))
    raise AssertionError("unreachable")


def this_machine() -> str:
    """A short name for this machine that says nothing about it."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:12]


def is_running(process: int) -> bool:
    """Whether a process of this machine is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _of_database(error: Exception) -> bool:
    """An error of SQLAlchemy, or Optuna's word for one."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"SQLAlchemyError", "StorageInternalError"})


def _unusable(where: str, error: Exception) -> RequestError:
    shown = where.split("@")[-1] if "@" in where else where  # no password in a message
    return RequestError(
        f"the storage {shown} cannot be opened: {str(error).splitlines()[0][:200]}",
        where="--storage",
        remedy="name a file ending in .db or .log, or a database URL that can be reached",
    )
