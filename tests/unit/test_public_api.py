"""What the package exports, and what its objects give away about themselves."""

from __future__ import annotations

import contextvars
import copy
import inspect
import pickle
import re
import threading
from dataclasses import fields

import pytest

import fal_realtime
from fal_realtime import (
    ApiError,
    AuthenticationError,
    BufferFullError,
    ConnectionClosedError,
    ConnectionLostError,
    DecodeError,
    EncodeError,
    FalRealtimeError,
    ForkedProcessError,
    HandshakeError,
    MessageTooLargeError,
    RealtimeClient,
    RealtimeError,
    RequestTimeoutError,
    StreamEndedError,
    SyncRealtimeClient,
    UnreadResultsError,
    ValidationError,
)
from fal_realtime._calls import call_in_thread
from fal_realtime._client_options import ClientOptions
from fal_realtime._handler import snake_case
from fal_realtime._options import ConnectOptions
from fal_realtime._provider import checked

SECRETS = ("hidden-key", "hidden-secret", "hidden-token", "hidden-password")

TYPESCRIPT_OPTIONS = {
    "connectionKey": "connection_key",
    "clientOnly": "client_only",
    "throttleInterval": "throttle_interval",
    "maxBuffering": "max_buffering",
    "path": "path",
    "encodeMessage": "encode_message",
    "decodeMessage": "decode_message",
    "onResult": "on_result",
    "onError": "on_error",
    "tokenProvider": "token_provider",
    "tokenExpirationSeconds": "token_expiration_seconds",
}
"""`RealtimeConnectionHandler` of @fal-ai/client 1.10.1, and where each of its options is found here."""

PYTHON_DEFAULTS = {
    "use_jwt": True,
    "streaming": False,
    "open_timeout": 90,
    "ping_interval": 20,
    "ping_timeout": 20,
    "busy_timeout": "auto",
    "close_timeout": 10,
    "max_message_size": None,
    "throttle_interval": None,
    "max_buffering": None,
    "client_only": False,
}

EXCEPTIONS = [
    FalRealtimeError("text"),
    ApiError("text", 500, {"detail": "body"}, "request-1"),
    ValidationError("text", 422, {"detail": "body"}, "request-1"),
    RealtimeError("INTERNAL_ERROR", "reason", {"type": "x-fal-error"}),
    RealtimeError("TIMEOUT"),
    AuthenticationError("text"),
    HandshakeError("text", 503),
    HandshakeError("text", None),
    ConnectionClosedError("text", 1011, "reason"),
    ConnectionLostError("text", 1011, "reason", 3),
    StreamEndedError("text"),
    UnreadResultsError("text"),
    RequestTimeoutError("text"),
    EncodeError("text"),
    DecodeError("text"),
    MessageTooLargeError("text"),
    BufferFullError("text"),
    ForkedProcessError("text"),
]


def test_the_exports_are_sorted_and_exist():
    assert fal_realtime.__all__ == sorted(fal_realtime.__all__)
    for name in fal_realtime.__all__:
        assert getattr(fal_realtime, name) is not None


def test_nothing_public_is_left_out_of_the_exports():
    public = {
        name
        for name, value in vars(fal_realtime).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert public <= set(fal_realtime.__all__)


def test_the_version_is_one():
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", fal_realtime.__version__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        fal_realtime.nothing  # noqa: B018


@pytest.mark.parametrize("client", [RealtimeClient, SyncRealtimeClient])
def test_connect_lists_every_option_of_the_typescript_client(client):
    parameters = inspect.signature(client.connect).parameters
    for typescript, python in TYPESCRIPT_OPTIONS.items():
        assert snake_case(typescript) == python
        assert parameters[python].kind is inspect.Parameter.KEYWORD_ONLY
    for name, default in PYTHON_DEFAULTS.items():
        assert parameters[name].default == default
    described = client.connect.__doc__
    for name in parameters.keys() - {"self"}:
        assert f"{name}: " in described


@pytest.mark.parametrize(
    ("function", "options", "others"),
    [(RealtimeClient.connect, ConnectOptions, {"self", "app", "handler"}), (RealtimeClient, ClientOptions, set())],
    ids=["connect", "client"],
)
def test_a_signature_has_the_options_and_defaults_that_are_checked(function, options, others):
    parameters = inspect.signature(function).parameters
    signature = {name: parameter.default for name, parameter in parameters.items() if name not in others}
    assert signature == {entry.name: entry.default for entry in fields(options)}


@pytest.mark.parametrize("client", [RealtimeClient, SyncRealtimeClient])
def test_every_option_of_a_client_is_described(client):
    for name in inspect.signature(client).parameters:
        assert f"{name}: " in client.__init__.__doc__


@pytest.mark.parametrize("error", EXCEPTIONS, ids=repr)
def test_an_exception_survives_pickling_and_copying(error):
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert twin.args == error.args
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


@pytest.mark.parametrize("error", EXCEPTIONS, ids=repr)
def test_every_exception_has_the_one_root(error):
    assert isinstance(error, FalRealtimeError)
    assert str(error)


def test_every_exception_class_is_tested():
    exported = {
        value
        for value in (getattr(fal_realtime, name) for name in fal_realtime.__all__)
        if inspect.isclass(value) and issubclass(value, BaseException)
    }
    assert exported == {type(error) for error in EXCEPTIONS}


def test_some_exceptions_are_also_the_standard_ones():
    assert isinstance(RequestTimeoutError("text"), TimeoutError)
    assert isinstance(EncodeError("text"), ValueError)
    assert isinstance(DecodeError("text"), ValueError)
    assert isinstance(RealtimeError("text"), RuntimeError)
    assert isinstance(ValidationError("text"), ApiError)


def test_an_error_shows_what_happened_and_not_its_body():
    error = ApiError("the token request was refused", 403, {"detail": "x" * 1000}, "request-1")
    assert str(error) == "the token request was refused"
    assert repr(error) == "ApiError('the token request was refused')"
    assert (error.status, error.body, error.request_id) == (403, {"detail": "x" * 1000}, "request-1")


def test_a_realtime_error_is_that_of_fal_client():
    error = RealtimeError("INTERNAL_ERROR", "it broke", {"type": "x-fal-error"})
    assert str(error) == "INTERNAL_ERROR: it broke"
    assert (error.error, error.reason, error.payload) == ("INTERNAL_ERROR", "it broke", {"type": "x-fal-error"})
    assert (error.status, error.body) == (400, {"type": "x-fal-error"})
    bare = RealtimeError("TIMEOUT")
    assert (str(bare), bare.reason, bare.payload) == ("TIMEOUT", "", {})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"detail": "wrong"}, [{"loc": ["body"], "msg": "wrong", "type": "value_error"}]),
        (
            {"detail": [{"loc": ["body", "seed"], "msg": "not an int", "type": "int"}]},
            [{"loc": ["body", "seed"], "msg": "not an int", "type": "int"}],
        ),
        ({}, []),
        (None, []),
        ("text", []),
    ],
)
def test_a_validation_error_gives_its_fields(body, expected):
    error = ValidationError("invalid", 422, body)
    assert error.field_errors == expected
    assert error.get_field_errors("seed") == [item for item in expected if item["loc"][-1] == "seed"]


def test_no_secret_is_shown_by_a_client_its_options_or_its_errors(monkeypatch):
    monkeypatch.setenv("FAL_KEY", "hidden-key:hidden-secret")
    client = RealtimeClient(
        "hidden-key:hidden-secret",
        proxy="http://user:hidden-password@localhost:3128",
        proxy_url="http://localhost/proxy?key=hidden-password",
    )
    connection = client.connect("fal-ai/app", token_provider=lambda _: "hidden-token")
    shown = [repr(thing) + str(thing) for thing in (client, connection, client._options)]
    for options in ({"proxy": b"hidden-password"}, {"credentials": b"hidden-key"}, {"proxy": "hidden-password"}):
        with pytest.raises((TypeError, ValueError)) as raised:
            RealtimeClient(**options)
        shown.append(str(raised.value))
    with pytest.raises(ValueError, match="neither credentials") as raised:
        RealtimeClient(base_url="wss://user:hidden-password@fal.run")
    shown.append(str(raised.value))
    assert not [text for text in shown if any(secret in text for secret in SECRETS)]


def test_a_client_with_its_key_cannot_be_pickled():
    with pytest.raises(TypeError, match="cannot be pickled, since it holds a key"):
        pickle.dumps(RealtimeClient("hidden-key"))


class Completer:
    def __init__(self):
        self.done = threading.Event()
        self.outcome = None

    def set_result(self, token):
        self.outcome = token
        self.done.set()

    def set_error(self, error):
        self.outcome = error
        self.done.set()


@pytest.mark.parametrize(
    ("provider", "check"),
    [
        (lambda app: f"token for {app}", lambda outcome: outcome == "token for a/b"),
        (lambda _: 1 / 0, lambda outcome: isinstance(outcome, ZeroDivisionError)),
        (lambda _: None, lambda outcome: isinstance(outcome, TypeError) and "not NoneType" in str(outcome)),
        (lambda _: _coroutine(), lambda outcome: isinstance(outcome, TypeError) and "async def" in str(outcome)),
    ],
    ids=["token", "raises", "none", "coroutine"],
)
def test_a_token_provider_runs_in_a_thread_and_its_outcome_arrives(provider, check):
    completer = Completer()
    call_in_thread(provider, "a/b", contextvars.copy_context(), completer, checked)
    assert completer.done.wait(10)
    assert check(completer.outcome)


async def _coroutine():
    return "token"
