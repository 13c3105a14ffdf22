"""Recorded inputs, sent again.

What flows: `read` gives the recorded sessions; each is played on a connection of its own, which passes bytes as they
are, and what was sent and came makes a session of the same kind, which `_comparing` lays beside the recorded one. Each
`_Playing` owns its connection and the task that reads it; `Replay` owns what the sessions come to.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any

from fal_realtime._exceptions import ConnectionClosedError, FalRealtimeError
from fal_realtime.testing._recording import NO_CLOSE_FRAME, RecordedSession, Step, read_recording

from ._comparing import Compared, closed_by_server, compare, is_result
from ._figures import milliseconds
from ._interruptible import run_until_interrupted
from ._output import Lines, json_text, rows
from ._progress import Progress, progress_for
from ._status import FAILED, OK, UsageError
from ._target import place

if TYPE_CHECKING:
    from fal_realtime._client import RealtimeClient
    from fal_realtime._raw import RawConnection
    from fal_realtime.testing._recording import RecordedConnection

_DEFAULT_PATH = "/realtime"
_NANOSECONDS = 1e-9
_SHOWN = 10


def read(options: argparse.Namespace) -> RecordedConnection:
    """Read the recording, and complete the options with the app it is of.

    Raises:
        UsageError: It is none, or not of an app.
    """
    try:
        recording = read_recording(options.recording)
    except OSError as error:
        message = f"the recording {options.recording} cannot be read: {error.strerror}"
        raise UsageError(message, "give a file that fal-realtime record wrote") from error
    except ValueError as error:
        raise UsageError(str(error), "give a file that fal-realtime record wrote") from error
    app: str = recording.app if options.app is None else options.app
    if "://" in app:
        message = f"{options.recording} is of a connection to {app}, which is no app of fal's"
        raise UsageError(message, "say with --app which app is to get the inputs")
    if not recording.is_whole:
        _warn(f"the recording {options.recording} ends early: what is there of it is replayed", options)
    options.app = app.removesuffix(_DEFAULT_PATH)
    if options.path is None and (app.endswith(_DEFAULT_PATH) or recording.app != app):
        options.path = _DEFAULT_PATH
    return recording


def _warn(text: str, options: argparse.Namespace) -> None:
    print(json_text({"warning": text}) if options.json else f"fal-realtime: {text}", file=sys.stderr)


class Replay:
    """One run of the command."""

    def __init__(self, options: argparse.Namespace, client: RealtimeClient, recording: RecordedConnection) -> None:
        self._options = options
        self._client = client
        self._sessions = recording.sessions
        self._compared: list[Compared] = []
        self._seconds = 0.0

    def run(self) -> int:
        """Play all sessions, and say how they differ; the exit status.

        Raises:
            FalRealtimeError: A session cannot be opened.
        """
        try:
            run_until_interrupted(self._play())
        finally:
            if self._compared:
                self._tell()
        differs = [each for each in self._compared if each.missing or each.extra or each.ending]
        if self._options.strict:
            differs += [each for each in self._compared if each.differences]
        return FAILED if differs else OK

    async def _play(self) -> None:
        total = sum(step.what == "input" for session in self._sessions for step in session.steps)
        began = time.monotonic()
        with progress_for(total, for_programs=self._options.json) as progress:
            for session in self._sessions:
                came = await _Playing(self._options, self._client, session, progress).play()
                self._compared.append(compare(session, came, self._options.ignore))
                self._seconds = time.monotonic() - began

    # --- what is told ---

    def _tell(self) -> None:
        totals = self._totals()
        differences = [
            {"session": number, "result": result, "difference": text}
            for number, compared in enumerate(self._compared, 1)
            for result, text in compared.differences
        ]
        endings = [
            {"session": number, "ending": compared.ending}
            for number, compared in enumerate(self._compared, 1)
            if compared.ending
        ]
        if self._options.json:
            lines = Lines()
            for line in (*differences, *endings, totals):
                lines.write(line)
            return
        print(
            f"{self._options.app} on {place(self._options)}: {totals['sessions']} sessions, {totals['inputs']} inputs "
            f"in {totals['seconds']:.1f} s",
            file=sys.stderr,
        )
        named = [("results", f"{totals['results']} (recorded: {totals['recorded']})")]
        named += [(name, str(totals[name])) for name in ("equal", "different", "missing", "extra") if totals[name]]
        named += [
            (name, f"p50 {totals[f'{prefix}p50_ms']:.3f} ms   p99 {totals[f'{prefix}p99_ms']:.3f} ms")
            for name, prefix in (("latency", ""), ("recorded", "recorded_"))
            if totals[f"{prefix}p50_ms"] is not None
        ]
        named += [("ended", f"session {each['session']}: {each['ending']}") for each in endings]
        named += [
            ("difference", f"session {each['session']}, result {each['result']}: {each['difference']}")
            for each in differences[:_SHOWN]
        ]
        if len(differences) > _SHOWN:
            named.append(("", f"and {len(differences) - _SHOWN} more: --json shows all"))
        print(rows(named), flush=True)

    def _totals(self) -> dict[str, Any]:
        all_of = self._compared
        totals: dict[str, Any] = {"app": self._options.app, "sessions": len(all_of)}
        for name in ("inputs", "results", "recorded", "equal", "missing", "extra"):
            totals[name] = sum(getattr(each, name) for each in all_of)
        totals["different"] = sum(len(each.differences) for each in all_of)
        totals["seconds"] = round(self._seconds, 3)
        latencies = [seconds for each in all_of for seconds in each.latencies]
        recorded = [seconds for each in all_of for seconds in each.recorded_latencies]
        for percent in (50, 99):
            totals[f"p{percent}_ms"] = milliseconds(latencies, percent)
            totals[f"recorded_p{percent}_ms"] = milliseconds(recorded, percent)
        return totals


class _Playing:
    """One session."""

    def __init__(
        self, options: argparse.Namespace, client: RealtimeClient, recorded: RecordedSession, progress: Progress
    ) -> None:
        self._options = options
        self._client = client
        self._recorded = recorded
        self._progress = progress
        self._came = RecordedSession(0)
        self._results = 0
        self._changed = asyncio.Event()

    async def play(self) -> RecordedSession:
        """Play it to its end; what passed."""
        options = self._options
        connection = self._client.connect(
            options.app, raw=True, path=options.path, reconnect=None, open_timeout=options.timeout
        )
        async with connection:
            self._came.began = time.monotonic_ns()
            reading = asyncio.ensure_future(self._read(connection))
            try:
                await self._send(connection, reading)
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        return self._came

    async def _read(self, connection: RawConnection) -> None:
        try:
            async for message in connection:
                self._came.steps.append(Step("answer", time.monotonic_ns(), message))
                self._results += is_result(message)
                self._changed.set()
        except FalRealtimeError:
            pass  # how it ended, the connection knows
        code = connection.close_code or NO_CLOSE_FRAME
        self._came.steps.append(Step("close", time.monotonic_ns(), by="server", code=code))

    async def _send(self, connection: RawConnection, reading: asyncio.Future[None]) -> None:
        """Send each input when it is its turn; then wait for what was recorded after the last one."""
        due = 0
        for step in self._recorded.steps:
            if self._options.no_timing:
                if step.what == "input" and not await self._have(due, reading):
                    return
            elif step.what != "answer":
                offset = (step.time - self._recorded.began) * _NANOSECONDS / self._options.speed
                passed = (time.monotonic_ns() - self._came.began) * _NANOSECONDS
                await asyncio.wait({reading}, timeout=max(0, offset - passed))
            if reading.done():
                return
            if step.what == "input":
                # Before it goes out, so that no answer is there before it.
                self._came.steps.append(Step("input", time.monotonic_ns(), step.message))
                try:
                    await connection.send(step.message)
                except ConnectionClosedError:
                    break
                self._progress.show(len(self._came.steps), "")
            elif step.what == "answer":
                due += is_result(step.message)
        await self._have(due, reading)
        if connection.state == "closed" or closed_by_server(self._recorded) is not None:
            await asyncio.wait({reading}, timeout=self._options.timeout)

    async def _have(self, results: int, reading: asyncio.Future[None]) -> bool:
        """Wait for so many, as long as something comes within the timeout; whether they are there."""
        while self._results < results and not reading.done():
            self._changed.clear()
            coming: asyncio.Future[Any] = asyncio.ensure_future(self._changed.wait())
            either: set[asyncio.Future[Any]] = {coming, reading}
            try:
                done, _ = await asyncio.wait(either, timeout=self._options.timeout, return_when=asyncio.FIRST_COMPLETED)
            finally:
                coming.cancel()
            if not done:
                break
        return self._results >= results
