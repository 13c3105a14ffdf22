"""Faults of a server process on demand: commands, one a line, each with one line as its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, cast

from ._output import Lines
from ._reading import STDIN, chunks, lines

if TYPE_CHECKING:
    from fal_realtime.testing import LocalServer

HELP = (
    "drop: reset all connections; close CODE [REASON]; send TEXT; refuse STATUS or off; pause; resume; expire-tokens; "
    "token-failures N [STATUS]; token-delay S; handshake-delay S; stop-listening; start-listening; counts"
)


class Control:
    """Takes the commands for one server."""

    def __init__(self, server: LocalServer, *, as_json: bool) -> None:
        self._server = server
        self._lines = Lines() if as_json else None
        self._commands: dict[str, tuple[int, float, Callable[..., object]]] = {
            "drop": (0, 0, server.drop_connections),
            "close": (1, inf, self._close),
            "send": (1, inf, self._send),
            "refuse": (1, 1, self._refuse),
            "pause": (0, 0, server.pause),
            "resume": (0, 0, server.resume),
            "expire-tokens": (0, 0, server.expire_tokens),
            "token-failures": (1, 2, self._token_failures),
            "token-delay": (1, 1, self._token_delay),
            "handshake-delay": (1, 1, self._handshake_delay),
            "stop-listening": (0, 0, server.stop_listening),
            "start-listening": (0, 0, server.start_listening),
            "counts": (0, 0, self._counts),
            "help": (0, 0, lambda: {"commands": HELP}),
        }
        """Each with how many arguments it takes, at least and at most."""

    def start(self, at_end: Callable[[], None]) -> None:
        """Take them in a thread, until there are no more; then call `at_end`."""

        def work() -> None:
            try:
                for line in lines(chunks(STDIN)):
                    if line.strip():
                        self._answer(line.decode(errors="replace"))
            except BrokenPipeError:
                pass  # whoever gave the commands is gone
            finally:
                at_end()

        threading.Thread(target=work, daemon=True).start()

    def _answer(self, line: str) -> None:
        name, *given = line.split()
        if name not in self._commands:
            self._tell({"ok": False, "error": f"there is no command {name!r}: {HELP}"})
            return
        least, most, function = self._commands[name]
        if not least <= len(given) <= most:
            self._tell({"ok": False, "error": f"{name} has {len(given)} arguments: {HELP}"})
            return
        try:
            told = function(*given)
        except (ValueError, TypeError, OverflowError, OSError) as error:
            self._tell({"ok": False, "error": f"{name}: {error}"})
        else:
            self._tell({"ok": True, **(cast("dict[str, Any]", told) if isinstance(told, dict) else {})})

    def _tell(self, answer: dict[str, Any]) -> None:
        if self._lines is not None:
            self._lines.write(answer)
            return
        ok = answer.pop("ok")
        text = answer.get("error") or "  ".join(f"{name} {value}" for name, value in answer.items())
        print(f"{'ok' if ok else 'error'}{f': {text}' if text else ''}", flush=True)

    # Arguments are words: a ValueError of theirs is an answer.

    def _close(self, code: str, *reason: str) -> None:
        self._server.close_all(int(code), " ".join(reason))

    def _send(self, *words: str) -> None:
        self._server.send(" ".join(words))

    def _refuse(self, status: str) -> None:
        self._server.refuse(None if status == "off" else int(status))

    def _token_failures(self, count: str, status: str = "503") -> None:
        self._server.mint_failures(int(count), int(status))

    def _token_delay(self, seconds: str) -> None:
        self._server.mint_delay(float(seconds))

    def _handshake_delay(self, seconds: str) -> None:
        self._server.handshake_delay(float(seconds))

    def _counts(self) -> dict[str, int]:
        server = self._server
        names = ("connections", "connections_total", "tokens_minted", "mint_requests", "messages_received")
        return {name: getattr(server, name) for name in (*names, "messages_sent", "pings_received")}
