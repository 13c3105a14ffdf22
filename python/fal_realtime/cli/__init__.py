"""The command line: `fal-realtime`, or `python -m fal_realtime`.

Each command is a module with `add`, which describes its arguments, and `run`, which gives the exit status. They import
what they need in `run`, so that the help needs none of it.
"""

from __future__ import annotations

from ._main import main

__all__ = ["main"]
