"""Goes through every class of failure with a canary for a key, a token and a password, and shows all that a user could.

Printed: every exception with its causes, arguments, attributes, traceback and pickle, and every attribute of the
objects of the package. What is logged goes to standard error. Run by test_secrets.py, which looks for the canaries.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import pickle
import re
import ssl
import struct
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote

import msgpack
import trustme
from secrets_shown import (
    KEY,
    PASSWORD,
    SECRET,
    TOKEN,
    classes,
    every_character_encoded,
    folded,
    show_error,
    show_object,
    told,
)
from support.echo import EchoServer
from support.fault_proxy import FaultProxy, http_answer
from support.raw_server import Raw, Script, ScriptedServer, frame

from fal_realtime import InsecureForLocalTests, RealtimeClient, ReconnectPolicy, SyncRealtimeClient


def listen(raw: Raw) -> str:
    """Read the request; the token or the key in it."""
    request = raw.read_request().decode()
    told["token"] += "canarytoken8901" in request
    told["key"] += SECRET in request
    return request


def told_in(request: str) -> str:
    """The secret in a request, as the client's user knows it."""
    if hit := re.search("fal_jwt_token=([^& ]+)", request):
        return unquote(hit[1])
    return request.lower().partition("authorization: key ")[2].splitlines()[0]


def refuse(status: int, *headers: str) -> Script:
    """Refuses, and repeats what it was told."""

    def script(raw: Raw) -> None:
        request = listen(raw)
        secret = told_in(request)
        body = f"{secret} {every_character_encoded(secret)} {folded(secret)} {request}"
        lines = (f"HTTP/1.1 {status} No", f"Content-Length: {len(body)}", "Connection: close", *headers, "", body)
        raw.say("\r\n".join(lines).encode())

    return script


def opened(*pieces: bytes | Callable[[str], bytes], leave: bool = False) -> Script:
    """Opens, and says the pieces; some of them repeat the secret that it was told."""

    def script(raw: Raw) -> None:
        request = listen(raw)
        raw.answer()
        for piece in pieces:
            raw.say(piece if isinstance(piece, bytes) else piece(told_in(request)))
        if not leave:
            raw.linger()

    return script


def app_error(secret: str) -> dict[str, Any]:
    """An in-band error that repeats the secret, also as it was in the address."""
    return {
        "type": "x-fal-error",
        "error": "E",
        "reason": f"you said {secret}",
        "told": [
            secret,
            quote(secret, safe=""),
            quote(secret, safe="").lower(),
            every_character_encoded(secret),
            folded(secret),
        ],
    }


def closing(code: int, reason: str) -> bytes:
    return frame(struct.pack(">H", code) + reason.encode(), first=0x88)


@contextmanager
def endpoint(answer: Any, delay: float = 0.0) -> Iterator[str]:
    """A token endpoint that gives this answer."""
    with FaultProxy(1) as proxy:
        proxy.faults.answer = answer
        proxy.faults.answer_delay = delay
        yield proxy.url.replace("ws", "http")


async def use(label: str, client: RealtimeClient, work: Callable[[Any], Any] | None = None, **options: Any) -> None:
    """Connect, do something, and show what was raised and what there is."""
    options = {"throttle_interval": 0, "reconnect": None, "open_timeout": 0.5, "close_timeout": 0.2, **options}
    connection = client.connect("local/app", on_error=lambda error: show_error(f"{label} on_error", error), **options)
    try:
        async with connection:
            await (work or wait)(connection)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is shown
        show_error(label, error)
    else:
        classes[label] = "nothing raised"
    show_object(f"{label} connection", connection)


async def wait(connection: Any) -> None:
    await connection.send({"prompt": "a cat"})
    await asyncio.wait_for(connection.recv(), 0.5)


def provider(_: str) -> str:
    return TOKEN


async def handshakes() -> None:
    scripts: dict[str, Script] = {
        "status 400": refuse(400),
        "status 401": refuse(401),
        "status 403": refuse(403),
        "status 500": refuse(500),
        "redirect": refuse(302, f"Location: ws://127.0.0.1/?fal_jwt_token={TOKEN}"),
        "wrong accept": lambda raw: (listen(raw), raw.answer(accept="AAAAAAAAAAAAAAAAAAAAAAAAAAA="), raw.linger()),
        "extension": lambda raw: (
            raw.answer(f"Sec-WebSocket-Extensions: {told_in(listen(raw))}"),
            raw.linger(),
        ),
        "bad header": lambda raw: raw.say(f"HTTP/1.1 101 {(said := told_in(listen(raw)))}\r\n{said}\r\n\r\n".encode()),
        "hang up": listen,
        "stall": lambda raw: (listen(raw), raw.linger()),
        "reset": opened(leave=True),
        "violation": opened(b"\xc2\x05hello"),
        "too large": opened(struct.pack(">BBQ", 0x82, 127, 1 << 62)),
        "not msgpack": opened(frame(b"\xc1" + TOKEN.encode())),
        "not json": opened(frame(b"{" + TOKEN.encode(), first=0x81)),
        "unauthorized": opened(frame(b'{"status":"error","error":"Unauthorized"}', first=0x81)),
        "internal error": opened(
            frame(b'{"type":"x-fal-error","error":"INTERNAL_ERROR","reason":"no"}', first=0x81), closing(1000, "")
        ),
        "endless headers": lambda raw: (
            raw.say(f"HTTP/1.1 101 Yes\r\nx-said: {told_in(listen(raw))}\r\n".encode()),
            raw.flood(b"x-more: 1\r\n"),
        ),
        "deep json": opened(lambda secret: frame(b'{"a":' + b"[" * 1000 + json.dumps(secret).encode(), first=0x81)),
        "deep msgpack": opened(lambda secret: frame(b"\x91" * 1000 + msgpack.packb(secret))),
        "close 1008": opened(lambda secret: closing(1008, f"you said {secret}")),
        "close 1011": opened(lambda secret: closing(1011, f"you said {secret}")),
        "close 1012": opened(lambda secret: closing(1012, f"you said {every_character_encoded(secret)}")),
        "app error": opened(lambda secret: frame(json.dumps(app_error(secret)).encode(), first=0x81)),
        "app error in msgpack": opened(lambda secret: frame(msgpack.packb(app_error(secret)))),
        "unknown action": opened(
            lambda secret: frame(json.dumps({"type": "x-fal-message", "action": secret}).encode(), first=0x81)
        ),
        "request times out": opened(),
    }
    for label, script in scripts.items():
        with ScriptedServer(script, timeout=3) as server:
            work = ask if label == "request times out" else None
            with_token = RealtimeClient(base_url=server.url, trust_env=False)
            await use(f"{label}, token", with_token, work, token_provider=provider)
            with_key = RealtimeClient(KEY, base_url=server.url, trust_env=False)
            await use(f"{label}, key", with_key, work, use_jwt=False)
            show_object("client", with_key)
            show_object("native client", with_key._native[1])
            show_object("options", with_key._options)


async def ask(connection: Any) -> None:
    await connection.request({"prompt": "a cat"}, timeout=0.2)


async def openings() -> None:
    await use("refused", RealtimeClient(KEY, base_url="ws://127.0.0.1:1", trust_env=False), use_jwt=False)
    await use("no such host", RealtimeClient(KEY, base_url="wss://host.invalid", trust_env=False), use_jwt=False)
    with FaultProxy(1) as proxy:
        proxy.faults.answer = b""
        url = proxy.url.replace("ws", "wss")
        await use("tls", RealtimeClient(KEY, base_url=url, trust_env=False), use_jwt=False)
        insecure = RealtimeClient(KEY, base_url=url, trust_env=False, ssl=InsecureForLocalTests())
        await use("tls, insecure", insecure, use_jwt=False)
        for scheme in ("http", "socks5"):
            for status in (407, 502):
                proxy.faults.answer = http_answer(status, PASSWORD)
                login = f"{scheme}://somebody:{PASSWORD}@127.0.0.1:{proxy.port}"
                told["password"] += 1
                client = RealtimeClient(KEY, base_url="ws://127.0.0.1:1", proxy=login)
                await use(f"{scheme} proxy {status}", client, use_jwt=False)
                show_object("client with a proxy", client)
                show_object("native client with a proxy", client._native[1])
                show_object("options with a proxy", client._options)
    for label, token in {"empty": "", "control": f"{TOKEN}\r\nX: y", "bytes": TOKEN.encode(), "none": None}.items():
        client = RealtimeClient(base_url="ws://127.0.0.1:1", trust_env=False)
        await use(f"token {label}", client, token_provider=lambda _, token=token: token)


async def certificates() -> None:
    """Servers that cannot show who they are: nothing may be told to them, and nothing shown of what would be."""
    now, day = dt.datetime.now(dt.timezone.utc), dt.timedelta(days=1)
    authority = trustme.CA()
    wrong: dict[str, tuple[str, dict[str, Any]]] = {
        "unknown authority": ("127.0.0.1", {}),
        "other host": ("elsewhere.example", {}),
        "expired": ("127.0.0.1", {"not_before": now - 9 * day, "not_after": now - day}),
        "not yet valid": ("127.0.0.1", {"not_before": now + day, "not_after": now + 9 * day}),
    }
    with tempfile.NamedTemporaryFile(suffix=".pem") as trusted:
        authority.cert_pem.write_to_path(trusted.name)
        for label, (name, validity) in wrong.items():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert(name, **validity).configure_cert(context)
            with EchoServer(ssl=context) as server:
                trust = None if label == "unknown authority" else trusted.name
                with_key = RealtimeClient(KEY, base_url=server.url, trust_env=False, ssl=trust)
                await use(f"{label}, key", with_key, use_jwt=False)
                with_token = RealtimeClient(base_url=server.url, trust_env=False, ssl=trust)
                await use(f"{label}, token", with_token, token_provider=provider)
                rest_url = server.url.replace("wss", "https")
                minting = RealtimeClient(
                    KEY, base_url="ws://127.0.0.1:1", rest_url=rest_url, trust_env=False, ssl=trust
                )
                await use(f"{label}, mint", minting)


async def mints() -> None:
    quoted = json.dumps({"detail": [{"msg": f"{KEY} {SECRET}", "input": {"key": KEY}}]})
    answers = {
        "mint 401": http_answer(401, quoted),
        "mint 403": http_answer(403, quoted),
        "mint 422": http_answer(422, quoted),
        "mint 500": http_answer(500, quoted),
        "mint without a token": http_answer(200, json.dumps({"tokens": [TOKEN]})),
        "mint bad token": http_answer(200, json.dumps(f"{TOKEN} {TOKEN}\n")),
        "mint half a token": f'HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n"{TOKEN}'.encode(),
        "mint not http": f"{TOKEN} {KEY}\r\n\r\n".encode(),
        "mint stalls": "stall",
    }
    for label, answer in answers.items():
        with endpoint(answer) as rest_url:
            client = RealtimeClient(KEY, base_url="ws://127.0.0.1:1", rest_url=rest_url, trust_env=False)
            await use(label, client)
    with endpoint(http_answer(200, json.dumps(TOKEN))) as rest_url, ScriptedServer(refuse(401), timeout=3) as server:
        client = RealtimeClient(KEY, base_url=server.url, rest_url=rest_url, trust_env=False)
        await use("minted and refused", client, open_timeout=3)


def options() -> None:
    """Options that are not acceptable."""
    wrong: dict[str, Callable[[], object]] = {
        "key with a line end": lambda: RealtimeClient(f"{KEY}\n{KEY}").connect("local/app"),
        "key of bytes": lambda: RealtimeClient(KEY.encode()),  # type: ignore[arg-type]
        "key not ascii": lambda: RealtimeClient(f"{KEY}é").connect("local/app"),
        "callable key": lambda: RealtimeClient(lambda: f"Key {KEY}").connect("local/app"),
        "proxy scheme": lambda: RealtimeClient(KEY, proxy=f"ftp://u:{PASSWORD}@host").connect("local/app"),
        "proxy address": lambda: RealtimeClient(KEY, proxy=f"u:{PASSWORD}@host"),
        "proxy port": lambda: RealtimeClient(KEY, proxy=f"http://u:{PASSWORD}@host:x").connect("local/app"),
        "proxy_url": lambda: RealtimeClient(KEY, proxy_url=f"nonsense {PASSWORD}").connect("local/app"),
        "base_url": lambda: RealtimeClient(KEY, base_url=f"wss://u:{PASSWORD}@host").connect("local/app"),
        "rest_url": lambda: RealtimeClient(KEY, rest_url=f"https://u:{PASSWORD}@host").connect("local/app"),
        "pickle": lambda: pickle.dumps(RealtimeClient(KEY)),
        "pickle sync": lambda: pickle.dumps(SyncRealtimeClient(KEY)),
    }
    for label, work in wrong.items():
        try:
            work()
        except Exception as error:  # noqa: BLE001, PERF203 - whatever it is, it is shown
            show_error(label, error)
        else:
            classes[label] = "nothing raised"


async def reconnecting() -> None:
    """Losses that are not the end, with the secrets in use the whole time; and a request under way."""
    with ScriptedServer(opened(frame(msgpack.packb({"n": 1})), leave=True), timeout=3) as server:
        policy = ReconnectPolicy(initial_delay=0.01, max_delay=0.02, max_attempts=5, stable_after=60)
        client = RealtimeClient(base_url=server.url, trust_env=False)
        await use("given up", client, ask, token_provider=provider, reconnect=policy)
    with ScriptedServer(opened(), timeout=3) as server:
        # It reads, and answers no ping.
        heartbeat = {"ping_interval": 0.1, "ping_timeout": 0.1}
        client = RealtimeClient(base_url=server.url, trust_env=False)
        await use("half-open", client, token_provider=provider, **heartbeat)


def blocking() -> None:
    with ScriptedServer(refuse(403), timeout=3) as server:
        client = SyncRealtimeClient(KEY, base_url=server.url, trust_env=False)
        try:
            with client.connect("local/app", use_jwt=False, open_timeout=1) as connection:
                connection.recv(0.1)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is shown
            show_error("sync", error)
        show_object("sync client", client)


async def main() -> None:
    # The tracebacks that a loop reports go to the log.
    asyncio.get_running_loop().set_debug(True)
    await handshakes()
    await openings()
    await certificates()
    await mints()
    await reconnecting()


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    warnings.simplefilter("always")
    asyncio.run(main())
    options()
    blocking()
    print("CLASSES " + json.dumps({"classes": classes, "told": told}))
