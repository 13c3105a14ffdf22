"""Plays fal's HTTP side: `fal.run` and `queue.fal.run` for the proxy to reach, which records what came."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

PNG = bytes(range(256)) * 4096


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class FalHttp:
    """Serves on loopback while it is entered."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.left = threading.Event()
        """A client of `/local/echo/hang` has left."""
        self.go_on = threading.Event()
        """Lets `/local/echo/stream` send its second event."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"outer": self}))
        self.authority = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    """Answers by the last part of the path."""

    outer: FalHttp
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.outer.seen.append(Seen(self.command, self.path, headers, body))
        getattr(self, "_" + self.path.partition("?")[0].rsplit("/", 1)[-1], self._result)(body)

    do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815 - the names of the class

    def _json(self, value: Any, status: int = 200, **headers: str) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("x-fal-request-id", "request-1")
        self.send_header("set-cookie", "secret=1")
        for name, header in headers.items():
            self.send_header(name.replace("_", "-"), header)
        self.end_headers()
        self.wfile.write(data)

    def _result(self, body: bytes) -> None:
        if self.command == "GET":
            self._json({"images": ["the image"]})
        elif "queue" in self.headers.get("x-fal-test", "") or b"queued" in body:
            self._json({"request_id": "abc", "status": "IN_QUEUE"})
        else:
            self._json({"echo": json.loads(body or b"null")})

    def _status(self, _: bytes) -> None:
        self._json({"status": "COMPLETED", "request_id": "abc", "logs": []})

    def _invalid(self, _: bytes) -> None:
        self._json({"detail": [{"loc": ["body", "prompt"], "msg": "missing", "type": "missing"}]}, 422)

    def _busy(self, _: bytes) -> None:
        self._json({"detail": "busy"}, 503, retry_after="7")

    def _moved(self, _: bytes) -> None:
        self._json({}, 307, location="http://127.0.0.1:1/")

    def _big(self, _: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "image/png")
        self.send_header("content-length", str(len(PNG)))
        self.end_headers()
        self.wfile.write(PNG)

    def _stream(self, _: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in (b'data: {"n": 0}\n\n', b'data: {"n": 1}\n\n'):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
            self.outer.go_on.wait(10)
        self.wfile.write(b"0\r\n\r\n")

    def _hang(self, _: bytes) -> None:
        # Ends when the other side has gone.
        if not self.rfile.read(1):
            self.outer.left.set()
        self.close_connection = True
