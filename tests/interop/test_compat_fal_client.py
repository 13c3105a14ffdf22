"""The same scripts with the real `fal-client` and with its stand-in, against the real fal and against `LocalServer`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import inspect
import json
import pickle
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from support import Answer, Peer, Session
from websockets.sync.server import serve

from fal_realtime import HandshakeError, msgpack
from fal_realtime.compat import fal_client as stand_in
from fal_realtime.testing import LocalServer

pytestmark = [
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("fal", "uvicorn", "fal_client")),
        reason="NOT TESTED beside fal-client: fal, uvicorn or fal-client is missing",
    ),
]

KEY = "key-id:key-secret"
APP = "local/differential"

RUNS = 3
"""On a busy machine an app may give up a session before it has come to the input; what differs, differs each time."""

Transcript = list[Any]
Script = Callable[[Any], Transcript]
AsyncScript = Callable[[Any], Awaitable[Transcript]]

SCRIPTS: dict[str, Script] = {}
ASYNC_SCRIPTS: dict[str, AsyncScript] = {}


def script(function: Script) -> Script:
    """Takes a `SyncClient`."""
    SCRIPTS[function.__name__] = function
    return function


def async_script(function: AsyncScript) -> AsyncScript:
    """Takes an `AsyncClient`."""
    ASYNC_SCRIPTS[function.__name__] = function
    return function


def raised(error: Exception) -> tuple[Any, ...]:
    """What a program can tell of an error."""
    if type(error).__name__ == "RealtimeError":
        assert isinstance(error, RuntimeError)
        details: Any = error
        if details.error == "CONNECTION_CLOSED":  # the words after it are those of the library below
            return ("RealtimeError", details.error)
        return ("RealtimeError", str(error), details.error, details.reason, details.payload)
    return (type(error).__name__,)


def received(connection: Any, most: int = 20) -> Transcript:
    """What `recv` gives or raises, to the normal end."""
    seen: Transcript = []
    while len(seen) < most:
        try:
            seen.append(connection.recv())
        except RuntimeError as error:
            seen.append(raised(error))
            if "CONNECTION_CLOSED" in seen[-1]:
                break
        if seen[-1] is None:
            break
    return seen


async def received_async(connection: Any, most: int = 20) -> Transcript:
    seen: Transcript = []
    while len(seen) < most:
        try:
            seen.append(await connection.recv())
        except RuntimeError as error:
            seen.append(raised(error))
            if "CONNECTION_CLOSED" in seen[-1]:
                break
        if seen[-1] is None:
            break
    return seen


@script
def a_result_and_the_end_by_idling(client: Any) -> Transcript:
    with client.realtime(APP, path="/describe", use_jwt=False) as connection:
        connection.send({"prompt": "a cat", "bytes": b"\x00\xff"})
        return received(connection)


@script
def results_in_order(client: Any) -> Transcript:
    with client.realtime(APP, path="describe", use_jwt=False) as connection:
        seen = []
        for n in range(20):
            connection.send({"n": n})
            seen.append(connection.recv())
        return seen


@script
def a_stream_and_its_end(client: Any) -> Transcript:
    with client.realtime(APP, path="/order-roomy", use_jwt=False) as connection:
        connection.send({"count": 5})
        return received(connection)


@script
def a_stream_of_inputs(client: Any) -> Transcript:
    with client.realtime(APP, path="/typed-stream", use_jwt=False) as connection:
        for word in ("one", "two", "three"):
            connection.send({"prompt": word})
        return received(connection)


@script
def an_error_of_the_app_and_what_follows(client: Any) -> Transcript:
    with client.realtime(APP, path="/typed", use_jwt=False) as connection:
        connection.send({"prompt": "a cat", "steps": 99})
        return received(connection)


@script
def an_error_in_the_middle_of_a_stream(client: Any) -> Transcript:
    with client.realtime(APP, path="/raise-in-a-stream", use_jwt=False) as connection:
        connection.send({"raise": "ValueError", "text": "boom"})
        return received(connection)


@script
def idle_without_any_input(client: Any) -> Transcript:
    with client.realtime(APP, path="/describe", use_jwt=False) as connection:
        return received(connection)


@script
def left_early(client: Any) -> Transcript:
    with client.realtime(APP, path="/order-roomy", use_jwt=False) as connection:
        connection.send({"count": 10})
        return [connection.recv()]


@script
def left_by_an_exception(client: Any) -> Transcript:
    try:
        with client.realtime(APP, path="/describe", use_jwt=False) as connection:
            connection.send({"n": 1})
            connection.recv()
            raise KeyError("mine")  # noqa: EM101, TRY301 - what any program raises
    except KeyError as error:
        return [repr(error)]


@script
def recv_after_close(client: Any) -> Transcript:
    with client.realtime(APP, path="/describe", use_jwt=False) as connection:
        connection.send({"n": 1})
        first = connection.recv()
        connection.close()
        connection.close()
        return [first, connection.recv()]


@script
def its_own_codec(client: Any) -> Transcript:
    def encode(value: Any) -> bytes:
        seen.append(("encode", value))
        return b"\x81\xa1n" + bytes([value])

    def decode(data: bytes) -> Any:
        return type(data).__name__, len(data)

    seen: Transcript = []
    with client.realtime(
        APP, path="/describe", use_jwt=False, encode_message=encode, decode_message=decode
    ) as connection:
        connection.send(7)
        return seen + received(connection)


@script
def a_buffer_for_the_server(client: Any) -> Transcript:
    with client.realtime(APP, path="/describe", use_jwt=False, max_buffering=60) as connection:
        connection.send({"n": 1})
        return [connection.recv()]


@script
def a_buffer_that_is_too_large(client: Any) -> Transcript:
    try:
        with client.realtime(APP, path="/describe", use_jwt=False, max_buffering=61):
            return ["opened"]
    except ValueError as error:
        return raised(error)[:1]  # type: ignore[return-value]


@script
def frames_as_they_are(client: Any) -> Transcript:
    with client.ws_connect(f"{APP}/describe", use_jwt=False) as socket:
        socket.send(b"\x81\xa1n\x01")
        return [socket.recv()]


@script
def frames_as_they_are_with_a_path(client: Any) -> Transcript:
    with client.ws_connect(APP, path="/describe", use_jwt=False) as socket:
        socket.send(b"\x81\xa1n\x01")
        return [socket.recv(), *[json.loads(message) for message in socket]]


@script
def an_empty_path_adds_none(client: Any) -> Transcript:
    with client.realtime(f"{APP}/describe", path="", use_jwt=False) as connection:
        connection.send({"n": 1})
        return [connection.recv()]


@async_script
async def async_results_and_the_end_by_idling(client: Any) -> Transcript:
    async with client.realtime(APP, path="/describe", use_jwt=False) as connection:
        await connection.send({"prompt": "a cat"})
        return await received_async(connection)


@async_script
async def async_both_ways(client: Any) -> Transcript:
    async with client.realtime(APP, path="/bidi", use_jwt=False) as connection:
        for n in range(3):
            await connection.send({"n": n})
        await connection.send({"end": True})
        return await received_async(connection)


@async_script
async def async_an_error_of_the_app(client: Any) -> Transcript:
    async with client.realtime(APP, path="/raise", use_jwt=False) as connection:
        await connection.send({"raise": "ValueError", "text": "boom"})
        return await received_async(connection)


@async_script
async def async_left_early_and_closed_twice(client: Any) -> Transcript:
    async with client.realtime(APP, path="/order-roomy", use_jwt=False) as connection:
        await connection.send({"count": 10})
        first = await connection.recv()
        await connection.close()
        return [first]


@async_script
async def async_with_a_timeout_around_recv(client: Any) -> Transcript:
    async with client.realtime(APP, path="/burst-1", use_jwt=False) as connection:
        await connection.send({"n": 1, "delay": 0.2})
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(connection.recv(), 0.01)
        return [await asyncio.wait_for(connection.recv(), 20)]


@async_script
async def async_frames_as_they_are(client: Any) -> Transcript:
    async with client.ws_connect(f"{APP}/describe", use_jwt=False) as socket:
        await socket.send(b"\x81\xa1n\x01")
        return [await socket.recv(), *[json.loads(message) async for message in socket]]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[str, str]]:
    from differential.compare import local_server  # noqa: PLC0415
    from differential.transcripts import real_server  # noqa: PLC0415

    with real_server() as real, local_server() as local:
        yield real, local


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The real fal-client, with its addresses on this machine."""
    import fal_client.client as real_module  # noqa: PLC0415

    monkeypatch.setattr("logging.root.manager.disable", 50)  # the tracebacks of handlers that fail on purpose

    def at(url: str) -> Any:
        monkeypatch.setattr(real_module, "REALTIME_URL_FORMAT", f"{url}/")
        return real_module

    return at


def are_alike(transcripts: list[Transcript]) -> bool:
    return all(transcript == transcripts[0] for transcript in transcripts)


def test_there_are_scripts_enough() -> None:
    assert len(SCRIPTS) + len(ASYNC_SCRIPTS) >= 15


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_sees_the_same(name: str, servers: tuple[str, str], at: Any) -> None:
    for _ in range(RUNS):
        transcripts = [
            SCRIPTS[name](client)
            for url in servers
            for client in (
                at(url).SyncClient(key=KEY),
                stand_in.SyncClient(key=KEY, base_url=url, trust_env=False),
            )
        ]
        if are_alike(transcripts):
            return
    assert transcripts[1:] == transcripts[:1] * 3


@pytest.mark.parametrize("name", ASYNC_SCRIPTS)
async def test_an_async_script_sees_the_same(name: str, servers: tuple[str, str], at: Any) -> None:
    for _ in range(RUNS):
        transcripts = [
            await ASYNC_SCRIPTS[name](client)
            for url in servers
            for client in (
                at(url).AsyncClient(key=KEY),
                stand_in.AsyncClient(key=KEY, base_url=url, trust_env=False),
            )
        ]
        if are_alike(transcripts):
            return
    assert transcripts[1:] == transcripts[:1] * 3


def test_a_token_is_requested_in_the_same_way(monkeypatch: pytest.MonkeyPatch, at: Any) -> None:
    with LocalServer(key=KEY) as server:
        server.serve_builtin("local/echo", "echo")
        module = at(server.base_url)
        monkeypatch.setattr(module, "REST_URL", server.rest_url)
        clients = (
            module.SyncClient(key=KEY),
            stand_in.SyncClient(key=KEY, base_url=server.base_url, rest_url=server.rest_url, trust_env=False),
        )
        for client in clients:
            with client.realtime("local/echo", token_expiration=77, max_buffering=3) as connection:
                connection.send({"n": 1})
                assert connection.recv() == {"n": 1}
        clients[0]._client.close()  # fal-client leaves that to the garbage collector
        theirs, ours = server.mints
        assert ours.body == theirs.body == {"allowed_apps": ["echo"], "token_expiration": 77}
        opened = [(handshake.path, {**handshake.query, "fal_jwt_token": "…"}) for handshake in server.requests]
        assert opened[0] == opened[1]


def test_a_broken_connection_is_the_same_error(at: Any) -> None:
    with LocalServer(key=KEY) as server:
        server.serve_builtin("local/echo", "echo")
        clients = (at(server.base_url).SyncClient(key=KEY), stand_in.SyncClient(KEY, base_url=server.base_url))
        for client in clients:
            with client.realtime("local/echo", use_jwt=False) as connection:
                connection.send({"n": 1})
                connection.recv()
                server.close_all(1011, "GPU out of memory")
                assert received(connection) == [("RealtimeError", "CONNECTION_CLOSED")]


def test_names_and_arguments_are_the_same(at: Any) -> None:
    import fal_client  # noqa: PLC0415

    assert at("ws://127.0.0.1:1")
    for name in ("realtime", "realtime_async"):
        assert inspect.signature(getattr(stand_in, name)).parameters.keys() == (
            inspect.signature(getattr(fal_client, name)).parameters.keys()
        )
    for theirs, ours in (
        (fal_client.SyncClient, stand_in.SyncClient),
        (fal_client.AsyncClient, stand_in.AsyncClient),
    ):
        for name in ("realtime", "ws_connect"):
            here, there = (inspect.signature(getattr(each, name)).parameters for each in (ours, theirs))
            assert {key: value.default for key, value in here.items()} == {
                key: value.default for key, value in there.items()
            }
    for name in ("RealtimeConnection", "AsyncRealtimeConnection"):
        theirs, ours = getattr(fal_client, name), getattr(stand_in, name)
        public = {method for method in vars(theirs) if not method.startswith("_")}
        assert public <= set(vars(ours))


def test_its_error_can_be_pickled() -> None:
    error = stand_in.RealtimeError("INTERNAL_ERROR", "boom", {"type": "x-fal-error"})
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.payload) == ("INTERNAL_ERROR: boom", {"type": "x-fal-error"})


@pytest.mark.parametrize("kind", [stand_in.SyncClient, stand_in.AsyncClient])
def test_a_client_shows_its_key_nowhere(kind: Any) -> None:
    options = {"proxy": "http://user:hidden@proxy.invalid", "proxy_url": "https://gateway.invalid/?key=hidden"}
    client = kind(key="id:hidden", client_cert=(__file__, __file__, "hidden"), **options)
    assert "hidden" not in f"{client!r} {vars(client)}"
    with pytest.raises(TypeError, match="cannot be pickled, since it holds a key"):
        pickle.dumps(client)


NESTED: Any = f"Key {KEY}"
for _ in range(200):
    NESTED = [NESTED]


@pytest.mark.parametrize("encode", [json.dumps, msgpack.encode])
def test_its_error_does_not_repeat_the_key_or_the_token_that_the_app_says_again(encode: Any) -> None:
    token = "canary-token-0123"
    told = {"reason": f"bad {KEY}", "token": [token], "key-secret": {"n": 1}, "nested": NESTED}

    def answer(session: Session) -> None:
        session.recv()
        session.send_raw(encode({"type": "x-fal-error", "error": f"NO {token}", **told}))
        session.wait_closed()

    with Peer(answer, tokens=(Answer(body=token),)) as peer:
        client = stand_in.SyncClient(KEY, base_url=peer.base_url, rest_url=peer.rest_url, trust_env=False)
        with client.realtime(APP) as connection:
            connection.send({})
            with pytest.raises(stand_in.RealtimeError) as raised:
                connection.recv()
    error = raised.value
    assert (error.error, error.reason, str(error)) == ("NO ***", "bad ***", "NO ***: bad ***")
    assert (error.payload["token"], error.payload["***"]) == (["***"], {"n": 1})
    assert not [secret for secret in ("key-secret", token) if secret in f"{error.args} {error.payload}"]


def test_hidden_options_of_a_client_are_used(nobody: int) -> None:
    client = stand_in.SyncClient(KEY, base_url="ws://127.0.0.1:1", proxy=f"http://user:hidden@127.0.0.1:{nobody}")
    with pytest.raises(HandshakeError, match=f"proxy 127.0.0.1:{nobody}"), client.realtime(APP, use_jwt=False):
        pass


def test_a_result_that_is_none_is_passed_over(at: Any) -> None:
    def answer(websocket: Any) -> None:
        websocket.recv()
        for result in (b"\xc0", b"\x81\xa1n\x01", b"\xc0"):
            websocket.send(result)

    with serve(answer, "127.0.0.1", 0) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        url = f"ws://127.0.0.1:{listening.socket.getsockname()[1]}"
        clients = (at(url).SyncClient(key=KEY), stand_in.SyncClient(KEY, base_url=url, trust_env=False))
        for client in clients:
            with client.realtime("local/app", use_jwt=False) as connection:
                connection.send({})
                assert received(connection) == [{"n": 1}, None]
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["realtime", "ws_connect"])
async def test_what_the_module_has_is_that_of_its_own_clients(
    name: str, servers: tuple[str, str], at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fal_client  # noqa: PLC0415

    url = servers[1]
    at(url)
    monkeypatch.setenv("FAL_KEY", KEY)
    for client in (stand_in.sync_client, stand_in.async_client):
        monkeypatch.setitem(client._client_options, "base_url", url)
    seen: list[Any] = []
    for module in (fal_client, stand_in):
        with getattr(module, name)(APP, path="/describe", use_jwt=False) as connection:
            connection.send(b"\x81\xa1n\x01" if name == "ws_connect" else {"n": 1})
            seen.append(connection.recv())
        async with getattr(module, f"{name}_async")(APP, path="/describe", use_jwt=False) as connection:
            await connection.send(b"\x81\xa1n\x01" if name == "ws_connect" else {"n": 1})
            seen.append(await connection.recv())
    assert seen == seen[:1] * 4


def test_an_app_id_that_ends_in_realtime_is_not_dialled_twice_over() -> None:
    with LocalServer(key=KEY) as server:
        server.serve_builtin("local/echo", "echo")
        client = stand_in.SyncClient(KEY, base_url=server.base_url)
        with client.realtime("local/echo/realtime", use_jwt=False) as connection:
            connection.send({"n": 1})
            assert connection.recv() == {"n": 1}
        assert server.requests[0].path == "/local/echo/realtime"
