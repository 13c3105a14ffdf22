"""A subinterpreter, as mod_wsgi makes one for each application, is told that this package does not work in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
if "{first}" == "main":
    import fal_realtime
    fal_realtime.SyncRealtimeClient("id:secret").connect("local/echo").close()
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
import fal_realtime
fal_realtime.SyncRealtimeClient("id:secret").connect("local/echo").close()
try:
    fal_realtime.RealtimeClient("key", user_agent=1)
except TypeError as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize("first", ["main", "sub"])
def test_a_subinterpreter_gets_a_clear_import_error_and_the_main_one_goes_on(first):
    program = PROGRAM.replace("{first}", first)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    refusal, again, own = ran.stdout.splitlines()
    assert refusal == again
    assert "subinterpreter" in refusal
    assert own == "TypeError"
    assert (ran.returncode, ran.stderr) == (0, "")
