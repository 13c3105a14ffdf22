"""A result for which there is no memory is an error of its connection, not the end of the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fal_realtime.testing import LocalServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited by the system")

PROGRAM = """
import resource, sys
from pathlib import Path
from fal_realtime import RealtimeClient, SyncRealtimeClient, FalRealtimeError

url, rest, key = sys.argv[1:]
MiB = 1 << 20
client = SyncRealtimeClient(key, base_url=url, rest_url=rest, trust_env=False)
connection = client.connect("me/large", use_jwt=False)
assert len(connection.request({"size": 10}, timeout=20)["data"]) == 10
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + 20 * MiB, hard))
try:
    connection.request({"size": 60 * MiB}, timeout=20)
except (FalRealtimeError, MemoryError) as error:
    print(type(error).__name__, error)
resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
with client.connect("me/large", use_jwt=False) as other:
    print(len(other.request({"size": 20 * MiB}, timeout=20)["data"]))
connection.close()
"""


def test_a_result_that_does_not_fit_into_memory_is_an_error_and_later_ones_come():
    with LocalServer() as server:

        @server.app("me/large")
        def large(inputs: dict) -> dict:
            return {"data": bytes(inputs["size"]), "request_id": inputs["request_id"]}

        program = [sys.executable, "-c", PROGRAM, server.base_url, server.rest_url, server.key]
        ran = subprocess.run(program, capture_output=True, text=True, timeout=50, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")
        refusal, later = ran.stdout.splitlines()
        assert "not enough memory" in refusal or refusal.startswith("MemoryError")
        assert int(later) == 20 << 20
