"""A result or an input for which there is no memory is an error of its connection, not the end of the process."""

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
connection = client.connect("me/large", use_jwt=False, max_message_size=100 * MiB)
assert len(connection.request({"size": 10}, timeout=20)["data"]) == 10
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + 20 * MiB, hard))
try:
    # More than the allocator may have reserved for a thread (64 MiB).
    connection.request({"size": 80 * MiB}, timeout=20)
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


OUTGOING = """
import resource, sys
from pathlib import Path
from fal_realtime import SyncRealtimeClient, RealtimeClient, RealtimeError, msgpack
from fal_realtime.testing import LocalServer

url, rest, key = sys.argv[1:]
MiB = 1 << 20
client = SyncRealtimeClient(key, base_url=url, rest_url=rest, trust_env=False)
plain = client.connect("local/echo", use_jwt=False, throttle_interval=0)
as_text = client.connect("local/echo", use_jwt=False, throttle_interval=0, encode_message=lambda text: text)
raw = client.connect_raw(f"{url}/local/echo/realtime", headers={"Authorization": f"Key {key}"})
assert plain.request({"n": 1}, timeout=20)["n"] == 1
as_text.send("{}")
try:
    as_text.recv(timeout=20)
except RealtimeError:
    pass  # the app takes no text
raw.send(msgpack.encode({"n": 1}))
raw.recv(timeout=20)
# More than the allocator may have reserved for a thread (64 MiB).
text = "x" * (80 * MiB)
wide = "\\u20ac" * (27 * MiB)
array = bytearray(b"\\xc6" + (80 * MiB).to_bytes(4, "big") + bytes(80 * MiB))
many = [bytes(16 << 10)] * (1 << 20)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + 20 * MiB, hard))
for name, attempt in {
    "send_nowait": lambda: plain.send_nowait({"text": text}),
    "send": lambda: plain.send({"array": array}),
    "wide": lambda: plain.send({"text": wide}),
    "list": lambda: plain.send({"numbers": [text] * 4}),
    "many": lambda: plain.send({"pieces": many}),
    "request": lambda: plain.request({"text": text}, timeout=20),
    "request_id": lambda: plain.request({"request_id": text}, timeout=20),
    "encode_message": lambda: as_text.send(text),
    "encode_message, wide": lambda: as_text.send(wide),
    "raw text": lambda: raw.send(text),
    "raw array": lambda: raw.send(array),
    "encode": lambda: msgpack.encode({"text": text}),
    "decode": lambda: msgpack.decode(array),
}.items():
    try:
        attempt()
    except MemoryError:
        print(name, "MemoryError")
    except Exception as error:
        print(name, type(error).__name__, str(error)[:200])
    else:
        print(name, "went out")
resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
print(plain.request({"text": text[:MiB]}, timeout=20)["text"] == text[:MiB])
for connection in (plain, as_text, raw):
    connection.close()
"""


def test_an_input_that_does_not_fit_into_memory_is_an_error_of_the_call_and_later_ones_go_out():
    with LocalServer() as server:
        program = [sys.executable, "-c", OUTGOING, server.base_url, server.rest_url, server.key]
        ran = subprocess.run(program, capture_output=True, text=True, timeout=50, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")
        *attempts, later = ran.stdout.splitlines()
        assert later == "True"
        too_large = "request_id EncodeError input.request_id: it has 83886080 bytes; 65536 at most"
        assert [line for line in attempts if not line.endswith(" MemoryError")] == [too_large]
        assert len(attempts) == 13
