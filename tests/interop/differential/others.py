"""The same through fal's own clients: `fal-client`, and `@fal-ai/client` on Node."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import fal_client
import fal_client.client

from .serve import NAME
from .transcripts import PATIENCE, TOKENS, shown

_NODE_SCRIPT = Path(__file__).parents[2] / "node" / "values.mjs"


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
    node = shutil.which("node")
    if node is None or not (_NODE_SCRIPT.parent / "node_modules" / "@fal-ai" / "client").is_dir():
        return None
    done = subprocess.run(
        [node, str(_NODE_SCRIPT), base_url, NAME, path, TOKENS.get(base_url, "token")],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    answers: dict[str, dict[str, list[Any]]] = json.loads(done.stdout)
    return answers
