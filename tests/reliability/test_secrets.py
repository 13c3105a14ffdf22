"""No key, token or password in anything that a user, a log or a pickle can show, whatever fails."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from secrets_shown import KEY, KEY_ID, PASSWORD, SECRET, every_character_encoded

TOKEN_WORDS = ("canarytoken8901",)
CANARIES = (
    KEY_ID,
    SECRET,
    PASSWORD,
    *TOKEN_WORDS,
    *(every_character_encoded(text) for text in (KEY_ID, SECRET, *TOKEN_WORDS)),
    *(base64.b64encode(text.encode()).decode().rstrip("=") for text in (KEY, SECRET, f"somebody:{PASSWORD}")),
)

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def shown() -> subprocess.CompletedProcess[str]:
    """What the program printed and logged, with every kind of debugging on."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "RUST_LOG": "trace",
        "RUST_BACKTRACE": "full",
        "PYTHONASYNCIODEBUG": "1",
        "PYTHONPATH": str(HERE.parent),  # where `support` is
        "PYTHONDEVMODE": "1",
    }
    return subprocess.run(
        [sys.executable, str(HERE / "secrets_program.py")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )


def result_of(shown: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert shown.returncode == 0, shown.stderr[-3000:]
    [line] = [line for line in shown.stdout.splitlines() if line.startswith("CLASSES ")]
    result: dict[str, Any] = json.loads(line.removeprefix("CLASSES "))
    return result


def test_every_class_of_failure_was_there_and_the_secrets_were_in_use(
    shown: subprocess.CompletedProcess[str], figure: Any
) -> None:
    """Without this the next test would prove nothing."""
    result = result_of(shown)
    assert min(result["told"].values()) >= 4, result["told"]
    quiet = [label for label, error in result["classes"].items() if error == "nothing raised"]
    assert not quiet, quiet
    assert {
        "ApiError",
        "AuthenticationError",
        "ConnectionClosedError",
        "DecodeError",
        "HandshakeError",
        "RequestTimeoutError",
        "TypeError",
        "ValueError",
    } <= set(result["classes"].values())
    figure(f"{len(result['classes'])} failures, {len(shown.stdout) // 1000} KB shown, {len(shown.stderr)} bytes logged")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_no_secret_is_shown(shown: subprocess.CompletedProcess[str], stream: str) -> None:
    result_of(shown)
    lines = getattr(shown, stream).splitlines()
    leaks = [
        f"{canary}: {hit.group()}"
        for canary in CANARIES
        for line in lines
        if (hit := re.search(f".{{0,150}}{re.escape(canary)}.{{0,40}}", line))
    ]
    assert not leaks, "\n".join(leaks)
    # The line breaks, as they are and as a repr shows them, of a repr too.
    unfolded = re.sub(r"\\+[rn]|[\r\n]", "", getattr(shown, stream))
    folded_leaks = [
        hit.group() for canary in CANARIES for hit in re.finditer(f".{{0,99}}{re.escape(canary)}", unfolded)
    ]
    assert not folded_leaks, "\n".join(folded_leaks)
