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

from fal_realtime import RealtimeClient, SyncRealtimeClient
from fal_realtime._client_options import ClientOptions
from fal_realtime._options import ConnectOptions
from fal_realtime.asgi import RelaySession
from fal_realtime.ray._plan import Plan

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


@pytest.mark.parametrize(
    "thing",
    [
        ConnectOptions(connection_key=SECRET),
        ClientOptions(token_path=f"/tokens/?key={SECRET}"),
        RelaySession("a/b", query={"key": SECRET}, headers={"x-key": SECRET}),
        Plan("a/b", None, None, None, {"proxy": f"http://u:{SECRET}@h"}, {"headers": {"x-key": SECRET}}, {}),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_no_option_that_may_hold_a_secret_is_in_a_repr(thing: object) -> None:
    assert SECRET not in repr(thing)


@pytest.mark.parametrize("kind", [RealtimeClient, SyncRealtimeClient])
def test_a_client_whose_constructor_has_failed_can_be_shown(kind: Any) -> None:
    client = kind.__new__(kind)
    with pytest.raises(ValueError, match="base_url"):
        client.__init__("key", base_url="nowhere")
    assert repr(client) == f"<{kind.__name__}>"


IN_PYTEST = """
import os
import pytest
from fal_realtime import RealtimeClient

HIDDEN = os.environ["HIDDEN"]
CALLS = [
    lambda: RealtimeClient(f"{HIDDEN},"),
    lambda: RealtimeClient(lambda: f"{HIDDEN},").connect("a/b"),
    lambda: RealtimeClient("key", proxy=HIDDEN),
    lambda: RealtimeClient("key", proxy_url=f"ftp://{HIDDEN}"),
    lambda: RealtimeClient("key", token_path=HIDDEN),
    lambda: RealtimeClient("key", base_url=f"https://{HIDDEN}"),
    lambda: RealtimeClient("key", user_agent=f"{HIDDEN}\\n"),
    lambda: RealtimeClient("key", client_cert=(__file__, HIDDEN)),
    lambda: RealtimeClient("key").with_options(proxy=HIDDEN),
    lambda: RealtimeClient("key").connect("a/b", headers={"X-Key": f"{HIDDEN}\\n"}),
    lambda: RealtimeClient("key").connect("a/b", headers={f"X-Key: {HIDDEN}": ""}),
    lambda: RealtimeClient("key").connect("a/b", query={"key": f"{HIDDEN}\\n"}),
    lambda: RealtimeClient("key").connect("a/b", subprotocols=[f"bearer {HIDDEN}"]),
    lambda: RealtimeClient("key").connect_raw(f"http://a/?key={HIDDEN}"),
]


@pytest.mark.parametrize("call", CALLS)
def test_it(call):
    call()
"""


def test_no_secret_is_in_a_traceback_of_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(IN_PYTEST, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=long", "--rootdir", str(tmp_path)]
    environment = {**os.environ, "HIDDEN": SECRET}
    done = subprocess.run(
        [*command, str(tmp_path)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    count = IN_PYTEST.count("lambda: RealtimeClient(")
    assert f"{count} failed in" in done.stdout, done.stdout[-3000:]
    assert not [line for line in done.stdout.splitlines() if SECRET in line]
