"""What type checkers say to programs that use the package: mypy and pyright, both strict, on what is installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "typing"
CORRECT, MISTAKES = PROGRAMS / "correct.py", PROGRAMS / "mistakes.py"
PYRIGHT = ROOT / "tests" / "node" / "node_modules" / "pyright" / "index.js"

Errors = dict[Path, dict[int, str]]
"""What was said of each line."""


def run(*command: str | Path) -> str:
    ran = subprocess.run(command, cwd=PROGRAMS, capture_output=True, text=True, timeout=200, check=False)
    assert not ran.stderr, ran.stderr
    return ran.stdout


def mypy() -> Errors:
    options = (
        "--strict",
        "--python-version=3.11",
        "--config-file=",
        f"--cache-dir={ROOT / '.mypy_cache' / 'programs'}",
    )
    said = run(sys.executable, "-m", "mypy", *options, "--no-error-summary", CORRECT, MISTAKES)
    errors: Errors = {}
    for name, line, text in re.findall(r"^(.+?):(\d+): error: (.*)$", said, re.MULTILINE):
        errors.setdefault((PROGRAMS / name).resolve(), {})[int(line)] = text
    return errors


def pyright() -> Errors:
    node = shutil.which("node")
    if node is None or not PYRIGHT.exists():
        pytest.skip("NOT TESTED with pyright: node or tests/node/node_modules is missing")
    said = run(node, PYRIGHT, "--project", PROGRAMS, "--pythonpath", sys.executable, "--outputjson")
    errors: Errors = {}
    for entry in json.loads(said)["generalDiagnostics"]:
        line = entry["range"]["start"]["line"] + 1
        errors.setdefault(Path(entry["file"]).resolve(), {})[line] = entry["message"]
    return errors


@pytest.mark.parametrize("checker", [mypy, pyright], ids=["mypy", "pyright"])
def test_a_strict_type_checker_reports_each_mistake_and_nothing_else(checker: Callable[[], Errors]) -> None:
    lines = MISTAKES.read_text(encoding="utf-8").splitlines()
    marked = {number for number, line in enumerate(lines, 1) if "# MISTAKE: " in line}
    assert len(marked) >= 40
    errors = checker()
    assert errors.pop(CORRECT, {}) == {}
    reported = errors.pop(MISTAKES)
    assert {line: reported.get(line) for line in marked ^ set(reported)} == {}
    assert errors == {}  # of the package itself, as a program sees it
