"""What Python, and the tools that ask it, see of a connection: coroutine functions, signatures, docstrings."""

from __future__ import annotations

import asyncio
import inspect
import pydoc
import re
import sys
import typing
from unittest.mock import AsyncMock, create_autospec

import pytest
import tenacity

from fal_realtime import (
    ConnectionClosedError,
    ErrorCallback,
    NoopConnection,
    RawConnection,
    RealtimeClient,
    RealtimeConnection,
    SyncRawConnection,
    SyncRealtimeClient,
    SyncRealtimeConnection,
)
from fal_realtime.testing import LocalServer

COROUTINES = ("send", "request", "recv", "open", "drain", "wait_closed", "aclose")
PLAIN = ("send_nowait", "stats", "close", "set_callbacks")
BLOCKING = ("send", "send_nowait", "request", "recv", "open", "drain", "close", "stats", "set_callbacks")


@pytest.mark.parametrize("name", COROUTINES)
def test_what_is_awaited_is_a_coroutine_function_to_inspect(name):
    connection = RealtimeClient("id:secret").connect("local/echo")
    for function in (getattr(RealtimeConnection, name), getattr(connection, name), getattr(NoopConnection, name)):
        assert inspect.iscoroutinefunction(function)


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_not_awaited_is_no_coroutine_function(name):
    assert not inspect.iscoroutinefunction(getattr(RealtimeConnection, name))


@pytest.mark.parametrize("name", BLOCKING)
def test_nothing_of_a_blocking_connection_is_a_coroutine_function(name):
    assert not inspect.iscoroutinefunction(getattr(SyncRealtimeConnection, name))


@pytest.mark.parametrize("public", [RealtimeConnection, SyncRealtimeConnection, RealtimeClient, SyncRealtimeClient])
def test_everything_public_has_a_docstring_at_run_time(public):
    undocumented = [
        name
        for name in dir(public)
        if not name.startswith("_") and len((inspect.getdoc(getattr(public, name)) or "").split()) < 4
    ]
    assert not undocumented


def test_signatures_and_type_hints_are_those_of_the_documentation():
    assert str(inspect.signature(RealtimeConnection.request)) == (
        "(self, input: 'Input', *, timeout: 'float | None' = None, retries: 'int' = 0, "
        "idempotent: 'bool' = False) -> 'Output'"
    )
    connection = SyncRealtimeClient("id:secret").connect("local/echo")
    assert list(inspect.signature(connection.recv).parameters) == ["timeout"]
    assert typing.get_type_hints(RealtimeConnection.send)["return"] is type(None)
    connection.close()


CLIENTS = [
    (RealtimeClient, RealtimeConnection[typing.Any, typing.Any]),
    (SyncRealtimeClient, SyncRealtimeConnection[typing.Any, typing.Any]),
]


@pytest.mark.parametrize(("client", "given"), CLIENTS)
def test_connect_shows_every_option_with_its_type_and_default_and_not_its_overloads(client, given):
    signature = inspect.signature(client.connect)
    assert signature.return_annotation == given
    assert signature.parameters["handler"].annotation == "ConnectHandler | None"
    for name in ("result_type", "input_type"):
        assert signature.parameters[name].annotation == "type[Any] | Validator[Any] | None"
        assert signature.parameters[name].default is None
    assert signature.parameters["open_timeout"].default == 90
    assert not [entry for entry in signature.parameters.values() if entry.kind is inspect.Parameter.VAR_KEYWORD]
    assert client.connect.__qualname__ == f"{client.__name__}.connect"
    hints = typing.get_type_hints(client.connect)
    assert hints["on_error"] == ErrorCallback | None
    assert hints["return"] == given
    with pytest.raises(
        TypeError, match=rf"{client.__name__}\.connect\(\) got an unexpected keyword argument 'onResult'"
    ):
        client("id:secret").connect("a/b", onResult=print)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="typing.get_overloads is new in Python 3.11")
def test_the_overloads_of_connect_can_be_found_by_tools():
    for client in (RealtimeClient, SyncRealtimeClient):
        given = [overload.__annotations__["return"] for overload in typing.get_overloads(client.connect)]
        assert len(given) >= 5
        assert any("RawConnection" in each for each in given)
        assert any("EncodedResult" in each for each in given)


def help_of(thing: object) -> str:
    """What `help` shows, each signature on one line: from Python 3.13 on a long one has a line for each parameter."""
    shown = pydoc.plain(pydoc.render_doc(thing))
    return re.sub(r"\s*\n \|\s+", " ", shown).replace("( ", "(")


@pytest.mark.parametrize("client", [RealtimeClient, SyncRealtimeClient])
def test_help_of_a_client_shows_connect_as_its_own_with_all_that_is_said_of_it(client):
    shown = help_of(client)
    assert "connect(self, app: 'str', handler: 'ConnectHandler | None' = None" in shown
    assert "result_type: 'type[Any] | Validator[Any] | None' = None" in shown
    assert "result_type: What each result is to be" in shown
    assert "_connect(" not in shown


def test_ipython_completes_the_options_and_shows_the_docstring():
    # What IPython's `connect?` and its completion of keywords ask for.
    connect = RealtimeClient("id:secret").connect
    assert {"result_type", "input_type", "on_result"} <= set(inspect.signature(connect).parameters)
    assert "result_type: What each result is to be" in (inspect.getdoc(connect) or "")
    assert inspect.getsourcefile(connect)
    assert inspect.getsource(connect).lstrip().startswith("def ")


def test_a_connection_is_generic_at_run_time_too():
    for connection in (RealtimeConnection, SyncRealtimeConnection):
        assert typing.get_args(connection[int, str]) == (int, str)
        assert typing.get_args(connection[int]) == (int, typing.Any)
    with pytest.raises(TypeError):
        RealtimeConnection[int, str, bytes]
    for raw in (RawConnection, SyncRawConnection):
        with pytest.raises(TypeError):
            raw[int, str]


def test_the_help_of_python_shows_the_methods():
    shown = help_of(RealtimeConnection)
    assert "async request(self, input" in shown or "request(self, input" in shown
    assert "matched by `request_id`" in shown


async def test_tenacity_retries_a_method_that_it_decorates():
    with LocalServer() as server:
        tries = []

        @server.app("me/sometimes")
        def sometimes(inputs):
            tries.append(inputs)
            if len(tries) < 3:
                message = "not yet"
                raise RuntimeError(message)
            return {"request_id": inputs["request_id"], "tries": len(tries)}

        retrying = tenacity.retry(stop=tenacity.stop_after_attempt(5), wait=tenacity.wait_none())
        async with server.client().connect("me/sometimes", throttle_interval=0) as connection:
            assert (await retrying(connection.request)({"n": 1}, timeout=60))["tries"] == 3


async def test_a_mock_of_a_connection_can_be_awaited():
    for mock in (AsyncMock(spec=RealtimeConnection), create_autospec(RealtimeConnection, instance=True)):
        mock.request.return_value = {"n": 1}
        assert await mock.request({"n": 0}, timeout=1) == {"n": 1}
        await mock.send({"n": 0})
        mock.send.assert_awaited_once_with({"n": 0})
        mock.send_nowait({"n": 0})
        mock.send_nowait.assert_called_once_with({"n": 0})


async def test_a_method_that_is_not_a_method_of_the_instance_is_refused_as_by_any_class():
    with pytest.raises(TypeError):
        RealtimeConnection.send("no connection", {})
    with pytest.raises(TypeError):
        RealtimeConnection.send()
    connection = RealtimeClient("id:secret").connect("local/echo")
    with pytest.raises(TypeError):
        connection.request({}, deadline=1)
    connection.close()
    with pytest.raises(ConnectionClosedError):
        await RealtimeConnection.send(connection, {})


async def test_a_coroutine_that_nobody_awaits_is_reported_by_its_name():
    connection = RealtimeClient("id:secret").connect("local/echo")
    for name in ("recv", "drain", "open", "wait_closed"):
        with pytest.warns(RuntimeWarning, match=f"'RealtimeConnection.{name}' was never awaited"):
            getattr(connection, name)()
    for name in ("send", "request"):
        with pytest.warns(RuntimeWarning, match=f"'RealtimeConnection.{name}' was never awaited: its message was not"):
            getattr(connection, name)({})
    await connection.close()


async def test_close_may_be_awaited_and_then_waits_until_the_connection_is_closed():
    with LocalServer() as server:
        connection = await server.client().connect("local/echo")
        await connection.close()
        assert connection.state == "closed"
        other = await server.client().connect("local/echo")
        other.close()  # and need not be
        await asyncio.wait_for(other.wait_closed(), 60)
