"""A token endpoint in a thread, which records what it is asked and answers as scripted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .waiting import Changes


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; a body that is not a str is written as JSON."""

    status: int = 200
    body: Any = "token"
    headers: tuple[tuple[str, str], ...] = ()
    before: Callable[[], Any] | None = None
    """Called before the answer is sent, for example to wait."""
    is_raw: bool = False
    """The body is sent as it is."""


@dataclass(frozen=True)
class Mint:
    """A token request."""

    path: str
    headers: dict[str, str]
    body: Any


class TokenEndpoint:
    """Answers the n-th request with the n-th answer, all later ones with the last; without any, with `token-n`."""

    def __init__(self, changes: Changes, answers: tuple[Answer, ...] = ()) -> None:
        self._changes = changes
        self._answers = answers
        self.mints: list[Mint] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                endpoint._answer(self, Mint(self.path, headers, json.loads(body)))

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _answer(self, request: BaseHTTPRequestHandler, mint: Mint) -> None:
        numbers: list[int] = []

        def record() -> None:
            self.mints.append(mint)
            numbers.append(len(self.mints))

        self._changes.note(record)
        [number] = numbers
        answers = self._answers or (Answer(body=f"token-{number}"),)
        answer = answers[min(number, len(answers)) - 1]
        if answer.before is not None:
            answer.before()
        body = (answer.body if answer.is_raw else json.dumps(answer.body)).encode()
        try:
            request.send_response(answer.status)
            for name, value in answer.headers:
                request.send_header(name, value)
            request.send_header("content-length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
        except OSError:
            pass  # whoever asked is gone

    def close(self) -> None:
        """Stop; requests under way are left to themselves."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
