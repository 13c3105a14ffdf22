"""The system gives no more threads: that is an error of the connection, and passes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can become somebody whose threads are limited"
)

PROGRAM = """
import os, resource, sys
from fal_realtime import FalRealtimeError
from fal_realtime.testing import LocalServer

with LocalServer() as server:
    options = {"base_url": f"ws://localhost:{server.port}"}
    with server.sync_client().connect("local/echo", use_jwt=False) as connection:
        connection.request({"n": 0}, timeout=60)  # the I/O thread runs now
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, hard))
    for options in ({"use_jwt": False}, {"token_provider": lambda app: "token"}):
        client = server.sync_client(base_url=f"ws://localhost:{server.port}")
        connection = client.connect("local/echo", open_timeout=1, **options)
        try:
            connection.open()
        except FalRealtimeError as error:
            print(error)
    resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
    with client.connect("local/echo", use_jwt=False) as connection:
        print(connection.request({"n": 1}, timeout=60)["n"])
"""


def test_an_opening_for_which_there_is_no_thread_fails_with_the_reason_and_later_ones_work():
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=50, check=False)
    lookup, provider, again = ran.stdout.splitlines() or ["", "", ran.stderr]
    assert "localhost" in lookup
    assert "Resource temporarily unavailable" in lookup + provider
    assert again == "1"
    assert (ran.returncode, ran.stderr) == (0, "")
