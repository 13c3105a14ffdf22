"""Clients in other languages: the stack of `@fal-ai/client` on Node, and `tokio-tungstenite` without Python."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec
from common import NODE_DIRECTORY, Result, Spec, binary, message, server_busy, server_stats

from .works import WARM_UP


def _measured(spec: Spec, command: Sequence[str | Path]) -> Result:
    """Runs the program. The server's share includes the opening here: the program alone knows when it measures."""
    server = server_stats(spec.rest_url)
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: Result = json.loads(output.strip().splitlines()[-1])
    return {**result, "server_busy": server_busy(server, server_stats(spec.rest_url))}


def rust(spec: Spec) -> Result:
    """`examples/bare_client.rs`."""
    with tempfile.NamedTemporaryFile(suffix=".msgpack") as payload:
        payload.write(msgspec.msgpack.encode(message(spec.size)))
        payload.flush()
        options: dict[str, object] = {
            "--address": spec.url.partition("://")[2],
            "--path": f"/{spec.app}/realtime",
            "--payload": payload.name,
            "--window": spec.window,
            "--connections": spec.connections,
            "--warmup": WARM_UP,
            "--seconds": spec.seconds,
        }
        if spec.ca_file:
            options["--ca"] = spec.ca_file
        arguments = [str(word) for pair in options.items() for word in pair]
        return _measured(spec, [binary("bare_client"), *arguments])


def node(spec: Spec) -> Result:
    """`node/client.mjs`."""
    modules = os.environ.get("FAL_BENCH_NODE_MODULES", str(NODE_DIRECTORY / "node_modules"))
    bulk = len(message(spec.size).get("image_bytes", b""))
    options = {**asdict(spec), "app": spec.app, "bulk": bulk, "warmup": WARM_UP, "modules": modules}
    return _measured(spec, ["node", NODE_DIRECTORY / "client.mjs", json.dumps(options)])
