"""The pytest fixture `fal_local_server` and the marker `fal_replay`.

Loaded into every pytest run: the server is imported by those who use it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import LocalServer


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    about = (
        "fal_replay(path, *, app=None, timing='immediate', strict=False): let fal_local_server replay a recording, by "
        "a path relative to the test's file; see LocalServer.replay"
    )
    config.addinivalue_line("markers", about)


@pytest.fixture
def fal_local_server(request: pytest.FixtureRequest) -> Iterator[LocalServer]:
    """A running `fal_realtime.testing.LocalServer` of its own for each test."""
    from .testing import LocalServer

    with LocalServer() as server:
        for marker in request.node.iter_markers("fal_replay"):
            options = {"timing": "immediate", **marker.kwargs}
            path, *rest = marker.args or [options.pop("path", None)]
            if not isinstance(path, (str, os.PathLike)):
                message = (
                    "the marker fal_replay needs the path of a recording, as in fal_replay('session.mcap'), "
                    f"not {type(path).__name__}"
                )
                raise TypeError(message)
            server.replay(request.path.parent / path, *rest, **options)
        yield server
