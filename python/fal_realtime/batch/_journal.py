"""The file in which a batch keeps what is done: an SQLite database, written by one process at a time."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from fal_realtime import _checks as check, msgpack
from fal_realtime._exceptions import DecodeError

from ._errors import JournalError
from ._record import Record

if TYPE_CHECKING:
    from typing_extensions import Self

_APPLICATION = 0x66616C6A
"""Marks a database as a journal (`PRAGMA application_id`)."""

_FORMAT = 1
"""Of the tables (`PRAGMA user_version`)."""

_TABLES = """
CREATE TABLE job (app TEXT NOT NULL, begun REAL NOT NULL);
CREATE TABLE outcomes (
    id PRIMARY KEY NOT NULL, position INTEGER NOT NULL, input BLOB NOT NULL,
    result BLOB, error TEXT, attempts INTEGER NOT NULL, latency REAL NOT NULL, run REAL NOT NULL
);
CREATE INDEX by_position ON outcomes (position);
"""


class Known(NamedTuple):
    """What is known of an input that has an outcome."""

    input: bytes
    """Its fingerprint."""
    ok: bool
    run: float
    """The run in which it got it."""


class Entry(NamedTuple):
    """An outcome, as it is written."""

    id: int | str
    position: int
    input: bytes
    result: bytes | None
    error: str | None
    attempts: int
    latency: float


class Journal:
    """A journal that is open for a run. Nobody else can open it meanwhile; a process that dies lets go of it.

    Each call is one transaction: after a crash of the process it is there as a whole, or not at all. After one of the
    machine the newest ones may be missing.
    """

    def __init__(self, path: str | os.PathLike[str], app: str) -> None:
        """Open it, or make it.

        Raises:
            JournalError: It cannot be, or it is that of another app.
            ValueError: The path is empty, or holds a NUL.
            TypeError: It is no path.
        """
        self.path = path_of(path)
        self.run = time.time()
        # The loop looks up, a thread writes.
        self._lock = threading.Lock()
        if Path(self.path).exists() and not _may_be_written(self.path):
            message = f"the journal {self.path}: it cannot be written: check the rights of the file and its folder"
            raise JournalError(message)
        with _told(self.path):
            self._database = sqlite3.connect(
                _absolute(self.path), timeout=0, isolation_level=None, check_same_thread=False
            )
        try:
            with _told(self.path):
                self._prepare(app)
                self.ok, self.failed = self._counts()
                (self._last,) = self._database.execute("SELECT max(position) FROM outcomes").fetchone()
        except BaseException:
            self._database.close()
            raise

    def _prepare(self, app: str) -> None:
        run = self._database.execute
        # The lock is held from the first access to the end; the log next to the file needs no shared memory then.
        run("PRAGMA locking_mode = EXCLUSIVE")
        (application,) = run("PRAGMA application_id").fetchone()
        (tables,) = run("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != _APPLICATION:
            message = f"{self.path} is a database, but no journal of a batch: give another path"
            raise JournalError(message)
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run("BEGIN EXCLUSIVE")
        if not tables:
            for statement in _TABLES.split(";"):
                run(statement)
            run(f"PRAGMA application_id = {_APPLICATION}")
            run(f"PRAGMA user_version = {_FORMAT}")
            run("INSERT INTO job VALUES (?, ?)", (app, self.run))
        run("COMMIT")
        (found,) = run("PRAGMA user_version").fetchone()
        if found != _FORMAT:
            message = f"{self.path} has the format {found}, which this version does not know (it knows {_FORMAT})"
            raise JournalError(message)
        (other,) = run("SELECT app FROM job").fetchone()
        if other != app:
            if any(self._counts()):
                message = (
                    f"{self.path} is the journal of a batch of {other!r}, not of {app!r}: give another path for this "
                    "one, or remove the file if its results are not needed"
                )
                raise JournalError(message)
            run("UPDATE job SET app = ?", (app,))

    def _counts(self) -> tuple[int, int]:
        query = "SELECT count(*) FILTER (WHERE error IS NULL), count(*) FILTER (WHERE error IS NOT NULL) FROM outcomes"
        ok, failed = self._database.execute(query).fetchone()
        return ok, failed

    def may_know(self, position: int) -> bool:
        """Whether an input at this place can have an outcome of an earlier run."""
        return self._last is not None and position <= self._last

    def find(self, id: int | str) -> Known | None:
        """What is known of an input, or None where it has no outcome.

        Raises:
            JournalError: It cannot be read.
        """
        with self._lock, _told(self.path):
            row = self._database.execute(
                "SELECT input, error IS NULL, run FROM outcomes WHERE id = ?", (id,)
            ).fetchone()
        return None if row is None else Known(row[0], bool(row[1]), row[2])

    def write(self, entries: Sequence[Entry]) -> None:
        """Keep these outcomes, all or none; they take the place of earlier ones of the same ids.

        Raises:
            JournalError: They cannot be written.
        """
        statement = "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        with self._lock, _told(self.path):
            self._database.execute("BEGIN")
            try:
                self._database.executemany(statement, [(*entry, self.run) for entry in entries])
                self._database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # some errors have ended the transaction
                    self._database.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Let go of it; what was written is in the one file then."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def path_of(journal: object) -> str:
    """The path of a journal as it was given.

    Raises:
        ValueError: It is empty, or holds a NUL.
        TypeError: It is no path, or one of bytes.
    """
    name, expected = "journal", "the path of a file: a str or an os.PathLike of str"
    check.instance(name, journal, (str, os.PathLike), expected)
    path = os.fspath(cast("str | os.PathLike[str]", journal))
    check.instance(name, path, str, expected)
    if not path or "\0" in path:
        message = f"{name} must be {expected}, {'not empty' if not path else f'without a NUL, not {path!r}'}"
        raise ValueError(message)
    return path


def _absolute(path: str) -> str:
    """What SQLite is given: some relative names, such as `:memory:`, are no files there."""
    return str(Path(path).absolute())


def _may_be_written(path: str) -> bool:
    """Whether the rights allow it. SQLite says of a file that may only be read that the disk fails, or nothing."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def results(journal: str | os.PathLike[str]) -> Iterator[Record]:
    """Read a journal: what it holds of each input, in the order of the inputs. Not while a batch writes it.

        for record in batch.results("cats.journal"):
            save(record.id, record.unwrap())

    Raises:
        JournalError: It cannot be read, in the first step; or one of its results cannot.
        ValueError: The path is empty, or holds a NUL; in the first step, as what follows.
        TypeError: It is no path.
    """
    path = path_of(journal)
    if not Path(path).is_file():
        message = f"there is no journal {path}: the path is that which `run` was given"
        raise JournalError(message)
    with _told(path), contextlib.closing(sqlite3.connect(_absolute(path), timeout=0)) as database:
        (application,) = database.execute("PRAGMA application_id").fetchone()
        if application != _APPLICATION:
            message = f"{path} is a database, but no journal of a batch"
            raise JournalError(message)
        query = "SELECT id, result, error, attempts, latency FROM outcomes ORDER BY position"
        for id, result, error, attempts, latency in database.execute(query):
            yield Record(id, None if result is None else _decoded(result, path, id), error, attempts, latency)


def _decoded(result: object, path: str, id: int | str) -> Any:
    try:
        return msgpack.decode(cast("bytes", result))
    except (DecodeError, TypeError) as error:
        message = (
            f"the journal {path}: the result of id {id!r} is damaged ({error}): remove its row of the table outcomes, "
            "and the next run asks for it anew"
        )
        raise JournalError(message) from error


_ADVICE = (
    (("locked",), "another process has it open, such as the same batch: wait for it, or end it"),
    (("not a database", "malformed"), "it is damaged, or no journal: move it away, and the batch begins anew"),
    (("readonly",), "it cannot be written: check the rights of the file and its folder"),
    (("unable to open",), "it cannot be opened: does its folder exist, and may it be written?"),
    (
        ("full", "disk i/o"),
        "the disk is full, or fails. What was done before is kept: make room, and run the same again",
    ),
)
"""What to do, by words of SQLite's messages; its codes are not there in all versions of Python."""


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """Tell SQLite's errors in words that say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        said = str(error)
        advice = next((advice for words, advice in _ADVICE if any(word in said.lower() for word in words)), None)
        message = f"the journal {path}: {said}" if advice is None else f"the journal {path}: {advice} ({said})"
        raise JournalError(message) from error
