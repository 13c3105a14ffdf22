"""The blocking client: every method, its timeouts, its threads, Ctrl-C, and what waiting costs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest
from support import LIMIT, OPTIONS, AppServer, until_sync
from websockets.server import ServerProtocol

import fal_realtime
from fal_realtime import (
    BufferFullError,
    ConnectionClosedError,
    DecodeError,
    EncodeError,
    RequestTimeoutError,
    SyncRealtimeClient,
    SyncRealtimeConnection,
)


@pytest.fixture(scope="module")
def peer() -> Iterator[AppServer]:
    with AppServer() as peer:
        yield peer


@pytest.fixture
def held() -> Iterator[AppServer]:
    """A peer that lets nobody in until it is released."""
    with AppServer() as peer:
        peer.hold()
        yield peer


@pytest.fixture
def connection(peer: AppServer) -> Iterator[SyncRealtimeConnection]:
    with peer.connect_sync() as connection:
        yield connection


def fill(connection: SyncRealtimeConnection) -> None:
    for _ in range(10_000):
        try:
            connection.send_nowait({"silent": True})
        except BufferFullError:  # noqa: PERF203 - this is what ends it
            return
    pytest.fail("the queue has no end")


def test_it_sends_receives_and_asks(connection: SyncRealtimeConnection) -> None:
    assert connection.state == "active"
    connection.send({"n": 0})
    connection.send_nowait({"n": 1})
    assert [connection.recv(timeout=60), connection.recv()] == [{"n": 0}, {"n": 1}]
    assert connection.request({"n": 2}, timeout=60)["n"] == 2
    assert connection.request({"n": 3, "request_id": "mine"}) == {"n": 3, "request_id": "mine"}
    connection.drain(timeout=60)
    stats = connection.stats()
    assert (stats["accepted"], stats["written"], stats["delivered"]) == (4, 4, 4)
    assert connection.app == "local/echo/realtime"


def test_it_opens_at_the_first_send(peer: AppServer) -> None:
    connection = peer.connect_sync()
    assert connection.state == "idle"
    connection.send({"n": 1})
    assert connection.recv(timeout=60) == {"n": 1}
    connection.close()
    connection.close()
    assert connection.state == "closed"
    with pytest.raises(ConnectionClosedError):
        connection.send({"n": 2})


def test_iteration_ends_when_the_connection_is_closed(peer: AppServer) -> None:
    with peer.connect_sync() as connection, ThreadPoolExecutor(1) as pool:
        connection.send({"count": 5})
        results = pool.submit(list, connection)
        until_sync(lambda: connection.stats()["delivered"] == 5, "all five")
        connection.close()
        assert results.result(5) == [{"n": n} for n in range(5)]


def test_a_coroutine_function_is_refused_for_a_connection_that_is_found_by_its_key_too(peer: AppServer) -> None:
    async def on_result(result: Any) -> None: ...

    client = peer.sync_client()
    connection = client.connect("local/echo", connection_key="key", **OPTIONS)
    with pytest.raises(TypeError, match=r"on_result is a coroutine function.*use RealtimeClient"):
        client.connect("local/echo", connection_key="key", on_result=on_result)
    connection.close()


async def answer_late(value: Any) -> Any:
    return value


def test_a_decoder_that_must_be_awaited_is_a_decode_error(peer: AppServer) -> None:
    with peer.connect_sync(decode_message=lambda message: partial(answer_late, message)()) as connection:
        connection.send({"n": 1})
        with pytest.raises(DecodeError, match=r"something to await.*use RealtimeClient"):
            connection.recv(timeout=60)
        with pytest.raises(DecodeError, match="something to await"):
            connection.request({"n": 2}, timeout=60)


def test_the_end_is_told_although_nobody_holds_the_connection_after_it(peer: AppServer) -> None:
    states: list[str] = []
    for count in range(1, 21):
        with peer.connect_sync(on_state_change=states.append):
            pass
        until_sync(lambda wanted=count: len(states) == 4 * wanted, "all four states")
        assert states[-2:] == ["closing", "closed"]


def test_a_callback_that_must_be_awaited_is_reported(peer: AppServer, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_value))
    with peer.connect_sync(on_result=lambda result: partial(answer_late, result)()) as connection:
        connection.send({"n": 1})
        until_sync(lambda: reported, "the report")
    assert isinstance(reported[0], TypeError)
    assert "on_result returned a coroutine" in str(reported[0])


def test_an_error_leaves_the_with_block_and_closes(peer: AppServer) -> None:
    with pytest.raises(EncodeError), peer.connect_sync() as connection:
        connection.send({"n": object()})
    assert connection.state == "closed"


def test_a_failed_opening_raises_and_closes(nobody: int) -> None:
    client = SyncRealtimeClient("id:secret", base_url=f"ws://127.0.0.1:{nobody}", trust_env=False)
    connection = client.connect("local/echo", use_jwt=False)
    with pytest.raises(fal_realtime.HandshakeError), connection:
        pytest.fail("it cannot open")
    assert connection.state == "closed"


def test_it_works_inside_of_a_running_event_loop(peer: AppServer) -> None:
    async def main() -> Any:
        with peer.connect_sync() as connection:
            return connection.request({"n": 1}, timeout=60)

    assert asyncio.run(main())["n"] == 1


TIMED: dict[str, Callable[[SyncRealtimeConnection, float], Any]] = {
    "recv": lambda connection, timeout: connection.recv(timeout=timeout),
    "request": lambda connection, timeout: connection.request({"silent": True}, timeout=timeout),
}


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize("timeout", [0, 0.12])
def test_its_timeouts_are_kept_by(name: str, timeout: float, connection: SyncRealtimeConnection) -> None:
    begin = time.monotonic()
    with pytest.raises(RequestTimeoutError) as raised:
        TIMED[name](connection, timeout)
    assert timeout <= time.monotonic() - begin < LIMIT
    assert isinstance(raised.value, TimeoutError)
    # Nothing is lost by it.
    assert connection.request({"n": 1}, timeout=60)["n"] == 1


@pytest.mark.parametrize("timeout", [0, 0.12])
def test_sending_and_draining_give_up_in_time_while_nothing_can_be_written(timeout: float, held: AppServer) -> None:
    connection = held.connect_sync()
    fill(connection)
    accepted = connection.stats()["accepted"]
    for operation in (lambda: connection.send({"n": 1}, timeout=timeout), lambda: connection.drain(timeout=timeout)):
        begin = time.monotonic()
        with pytest.raises(RequestTimeoutError):
            operation()
        assert timeout <= time.monotonic() - begin < LIMIT
    assert connection.stats()["accepted"] == accepted
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(connection.send, {"n": "last"})
        held.release()
        sending.result(5)
    connection.drain(timeout=60)
    assert connection.recv(timeout=60) == {"n": "last"}
    connection.close()


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_that_is_no_time_is_refused(timeout: float, connection: SyncRealtimeConnection) -> None:
    for operation in (connection.recv, connection.drain):
        with pytest.raises(ValueError, match="timeout"):
            operation(timeout=timeout)


def test_callbacks_run_in_one_thread_of_their_own_in_order(peer: AppServer) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="")
    variable.set("of connect")
    events: list[tuple[str, Any]] = []
    threads: set[str] = set()

    def note(kind: str) -> Callable[[Any], None]:
        def callback(value: Any) -> None:
            events.append((kind, value))
            threads.add(threading.current_thread().name)
            assert variable.get() == "of connect"

        return callback

    with peer.connect_sync(on_result=note("result"), on_state_change=note("state")) as connection:
        variable.set("changed")
        connection.send({"count": 200})
        until_sync(lambda: len(events) >= 202, "the results")
        with pytest.raises(RuntimeError, match="on_result"):
            connection.recv()
        assert connection.request({"n": 1}, timeout=60)["n"] == 1
    until_sync(lambda: events[-1] == ("state", "closed"), "the last state")
    assert [value["n"] for kind, value in events if kind == "result"] == list(range(200))
    states = [value for kind, value in events if kind == "state"]
    assert states == ["connecting", "active", "closing", "closed"]
    assert len(threads) == 1
    assert threading.current_thread().name not in threads


def test_a_callback_that_raises_is_reported_and_delivery_goes_on(
    peer: AppServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_value))
    came: list[int] = []

    def take(result: Any) -> None:
        came.append(result["n"])
        if result["n"] == 1:
            message = "of the callback"
            raise ValueError(message)

    with peer.connect_sync(on_result=take) as connection:
        connection.send({"count": 3})
        until_sync(lambda: len(came) == 3, "all three")
    assert [str(error) for error in reported] == ["of the callback"]


def test_a_callback_may_use_and_close_its_connection(peer: AppServer) -> None:
    done = threading.Event()

    def take(result: Any) -> None:
        if result["n"] < 5:
            connection.send({"n": result["n"] + 1})
        else:
            connection.close()
            done.set()

    connection = peer.connect_sync(on_result=take)
    connection.send({"n": 0})
    assert done.wait(10)
    assert connection.state == "closed"


def test_threads_share_one_connection(connection: SyncRealtimeConnection) -> None:
    def ask(worker: int) -> list[int]:
        return [connection.request({"worker": worker, "n": n}, timeout=20)["n"] for n in range(100)]

    def send(_: int) -> None:
        for n in range(100):
            connection.send({"plain": n})

    with ThreadPoolExecutor(12) as pool:
        asking = [pool.submit(ask, worker) for worker in range(4)]
        sending = [pool.submit(send, worker) for worker in range(4)]
        taking = [pool.submit(lambda: [connection.recv(timeout=20)["plain"] for _ in range(100)]) for _ in range(4)]
        assert [future.result(40) for future in asking] == [list(range(100))] * 4
        assert [future.result(40) for future in sending] == [None] * 4
        taken = [plain for future in taking for plain in future.result(40)]
    assert sorted(taken) == sorted(list(range(100)) * 4)


def test_closing_wakes_every_thread_that_waits(held: AppServer) -> None:
    connection = held.connect_sync()
    fill(connection)
    waiting: list[Callable[[], Any]] = [
        connection.recv,
        lambda: connection.send({"n": 1}),
        lambda: connection.request({"n": 1}),
        connection.open,
        connection.drain,
    ]
    outcomes: list[object] = []
    with ThreadPoolExecutor(len(waiting)) as pool:

        def wait(operation: Callable[[], Any]) -> None:
            try:
                outcomes.append(operation())
            except ConnectionClosedError as error:
                outcomes.append(error.code)

        futures = [pool.submit(wait, operation) for operation in waiting]
        until_sync(lambda: sum(future.running() for future in futures) == len(waiting), "all to wait")
        connection.close()
        for future in futures:
            future.result(5)
    assert outcomes == [1000] * len(waiting)


WAITS: dict[str, Callable[[SyncRealtimeConnection], Any]] = {
    "recv": lambda connection: connection.recv(timeout=1),
    "request": lambda connection: connection.request({"silent": True}, timeout=1),
    "request after an answered one": lambda connection: (
        connection.request({"n": 1}, timeout=60),
        connection.request({"silent": True}, timeout=1),
    ),
    "callbacks": lambda connection: (
        connection.set_callbacks(on_result=None, on_error=str, on_timings=str, on_state_change=str),
        time.sleep(1),
    ),
}


@pytest.mark.parametrize("name", WAITS)
def test_waiting_costs_no_processor_time_in(name: str, connection: SyncRealtimeConnection) -> None:
    progress = 0
    over = threading.Event()

    def others() -> None:
        nonlocal progress
        while not over.wait(0.01):
            progress += 1

    thread = threading.Thread(target=others)
    thread.start()
    try:
        start, begin = time.monotonic(), time.process_time()
        with contextlib.suppress(RequestTimeoutError):
            WAITS[name](connection)
        assert time.monotonic() - start > 0.9
        spent = time.process_time() - begin
    finally:
        over.set()
        thread.join()
    assert spent < 0.25, f"{spent:.3f} s of processor time in a wait of one second"
    assert progress > 20, "other threads could not run"


CALLS = {
    "open": "held.open()",
    "entering": "held.__enter__()",
    "send": "fill(held); ready(); held.send({'n': 1})",
    "request": "connection.open(); ready(); connection.request({'silent': True})",
    "request before the opening": "held.request({'n': 1})",
    "recv": "connection.open(); ready(); connection.recv()",
    "recv with a timeout": "connection.open(); ready(); connection.recv(timeout=100)",
    "iteration": "connection.open(); ready(); list(connection)",
    "drain": "held.send({'n': 1}); ready(); held.drain()",
    "close": "mute.open(); ready(); mute.close()",
}


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process there")
@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c_interrupts(call: str, peer: AppServer, held: AppServer) -> None:
    program = f"""
        import threading, time
        from fal_realtime import BufferFullError, SyncRealtimeClient
        def connect(url, **options):
            client = SyncRealtimeClient("id:secret", base_url=url, trust_env=False)
            return client.connect("local/echo", use_jwt=False, throttle_interval=0, **options)
        def fill(connection):
            try:
                while True: connection.send_nowait({{"n": 0}})
            except BufferFullError: pass
        def ready(): print("ready", flush=True)
        connection, held, mute = connect("{peer.url}"), connect("{held.url}"), connect(MUTE, close_timeout=100)
        {"" if "ready" in CALLS[call] else "ready()"}
        try:
            {CALLS[call]}
        except KeyboardInterrupt:
            print(time.monotonic(), flush=True)
    """
    with MutePeer() as mute:
        source = textwrap.dedent(program).replace("MUTE", repr(mute.url))
        process = subprocess.Popen(
            [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            # There is no way to see from outside that the call has begun to wait.
            time.sleep(0.1)
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
    assert not errors
    assert process.returncode == 0
    assert float(output) - sent < 1


class MutePeer:
    """Opens WebSockets, and then neither reads nor closes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(accepted)
            protocol = ServerProtocol()
            protocol.receive_data(accepted.recv(65536))
            (request,) = protocol.events_received()
            protocol.send_response(protocol.accept(request))  # type: ignore[arg-type]
            for data in protocol.data_to_send():
                accepted.sendall(data)

    def __enter__(self) -> MutePeer:  # noqa: PYI034
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for accepted in self._sockets:
            accepted.close()
