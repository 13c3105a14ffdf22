"""`fal-realtime serve`: the local server as a process, for clients in any language."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from ._arguments import command, integer, number

if TYPE_CHECKING:
    from ._arguments import Commands

KEY_VARIABLE = "FAL_REALTIME_SERVE_KEY"
"""The variable with the key that clients must show."""

_EXAMPLES = """\
  fal-realtime serve --port 8765
  fal-realtime serve --app fal-ai/fast-lcm-diffusion=image --latency 40
  fal-realtime serve --app me/upper=my_apps:upper --tls
  fal-realtime serve --replay session.mcap --timing immediate
  fal-realtime serve --handshake-delay 5 --token-failures 2 --drop-every 30
  fal-realtime serve --refuse 429 --retry-after 2 --refuse-count 1 --close-after 3 --close-code 1011
  fal-realtime serve --control                # then: drop, close 1011, refuse 503, mute, session 2 drop, help, ...
"""

_DESCRIPTION = """\
Serve realtime apps on this machine as fal does: tokens, handshakes, msgpack. Prints where it listens, and what a client
has to be told, once it takes connections. Ctrl-C or SIGTERM ends it: clients get close code 1001, the exit status is 0.

It brings local/echo, local/image, local/stream, local/collect and local/bidi, which answer as
fal_realtime.testing.LocalServer says.
"""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = command(commands, "serve", "serve realtime apps on this machine", _DESCRIPTION, _EXAMPLES)
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="the IP address (default: 127.0.0.1)")
    parser.add_argument("--port", type=integer(0, 65535), default=8765, help="(default: 8765; 0: a free one)")
    parser.add_argument(
        "--key",
        default=os.environ.get(KEY_VARIABLE) or None,
        metavar="KEY",
        help=f"the key that clients must show (default: that in {KEY_VARIABLE}, else test-key); what is given here is "
        "seen by whoever lists the processes of this machine, the variable is not",
    )
    parser.add_argument("--tls", action="store_true", help="https and wss, with a certificate made for this run")
    parser.add_argument(
        "--app",
        action="append",
        default=[],
        metavar="NAME=WHAT",
        dest="apps",
        help="an app: echo, image, ... or a Python function, MODULE:FUNCTION; may be given again",
    )
    replays = parser.add_argument_group("recordings of connection.record")
    replays.add_argument(
        "--replay",
        action="append",
        default=[],
        metavar="FILE",
        dest="recordings",
        help="an app that answers as it did when it was recorded; may be given again",
    )
    replays.add_argument(
        "--timing",
        type=timing,
        default="recorded",
        metavar="T",
        help="recorded, immediate, or a factor: 0.5 is twice as fast (default: recorded)",
    )
    replays.add_argument("--strict", action="store_true", help="refuse inputs that are not the recorded ones")
    apps = parser.add_argument_group("the apps that it brings")
    apps.add_argument(
        "--session-timeout",
        type=number(0),
        metavar="S",
        help="end a session without an input for so long (default: never)",
    )
    apps.add_argument(
        "--buffering",
        type=integer(1),
        metavar="N",
        help="inputs that wait at most; the oldest are dropped (default: none are)",
    )
    apps.add_argument("--timings", action="store_true", help="send the time that each result took")
    apps.add_argument(
        "--max-message-size",
        type=integer(1),
        default=16 * 1024 * 1024,
        metavar="BYTES",
        help="larger ones are closed with 1009 (default: 16 MiB)",
    )
    tokens = parser.add_argument_group("tokens")
    tokens.add_argument(
        "--token-form", choices=("string", "detail", "token"), default="string", help="(default: string)"
    )
    tokens.add_argument("--token-delay", type=number(0), default=0.0, metavar="S", help="answer so much later")
    tokens.add_argument("--token-failures", type=integer(0), default=0, metavar="N", help="fail the first N with 503")
    faults = parser.add_argument_group("faults")
    faults.add_argument(
        "--latency",
        type=number(0),
        default=0.0,
        metavar="MS",
        help="milliseconds that all bytes take longer, in each direction",
    )
    faults.add_argument("--handshake-delay", type=number(0), default=0.0, metavar="S", help="as at a cold start")
    faults.add_argument(
        "--cold-start",
        type=number(0),
        default=0.0,
        metavar="S",
        help="accept sessions at once, and let their apps begin so much later",
    )
    faults.add_argument("--refuse", type=integer(300, 599), metavar="STATUS", help="refuse handshakes with it")
    faults.add_argument("--refuse-count", type=integer(1), metavar="N", help="so many of them (default: all)")
    faults.add_argument("--retry-after", type=integer(0), metavar="S", help="say so when refusing, for them and tokens")
    faults.add_argument("--refuse-in-band", action="store_true", help="refuse bad keys in an accepted WebSocket (1008)")
    faults.add_argument("--mute", action="store_true", help="let apps take inputs and stay silent")
    faults.add_argument(
        "--close-after", type=integer(0), metavar="N", help="close each session when so many messages were sent to it"
    )
    faults.add_argument(
        "--close-code", type=integer(1000, 4999), default=1000, metavar="CODE", help="then with it (default: 1000)"
    )
    faults.add_argument(
        "--drop-every", type=number(0, or_equal=False), metavar="S", help="reset all connections every so often"
    )
    faults.add_argument(
        "--control",
        action="store_true",
        help="take commands from stdin, one a line, each answered by one; its end ends the server",
    )


def timing(text: str) -> str | float:
    """The time of answers in a replay."""
    return text if text in ("recorded", "immediate") else number(0)(text)


def run(options: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    from ._serving import serve

    serve(options)
    return 0
