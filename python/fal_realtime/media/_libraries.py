"""Pillow and numpy, imported where they are needed: this package has no dependencies."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def pillow(needed_by: str, submodule: str = "Image") -> Any:
    """A module of Pillow's.

    Raises:
        ImportError: It is not installed; says what to install.
    """
    return _load(f"PIL.{submodule}", "Pillow", "pillow", needed_by)


def numpy(needed_by: str) -> Any:
    """The module numpy.

    Raises:
        ImportError: It is not installed; says what to install.
    """
    return _load("numpy", "numpy", "numpy", needed_by)


def _load(module: str, name: str, distribution: str, needed_by: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        message = f"{needed_by} needs {name}: pip install {distribution} ({error})"
        raise ImportError(message) from error
