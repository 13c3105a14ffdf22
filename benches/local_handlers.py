"""What it costs a `LocalServer` to serve a Python handler: two builds in turns, with more and more connections.

    .venv/bin/python benches/local_handlers.py OTHER_PYTHON [--connections 1,1000,5000] [--rounds 7] [--json FILE]

OTHER_PYTHON is a Python in whose environment the other build is, of the same profile as that of the Python that runs
this. Each connection has one message of 200 bytes under way, which an async handler answers with itself. The server
has a process of its own, whose CPU time is counted, and how often a thread of it goes to sleep; the client is plain
sockets, the same for both. Prints this build, the other one, and their ratio within a round. For Linux; raises its
own limit of open files.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from common import Result, Spread

SERVER = Path(__file__).with_name("local_handlers_server.py")
PATIENCE = 60.0
"""Seconds without any answer after which a measurement has failed."""
LEAST = 3_000
"""Messages that a measurement takes at least; with many connections each sends several."""
METRICS = (("cpu_us", "CPU µs a message", 1), ("sleeps", "sleeps a message", 2), ("rate", "messages/s", 0))

# A map of the text "data" and 192 bytes, as msgpack: 200 bytes; a client's frame is masked, here with zeros.
PAYLOAD = b"\x81\xa4data\xc4\xc0" + bytes(192)
QUESTION = b"\x82\xfe" + len(PAYLOAD).to_bytes(2, "big") + bytes(4) + PAYLOAD
ANSWER = b"\x82\x7e" + len(PAYLOAD).to_bytes(2, "big") + PAYLOAD


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", help="the Python of the other build")
    parser.add_argument("--connections", default="1,1000,5000", help="how many, in turn")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each")
    parser.add_argument("--json", type=Path, help="write every result to this file")
    return parser.parse_args()


class Program:
    """A server in a process of its own."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen([python, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self._said()

    def used(self) -> dict[str, float]:
        """What it has used so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._said()

    def _said(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server's process ended"
        said: dict[str, Any] = json.loads(line)
        return said

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


class Clients:
    """Connections that each have one message under way."""

    def __init__(self, port: int, key: str, count: int) -> None:
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._missing: dict[int, int] = {}
        for _ in range(count):
            client = opened(port, key)
            self._poll.register(client, select.EPOLLIN)
            self._sockets[client.fileno()] = client

    def run(self, messages: int) -> float:
        """Make so many round trips on all together; the seconds that it took."""
        began = time.perf_counter()
        for number, client in self._sockets.items():
            client.sendall(QUESTION)
            self._missing[number] = len(ANSWER)
        answered, asked = 0, len(self._sockets)
        while answered < asked:
            ready = self._poll.poll(PATIENCE)
            assert ready, f"no answer within {PATIENCE:.0f} s"
            for number, _ in ready:
                data = self._sockets[number].recv(len(ANSWER))
                assert data, "the server closed a connection"
                self._missing[number] -= len(data)
                if self._missing[number]:
                    continue
                answered += 1
                if asked < messages:
                    asked += 1
                    self._missing[number] = len(ANSWER)
                    self._sockets[number].sendall(QUESTION)
        return time.perf_counter() - began

    def close(self) -> None:
        """Close all."""
        self._poll.close()
        for client in self._sockets.values():
            client.close()


def opened(port: int, key: str) -> socket.socket:
    """An open WebSocket."""
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lines = (
        "GET /local/handler/realtime HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Authorization: Key {key}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
    )
    client.sendall("\r\n".join((*lines, "", "")).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    return client


def measure(python: str, connections: int) -> Result:
    """One measurement."""
    messages = max(LEAST, 4 * connections)
    with closing(Program(python)) as program, closing(Clients(**program.address, count=connections)) as clients:
        clients.run(max(500, connections))  # imports and caches; no figure
        before = program.used()
        seconds = clients.run(messages)
        after = program.used()
    return {
        "rate": messages / seconds,
        "cpu_us": (after["cpu"] - before["cpu"]) / messages * 1e6,
        "sleeps": (after["sleeps"] - before["sleeps"]) / messages,
    }


def show(values: Iterable[float], digits: int) -> str:
    """`median [low..high]`."""
    spread = Spread.of(list(values))
    assert spread is not None
    return f"{spread.median:,.{digits}f} [{spread.low:,.{digits}f}..{spread.high:,.{digits}f}]"


def main() -> None:
    """Measure, print, write."""
    options = arguments()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    pythons = {"this": sys.executable, "other": options.other}
    measured: dict[str, dict[str, list[Result]]] = {}
    for connections in map(int, options.connections.split(",")):
        results: dict[str, list[Result]] = {name: [] for name in pythons}
        for number in range(options.rounds):
            for name in ("this", "other") if number % 2 == 0 else ("other", "this"):
                results[name].append(measure(pythons[name], connections))
        print(f"\n{connections:,} connections, {options.rounds} rounds: this / other = ratio")
        for key, title, digits in METRICS:
            this, other = ([result[key] for result in results[name]] for name in ("this", "other"))
            ratios = [mine / theirs for mine, theirs in zip(this, other, strict=True)]
            print(f"  {title:<18} {show(this, digits)} / {show(other, digits)} = {show(ratios, 2)}", flush=True)
        measured[str(connections)] = results
        if options.json:
            options.json.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
