"""`batch.run`: each input has one outcome in the journal, and a batch that was stopped goes on where it was."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pytest
from msgpack import Timestamp
from support import LIMIT, Peer, Session

from fal_realtime import (
    AuthenticationError,
    ConnectionClosedError,
    FalRealtimeError,
    HandshakeError,
    ReconnectPolicy,
    SyncRealtimeClient,
    msgpack,
)
from fal_realtime.batch import JournalError, Record, Summary, results, run, run_sync
from fal_realtime.batch._journal import Journal
from fal_realtime.testing import LocalServer

QUICK = ReconnectPolicy(initial_delay=0.01, max_delay=0.05)


@pytest.fixture
def server():
    with LocalServer() as running:
        yield running


@pytest.fixture
def journal(tmp_path) -> Path:
    return tmp_path / "numbers.journal"


class App:
    """Serves `me/app`, which counts how often it was asked for each number, and refuses some."""

    def __init__(self, server: LocalServer) -> None:
        self.asked = Counter()
        self.refused = set()
        self.most = 10**9
        """From so many on it answers no more, until there may be more."""
        self.client = server.client()

        @server.app("me/app")
        async def handler(message):
            self.asked[message["n"]] += 1
            while len(self.asked) > self.most:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            if message["n"] in self.refused:
                raise ValueError(message["n"])
            return {**message, "twice": 2 * message["n"], "image": b"\xff\x00"}

    async def was_asked(self, count: int) -> None:
        """Wait until it was asked for so many numbers."""
        while len(self.asked) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    async def run(self, inputs, journal, **options) -> Summary:
        return await run("me/app", inputs, journal=journal, client=self.client, **{"reconnect": QUICK, **options})


@pytest.fixture
def app(server) -> App:
    return App(server)


def numbers(count: int) -> list[dict]:
    return [{"n": n} for n in range(count)]


def adds_up(summary: Summary) -> Summary:
    assert summary.read == summary.known + summary.ok + summary.failed + summary.left + summary.in_flight, summary
    return summary


# --- outcomes ---


async def test_each_input_has_one_outcome_in_the_order_of_the_inputs(app, journal):
    summary = await app.run(numbers(50), journal)
    assert (summary.read, summary.ok, summary.failed, summary.total) == (50, 50, 0, 50)
    records = list(results(journal))
    assert [record.id for record in records] == list(range(50))
    assert [record.unwrap()["twice"] for record in records] == [2 * n for n in range(50)]
    assert records[0].result["image"] == b"\xff\x00"
    assert all(record.attempts == 1 and record.latency > 0 for record in records)


async def test_an_error_is_an_outcome_too(app, journal):
    app.refused = {3, 7}
    summary = await app.run(numbers(10), journal)
    assert (summary.ok, summary.failed, summary.left) == (8, 2, 0)
    failed = [record for record in results(journal) if not record.ok]
    assert [record.id for record in failed] == [3, 7]
    assert failed[0].error.startswith("RealtimeError: INTERNAL_ERROR")
    with pytest.raises(FalRealtimeError, match="INTERNAL_ERROR"):
        failed[0].unwrap()


async def test_what_cannot_be_encoded_is_an_outcome_and_is_known_again(app, journal):
    for known in (0, 2):
        summary = await app.run([{"n": 1}, {"n": object()}], journal)
        assert summary.known == known
    assert [record.ok for record in results(journal)] == [True, False]


@dataclass
class Holder:
    n: int = 1


class Unreadable(Holder):
    def __getattribute__(self, name):
        if name == "n":
            raise RuntimeError(name)
        return super().__getattribute__(name)


async def test_what_raises_while_it_is_encoded_is_an_outcome_of_that_input_alone(app, journal):
    for known in (0, 3):
        summary = await app.run([{"n": 1}, {"n": Unreadable()}, {"n": 3}], journal)
        assert (summary.known, summary.left) == (known, 0)
    assert [record.error for record in results(journal)] == [None, "RuntimeError: n", None]


async def test_dates_come_back_as_a_request_gives_them(server, app, journal):
    @server.app("me/clock")
    async def clock(message):
        return {"at": Timestamp(5), "request_id": message["request_id"]}

    async with app.client.connect("me/clock") as connection:
        result = await connection.request({}, timeout=LIMIT)
    await run("me/clock", [{}], journal=journal, client=app.client)
    (record,) = results(journal)
    assert record.result["at"] == result["at"] == datetime.fromtimestamp(5, timezone.utc)


async def test_a_naive_date_is_kept_as_text(app, journal):
    def decode(message):
        return {**msgpack.decode(message), "at": datetime(2026, 1, 2)}  # noqa: DTZ001

    await app.run([{"n": 1}], journal, decode_message=decode)
    (record,) = results(journal)
    assert record.result["at"] == "2026-01-02T00:00:00"


async def test_a_key_is_what_an_input_is_known_by(app, journal):
    inputs = [{"n": n, "name": f"number {n}"} for n in range(6)]
    await app.run(inputs[:4], journal, key=lambda given: given["name"])
    summary = await app.run(reversed(inputs), journal, key=lambda given: given["name"])
    assert (summary.known, summary.ok) == (4, 2)
    assert {record.id: record.result["n"] for record in results(journal)} == {f"number {n}": n for n in range(6)}
    assert set(app.asked.values()) == {1}


async def test_the_inputs_may_come_asynchronously(app, journal):
    async def given():
        for message in numbers(20):
            await asyncio.sleep(0)
            yield message

    summary = await app.run(given(), journal)
    assert (summary.ok, summary.total) == (20, None)


def test_it_runs_without_an_event_loop(server, app, journal):
    assert run_sync("me/app", numbers(5), journal=journal, client=app.client).ok == 5


async def test_the_accounts_hold_at_each_step(app, journal):
    app.refused = {5, 6}
    steps = []
    await app.run(numbers(60), journal, size=2, on_progress=lambda summary: steps.append(adds_up(summary)))
    assert steps[-1].journal_ok == 58
    assert [step.ok for step in steps] == sorted(step.ok for step in steps)
    assert max(step.in_flight for step in steps) <= 2 * 2 + 1


# --- going on ---


async def test_what_is_done_is_not_repeated(app, journal):
    app.refused = {2}
    await app.run(numbers(10), journal)
    summary = await app.run(numbers(30), journal)
    assert (summary.read, summary.known, summary.ok, summary.failed) == (30, 10, 20, 0)
    assert (summary.journal_ok, summary.journal_failed) == (29, 1)
    assert set(app.asked.values()) == {1}


async def test_errors_are_asked_again_where_that_is_wanted(app, journal):
    app.refused = {2, 3}
    await app.run(numbers(10), journal)
    app.refused = {3}
    summary = await app.run(numbers(10), journal, retry_failed=True)
    assert (summary.known, summary.ok, summary.failed) == (8, 1, 1)
    assert (summary.journal_ok, summary.journal_failed) == (9, 1)
    assert [record.id for record in results(journal) if not record.ok] == [3]


async def test_a_request_id_of_ones_own_may_be_new_each_time(app, journal):
    for run_number in range(2):
        summary = await app.run([{"n": n, "request_id": f"{run_number}-{n}"} for n in range(5)], journal)
    assert summary.known == 5


PROGRAM = """
import json, sys
from fal_realtime import RealtimeClient
from fal_realtime.batch import run_sync

base_url, rest_url, key, journal, count = json.loads(sys.argv[1])
client = RealtimeClient(key, base_url=base_url, rest_url=rest_url, trust_env=False)
inputs = ({"n": n} for n in range(count))
run_sync("me/app", inputs, journal=journal, client=client, size=4)
"""


async def test_a_batch_that_is_killed_again_and_again_asks_only_what_was_under_way_twice(server, app, journal):
    count, kills = 600, 4
    told = json.dumps([server.base_url, server.rest_url, server.key, str(journal), count])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for kill in range(1, kills + 1):
        app.most = kill * count // (kills + 1)
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, told, env=environment)
        await app.was_asked(app.most + 1)
        process.kill()
        await process.wait()
        done = [record.id for record in results(journal)]
        assert len(done) == len(set(done)) <= len(app.asked)
    app.most = count
    summary = await app.run(({"n": n} for n in range(count)), journal, size=4)
    assert summary.known + summary.ok == count
    assert [record.id for record in results(journal)] == list(range(count))
    assert all(record.unwrap()["n"] == record.id for record in results(journal))
    twice = sum(app.asked.values()) - count
    assert len(app.asked) == count
    # At each kill four were being asked, and no more than eight were asked and not written down.
    assert kills <= twice <= kills * 8
    print(f"{count} inputs, {kills} kills: {twice} were asked twice")


async def test_no_more_is_asked_while_as_much_is_not_written_down(app, server, journal, monkeypatch):
    may_write = threading.Event()
    write = Journal.write
    monkeypatch.setattr(Journal, "write", lambda self, entries: may_write.wait(LIMIT) and write(self, entries))
    batch = asyncio.create_task(app.run(numbers(50), journal, size=2))
    await app.was_asked(4)
    async with server.client().connect("local/echo") as connection:
        for n in range(30):  # long enough for more to be asked
            await connection.request({"n": n}, timeout=LIMIT)
    assert len(app.asked) == 4
    may_write.set()
    assert (await batch).ok == 50


async def test_cancelling_keeps_what_is_done(server, app, journal):
    task = asyncio.create_task(app.run(numbers(100_000), journal))
    await app.was_asked(50)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}
    done = len(list(results(journal)))
    assert done >= 50 - 16
    await server.connections_reach(0)
    assert (await app.run(numbers(done), journal)).known >= done - 16


async def test_what_the_inputs_raise_comes_when_what_was_read_is_done(app, journal):
    def given():
        yield from numbers(7)
        raise KeyError

    with pytest.raises(KeyError):
        await app.run(given(), journal)
    assert len(list(results(journal))) == 7


# --- journals that will not do ---


async def test_the_journal_of_another_app_is_refused(app, journal):
    await app.run(numbers(3), journal)
    with pytest.raises(JournalError, match="is the journal of a batch of 'me/app', not of 'local/echo': give another"):
        await run("local/echo", numbers(3), journal=journal, client=app.client)
    assert len(list(results(journal))) == 3


async def test_one_without_an_outcome_is_anybodys(server, app, journal):
    with pytest.raises(HandshakeError, match="check the app id, and that the key may use that app, and run the same"):
        await run("me/mistyped", numbers(3), journal=journal, client=app.client)
    assert (await app.run(numbers(3), journal)).ok == 3


@pytest.mark.parametrize("done", [1, 5])
async def test_other_inputs_are_noticed_and_nothing_is_overwritten(app, journal, done):
    await app.run(numbers(done), journal)
    with pytest.raises(JournalError, match=r"input 0 \(id 0\) is not the one that has an outcome"):
        await app.run([{"n": 100 + n} for n in range(5)], journal)
    assert [record.result["n"] for record in results(journal)] == list(range(done))
    assert len(app.asked) == done


@pytest.mark.parametrize("size", [1, 8])
async def test_an_id_that_two_inputs_have_is_refused(app, journal, size):
    inputs = [{"n": n, "name": str(n % 5)} for n in range(10)]
    with pytest.raises(ValueError, match="two inputs have the id '0' \\(the second is input 5\\)"):
        await app.run(inputs, journal, size=size, key=lambda given: given["name"])
    assert len(list(results(journal))) == 5


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (lambda _: None, TypeError),
        (lambda _: True, TypeError),
        (lambda _: 2**70, ValueError),
        (lambda _: "\ud800", ValueError),
    ],
)
async def test_what_is_no_id_is_refused(app, journal, key, error):
    with pytest.raises(error, match=r"key (gave|must)"):
        await app.run(numbers(2), journal, key=key)


async def test_a_key_that_raises_names_the_input(app, journal):
    with pytest.raises(ValueError, match="key raised for input 1: KeyError: 'id'") as raised:
        await app.run([{"n": 0, "id": "a"}, {"n": 1}], journal, key=lambda given: given["id"])
    assert isinstance(raised.value.__cause__, KeyError)
    assert [record.id for record in results(journal)] == ["a"]


async def test_the_blocking_form_says_where_it_cannot_block(app, journal):
    with pytest.raises(RuntimeError, match=r"an event loop runs in this thread: await batch\.run"):
        run_sync("me/app", numbers(2), journal=journal, client=app.client)


async def test_two_batches_cannot_write_one_journal(app, journal):
    started = asyncio.Event()

    async def given():
        yield {"n": 0}
        started.set()
        await asyncio.sleep(60)

    first = asyncio.create_task(app.run(given(), journal))
    await started.wait()
    with pytest.raises(JournalError, match="another process has it open"):
        await app.run(numbers(3), journal)
    with pytest.raises(JournalError, match="another process has it open"):
        list(results(journal))
    command = [sys.executable, "-c", f"from fal_realtime.batch import results; list(results({str(journal)!r}))"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True, check=False)
    assert "another process has it open" in ran.stderr
    first.cancel()
    await asyncio.wait([first])
    assert (await app.run(numbers(3), journal)).ok >= 2


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\x00" + bytes(4000)])
async def test_a_file_that_is_no_journal_is_left_alone(app, journal, content):
    journal.write_bytes(content)
    with pytest.raises(JournalError, match="damaged, or no journal: move it away"):
        await app.run(numbers(3), journal)
    assert journal.read_bytes() == content


async def test_a_database_of_something_else_is_left_alone(app, journal):
    with contextlib.closing(sqlite3.connect(journal)) as database:
        database.execute("CREATE TABLE cats (name)")
    content = journal.read_bytes()
    with pytest.raises(JournalError, match="no journal of a batch"):
        await app.run(numbers(3), journal)
    assert journal.read_bytes() == content
    with pytest.raises(JournalError, match="no journal of a batch"):
        list(results(journal))


async def test_a_journal_that_was_damaged_is_told(app, journal):
    await app.run(({"n": n, "body": "x" * 3000} for n in range(40)), journal)
    content = bytearray(journal.read_bytes())
    content[4096:20_000] = os.urandom(20_000 - 4096)
    journal.write_bytes(content)
    with pytest.raises(JournalError, match="damaged"):
        await app.run(({"n": n, "body": "x" * 3000} for n in range(60)), journal)


@pytest.mark.parametrize("result", [b"\x81", b"\xc1", "text"])
async def test_a_result_that_was_damaged_is_told(app, journal, result):
    await app.run(numbers(3), journal)
    with contextlib.closing(sqlite3.connect(journal)) as database, database:
        database.execute("UPDATE outcomes SET result = ? WHERE id = 1", (result,))
    records = results(journal)
    assert next(records).id == 0
    with pytest.raises(JournalError, match=rf"the journal {journal}: the result of id 1 is damaged"):
        next(records)


@pytest.mark.parametrize("name", [":memory:", "file::memory:?cache=shared"])
async def test_a_name_that_sqlite_has_for_memory_is_that_of_a_file(app, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for known in (0, 3):
        assert (await app.run(numbers(3), name)).known == known
    assert len(list(results(name))) == 3
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("", ValueError),
        ("a\0b", ValueError),
        (None, TypeError),
        (b"a.journal", TypeError),
        (7, TypeError),
    ],
)
async def test_what_is_no_path_is_refused_before_anything_is_asked(server, path, error):
    with pytest.raises(error, match="journal must be the path of a file"):
        await run("local/echo", numbers(2), journal=path, client=server.client())
    with pytest.raises(error, match="journal must be the path of a file"):
        list(results(path))
    assert server.connections_total == 0


async def test_a_folder_that_does_not_exist_is_told(app, tmp_path):
    with pytest.raises(JournalError, match="does its folder exist"):
        await app.run(numbers(3), tmp_path / "nowhere" / "numbers.journal")
    with pytest.raises(JournalError, match="there is no journal"):
        list(results(tmp_path / "nowhere"))
    assert not app.asked


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_journal_that_may_not_be_written_is_told(app, what):
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder, "numbers.journal")
        asyncio.run(app.run(numbers(3), journal))
        before = journal.read_bytes()
        journal.chmod(0o444 if what == "file" else 0o666)
        Path(folder).chmod(0o777 if what == "file" else 0o555)
        with as_nobody(), pytest.raises(JournalError, match=r"check the rights|may it be written"):
            asyncio.run(app.run(numbers(6), journal))
        assert journal.read_bytes() == before
    assert len(app.asked) == 3


@contextlib.contextmanager
def as_nobody():
    """Without the rights of root, who may write anything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_a_full_disk_ends_the_batch_and_keeps_what_was_done(app, journal):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    inputs = [{"n": n, "body": "x" * 5000} for n in range(200)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        with pytest.raises(JournalError, match=r"the disk is full, or fails\. What was done before is kept"):
            await app.run(inputs, journal)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    done = len(list(results(journal)))
    assert 10 < done < 200
    summary = await app.run(inputs, journal)
    assert (summary.known, summary.ok) == (done, 200 - done)
    assert sum(app.asked.values()) - 200 <= 16


# --- apps that will not do ---


async def test_a_refused_key_is_told_and_nothing_is_written_down(server, app, journal):
    await app.run(numbers(3), journal)
    client = server.client(credentials="wrong:key")
    with pytest.raises(AuthenticationError, match=r"check the key.*keeps 3 results and 0 errors"):
        await run("me/app", numbers(6), journal=journal, client=client)
    assert len(list(results(journal))) == 3
    assert (await app.run(numbers(6), journal)).ok == 3


async def test_a_key_that_is_refused_in_the_middle_leaves_the_rest_for_later(server, app, journal):
    def given():
        for message in numbers(50):
            if message["n"] == 20:
                server.refuse(403)
                server.drop_connections()
            yield message

    with pytest.raises((AuthenticationError, HandshakeError), match="run the same again"):
        await app.run(given(), journal, size=2, use_jwt=False, idempotent=True)
    server.refuse(None)
    done = list(results(journal))
    assert 15 <= len(done) < 50
    summary = await app.run(numbers(50), journal, retry_failed=True)
    assert summary.journal_ok == 50


async def test_an_app_that_drops_each_session_ends_the_batch(journal):
    def drops(session: Session) -> None:
        session.recv()
        session.drop()

    with Peer(drops) as peer:
        with pytest.raises(ConnectionClosedError, match="given up after 5 sessions"):
            await run(
                "me/app", ({"n": n} for n in range(10_000)), journal=journal, client=peer.client(), reconnect=QUICK
            )
        assert len(peer.sessions) <= 8 * 5


# --- what is shown, and options ---


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_progress_is_shown_where_stderr_is_a_terminal(app, journal, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    await app.run(numbers(20), journal)
    assert "\r20/20 results  0 failed" in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")
    await app.run(iter(numbers(25)), journal)
    assert "\r25 results" in terminal.getvalue()


async def test_and_nowhere_else(app, journal, capsys):
    await app.run(numbers(20), journal)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"client": SyncRealtimeClient("a:b")}, TypeError),
        ({"key": 7}, TypeError),
        ({"on_progress": 7}, TypeError),
        ({"progress": 1}, TypeError),
        ({"retry_failed": 1}, TypeError),
        ({"size": 0}, ValueError),
        ({"retries": -1}, ValueError),
        ({"colour": "red"}, TypeError),
        ({"inputs": {"prompt": "a cat"}}, TypeError),
        ({"inputs": 7}, TypeError),
    ],
)
async def test_an_argument_that_is_not_accepted_is_refused_before_anything_is_asked(server, journal, options, error):
    arguments = {"inputs": numbers(2), "journal": journal, "client": server.client(), **options}
    with pytest.raises(error):
        await run("local/echo", **arguments)
    assert server.connections_total == 0


def test_a_record_says_what_it_is():
    assert Record("a", {"n": 1}).unwrap() == {"n": 1}
    assert not Record("a", None, "ValueError: no").ok
