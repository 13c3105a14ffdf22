"""The pytest fixture `fal_local_server`. Loaded into every pytest run: the server is imported by those who use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import LocalServer


@pytest.fixture
def fal_local_server() -> Iterator[LocalServer]:
    """A running `fal_realtime.testing.LocalServer` of its own for each test."""
    from .testing import LocalServer

    with LocalServer() as server:
        yield server
