"""Plays fal for `gateway_relay.py`: says its port and key, and leaves when its standard input ends."""

from __future__ import annotations

import sys

from fal_realtime.testing import LocalServer

with LocalServer() as server:
    print(server.port, server.key, flush=True)
    sys.stdin.read()
