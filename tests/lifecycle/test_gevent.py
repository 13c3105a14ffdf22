"""A blocking connection under gevent's monkey patching: callbacks and token providers run in threads of the system."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("gevent")

PROLOGUE = """
from gevent import monkey
monkey.patch_all()
import gevent
from fal_realtime.testing import LocalServer
"""

CALLBACKS = """
with LocalServer() as server:
    results = []
    with server.sync_client().connect("local/echo", on_result=results.append) as connection:
        connection.send({"n": 1})
        connection.drain(10)
        while not results:
            gevent.sleep(0.01)
    print([result["n"] for result in results])
"""

PROVIDER = """
with LocalServer() as server:
    minted = server.sync_client()
    def provide(app):
        import json, urllib.request
        request = urllib.request.Request(
            server.rest_url + "/tokens/", json.dumps({"allowed_apps": ["echo"], "token_expiration": 120}).encode(),
            {"Authorization": "Key " + server.key, "Content-Type": "application/json"},
        )
        return json.loads(urllib.request.urlopen(request).read())
    with server.sync_client().connect("local/echo", token_provider=provide, open_timeout=20) as connection:
        print([connection.request({"n": 1}, timeout=60)["n"]])
"""

THREADPOOL = """
with LocalServer() as server:
    pool = gevent.get_hub().threadpool
    connection = server.sync_client().connect("local/echo")
    ticks = []
    def tick():
        while True:
            ticks.append(1)
            gevent.sleep(0.001)
    ticker = gevent.spawn(tick)
    # The whole blocking call in a thread of gevent's pool: the other greenlets go on.
    result = pool.apply(connection.request, ({"n": 1, "delay": 0.2}, 10))
    assert len(ticks) > 5, ticks
    ticker.kill()
    pool.apply(connection.close)
    print([result["n"]])
"""


REFUSED = """
with LocalServer() as server:
    try:
        server.sync_client().pool("local/echo", size=2)
    except RuntimeError as error:
        print(error)
    try:
        server.app("local/own")(lambda message: message)
    except RuntimeError as error:
        print(error)
"""


def run(work: str) -> tuple[str, str]:
    """What a patched program prints, and what it writes to standard error."""
    program = textwrap.dedent(PROLOGUE + work)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    return ran.stdout.strip(), ran.stderr


@pytest.mark.parametrize("work", [CALLBACKS, PROVIDER, THREADPOOL], ids=["callbacks", "provider", "threadpool"])
def test_a_blocking_connection_works_under_gevent(work: str) -> None:
    assert run(work) == ("[1]", "")


def test_what_needs_an_event_loop_in_a_thread_is_refused_under_gevent() -> None:
    out, err = run(REFUSED)
    lines = out.splitlines()
    assert (len(lines), err) == (2, "")
    assert all("needs threads of the system, which gevent's monkey patching has replaced" in line for line in lines)
