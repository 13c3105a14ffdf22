"""The steps of a probe, shown one by one."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from fal_realtime._exceptions import ConnectionClosedError, FalRealtimeError, RequestTimeoutError

from ._diagnosis import Stage, Verdict, verdict
from ._network import network_stages
from ._output import Lines
from ._status import FAILED, OK

if TYPE_CHECKING:
    from fal_realtime._client import RealtimeClient
    from fal_realtime._connection import RealtimeConnection
    from fal_realtime._types import ConnectionState

_PING_INTERVAL = 0.1
"""Seconds without a message after which a ping is sent."""
_PING_TIMEOUT = 10.0


class Probe:
    """One probe of one app."""

    def __init__(self, options: argparse.Namespace, client: RealtimeClient) -> None:
        self._options = options
        self._client = client
        self._lines = Lines() if options.json else None
        self._ca: str | None = options.ca
        self._states: list[tuple[ConnectionState, float]] = []
        self._opened_or_not = asyncio.Event()

    async def run(self) -> int:
        """Go through all steps, until one fails; the exit status."""
        url = self._client._base_url  # noqa: SLF001 - its own package
        if self._lines is None:
            print(f"{self._options.app} at {url}", flush=True)
        stages: list[Stage] = []
        async for stage in self._stages(url):
            stages.append(stage)
            self._show(stage)
        found = verdict(self._options.app, stages)
        self._conclude(found)
        return OK if found.ok else FAILED

    async def _stages(self, url: str) -> AsyncIterator[Stage]:
        async for stage in network_stages(url, self._ca, trust_env=self._client._options.trust_env):  # noqa: SLF001 - likewise
            yield stage
            if stage.error is not None:
                return
        async for stage in self._session():
            yield stage

    async def _session(self) -> AsyncIterator[Stage]:
        options = self._options
        connection: RealtimeConnection[Any, Any] = self._client.connect(
            options.app,
            on_state_change=self._note_state,
            open_timeout=options.timeout,
            ping_interval=_PING_INTERVAL,
            ping_timeout=max(options.timeout, _PING_TIMEOUT),
            # The first failure is what is to be told.
            reconnect=None,
            path=options.path,
        )
        try:
            async for stage in self._opening(connection):
                yield stage
                if stage.error is not None:
                    return
            for name in () if options.no_input else ("first result", "second result"):
                began = time.perf_counter()
                error = await self._error_of(connection)
                yield Stage(name, time.perf_counter() - began, "", error)
                if error is not None:
                    return
            yield await _ping(connection)
        finally:
            await connection.aclose()

    def _note_state(self, state: ConnectionState) -> None:
        self._states.append((state, time.perf_counter()))
        if state in ("active", "closed"):
            self._opened_or_not.set()

    async def _opening(self, connection: RealtimeConnection[Any, Any]) -> AsyncIterator[Stage]:
        began = time.perf_counter()
        error: Exception | None = None
        try:
            await connection.open()
        except FalRealtimeError as raised:
            error = raised
        ended = time.perf_counter()
        # What has failed by the time it is awaited raises at once, before its states are told.
        await self._opened_or_not.wait()
        # Without a token, such as with a key that is sent itself, it begins with the handshake.
        connecting = next((at for state, at in self._states if state == "connecting"), None)
        asked = any(state == "authenticating" for state, _ in self._states)
        if asked or connecting is None:
            failed = error if connecting is None else None
            yield Stage("token", (connecting or ended) - began, "", failed)
            if failed is not None:
                return
        opened = next((at for state, at in self._states if state == "active"), ended)
        yield Stage("handshake", opened - (connecting or began), "", error)

    async def _error_of(self, connection: RealtimeConnection[Any, Any]) -> Exception | None:
        try:
            await connection.request(self._options.input, timeout=self._options.timeout)
        except ConnectionClosedError as error:
            return connection.last_error or error
        except FalRealtimeError as error:
            return error
        return None

    # --- what is shown ---

    def _show(self, stage: Stage) -> None:
        if self._lines is not None:
            line: dict[str, Any] = {"stage": stage.name, "seconds": round(stage.seconds, 6), "ok": stage.error is None}
            self._lines.write(line | ({"detail": stage.detail} if stage.detail else {}))
            return
        failed = "  FAILED" if stage.error is not None else ""
        print(f"  {stage.name:<14}{stage.seconds * 1000:>10.2f} ms  {stage.detail}{failed}".rstrip(), flush=True)

    def _conclude(self, found: Verdict) -> None:
        if self._lines is not None:
            self._lines.write(
                {"ok": found.ok, "cold_start": found.cold_start, "verdict": found.what, "advice": found.advice}
            )
            return
        print(f"{found.what[0].upper()}{found.what[1:]}.", flush=True)
        if found.advice:
            print(f"What to do: {found.advice}.", flush=True)


async def _ping(connection: RealtimeConnection[Any, Any]) -> Stage:
    began = time.perf_counter()
    while (latency := connection.latency) is None:
        if time.perf_counter() - began > _PING_TIMEOUT:
            error = RequestTimeoutError(f"no pong came within {_PING_TIMEOUT:g} s")
            return Stage("ping", time.perf_counter() - began, "", error)
        await asyncio.sleep(0.01)
    return Stage("ping", latency)
