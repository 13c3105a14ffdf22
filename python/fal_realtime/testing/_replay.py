"""An app of a `LocalServer` that answers as a recording says."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from contextlib import suppress
from typing import Any, cast

from fal_realtime import _core

from ._recording import NO_CLOSE_FRAME, RecordedConnection, RecordedSession, Step, decoded
from ._socket import Disconnected, Socket

_logger = logging.getLogger("fal_realtime.testing")

_POLICY_VIOLATION = 1008
_NANOSECONDS = 1e-9
_KEY = b"\xaarequest_id"
"""The key of a `request_id`, in msgpack."""


class Replay:
    """The recorded sessions, each given to one that opens; when all were, they begin anew."""

    def __init__(self, recording: RecordedConnection, factor: float, *, strict: bool) -> None:
        self._sessions = itertools.cycle(recording.sessions)
        self._factor = factor
        self._strict = strict

    async def serve(self, socket: Socket) -> None:
        """Run a session from its beginning to its end."""
        with suppress(Disconnected):
            await _Playing(socket, next(self._sessions), self._factor, strict=self._strict).run()


class _Mismatch(Exception):  # noqa: N818 - it is how a session ends
    """An input is not the recorded one."""


class _Playing:
    """One session."""

    def __init__(self, socket: Socket, session: RecordedSession, factor: float, *, strict: bool) -> None:
        self._socket = socket
        self._session = session
        self._factor = factor
        self._strict = strict
        self._inputs = 0
        self._ids: dict[str, str] = {}
        """The client's ids of requests, by the recorded ones."""

    async def run(self) -> None:
        try:
            before = self._session.began
            for step in self._session.steps:
                if step.what == "input":
                    await self._take(step)
                elif step.what == "close" and step.by != "server":
                    # The client is to do it again.
                    continue
                else:
                    await asyncio.sleep(max(0, step.time - before) * _NANOSECONDS * self._factor)
                    if step.what == "close":
                        await self._close(step)
                        return
                    await self._socket.send(self._with_client_ids(step.message))
                before = step.time
            while True:
                await self._socket.receive_any()
                self._inputs += 1
                self._differs("the recording has no more inputs in this session")
        except _Mismatch as mismatch:
            error = {"type": "x-fal-error", "error": "REPLAY_MISMATCH", "reason": str(mismatch)}
            await self._socket.send(json.dumps(error))
            await self._socket.close(_POLICY_VIOLATION)

    async def _close(self, step: Step) -> None:
        if step.code == NO_CLOSE_FRAME:
            self._socket.end()
        else:
            await self._socket.close(step.code, step.reason)

    async def _take(self, step: Step) -> None:
        came = await self._socket.receive_any()
        self._inputs += 1
        recorded, own = decoded(step.message), decoded(came)
        recorded_id, own_id = _pop_request_id(recorded), _pop_request_id(own)
        if isinstance(recorded_id, str) and isinstance(own_id, str):
            self._ids[recorded_id] = own_id
        if recorded != own:
            self._differs("it is not the recorded one")

    def _differs(self, why: str) -> None:
        text = f"input {self._inputs} of a replayed session: {why}"
        if self._strict:
            raise _Mismatch(text)
        _logger.warning(text)

    def _with_client_ids(self, message: bytes | str) -> bytes | str:
        """An answer whose `request_id` is that of the client's request; all else stays byte for byte."""
        for recorded, own in self._ids.items():
            if isinstance(message, str):
                message = message.replace(json.dumps(recorded), json.dumps(own))
            else:
                message = message.replace(_KEY + _packed(recorded), _KEY + _packed(own))
        return message


def _packed(text: str) -> bytes:
    return bytes(_core.encode_as_packer(text))


def _pop_request_id(message: Any) -> Any:
    """Takes it out of a message, where there is one."""
    return cast("dict[str, Any]", message).pop("request_id", None) if isinstance(message, dict) else None
