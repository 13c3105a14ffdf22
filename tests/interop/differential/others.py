"""The same through fal's own clients: `fal-client`, and `@fal-ai/client` on Node."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fal_client
import fal_client.client
from websockets.exceptions import ConnectionClosed

from fal_realtime import msgpack

from .scenes import Pause, Raw, RawText, Scene
from .serve import NAME
from .transcripts import PATIENCE, TOKENS, Transcript, encode, shown

_NODE = Path(__file__).parents[2] / "node"

AT_ONCE = 16
REPLAYS = 3
"""So often scenes are played again whose transcripts differ."""

_LARGE = 1 << 20
"""Bytes."""

FAL_CLIENT, NODE_CLIENT = "fal-client", "@fal-ai/client"


def node() -> str | None:
    """The program, if it and the client are there."""
    found = shutil.which("node")
    return found if (_NODE / "node_modules" / "@fal-ai" / "client").is_dir() else None


async def with_fal_client(base_url: str, path: str, value: Any) -> str:
    """What comes back for a value that `fal-client` sends."""
    fal_client.client.REALTIME_URL_FORMAT = f"{base_url}/"
    client = fal_client.AsyncClient(key="key-id:key-secret")
    try:
        async with client.realtime(NAME, path=path, use_jwt=False) as connection:
            await connection.send(value)
            return shown(await asyncio.wait_for(connection.recv(), PATIENCE))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return f"{type(error).__name__}: {error}"


def with_node_client(base_url: str, path: str) -> dict[str, dict[str, list[Any]]] | None:
    """What comes back for values of JavaScript; None where Node or the package is missing."""
    if (program := node()) is None:
        return None
    done = subprocess.run(
        [program, str(_NODE / "values.mjs"), base_url, NAME, path, TOKENS.get(base_url, "token")],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    answers: dict[str, dict[str, list[Any]]] = json.loads(done.stdout)
    return answers


async def play_with_fal_client(base_url: str, scene: Scene) -> Transcript:
    """What `fal-client` tells of a scene: results, errors and the end.

    What its own encoder refuses is encoded here, by an encoder that it is given.
    """
    # Read when a connection is made, with nothing awaited in between.
    fal_client.client.REALTIME_URL_FORMAT = f"{base_url}/"
    client = fal_client.AsyncClient(key="key-id:key-secret")
    heard: list[str] = []
    needs_encoder = any(not _is_plain(value) for value in scene.inputs)
    try:
        async with client.realtime(
            NAME,
            path=scene.path,
            use_jwt=False,
            encode_message=encode if needs_encoder else None,  # type: ignore[arg-type] # text is what a scene wants
        ) as connection:
            for message in scene.inputs:
                if isinstance(message, Pause):
                    await asyncio.sleep(message)
                else:
                    with suppress(ConnectionClosed):  # what came before that is still to be taken
                        await connection.send(message)
            while True:
                try:
                    result = await asyncio.wait_for(connection.recv(), PATIENCE)
                except fal_client.client.RealtimeError as error:  # noqa: PERF203 - the session goes on behind it
                    heard.append(f"RealtimeError {error}")
                    if error.error == "CONNECTION_CLOSED":
                        break
                else:
                    heard.append(f"result {shown(result)}")
                    if result is None:
                        break
    except asyncio.TimeoutError:
        heard.append("no end")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the client tells
        heard.append(f"{type(error).__name__}: {error}")
    return tuple(line.replace(base_url, "…") for line in heard)


def _is_plain(value: Any) -> bool:
    """Whether `fal-client` packs it by itself, and in the same way."""
    if isinstance(value, (Raw, RawText)):
        return False
    try:
        return fal_client.client.msgpack_encode_message(value) == msgpack.encode(value)
    except Exception:  # noqa: BLE001 - a type that msgpack does not know
        return False


def _input_for_node(message: Any) -> dict[str, Any]:
    if isinstance(message, Pause):
        return {"pause": message}
    if isinstance(message, RawText):
        return {"text": str(message)}
    if not isinstance(message, Raw):
        try:
            text = json.dumps(message, allow_nan=False)
        except (TypeError, ValueError):
            pass
        else:
            # Numbers that JavaScript holds otherwise go encoded.
            if message is not None and json.loads(text) == message and "18446744073709551615" not in text:
                return {"value": message}
    return {"message": base64.b64encode(_bytes_of(message)).decode()}


def _bytes_of(message: Any) -> bytes:
    encoded = encode(message)
    return encoded.encode() if isinstance(encoded, str) else encoded


async def play_with_node(base_url: str, wanted: list[Scene]) -> dict[str, Transcript]:
    """What `@fal-ai/client` tells of the scenes; they are played in one process."""
    program = node()
    assert program is not None
    plan = [
        {"name": scene.name, "path": scene.path, "inputs": [_input_for_node(item) for item in scene.inputs]}
        for scene in wanted
    ]
    process = await asyncio.create_subprocess_exec(
        program,
        str(_NODE / "scenes.mjs"),
        base_url,
        NAME,
        TOKENS.get(base_url, "token"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 26,
    )
    out, _ = await process.communicate(json.dumps(plan).encode())
    assert process.returncode == 0, "the script failed"
    return {name: tuple(lines) for name, lines in json.loads(out).items()}


async def play_all_with_fal_client(base_url: str, wanted: list[Scene]) -> dict[str, Transcript]:
    """What `fal-client` tells of the scenes."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(scene: Scene) -> tuple[str, Transcript]:
        async with limit:
            return scene.name, await play_with_fal_client(base_url, scene)

    return dict(await asyncio.gather(*map(one, wanted)))


PlayAll = Callable[[str, list[Scene]], Awaitable[dict[str, Transcript]]]

CLIENTS: dict[str, PlayAll] = {FAL_CLIENT: play_all_with_fal_client, NODE_CLIENT: play_with_node}


@dataclass(frozen=True)
class Through:
    """What a client of fal's own told of both servers."""

    client: str
    real: dict[str, Transcript]
    local: dict[str, Transcript]

    @property
    def differing(self) -> list[str]:
        """The names of the scenes that differ.

        `@fal-ai/client` decodes a result in a later turn than an error: where both come with one read, the error comes
        first, so that the order is not the server's.
        """
        compared = sorted if self.client == NODE_CLIENT else tuple
        return [name for name in self.real if compared(self.real[name]) != compared(self.local[name])]


def playable(client: str, scene: Scene) -> bool:
    """Whether the client can play it, in the same way each time.

    Both compress, where the server does too, which takes a while for the largest messages: they may be late for the
    session. `@fal-ai/client` opens with its first input, so that there is no scene without.
    """
    is_large = any(isinstance(item, Raw) and len(item) > _LARGE for item in scene.inputs)
    return not scene.varies and not is_large and (client == FAL_CLIENT or bool(scene.inputs))


async def compare_through(client: str, real: str, local: str, every: list[Scene]) -> Through:
    """Play the scenes through one of fal's own clients, first against the one, then against the other server."""
    wanted = [scene for scene in every if playable(client, scene)]
    found = Through(client, await CLIENTS[client](real, wanted), await CLIENTS[client](local, wanted))
    for _ in range(REPLAYS):
        # On a busy machine inputs may be late for a session that waits for less than half a second.
        again = [scene for scene in wanted if scene.name in set(found.differing)]
        if again:
            found.real.update(await CLIENTS[client](real, again))
            found.local.update(await CLIENTS[client](local, again))
    return found


def words(found: Through) -> list[str]:
    """What differs, in words."""
    said = []
    for name in found.differing:
        said.append(f"{name} ({found.client})")
        said += [f"    fal         {found.real[name]}", f"    LocalServer {found.local[name]}"]
    return said
