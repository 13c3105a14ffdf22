"""A subinterpreter, as mod_wsgi makes one for each application, is told that this package does not work in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys

def answer():
    from fal_realtime.testing import LocalServer
    with LocalServer() as server, server.sync_client() as client, client.connect("local/echo") as connection:
        return connection.request({"n": 1}, timeout=30)["n"]

if "{first}" == "main":
    assert answer() == 1
try:
    import _interpreters as interpreters  # from 3.13
    create = lambda: interpreters.create("legacy")
    run = interpreters.exec
except ImportError:
    import _xxsubinterpreters as interpreters
    create = lambda: interpreters.create(isolated=False)
    run = interpreters.run_string
code = '''
try:
    import fal_realtime
except ImportError as error:
    print(error, flush=True)
'''
for _ in range(2):
    interpreter = create()
    run(interpreter, code)
    interpreters.destroy(interpreter)
print(answer())
import fal_realtime
try:
    fal_realtime.RealtimeClient("key", user_agent=1)
except TypeError as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize("first", ["main", "sub"])
def test_a_subinterpreter_gets_a_clear_import_error_and_the_main_one_goes_on(first):
    program = PROGRAM.replace("{first}", first)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    # Without an output of the interpreter's own, it says why there is none.
    refusal, again, answer, own = ran.stdout.splitlines() or [ran.stderr, "", "", ""]
    assert refusal == again
    assert "subinterpreter" in refusal
    assert answer == "1", "what the subinterpreter undid at its end is not the main one's"
    assert own == "TypeError"
    assert (ran.returncode, ran.stderr) == (0, "")
