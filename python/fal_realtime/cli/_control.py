"""Faults of a server process on demand: commands, one a line, each with one line as its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from fal_realtime._threads import start

from ._commands import commands_for, usage_of
from ._output import Lines, json_text
from ._reading import STDIN, chunks, lines

if TYPE_CHECKING:
    from fal_realtime.testing import LocalServer


class Control:
    """Takes the commands for one server."""

    def __init__(self, server: LocalServer, *, as_json: bool) -> None:
        self._lines = Lines() if as_json else None
        self._commands = commands_for(server)
        self._usage = usage_of(self._commands)

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

        start(threading.Thread(target=work, name="fal-realtime-control", daemon=True))

    def _answer(self, line: str) -> None:
        name, _, rest = line.strip().partition(" ")
        if name == "help":
            self._tell({"ok": True, "commands": self._usage})
            return
        if name not in self._commands:
            self._tell({"ok": False, "error": f"there is no command {name!r}, but {self._usage}"})
            return
        try:
            told = self._commands[name].call(rest)
        except (ValueError, TypeError, OverflowError, OSError, RuntimeError) as error:
            self._tell({"ok": False, "error": f"{name}: {error}"})
        else:
            self._tell({"ok": True, **(cast("dict[str, Any]", told) if isinstance(told, dict) else {})})

    def _tell(self, answer: dict[str, Any]) -> None:
        if self._lines is not None:
            self._lines.write(answer)
            return
        ok = answer.pop("ok")
        text = answer.get("error") or "  ".join(
            f"{name} {value if isinstance(value, (str, int)) else json_text(value)}" for name, value in answer.items()
        )
        print(f"{'ok' if ok else 'error'}{f': {text}' if text else ''}", flush=True)
