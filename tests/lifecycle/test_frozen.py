"""Frozen applications hold what Python is seen to import: what native code imports must be among it."""

from __future__ import annotations

import re
import subprocess
import sys
from modulefinder import ModuleFinder
from pathlib import Path

import pytest

import fal_realtime
from fal_realtime import _for_core

SOURCES = Path(__file__).parents[2] / "src"
INSTALLED = Path(fal_realtime.__file__).parent
NATIVE_IMPORT = re.compile(r'import\(\s*(?:py,\s*)?"([a-z_.]+)"|: &str = "(fal_realtime\.[a-z_.]+)"')

PROGRAM = """
import asyncio
import fal_realtime
from fal_realtime import msgpack

async def main():
    async def on_result(result):
        results.append(result)
        done.set()

    async def provide(app):
        raise RuntimeError("asked for " + app)

    results, errors, done = [], [], asyncio.Event()
    client = fal_realtime.RealtimeClient("id:secret", base_url="ws://127.0.0.1:1", trust_env=False)
    try:
        callbacks = {"on_result": on_result, "on_error": errors.append}
        await client.connect("local/echo", token_provider=provide, open_timeout=0.1, **callbacks)
    except fal_realtime.AuthenticationError as error:
        print(error)
    print(msgpack.decode(msgpack.encode({"n": 1})))

asyncio.run(main())
"""


def test_every_module_that_native_code_imports_is_imported_by_python_too(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import fal_realtime\nimport fal_realtime.testing\n")
    # Beside the standard library, but for other packages: on some that are compiled as a whole, the finder never ends.
    (tmp_path / "fal_realtime").symlink_to(INSTALLED)
    finder = ModuleFinder(path=[str(tmp_path), *(path for path in sys.path if "site-packages" not in path)])
    finder.run_script(str(program))
    imported = {
        "".join(names): source.relative_to(SOURCES)
        for source in SOURCES.rglob("*.rs")
        for names in NATIVE_IMPORT.findall(source.read_text())
    }
    assert {"fal_realtime._for_core", "logging", "contextvars"} <= imported.keys()
    imported |= {f"fal_realtime.{name}": Path(_for_core.__file__) for name in _for_core.NAMES}
    assert {name: source for name, source in imported.items() if name not in finder.modules} == {}


def test_an_application_that_pyinstaller_has_frozen_works(tmp_path):
    pytest.importorskip("PyInstaller")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    outputs = [f"--{name}path={tmp_path / name}" for name in ("dist", "work", "spec")]
    exclude = [f"--exclude-module={name}" for name in ("numpy", "pydantic", "rich")]
    freeze = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level=WARN", *outputs, *exclude, str(program)]
    subprocess.run(freeze, check=True, capture_output=True, timeout=150, cwd=tmp_path)
    frozen = tmp_path / "dist" / "program" / "program"
    ran = subprocess.run([frozen], capture_output=True, text=True, timeout=30, check=False)
    assert ran.stdout.splitlines() == [
        "the token provider raised RuntimeError: asked for local/echo/realtime",
        "{'n': 1}",
    ]
    assert (ran.returncode, ran.stderr) == (0, "")
