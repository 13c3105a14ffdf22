"""`fal-realtime bench [APP]`: a short load, and what it took."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ._arguments import add_where, command, integer, json_object, number

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from fal_realtime._client import RealtimeClient

    from ._arguments import Commands

_EXAMPLES = """\
  fal-realtime bench
  fal-realtime bench --connections 50 --size 10000 --seconds 10
  fal-realtime bench fal-ai/fast-lcm-diffusion --input '{"prompt": "a cat"}' --seconds 20 --json
"""

_DESCRIPTION = """\
Keep an app busy for some seconds: on each connection a request goes out as soon as the one before has its answer. Shows
the rate, the latency at this load (p50, p99), and the CPU time of this process, which is the client's alone: the server
of --local (default) has a process of its own, on the same machine. An app of fal's bills for each request.
"""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = command(commands, "bench", "measure rate, latency and CPU under load", _DESCRIPTION, _EXAMPLES)
    parser.add_argument("app", metavar="APP", nargs="?", default="local/echo", help="the app id (default: local/echo)")
    parser.add_argument("--connections", type=integer(1, 10_000), default=1, metavar="N", help="(default: 1)")
    parser.add_argument(
        "--size",
        type=integer(0, 16_000_000),
        default=1000,
        metavar="BYTES",
        help="random bytes in the field `data` of each input (default: 1000; with --input: none)",
    )
    parser.add_argument("--seconds", type=number(0, or_equal=False), default=5.0, metavar="S", help="(default: 5)")
    parser.add_argument("--input", type=json_object, metavar="JSON", help="the input of each request")
    parser.add_argument(
        "--timeout",
        type=number(0, or_equal=False),
        default=90.0,
        metavar="S",
        help="seconds for each opening and request (default: 90)",
    )
    add_where(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    import json
    import os
    import sys

    from ._child import local_server
    from ._interruptible import run_until_interrupted
    from ._load import Load
    from ._progress import progress_for
    from ._status import FAILED, OK
    from ._target import client_for, is_local, place

    given = {} if options.input is None else dict(options.input)
    size = options.size if options.input is None else 0
    if size:
        given["data"] = os.urandom(size)
    where = place(options)
    servers: AbstractContextManager[RealtimeClient] = (
        local_server(options.app) if is_local(options) else client_for(options)
    )
    with servers as client, progress_for(None, for_programs=options.json) as progress:
        load = Load(
            client,
            options.app,
            given,
            connections=options.connections,
            seconds=options.seconds,
            timeout=options.timeout,
        )
        run_until_interrupted(load.run(progress))
    if options.json:
        print(json.dumps(load.as_json()))
    else:
        where = "a server in a process of its own" if is_local(options) else where
        print(f"{options.app} on {where}, {options.connections} connections", file=sys.stderr)
        print(load.summary())
    return FAILED if load.failed or not load.latencies else OK
