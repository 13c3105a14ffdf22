"""Every option of `connect` and of the clients: what is accepted, and what the error for the rest says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import partial
from inspect import signature
from pathlib import Path

import pytest

from fal_realtime import (
    ClientKeywords,
    ConnectHandler,
    ConnectionClosedError,
    InsecureForLocalTests,
    NoopConnection,
    RealtimeClient,
    RealtimeConnection,
    ReconnectPolicy,
    SyncNoopConnection,
    SyncRealtimeClient,
    create_realtime_client,
)
from fal_realtime._client_options import ClientOptions
from fal_realtime._handler import snake_case
from fal_realtime._options import ConnectOptions

APP = "fal-ai/fast-lcm-diffusion"
INFINITE = float("inf")
NAN = float("nan")


async def coroutine_function(value):
    return value


def function(value):
    return value


@dataclass
class Checked:
    """What a result or an input may be said to be."""

    prompt: str


ACCEPTED = {
    "on_result": [None, function, coroutine_function],
    "on_error": [None, function, coroutine_function],
    "on_timings": [None, function, coroutine_function],
    "on_state_change": [None, function, coroutine_function],
    "connection_key": [None, "key"],
    "client_only": [True, False],
    "throttle_interval": [
        None,
        0,
        1,
        64.5,
        3_600_000,
        *(timedelta(milliseconds=each) for each in (0, 0.5, 64)),
        timedelta(days=36_500),
    ],
    "max_buffering": [None, 1, 60],
    "path": [None, "/realtime", "custom/path"],
    "encode_message": [None, function, coroutine_function],
    "decode_message": [None, function, coroutine_function],
    "decode": [True, False],
    "result_type": [None, Checked],
    "input_type": [None, Checked],
    "token_provider": [None, function, coroutine_function],
    "token_expiration_seconds": [None, 1, 60.5],
    "token_body": [None, {}, {"allowed_apps": ["x"], "duration": 120}],
    "use_jwt": [True, False],
    "streaming": [True, False],
    "raw": [True, False],
    "reconnect": [None, ReconnectPolicy(), ReconnectPolicy(initial_delay=1, max_attempts=3)],
    "open_timeout": [0.1, 90],
    "ping_interval": [None, 0.1, 20],
    "ping_timeout": [None, 0.1, 20],
    "busy_timeout": ["auto", None, 0, 0.5, 300],
    "max_session": [None, 0.1, 3600],
    "idle_close": [None, 0.1, 3600],
    "close_timeout": [0, 10],
    "max_message_size": [None, 1, 64 * 1024 * 1024],
    "read_ahead": [1, 64 * 1024, 64 * 1024 * 1024],
    "headers": [None, {}, {"traceparent": "00-1-1-01", "X-Fal-Runner-Hint": "a"}],
    "query": [None, {}, {"region": "eu west"}],
    "on_open": [None, function, coroutine_function],
    "before_attempt": [None, function, coroutine_function],
    "subprotocols": [(), ["graphql-ws"], ("v2.api", "v1.api")],
}

NOT_A_TYPE = [
    (
        value,
        TypeError,
        "must be a pydantic model, a msgspec.Struct, a dataclass or a TypedDict, or a pydantic.TypeAdapter",
    )
    for value in (dict, list[int], "Checked", Checked({}))
]


def yields(value: object) -> Iterator[object]:
    yield value


class Yields:
    async def __call__(self, value: object) -> AsyncIterator[object]:
        yield value


NOT_CALLABLE = [
    (1, TypeError, "must be callable or None, not int"),
    *(
        (function, TypeError, "is a generator function, of which a call runs nothing")
        for function in (yields, partial(yields), Yields(), partial(Yields()), Yields().__call__)
    ),
]
NOT_BOOL = [(1, TypeError, "must be True or False, not int"), (None, TypeError, "must be True or False, not NoneType")]
NOT_SECONDS = [
    ("1", TypeError, "must be a number of seconds"),
    (True, TypeError, "must be a number of seconds"),
    (NAN, ValueError, "must be finite"),
    (INFINITE, ValueError, "must be finite"),
    (10**400, ValueError, "must be a number of seconds"),
]
NOT_POSITIVE = [*NOT_SECONDS, (0, ValueError, "must be greater than 0"), (-1, ValueError, "must be greater than 0")]

REFUSED = {
    "on_result": NOT_CALLABLE,
    "on_error": NOT_CALLABLE,
    "on_timings": NOT_CALLABLE,
    "on_state_change": NOT_CALLABLE,
    "connection_key": [
        (1, TypeError, "must be a str, not int"),
        ("", ValueError, "must not be empty"),
        ("\ud800", ValueError, "must not hold a lone surrogate"),
    ],
    "client_only": NOT_BOOL,
    "throttle_interval": [
        ("128", TypeError, "must be a number of milliseconds, a timedelta or None, not str"),
        (True, TypeError, "must be a number of milliseconds, a timedelta or None, not bool"),
        (0.128, ValueError, "is in milliseconds: it must be 0 or from 1 to 3600000, not 0.128"),
        (3_600_001, ValueError, "is in milliseconds: it must be 0 or from 1 to 3600000, not 3600001"),
        (1e12, ValueError, "a timedelta has its own unit"),
        (-1, ValueError, "must not be negative"),
        (timedelta(seconds=-1), ValueError, "must not be negative"),
        (NAN, ValueError, "must be finite"),
        (10**400, ValueError, "must be a number of milliseconds, a timedelta or None of at most"),
    ],
    "max_buffering": [
        (0, ValueError, "must be from 1 to 60, not 0"),
        (61, ValueError, "must be from 1 to 60, not 61"),
        (True, TypeError, "must be an int, not bool"),
        (2.0, TypeError, "must be an int, not float"),
    ],
    "path": [
        (Path("/realtime"), TypeError, "must be a str"),
        ("/\ud800", ValueError, "must not hold a lone surrogate"),
    ],
    "encode_message": NOT_CALLABLE,
    "decode_message": NOT_CALLABLE,
    "decode": NOT_BOOL,
    "result_type": NOT_A_TYPE,
    "input_type": NOT_A_TYPE,
    "on_open": NOT_CALLABLE,
    "before_attempt": NOT_CALLABLE,
    "token_provider": [("the token itself", TypeError, "must be callable or None, not str")],
    "token_expiration_seconds": NOT_POSITIVE,
    "token_body": [
        ("{}", TypeError, "must be a mapping"),
        ({"a": object()}, ValueError, "cannot be written as JSON"),
        ({"a": NAN}, ValueError, "cannot be written as JSON"),
    ],
    "use_jwt": NOT_BOOL,
    "streaming": NOT_BOOL,
    "raw": NOT_BOOL,
    "reconnect": [
        (False, TypeError, "must be a ReconnectPolicy, or None for no reconnect, not bool"),
        (True, TypeError, "must be a ReconnectPolicy, or None for no reconnect, not bool"),
    ],
    "open_timeout": [*NOT_POSITIVE, (None, TypeError, "must be a number of seconds")],
    "ping_interval": NOT_POSITIVE,
    "ping_timeout": NOT_POSITIVE,
    "busy_timeout": [
        *NOT_SECONDS,
        (-1, ValueError, "must not be negative"),
        ("never", TypeError, "must be a number of seconds of at least 0, 'auto' or None, not str"),
    ],
    "max_session": NOT_POSITIVE,
    "idle_close": NOT_POSITIVE,
    "close_timeout": [*NOT_SECONDS, (-1, ValueError, "must not be negative")],
    "max_message_size": [
        (0, ValueError, "must be from 1 to"),
        (10**30, ValueError, "must be from 1 to"),
        (1.5, TypeError, "must be an int"),
    ],
    "read_ahead": [
        (0, ValueError, "must be from 1 to"),
        (10**30, ValueError, "must be from 1 to"),
        (None, TypeError, "must be an int"),
    ],
    "headers": [
        ([("a", "b")], TypeError, "must be a mapping of str to str, or None, not list"),
        ({"a": 1}, TypeError, "must be a mapping of str to str, not of str to int"),
        ({"a": "hidden\r\nb: c"}, ValueError, "must consist of printable ASCII"),
        ({"a b": "c"}, ValueError, "must not hold a name with the character ' ': a name consists of letters"),
        ({"Authorization: Bearer hidden": ""}, ValueError, "must not hold a name with the character ':'"),
        ({"Bearer hidden": "Authorizatio\u00f1"}, ValueError, "must not hold a name with the character ' '"),
        *(({name: "x"}, ValueError, "belongs to the handshake") for name in ("Host", "upgrade", "Sec-WebSocket-Key")),
        ({"Authorization": "hidden"}, ValueError, "the key goes there"),
        ({"User-Agent": "x"}, ValueError, "see user_agent"),
        ({"Sec-WebSocket-Protocol": "x"}, ValueError, "see subprotocols"),
    ],
    "query": [
        ("a=b", TypeError, "must be a mapping of str to str, or None, not str"),
        ({"fal_jwt_token": "hidden"}, ValueError, "the token goes there"),
        ({"max_buffering": "3"}, ValueError, "see max_buffering"),
        ({"": "x"}, ValueError, "must not be empty"),
    ],
    "subprotocols": [
        ("chat", TypeError, "must be a sequence of str, not str"),
        (None, TypeError, "must be a sequence of str, not NoneType"),
        ({"chat"}, TypeError, "must be a sequence of str, not set"),
        ([1], TypeError, "must be a sequence of str, not of int"),
        ([""], ValueError, "not be empty"),
        (["a, b"], ValueError, "must consist of letters, digits"),
        (["chat\r\nX: y"], ValueError, "must consist of letters, digits"),
        (["\u00e9"], ValueError, "must consist of letters, digits"),
        (["a", "b", "a"], ValueError, "must not hold a name twice"),
    ],
}


def cases(table):
    return [pytest.param(name, value, id=f"{name}={value!r}") for name, values in table.items() for value in values]


def refusals(table):
    return [
        pytest.param(name, value, error, text, id=f"{name}={value!r}")
        for name, rows in table.items()
        for value, error, text in rows
    ]


def test_both_tables_cover_every_option():
    names = {entry.name for entry in fields(ConnectOptions)}
    assert names == set(ACCEPTED)
    assert names == set(REFUSED)


def test_the_handler_has_every_option_for_type_checkers_and_the_typescript_clients_names():
    names = set(ConnectHandler.__annotations__)
    assert {snake_case(name) for name in names} == {entry.name for entry in fields(ConnectOptions)}
    assert {name for name in names if name != snake_case(name)} == {
        "onResult",
        "onError",
        "connectionKey",
        "clientOnly",
        "throttleInterval",
        "maxBuffering",
        "encodeMessage",
        "decodeMessage",
        "tokenProvider",
        "tokenExpirationSeconds",
    }


def test_with_options_has_every_option_of_a_client_for_type_checkers():
    assert set(ClientKeywords.__annotations__) == {entry.name for entry in fields(ClientOptions)}


@pytest.mark.parametrize("client", [RealtimeClient, SyncRealtimeClient])
def test_connect_takes_every_option(client):
    assert {entry.name for entry in fields(ConnectOptions)} | {"self", "app", "handler"} == set(
        signature(client.connect).parameters
    )


@pytest.mark.parametrize(("name", "value"), cases(ACCEPTED))
def test_an_accepted_option_gives_a_connection(name, value):
    connection = RealtimeClient("key").connect(APP, **{name: value})
    assert isinstance(connection, RealtimeConnection)
    assert connection.state == "idle"


@pytest.mark.parametrize(("name", "value", "error", "text"), refusals(REFUSED))
def test_a_refused_option_raises_in_connect_and_names_itself(name, value, error, text):
    for client in (RealtimeClient("key"), SyncRealtimeClient("key")):
        with pytest.raises(error, match=text) as raised:
            client.connect(APP, **{name: value})
        assert str(raised.value).startswith(name)
        assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("app", [None, 1, b"a/b", "", "no-owner/", "a/../b", "a b/c", "a/\ud800"])
def test_an_app_id_that_cannot_be_one_is_refused(app):
    with pytest.raises((TypeError, ValueError), match="app"):
        RealtimeClient("key").connect(app)


@pytest.mark.parametrize("path", ["/../up", "/a b", "/a?b=c"])
def test_a_path_that_cannot_be_one_is_refused(path):
    with pytest.raises(ValueError, match=r"path|segment"):
        RealtimeClient("key").connect(APP, path=path)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(128, 0.128), (0, 0.0), (timedelta(milliseconds=0.5), 0.0005), (timedelta(seconds=2), 2.0), (timedelta(0), 0.0)],
)
def test_the_throttle_interval_is_in_milliseconds_or_a_timedelta(given, seconds):
    assert ConnectOptions(throttle_interval=given).as_native()["throttle_interval"] == pytest.approx(seconds)


def test_a_token_expires_in_120_seconds_by_default_and_a_providers_never():
    assert ConnectOptions().as_native()["token_expiration"] == 120
    assert ConnectOptions(token_provider=function).as_native()["token_expiration"] is None
    both = ConnectOptions(token_provider=function, token_expiration_seconds=60)
    assert both.as_native()["token_expiration"] == 60


def test_the_token_body_goes_out_as_json():
    body = {"allowed_apps": ["a/b"], "duration": 120}
    assert json.loads(ConnectOptions(token_body=body).as_native()["token_body"]) == body
    assert ConnectOptions().as_native()["token_body"] is None


@pytest.mark.parametrize(
    "options",
    [
        {"use_jwt": False, "token_provider": function},
        {"use_jwt": False, "token_body": {}},
        {"token_provider": function, "token_body": {}},
    ],
)
def test_options_that_would_be_ignored_are_refused(options):
    with pytest.raises(ValueError, match="token"):
        RealtimeClient("key").connect(APP, **options)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"initial_delay": 0}, ValueError),
        ({"max_delay": 0}, ValueError),
        ({"initial_delay": 2, "max_delay": 1}, ValueError),
        ({"factor": 0.5}, ValueError),
        ({"factor": NAN}, ValueError),
        ({"stable_after": -1}, ValueError),
        ({"max_attempts": 0}, ValueError),
        ({"max_attempts": True}, TypeError),
        ({"initial_delay": "1"}, TypeError),
    ],
)
def test_a_reconnect_policy_that_makes_no_sense_is_refused(options, error):
    with pytest.raises(error, match=r"delay|factor|stable_after|max_attempts"):
        ReconnectPolicy(**options)


def test_more_reconnects_than_can_be_counted_are_as_good_as_unlimited():
    policy = ReconnectPolicy(max_attempts=10**12)
    assert RealtimeClient("key").connect(APP, reconnect=policy).state == "idle"


def test_a_handler_takes_the_names_of_both_languages():
    handler = {"onResult": function, "throttleInterval": 64, "max_buffering": 2, "tokenExpirationSeconds": 60}
    options = ConnectOptions().merged_with(handler)
    assert options == ConnectOptions(
        on_result=function, throttle_interval=64, max_buffering=2, token_expiration_seconds=60
    )
    assert isinstance(RealtimeClient("key").connect(APP, handler), RealtimeConnection)


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        ({"onResults": function}, r"unknown option 'onResults'; did you mean 'on_result'\?"),
        ({"colour": 1}, "unknown option 'colour'; known are: "),
        ({1: 1}, "a key that is not a str but int"),
        ({"onResult": None, "on_result": None}, "gives on_result twice"),
        (function, "must be a mapping or a dataclass, not function"),
    ],
)
def test_a_handler_that_is_not_understood_says_why(handler, text):
    with pytest.raises(TypeError, match=text):
        RealtimeClient("key").connect(APP, handler)


def test_an_option_cannot_be_given_in_the_handler_and_beside_it():
    with pytest.raises(TypeError, match="throttle_interval is given both"):
        RealtimeClient("key").connect(APP, {"throttleInterval": 1}, throttle_interval=2)


def test_an_option_of_the_handler_is_checked_like_any_other():
    with pytest.raises(ValueError, match="max_buffering must be from 1 to 60"):
        RealtimeClient("key").connect(APP, {"maxBuffering": 61})


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("rest_url", "http://localhost:hidden"),
        ("proxy_url", "http://localhost:hidden/api"),
        ("proxy_url", "http://user:hidden@localhost/api"),
    ],
)
def test_an_address_that_cannot_be_dialled_is_refused_in_connect_by_name(name, url):
    with pytest.raises(ValueError, match=f"^{name}: the address") as raised:
        RealtimeClient("key", **{name: url}).connect(APP)
    assert "hidden" not in str(raised.value)


class TestConnectionKey:
    def test_the_same_app_and_key_give_the_same_connection(self):
        client = RealtimeClient("key")
        first = client.connect(APP, connection_key="a", on_result=function)
        assert client.connect(APP, connection_key="a", on_result=print) is first

    def test_another_key_app_or_client_gives_another_connection(self):
        client = RealtimeClient("key")
        first = client.connect(APP, connection_key="a")
        others = [
            client.connect(APP, connection_key="b"),
            client.connect("fal-ai/other", connection_key="a"),
            client.connect(APP),
            RealtimeClient("key").connect(APP, connection_key="a"),
        ]
        assert first not in others

    def test_a_closed_connection_leaves_the_cache(self):
        client = RealtimeClient("key")
        first = client.connect(APP, connection_key="a")
        first.close()
        assert client.connect(APP, connection_key="a") is not first

    def test_options_that_cannot_change_are_not_silently_kept(self):
        client = RealtimeClient("key")
        first = client.connect(APP, connection_key="a", throttle_interval=64, encode_message=lambda value: value)
        assert client.connect(APP, connection_key="a", encode_message=lambda value: value) is first
        assert client.connect(APP, connection_key="a", throttle_interval=64) is first
        with pytest.raises(ValueError, match=r"throttle_interval=64, which cannot become 32"):
            client.connect(APP, connection_key="a", throttle_interval=32)

    def test_an_interval_is_the_same_as_a_timedelta_and_in_milliseconds(self):
        client = RealtimeClient("key")
        first = client.connect(APP, connection_key="a", throttle_interval=64)
        assert client.connect(APP, connection_key="a", throttle_interval=timedelta(milliseconds=64)) is first
        assert client.connect(APP, connection_key="a") is first
        with pytest.raises(ValueError, match=r"throttle_interval=64, which cannot become 1000\.0"):
            client.connect(APP, connection_key="a", throttle_interval=timedelta(seconds=1))
        second = client.connect(APP, connection_key="b", throttle_interval=timedelta(seconds=1))
        assert client.connect(APP, connection_key="b", throttle_interval=1_000) is second

    def test_what_may_hold_a_secret_is_not_shown_when_it_cannot_change(self):
        client = RealtimeClient("key")
        first = client.connect(APP, connection_key="hidden", token_body={"password": "hidden"})
        expected = f"^this connection_key is in use for '{APP}' with another token_body, which cannot change"
        with pytest.raises(ValueError, match=expected) as raised:
            client.connect(APP, connection_key="hidden", token_body={"password": "hidden too"})
        assert "hidden" not in str(raised.value)
        first.close()


class TestClientOnly:
    async def test_on_the_server_side_it_gives_a_connection_that_does_nothing(self):
        connection = RealtimeClient("key", side="server").connect(APP, client_only=True)
        assert isinstance(connection, NoopConnection)
        async with connection as entered:
            assert entered is connection
            entered.send_nowait({"prompt": "a cat"})
            await entered.send({"prompt": "a cat"})
            await entered.drain()
            assert [result async for result in entered] == []
            for receive in (entered.recv, lambda: entered.request({"prompt": "a cat"}, timeout=60)):
                with pytest.raises(ConnectionClosedError, match="client_only=True"):
                    await receive()
            assert entered.state == "idle"
        assert connection.state == "closed"
        assert connection.stats()["accepted"] == 0

    def test_the_blocking_twin_does_nothing_either(self):
        connection = SyncRealtimeClient("key", side="server").connect(APP, client_only=True)
        assert isinstance(connection, SyncNoopConnection)
        with connection as entered:
            entered.send_nowait({"prompt": "a cat"})
            entered.send({"prompt": "a cat"})
            entered.drain()
            assert list(entered) == []
            for receive in (entered.recv, lambda: entered.request({"prompt": "a cat"}, timeout=60)):
                with pytest.raises(ConnectionClosedError, match="client_only=True"):
                    receive()
            assert entered.state == "idle"
        assert connection.state == "closed"
        assert connection.stats()["accepted"] == 0

    @pytest.mark.parametrize("side", ["client", None])
    def test_elsewhere_it_changes_nothing(self, side):
        connection = RealtimeClient("key", side=side).connect(APP, client_only=True)
        assert not isinstance(connection, NoopConnection)

    def test_the_side_comes_from_the_environment_too(self, monkeypatch):
        monkeypatch.setenv("FAL_REALTIME_SIDE", "server")
        assert isinstance(RealtimeClient("key").connect(APP, client_only=True), NoopConnection)
        assert not isinstance(RealtimeClient("key").connect(APP), NoopConnection)
        assert not isinstance(RealtimeClient("key", side="client").connect(APP, client_only=True), NoopConnection)


@pytest.mark.parametrize(
    "name",
    ["on_result", "on_error", "on_timings", "on_state_change", "encode_message", "decode_message", "token_provider"],
)
def test_the_blocking_client_refuses_coroutine_functions(name):
    with pytest.raises(TypeError, match=f"{name} is a coroutine function.*use RealtimeClient"):
        SyncRealtimeClient("key").connect(APP, **{name: coroutine_function})


CLIENT_REFUSED = {
    "credentials": [
        ("", ValueError, "must be a key such as .*: it is empty"),
        (" \n", ValueError, "it is empty"),
        (b"key", TypeError, "must be a str"),
        (coroutine_function, TypeError, "must be a plain function, not a coroutine function"),
        ('"hidden:hidden"', ValueError, "it stands in quotation marks"),
        ("'hidden:hidden'", ValueError, "it stands in quotation marks"),
        ("Key hidden:hidden", ValueError, "it begins with 'Key'"),
        ("Bearer hidden", ValueError, "it begins with 'Bearer'"),
        ("hidden hidden", ValueError, "it holds white space"),
        ("hidden:hidd\u00e9n", ValueError, "not printable ASCII"),
        (":hidden", ValueError, "one of its two halves is missing"),
        ("hidden:", ValueError, "one of its two halves is missing"),
    ],
    "allow_cleartext": NOT_BOOL,
    "base_url": [
        ("fal.run", ValueError, "starts with ws:// or wss://"),
        ("https://fal.run", ValueError, "starts with ws:// or wss:// and names a host, not https://$"),
        ("https://hidden#hidden@fal.run", ValueError, "names a host, not https://$"),
        ("hidden:hidden", ValueError, "names a host$"),
        ("hidden://fal.run", ValueError, "names a host$"),
        ("wss://", ValueError, "starts with ws:// or wss:// and names a host$"),
        ("wss://user:hidden@fal.run", ValueError, "neither credentials nor a query"),
        ("wss://[hidden", ValueError, "starts with ws:// or wss://"),
        (1, TypeError, "must be a str"),
    ],
    "rest_url": [
        ("wss://fal.run", ValueError, "starts with http:// or https://"),
        (None, TypeError, "must be a str"),
        ("http://gateway.example", ValueError, "would send the key in clear text.*allow_cleartext=True"),
        ("http://10.0.0.1:8000/x", ValueError, "would send the key in clear text"),
        ("http://localhost.example", ValueError, "would send the key in clear text"),
    ],
    "token_path": [("hidden?key=hidden", ValueError, "must start with '/'"), (1, TypeError, "must be a str")],
    "token_api": [("tokens/realtime", ValueError, "must be one of 'tokens', 'realtime', not 'tokens/realtime'")],
    "proxy": [("localhost", ValueError, "must be an absolute URL"), (3128, TypeError, "must be an absolute URL")],
    "trust_env": NOT_BOOL,
    "proxy_url": [
        ("/api/proxy", ValueError, "must be an absolute URL"),
        ("ftp://hidden/api", ValueError, "must be an absolute URL that starts with http:// or https://"),
        ("http://", ValueError, "names a host"),
        ("http://[hidden", ValueError, "names a host"),
        ({}, TypeError, "must be an absolute URL"),
    ],
    "ssl": [
        (False, TypeError, "InsecureForLocalTests"),
        (InsecureForLocalTests, TypeError, "InsecureForLocalTests"),
        ("/no/such/file.pem", ValueError, "does not exist"),
        (b"/no/such/file.pem", TypeError, "must be None, a PEM file"),
        ([], ValueError, "not empty"),
        (["/no/such/file.pem"], ValueError, "does not exist"),
        ([1], TypeError, "must be None, a PEM file"),
    ],
    "extra_ca": [
        ("/no/such/file.pem", ValueError, "does not exist"),
        (1, TypeError, "must be None, a PEM file"),
        *(
            (content, ValueError, "takes the path of a PEM file, not what is in it")
            for content in ("MIIEvhidden/hidden", "MIGHhidden", "MHcChidden", "LS0tLS1hidden", "hidden" * 50)
        ),
    ],
    "client_cert": [
        ("/no/such/file.pem", ValueError, "does not exist"),
        (1, TypeError, "must be None, a PEM file"),
        ((), ValueError, r"a tuple \(certificate, key\)"),
        ((__file__, __file__, b"hidden"), TypeError, "the password is a str or None"),
        ((__file__, "/no/such.key", "hidden"), ValueError, "does not exist"),
    ],
    "user_agent": [("a\r\nb: c", ValueError, "printable ASCII"), ("", ValueError, "empty"), (1, TypeError, "a str")],
    "side": [("Server", ValueError, "must be 'client' or 'server'")],
}


def test_the_table_covers_every_option_of_a_client():
    assert {entry.name for entry in fields(ClientOptions)} == set(CLIENT_REFUSED)


@pytest.mark.parametrize(("name", "value", "error", "text"), refusals(CLIENT_REFUSED))
def test_a_refused_option_of_a_client_names_itself(name, value, error, text):
    for client in (RealtimeClient, SyncRealtimeClient):
        with pytest.raises(error, match=text) as raised:
            client(**{name: value})
        assert str(raised.value).startswith(name)
        assert "hidden" not in str(raised.value)


def test_a_client_takes_every_option(tmp_path):
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("")
    native = ClientOptions(
        "id:secret",
        base_url="ws://127.0.0.1:9000",
        rest_url="http://127.0.0.1:9001/",
        token_path="/tokens/realtime",
        proxy="http://user:password@localhost:3128",
        trust_env=False,
        proxy_url="http://localhost:3000/api/fal/proxy",
        ssl=ca_file,
        extra_ca=[tmp_path],
        client_cert=(ca_file, ca_file, "password"),
        user_agent="mine/1",
        side="server",
    ).as_native("default/0")
    assert native == {
        "base_url": "ws://127.0.0.1:9000",
        "token_url": "http://127.0.0.1:9001/tokens/realtime",
        "proxy": "http://user:password@localhost:3128",
        "trust_env": False,
        "proxy_url": "http://localhost:3000/api/fal/proxy",
        "tls": {
            "insecure": False,
            "check_hostname": True,
            "ca": [str(ca_file)],
            "ca_der": None,
            "extra_ca": [str(tmp_path)],
            "client_cert": (str(ca_file), str(ca_file), "password"),
        },
        "user_agent": "mine/1",
    }


def test_only_the_explicit_name_makes_a_client_insecure():
    assert ClientOptions(ssl=InsecureForLocalTests()).as_native("")["tls"]["insecure"] is True
    assert ClientOptions().as_native("")["tls"]["insecure"] is False


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8:99", "localhost:1", "app.localhost", "[::1]:5"])
def test_a_key_may_go_to_this_machine_in_clear_text(host):
    RealtimeClient("key", rest_url=f"http://{host}", base_url=f"ws://{host}").connect(APP, use_jwt=False)


@pytest.mark.parametrize("client", [RealtimeClient, SyncRealtimeClient])
def test_the_key_itself_goes_to_another_machine_in_clear_text_only_where_that_is_said(client):
    address = {"base_url": "ws://gateway.example"}
    with pytest.raises(ValueError, match="base_url, with use_jwt=False, would send the key in clear text"):
        client("key", **address).connect(APP, use_jwt=False)
    client("key", **address).connect(APP).close()
    client("key", **address, rest_url="http://gateway.example", allow_cleartext=True).connect(APP, use_jwt=False)


def key_of(options: ClientOptions) -> str | None:
    credentials = options.resolved_credentials()
    assert not credentials.bearer
    return None if credentials.secret is None else credentials.secret.reveal()


@pytest.mark.parametrize("space", ["\n", " ", "\t", "\r\n"])
def test_white_space_around_a_key_is_no_part_of_it(space, monkeypatch):
    assert key_of(ClientOptions(f"{space}id:secret{space}")) == "id:secret"
    assert key_of(ClientOptions(lambda: f"{space}id:secret{space}")) == "id:secret"
    monkeypatch.setenv("FAL_KEY_ID", f"id{space}")
    monkeypatch.setenv("FAL_KEY_SECRET", f"secret{space}")
    assert key_of(ClientOptions()) == "id:secret"
    monkeypatch.setenv("FAL_KEY", f"{space}whole:key{space}")
    assert key_of(ClientOptions()) == "whole:key"


@pytest.mark.parametrize(
    ("variables", "source"),
    [
        ({"FAL_KEY": '"hidden:hidden"'}, "FAL_KEY"),
        ({"FAL_KEY_ID": "'hidden'", "FAL_KEY_SECRET": "hidden"}, "FAL_KEY_ID"),
        ({"FAL_KEY_ID": "hidden", "FAL_KEY_SECRET": "'hidden'"}, "FAL_KEY_SECRET"),
    ],
)
def test_a_key_of_the_environment_that_is_refused_names_its_variable_and_not_itself(variables, source, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"^{source} must be a key .*quotation marks") as raised:
        RealtimeClient().connect(APP)
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("FAL_KEY=hidden:hidden", "begins with the name of a variable"),
        ("FAL_KEY_SECRET=hidden", "begins with the name of a variable"),
        ("${FAL_KEY}", "is a placeholder"),
        ("$FAL_KEY", "is a placeholder"),
        ("$(cat hidden)", "is a placeholder"),
        ("%FAL_KEY%", "is a placeholder"),
        ("{{secrets.FAL_KEY}}", "is a placeholder"),
        ("<hidden:hidden>", "stands in angle brackets"),
        ("<key>", "stands in angle brackets"),
        ("hidden:hidden,", "ends with ','"),
        ("hidden:hidden;", "ends with ';'"),
        ('"hidden:hidden",', "stands in quotation marks"),
    ],
)
def test_what_was_copied_with_more_than_the_key_is_refused_wherever_it_comes_from(key, why, monkeypatch):
    for client in (RealtimeClient, SyncRealtimeClient):
        with pytest.raises(
            ValueError, match=f"^credentials must be a key such as 'key_id:key_secret': it {why}"
        ) as raised:
            client(key)
        assert "hidden" not in str(raised.value)
    monkeypatch.setenv("FAL_KEY", key)
    with pytest.raises(ValueError, match=f"^FAL_KEY must be a key .*: it {why}"):
        RealtimeClient().connect(APP)


@pytest.mark.parametrize("key", ["test-key", "id:c2VjcmV0==", "id:FAL_KEY", "id:a,b", "id:{x}", "$id:secret", "a=b:c"])
def test_what_may_be_a_key_is_taken(key):
    assert key_of(ClientOptions(key)) == key


def test_a_refused_key_of_a_callable_is_said_to_be_its_own():
    with pytest.raises(ValueError, match=r"what the credentials callable returns must be a key .*begins with 'Key'"):
        RealtimeClient(lambda: "Key hidden").connect(APP)


class TestEnvironment:
    def test_a_key_with_a_line_break_in_it_is_refused_without_being_shown(self, monkeypatch):
        monkeypatch.setenv("FAL_KEY", "hidden\nhidden")
        with pytest.raises(ValueError, match=r"FAL_KEY must be a key .*white space") as raised:
            RealtimeClient().connect(APP)
        assert "hidden" not in str(raised.value)

    def test_without_anything_there_are_no_credentials(self):
        assert key_of(ClientOptions()) is None

    def test_a_key_is_one_variable_or_two(self, monkeypatch):
        monkeypatch.setenv("FAL_KEY_ID", "id")
        assert key_of(ClientOptions()) is None
        monkeypatch.setenv("FAL_KEY_SECRET", "secret")
        assert key_of(ClientOptions()) == "id:secret"
        monkeypatch.setenv("FAL_KEY", "whole")
        assert key_of(ClientOptions()) == "whole"

    def test_explicit_credentials_win(self, monkeypatch):
        monkeypatch.setenv("FAL_KEY", "environment")
        assert key_of(ClientOptions("explicit")) == "explicit"

    def test_a_callable_is_asked_each_time(self):
        keys = iter(["first", "second"])
        options = ClientOptions(lambda: next(keys))
        assert [key_of(options), key_of(options)] == ["first", "second"]

    def test_a_callable_that_gives_no_str_is_an_error_in_connect(self):
        with pytest.raises(TypeError, match="credentials callable returns"):
            RealtimeClient(lambda: 1).connect(APP)

    def test_the_host_can_be_overridden(self, monkeypatch):
        assert ClientOptions().resolved_base_url() == "wss://fal.run"
        monkeypatch.setenv("FAL_RUN_HOST", "env.fal.run:8443")
        assert ClientOptions().resolved_base_url() == "wss://env.fal.run:8443"
        assert ClientOptions(base_url="ws://127.0.0.1:1").resolved_base_url() == "ws://127.0.0.1:1"

    def test_a_host_with_a_scheme_is_refused(self, monkeypatch):
        monkeypatch.setenv("FAL_RUN_HOST", "https://fal.run")
        with pytest.raises(ValueError, match="FAL_RUN_HOST must be a host name"):
            RealtimeClient("key")

    def test_a_side_that_does_not_exist_is_refused(self, monkeypatch):
        monkeypatch.setenv("FAL_REALTIME_SIDE", "both")
        with pytest.raises(ValueError, match="FAL_REALTIME_SIDE must be 'client' or 'server', not 'both'"):
            RealtimeClient("key")


class TestCreateRealtimeClient:
    def test_it_takes_a_mapping_under_the_names_of_both_languages(self):
        config = {"credentials": "key", "proxyUrl": "http://localhost/proxy", "base_url": "ws://127.0.0.1:1"}
        client = create_realtime_client(config)
        assert isinstance(client, RealtimeClient)
        assert repr(client) == "<RealtimeClient ws://127.0.0.1:1>"

    def test_it_takes_a_dataclass(self):
        @dataclass
        class Settings:
            credentials: str = "key"
            base_url: str = "ws://127.0.0.1:2"

        assert repr(create_realtime_client(Settings())) == "<RealtimeClient ws://127.0.0.1:2>"

    def test_it_needs_no_config(self):
        assert repr(create_realtime_client()) == "<RealtimeClient wss://fal.run>"

    @pytest.mark.parametrize(
        ("config", "text"),
        [
            ({"credential": "x"}, r"did you mean 'credentials'\?"),
            ({"requestMiddleware": function}, "'requestMiddleware' that has no counterpart here"),
            ("key", "config must be a mapping or a dataclass, not str"),
        ],
    )
    def test_what_it_does_not_understand_it_says(self, config, text):
        with pytest.raises(TypeError, match=text):
            create_realtime_client(config)
