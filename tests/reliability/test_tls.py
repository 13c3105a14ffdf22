"""Certificates that must not be accepted, by name of what is wrong with them, and authorities that must be."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from checks import connect
from support import KEY, accounted
from support.echo import EchoServer
from support.fault_proxy import FaultProxy, Faults

from fal_realtime import ApiError, HandshakeError, InsecureForLocalTests, RealtimeClient, RequestTimeoutError

NOW = dt.datetime.now(dt.timezone.utc)
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[Callable[..., EchoServer]]:
    """Starts a TLS server with a certificate of the authority."""
    running: list[EchoServer] = []

    def start(*names: str, context: ssl.SSLContext | None = None, **validity: Any) -> EchoServer:
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*(names or ("127.0.0.1", "localhost")), **validity).configure_cert(context)
        server = EchoServer(ssl=context)
        running.append(server)
        return server.__enter__()

    yield start
    for server in running:
        server.__exit__(None, None, None)


async def refusal(url: str, figure: Any, **options: Any) -> str:
    with pytest.raises(HandshakeError) as raised:
        await connect(url, open_timeout=5, **options)
    assert raised.value.status is None
    figure(str(raised.value))
    return str(raised.value)


async def test_an_explicit_authority_is_honoured(tls_server: Any, ca_file: str) -> None:
    async with connect(tls_server().url, ssl=ca_file) as connection:
        assert (await connection.request({"n": 1}))["n"] == 1


async def test_a_certificate_of_an_unknown_authority_is_refused(tls_server: Any, figure: Any) -> None:
    assert "unknown authority" in await refusal(tls_server().url, figure)


async def test_a_certificate_of_another_authority_than_the_explicit_one_is_refused(
    tls_server: Any, tmp_path: Path, figure: Any
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    # rustls calls it a bad signature where the names of the authorities are the same.
    reason = await refusal(tls_server().url, figure, ssl=str(other))
    assert "unknown authority" in reason or "signature" in reason


async def test_a_certificate_for_another_host_is_refused(tls_server: Any, ca_file: str, figure: Any) -> None:
    assert "for another host" in await refusal(tls_server("elsewhere.example").url, figure, ssl=ca_file)


async def test_an_expired_certificate_is_refused(tls_server: Any, ca_file: str, figure: Any) -> None:
    server = tls_server(not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    assert "has expired" in await refusal(server.url, figure, ssl=ca_file)


async def test_a_certificate_that_is_not_yet_valid_is_refused(tls_server: Any, ca_file: str, figure: Any) -> None:
    server = tls_server(not_before=NOW + DAY, not_after=NOW + 9 * DAY)
    assert "not yet valid" in await refusal(server.url, figure, ssl=ca_file)


@contextmanager
def blocking_server(authority: trustme.CA, context: ssl.SSLContext) -> Iterator[str]:
    """A server whose alerts are sent: asyncio drops the alert of a handshake that fails."""
    authority.issue_cert("127.0.0.1").configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        sock, _ = listener.accept()
        with sock, suppress(OSError), context.wrap_socket(sock, server_side=True) as tls:
            tls.recv(1 << 16)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener:
        yield f"wss://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(5)


@pytest.mark.filterwarnings("ignore:.*TLSv1:DeprecationWarning")
async def test_tls_1_1_is_refused(authority: trustme.CA, ca_file: str, figure: Any) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # OpenSSL would not speak it at all at its default security level.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with blocking_server(authority, context) as url:
        assert "refuses TLS 1.2 and 1.3" in await refusal(url, figure, ssl=ca_file)


async def test_a_server_that_hangs_up_in_the_tls_handshake_is_named(figure: Any) -> None:
    with FaultProxy(1) as proxy:
        proxy.faults.answer = b""
        assert "may not speak TLS 1.2 or 1.3" in await refusal(proxy.url.replace("ws", "wss"), figure)


async def test_tls_1_2_is_accepted(tls_server: Any, ca_file: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with connect(tls_server(context=context).url, ssl=ca_file) as connection:
        assert (await connection.request({"n": 1}))["n"] == 1


async def test_a_server_that_wants_a_client_certificate_is_named(
    authority: trustme.CA, ca_file: str, figure: Any
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    with blocking_server(authority, context) as url:
        assert "client certificate" in await refusal(url, figure, ssl=ca_file)


async def test_tls_towards_a_plain_server_says_so(server: EchoServer, figure: Any) -> None:
    with pytest.raises((HandshakeError, RequestTimeoutError)) as raised:
        await connect(server.url.replace("ws:", "wss:"), open_timeout=2)
    figure(str(raised.value))
    assert "TLS" in str(raised.value)


async def test_only_by_name_anything_is_accepted(tls_server: Any) -> None:
    server = tls_server("elsewhere.example", not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    async with connect(server.url, ssl=InsecureForLocalTests()) as connection:
        assert (await connection.request({"n": 1}))["n"] == 1


async def test_the_token_request_checks_certificates_too(tls_server: Any, server: EchoServer, figure: Any) -> None:
    """The key goes there: it is not sent to an endpoint that cannot show who it is."""
    endpoint = tls_server()
    client = RealtimeClient(KEY, base_url=server.url, rest_url=endpoint.url.replace("wss", "https"), trust_env=False)
    with pytest.raises(ApiError, match="unknown authority") as raised:
        await client.connect("local/echo")
    assert raised.value.status == 0
    assert endpoint.headers == []
    figure(str(raised.value))


PROGRAM = """
import asyncio, sys
from fal_realtime import HandshakeError, RealtimeClient

async def main():
    client = RealtimeClient("key-id:key-secret", base_url=sys.argv[1], trust_env=False)
    try:
        async with client.connect("local/echo", use_jwt=False, open_timeout=5) as connection:
            print((await connection.request({"n": 1}))["n"])
    except HandshakeError as error:
        print(error)

asyncio.run(main())
"""


def ran_with(url: str, **environment: str) -> str:
    """What the program prints; the authorities of the system are read once a process, so it has one of its own."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, url],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert not ran.stderr, ran.stderr
    return ran.stdout.strip()


def test_ssl_cert_file_is_honoured(tls_server: Any, ca_file: str, tmp_path: Path) -> None:
    url = tls_server().url
    assert ran_with(url, SSL_CERT_FILE=ca_file) == "1"
    assert "unknown authority" in ran_with(url)
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    assert "TLS with 127.0.0.1 failed" in ran_with(url, SSL_CERT_FILE=str(other))


def test_ssl_cert_file_without_an_authority_trusts_the_built_in_ones_only(tls_server: Any, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("")
    assert "unknown authority" in ran_with(tls_server().url, SSL_CERT_FILE=str(nothing))


# --- what it carries ---


async def test_large_messages_arrive_whole_over_a_slow_line(tls_server: Any, ca_file: str) -> None:
    """The system takes less at a time than TLS has ready for it."""
    inputs = [{"n": number, "data": bytes([number]) * 2_000_000} for number in range(4)]
    with FaultProxy(tls_server().port, Faults(bandwidth=20_000_000), scheme="wss") as proxy:
        async with connect(proxy.url, ssl=ca_file) as connection:
            results = await asyncio.gather(*[connection.request(each) for each in inputs])
            stats = accounted(connection)
    assert [(each["n"], each["data"]) for each in results] == [(each["n"], each["data"]) for each in inputs]
    assert (stats["written"], stats["failed"], stats["reconnects"]) == (4, 0, 0)
