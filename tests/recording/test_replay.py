"""A recording, replayed by a `LocalServer`: a client gets what was recorded."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from recorded import read_whole
from support import KEY, until_sync
from support.raw_server import Raw, ScriptedServer

from fal_realtime import ConnectionClosedError, RealtimeError, SyncRealtimeClient
from fal_realtime.testing import LocalServer

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two requests to an app that answers with what nobody else would."""
    path = tmp_path / "session.mcap"
    with LocalServer() as server, server.sync_client() as client:

        @server.app("me/secret")
        def secret(given: Any) -> Any:
            return {"said": f"secret of {given['n']}", "request_id": given["request_id"]}

        with client.connect("me/secret") as connection, connection.record(path):
            for n in (1, 2):
                connection.request({"n": n}, timeout=30)
    return path


@pytest.mark.parametrize("timing", ["recorded", "immediate", 0.5])
def test_answers_are_the_recorded_ones_with_the_ids_of_the_requests(recording: Path, timing: Any) -> None:
    with LocalServer() as server, server.sync_client() as client:
        assert server.replay(recording, timing=timing) == "me/secret"
        for _ in range(2):  # each connection gets the session
            with client.connect("me/secret") as connection:
                for n in (1, 2):
                    own = {"n": n, "request_id": f"an id of its own, and longer: {n}"}
                    answer = connection.request(own, timeout=30)
                    assert answer == {"said": f"secret of {n}", "request_id": own["request_id"]}


async def test_it_is_served_under_another_name_and_before_the_start(recording: Path) -> None:
    server = LocalServer()
    assert server.replay(recording, app="other/app") == "other/app"
    async with server, server.client().connect("other/app") as connection:
        assert (await connection.request({"n": 1}, timeout=30))["said"] == "secret of 1"


def test_an_input_that_differs_is_logged_or_refused(recording: Path, caplog: pytest.LogCaptureFixture) -> None:
    with LocalServer() as server, server.sync_client() as client:
        server.replay(recording, timing="immediate")
        server.replay(recording, timing="immediate", app="me/strict", strict=True)
        with client.connect("me/secret") as connection:
            assert connection.request({"n": 7}, timeout=30)["said"] == "secret of 1"
        until_sync(lambda: "input 1 of a replayed session: it is not the recorded one" in caplog.text, "logged")
        with client.connect("me/strict") as connection:
            connection.request({"n": 1}, timeout=30)
            with pytest.raises(RealtimeError, match=r"REPLAY_MISMATCH: input 2 .* not the recorded one"):
                connection.request({"n": 1}, timeout=30)
        assert [record.levelno for record in caplog.records if record.name == "fal_realtime.testing"] == [
            logging.WARNING
        ]


@pytest.mark.parametrize(("code", "reason"), [(1000, "enough"), (4001, "enough"), (None, "")])
def test_a_close_of_the_server_is_replayed_with_its_code_and_reason(
    tmp_path: Path, code: int | None, reason: str
) -> None:
    path = tmp_path / "closed.mcap"

    def ends(client: SyncRealtimeClient, record: bool) -> tuple[int | None, str | None]:
        """How a session ended in which the first input was answered."""
        with client.connect("local/echo", raw=True, path="/realtime", reconnect=None) as connection:
            if record:
                connection.record(path)
            connection.send(b"\x81\xa1n\x01")
            assert connection.recv(timeout=30) == b"\x81\xa1n\x01"
            with pytest.raises(ConnectionClosedError):
                connection.recv(timeout=30)
            return connection.close_code, connection.close_reason

    with LocalServer() as server, server.sync_client() as client:
        server.close_after(1, code, reason)
        recorded = ends(client, record=True)
        # Without a close frame it is 1006 to the client, whatever it says beside that.
        assert recorded[0] == (1006 if code is None else code)
    with LocalServer() as server, server.sync_client() as client:
        server.replay(path, timing="immediate")
        replayed = ends(client, record=False)
    assert replayed[0] == recorded[0]
    if code is not None:
        assert replayed == recorded == (code, reason)


def test_a_close_frame_without_a_code_is_recorded_and_replayed_as_one(tmp_path: Path) -> None:
    path = tmp_path / "closed.mcap"

    def script(peer: Raw) -> None:
        peer.answer()
        peer.say(b"\x88\x00")
        peer.linger()

    def close_code(client: SyncRealtimeClient, *, record: bool) -> int | None:
        connection = client.connect("local/echo", raw=True, path="/realtime", reconnect=None, use_jwt=False)
        if record:
            connection.record(path)
        with connection, pytest.raises(ConnectionClosedError):
            connection.recv(timeout=30)
        return connection.close_code

    with ScriptedServer(script) as peer, SyncRealtimeClient(KEY, base_url=peer.url) as client:
        assert close_code(client, record=True) == 1005
    assert read_whole(path)[-1].event == {"event": "close", "session": 1, "by": "server", "code": 1005, "reason": ""}
    with LocalServer() as server, server.sync_client() as client:
        server.replay(path, timing="immediate")
        assert close_code(client, record=False) == 1005


def test_a_session_that_the_client_closed_stays_open_until_it_does_so_again(tmp_path: Path) -> None:
    path = tmp_path / "closed.mcap"
    with LocalServer() as server, server.sync_client() as client:
        connection = client.connect("local/echo")
        connection.record(path)
        connection.request({"n": 1}, timeout=30)
        connection.close(3001, "done")
    with LocalServer() as server, server.sync_client() as client:
        server.replay(path, timing="immediate", strict=True)
        with client.connect("local/echo") as connection:
            assert connection.request({"n": 1}, timeout=30)["n"] == 1
            # The session is still there to say that this is none of the recorded inputs.
            with pytest.raises(RealtimeError, match="REPLAY_MISMATCH"):
                connection.request({"n": 2}, timeout=30)


def test_a_file_that_is_cut_off_is_served_as_far_as_it_goes_and_others_are_refused(
    recording: Path, tmp_path: Path
) -> None:
    content = recording.read_bytes()
    (tmp_path / "cut.mcap").write_bytes(content[:-300])
    (tmp_path / "short.mcap").write_bytes(content[:40])
    (tmp_path / "other.mcap").write_bytes(b"something else")
    with LocalServer() as server, server.sync_client() as client:
        server.replay(tmp_path / "cut.mcap")
        with client.connect("me/secret") as connection:
            assert connection.request({"n": 1}, timeout=30)["said"] == "secret of 1"
        for name, why in [("short", "no recording of fal_realtime"), ("other", "not begin as an MCAP file")]:
            with pytest.raises(ValueError, match=why):
                server.replay(tmp_path / f"{name}.mcap")
        with pytest.raises(FileNotFoundError):
            server.replay(tmp_path / "nowhere.mcap")
        with pytest.raises(ValueError, match="timing"):
            server.replay(recording, timing="fast")  # type: ignore[arg-type]


def ends_of_records(content: bytes) -> list[int]:
    """Where the records of an MCAP file end."""
    ends = [8]
    while ends[-1] + 9 <= len(content):
        ends.append(ends[-1] + 9 + int.from_bytes(content[ends[-1] + 1 : ends[-1] + 9], "little"))
    return ends


def test_wherever_a_file_is_cut_off_it_is_served_or_that_is_said(recording: Path, tmp_path: Path) -> None:
    content, cut = recording.read_bytes(), tmp_path / "cut.mcap"
    outcomes: list[str] = []
    with LocalServer() as server:
        for end in sorted({*range(8, len(content), 41), *ends_of_records(content)[:4]}):
            cut.write_bytes(content[:end])
            try:
                outcomes.append(server.replay(cut))
            except ValueError as error:
                outcomes.append(str(error))
    assert sorted(set(outcomes), key=outcomes.index) == [
        f"{cut} is an MCAP file, but no recording of fal_realtime, or one that is cut off before it says so",
        f"{cut} has no session: it is cut off before the first one",
        "me/secret",
    ]


def test_a_file_that_was_damaged_is_served_or_refused_by_its_name(recording: Path, tmp_path: Path) -> None:
    content, damaged = recording.read_bytes(), tmp_path / "damaged.mcap"
    errors: list[ValueError] = []
    with LocalServer() as server:
        for place in range(len(content)):
            damaged.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
            try:
                server.replay(damaged, app="me/secret")
            except ValueError as error:
                errors.append(error)
    assert {type(error) for error in errors} == {ValueError}  # no kind of it, such as what a decoder raises
    assert all(str(error).startswith(f"{damaged} ") for error in errors)
    for kind in ("KeyError", "UnicodeDecodeError"):
        assert any(f"is damaged: a record cannot be read ({kind}: " in str(error) for error in errors)


def test_a_marker_lets_the_fixture_replay_a_file_beside_the_test(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "test_marked.py").write_text(
        """
import pytest

@pytest.mark.fal_replay("session.mcap", strict=True)
def test_marked(fal_local_server):
    with fal_local_server.sync_client() as client, client.connect("me/secret") as connection:
        assert connection.request({"n": 1}, timeout=30)["said"] == "secret of 1"
"""
    )
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", "test_marked.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=55, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_marker_without_a_path_says_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "test_marked.py").write_text(
        """
import pytest

@pytest.mark.fal_replay
def test_bare(fal_local_server): pass

@pytest.mark.fal_replay(strict=True)
def test_options(fal_local_server): pass

@pytest.mark.fal_replay(path=b"session.mcap")
def test_bytes(fal_local_server): pass
"""
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_marked.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=55, check=False)
    told = "the marker fal_replay needs the path of a recording, as in fal_replay('session.mcap'), not "
    assert run.stdout.count(told) >= 3, run.stdout + run.stderr
