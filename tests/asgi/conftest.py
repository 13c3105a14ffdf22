"""Gateways under real ASGI servers, and the local server that plays fal behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gateway import SERVERS
from running_gateway import APPS, Gateway, gateway

from fal_realtime.testing import LocalServer

# All but one are run by `./check extras`.
ALL = [SERVERS[0], *(pytest.param(name, marks=pytest.mark.extras) for name in SERVERS[1:])]


@pytest.fixture(scope="module", params=ALL)
def server_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def fal() -> Iterator[LocalServer]:
    with LocalServer() as server:
        server.serve_builtin("local/studio/custom", "echo")
        server.serve_builtin("local/other", "echo")
        yield server


@pytest.fixture(scope="module")
def running(server_name: str, fal: LocalServer) -> Iterator[Gateway]:
    """A gateway with the default options, for all tests of a file."""
    with gateway(server_name, fal, token={"apps": APPS, "allow_origins": ["https://app.example"]}) as it:
        yield it


@pytest.fixture
def start(server_name: str, fal: LocalServer) -> Callable[..., Any]:
    """Starts a gateway with options of its own."""
    return lambda **options: gateway(server_name, fal, **options)
