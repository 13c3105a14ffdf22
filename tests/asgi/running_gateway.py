"""A gateway under a real ASGI server, in a process of its own."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fal_realtime.testing import LocalServer

APPS = ["local/echo", "local/image", "local/stream", ["local/studio", "/custom"]]
PATIENCE = 20.0


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Gateway:
    """A running gateway."""

    server: str
    port: int
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    """What it has printed and logged."""

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/relay"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()

    def post(self, path: str, value: Any, **headers: str) -> Answer:
        return self.request("POST", path, json.dumps(value).encode(), content_type="application/json", **headers)

    def stats(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.request("GET", "/stats").json()
        return answer

    def terminate(self) -> None:
        """SIGTERM to the server itself."""
        self.process.send_signal(signal.SIGTERM)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def gateway(server: str, fal: LocalServer, **options: Any) -> Iterator[Gateway]:
    """A gateway before a local server."""
    whole = {
        "key": fal.key,
        "base_url": fal.base_url,
        "rest_url": fal.rest_url,
        "token": {"apps": APPS},
        "proxy": {"apps": APPS},
        **options,
    }
    program = [sys.executable, "-u", str(Path(__file__).parent / "gateway.py"), server, json.dumps(whole)]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = int(process.stdout.readline().split()[1])
        running = Gateway(server, port, process)
        reader = threading.Thread(target=lambda: running.lines.extend(process.stdout), daemon=True)  # type: ignore[arg-type]
        reader.start()
        try:
            until = time.monotonic() + PATIENCE
            while not _listens(port):
                assert process.poll() is None, f"{server} ended: {''.join(running.lines)}"
                assert time.monotonic() < until, f"{server} does not listen: {''.join(running.lines)}"
                time.sleep(0.02)
            yield running
        finally:
            process.stdin.close()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
            reader.join(PATIENCE)
