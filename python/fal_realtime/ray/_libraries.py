"""Ray and Arrow, imported when they are needed: this package has no dependencies."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load(name: str) -> Any:
    """Import one of their modules.

    Raises:
        ImportError: It is not installed; says what to install.
    """
    try:
        return import_module(name)
    except ImportError as error:
        message = f"fal_realtime.ray needs Ray Data, here and on each node: pip install 'fal-realtime[ray]' ({error})"
        raise ImportError(message) from error
