"""What every test starts from."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from support import HeldPort

_ENVIRONMENT = (
    "FAL_FORCE_AUTH_BY_USER",
    "FAL_KEY",
    "FAL_KEY_ID",
    "FAL_KEY_SECRET",
    "FAL_RUN_HOST",
    "FAL_WS_RUN_HOST",
    "FAL_REALTIME_SIDE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "SOCKS_PROXY",
    "WS_PROXY",
    "WSS_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "socks_proxy",
    "ws_proxy",
    "wss_proxy",
)

# A process in the background starts with Ctrl-C ignored, and so would every program that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, host or proxy of whoever runs the tests: a test says what it needs."""
    for name in _ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FAL_HOME_DIR", os.devnull)  # nobody's login


@pytest.fixture(scope="session")
def nobody() -> Iterator[int]:
    """A port at which nobody listens."""
    with HeldPort() as port:
        yield port.number
