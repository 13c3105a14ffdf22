"""HTTP CONNECT and SOCKS5 proxies, explicit and from the environment, against proxies that others wrote.

`proxy.py` comes from PyPI; tinyproxy, microsocks and danted from the system or from scripts/test_tools. Each stands
behind a recorder, which proves that the connection went through it.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from checks import FAST
from support import KEY, HeldPort
from support.echo import EchoServer
from support.fault_proxy import FaultProxy, http_answer

from fal_realtime import HandshakeError, RealtimeClient

USER, PASSWORD = "somebody", "pass-word-of-somebody"


@contextmanager
def process(*command: str, port: int) -> Iterator[None]:
    """A server process, from the moment that its port answers."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        try:
            end = time.monotonic() + 20
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if running.poll() is not None or time.monotonic() > end:
                        running.kill()
                        output = running.stdout.read() if running.stdout else ""
                        pytest.fail(f"{command[0]} did not start: {output[-2000:]}")
                    time.sleep(0.02)
            yield
        finally:
            running.terminate()
            try:
                running.wait(5)
            except subprocess.TimeoutExpired:
                running.kill()


def proxy_py(port: int, _: Path, login: bool) -> list[str]:
    arguments = ["--hostname", "127.0.0.1", "--port", str(port), "--num-workers", "1", "--num-acceptors", "1"]
    return [sys.executable, "-m", "proxy", *arguments, *(["--basic-auth", f"{USER}:{PASSWORD}"] if login else [])]


def tinyproxy(port: int, directory: Path, login: bool) -> list[str]:
    config = directory / "tinyproxy.conf"
    lines = [f"Port {port}", "Listen 127.0.0.1", "Allow 127.0.0.1", "Timeout 60"]
    config.write_text("\n".join([*lines, *([f"BasicAuth {USER} {PASSWORD}"] if login else [])]) + "\n")
    return ["tinyproxy", "-d", "-c", str(config)]


def microsocks(port: int, _: Path, login: bool) -> list[str]:
    return ["microsocks", "-i", "127.0.0.1", "-p", str(port), *(["-u", USER, "-P", PASSWORD] if login else [])]


def danted(port: int, directory: Path, login: bool) -> list[str]:
    assert not login
    config = directory / "danted.conf"
    config.write_text(
        f"logoutput: stderr\ninternal: 127.0.0.1 port = {port}\nexternal: 127.0.0.1\n"
        "clientmethod: none\nsocksmethod: none\nuser.privileged: root\nuser.unprivileged: nobody\n"
        "client pass {\n from: 127.0.0.0/8 to: 0.0.0.0/0\n}\nsocks pass {\n from: 127.0.0.0/8 to: 0.0.0.0/0\n}\n"
    )
    return ["danted", "-f", str(config)]


Command = Callable[[int, Path, bool], list[str]]


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Callable[..., FaultProxy]]:
    """Starts a proxy; the recorder in front of it."""
    with ExitStack() as stack:

        def start(command: Command, *, login: bool = False) -> FaultProxy:
            port = stack.enter_context(HeldPort()).number
            arguments = command(port, tmp_path, login)
            if shutil.which(arguments[0]) is None:
                pytest.skip(f"NOT TESTED: there is no {arguments[0]} (scripts/test_tools fetches it on Debian)")
            stack.enter_context(process(*arguments, port=port))
            return stack.enter_context(FaultProxy(port))

        yield start


def address(scheme: str, recorder: FaultProxy, *, login: bool = False, password: str = PASSWORD) -> str:
    return f"{scheme}://{f'{USER}:{password}@' if login else ''}127.0.0.1:{recorder.port}"


async def round_trip(url: str, *, trust_env: bool = False, **options: Any) -> None:
    client = RealtimeClient(KEY, base_url=url, trust_env=trust_env, **options)
    async with client.connect("local/echo", use_jwt=False, throttle_interval=0, open_timeout=10) as connection:
        assert (await connection.request({"n": 1, "body": b"x" * 100_000}))["n"] == 1


HTTP = [proxy_py, tinyproxy]
SOCKS = [microsocks, danted]


@pytest.mark.parametrize("login", [False, True], ids=["open", "basic"])
@pytest.mark.parametrize("command", HTTP, ids=lambda command: command.__name__)
async def test_http_connect(recorded: Any, server: EchoServer, command: Command, login: bool) -> None:
    recorder = recorded(command, login=login)
    await round_trip(server.url, proxy=address("http", recorder, login=login))
    assert len(recorder.attempts) == 1


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
@pytest.mark.parametrize("command", SOCKS, ids=lambda command: command.__name__)
async def test_socks5(recorded: Any, server: EchoServer, command: Command, scheme: str) -> None:
    recorder = recorded(command)
    await round_trip(server.url.replace("127.0.0.1", "localhost"), proxy=address(scheme, recorder))
    assert len(recorder.attempts) >= 1


async def test_socks5_with_a_login(recorded: Any, server: EchoServer) -> None:
    recorder = recorded(microsocks, login=True)
    await round_trip(server.url, proxy=address("socks5", recorder, login=True))
    assert len(recorder.attempts) == 1


@pytest.mark.parametrize(
    ("command", "scheme"),
    [(proxy_py, "http"), (tinyproxy, "http"), (microsocks, "socks5")],
    ids=["proxy.py", "tinyproxy", "microsocks"],
)
async def test_a_wrong_login_is_refused_and_not_shown(
    recorded: Any, server: EchoServer, command: Command, scheme: str, figure: Any
) -> None:
    recorder = recorded(command, login=True)
    with pytest.raises(HandshakeError) as raised:
        await round_trip(server.url, proxy=address(scheme, recorder, login=True, password="wrong-pass-word"))
    assert "wrong-pass-word" not in repr(raised.value) + str(raised.value) + repr(raised.value.__cause__)
    assert server.headers == []
    figure(str(raised.value))


async def test_tls_goes_through_the_tunnel_to_the_server(recorded: Any, tmp_path: Path) -> None:
    """The proxy sees a host and a port; whose certificate is checked is the server's."""
    import ssl  # noqa: PLC0415 - only here

    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    recorder = recorded(proxy_py)
    with EchoServer(ssl=context) as server:
        await round_trip(server.url, proxy=address("http", recorder), ssl=str(tmp_path / "ca.pem"))
        assert len(recorder.attempts) == 1
        with pytest.raises(HandshakeError, match="unknown authority"):
            await round_trip(server.url, proxy=address("http", recorder))


async def test_the_token_request_takes_the_proxy_too(recorded: Any, server: EchoServer) -> None:
    recorder = recorded(proxy_py)
    with FaultProxy(1) as endpoint:
        endpoint.faults.answer = http_answer(200, '"a-token"')
        client = RealtimeClient(
            KEY,
            base_url=server.url,
            rest_url=endpoint.url.replace("ws", "http"),
            proxy=address("http", recorder),
        )
        async with client.connect("local/echo", throttle_interval=0, open_timeout=10) as connection:
            assert (await connection.request({"n": 1}))["n"] == 1
        assert len(endpoint.attempts) == 1
    assert len(recorder.attempts) == 2


@pytest.mark.parametrize("name", ["ws_proxy", "WS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
async def test_the_environment_names_the_proxy(
    recorded: Any, server: EchoServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    recorder = recorded(proxy_py, login=True)
    monkeypatch.setenv(name, address("http", recorder, login=True))
    await round_trip(server.url, trust_env=True)
    assert len(recorder.attempts) == 1


async def test_the_environment_names_a_socks_proxy(
    recorded: Any, server: EchoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = recorded(microsocks)
    monkeypatch.setenv("ALL_PROXY", address("socks5h", recorder))
    await round_trip(server.url, trust_env=True)
    assert len(recorder.attempts) == 1


async def test_a_socks_proxy_has_a_variable_of_its_own_which_comes_before_the_others(
    recorded: Any, server: EchoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = recorded(microsocks)
    with FaultProxy(1) as other:
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, other.url.replace("ws", "http"))
        monkeypatch.setenv("SOCKS_PROXY", f"127.0.0.1:{recorder.port}")
        await round_trip(server.url, trust_env=True)
        assert (len(recorder.attempts), other.attempts) == (1, [])


@pytest.mark.parametrize("exceptions", ["127.0.0.1", "*", "example.com,127.0.0.0/8", "localhost, 127.0.0.1"])
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
async def test_no_proxy_is_honoured(
    server: EchoServer, monkeypatch: pytest.MonkeyPatch, name: str, exceptions: str
) -> None:
    with FaultProxy(1) as recorder:
        recorder.faults.answer = http_answer(502)
        monkeypatch.setenv("ALL_PROXY", recorder.url.replace("ws", "http"))
        monkeypatch.setenv(name, exceptions)
        await round_trip(server.url, trust_env=True)
        assert recorder.attempts == []


async def test_no_proxy_for_others_changes_nothing(server: EchoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultProxy(1) as recorder:
        recorder.faults.answer = http_answer(403)
        monkeypatch.setenv("ALL_PROXY", recorder.url.replace("ws", "http"))
        monkeypatch.setenv("NO_PROXY", "example.com,10.0.0.0/8,1127.0.0.1")
        with pytest.raises(HandshakeError, match="refused the tunnel"):
            await round_trip(server.url, trust_env=True)
        assert len(recorder.attempts) == 1


async def test_without_trust_env_the_environment_says_nothing(
    server: EchoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultProxy(1) as recorder:
        monkeypatch.setenv("ALL_PROXY", recorder.url.replace("ws", "http"))
        await round_trip(server.url)
        assert recorder.attempts == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http_answer(407), "login"),
        (http_answer(403), "403"),
        (http_answer(502), "502"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "before the tunnel"),
    ],
    ids=["407", "403", "502", "ssh", "nothing", "early-data"],
)
async def test_a_proxy_that_does_not_tunnel_is_named(
    server: EchoServer, answer: bytes, words: str, figure: Any
) -> None:
    with FaultProxy(1) as recorder:
        recorder.faults.answer = answer
        with pytest.raises(HandshakeError, match=words) as raised:
            await round_trip(server.url, proxy=address("http", recorder, login=True))
    assert PASSWORD not in str(raised.value)
    figure(str(raised.value))


async def test_after_a_loss_it_comes_back_through_the_proxy(recorded: Any, server: EchoServer) -> None:
    recorder = recorded(proxy_py)
    client = RealtimeClient(KEY, base_url=server.url, proxy=address("http", recorder))
    async with client.connect("local/echo", use_jwt=False, throttle_interval=0, reconnect=FAST) as connection:
        await connection.request({"n": 1})
        recorder.reset()
        await connection.send({"n": 2})
        assert (await connection.recv())["n"] == 2
    assert len(recorder.attempts) == 2
