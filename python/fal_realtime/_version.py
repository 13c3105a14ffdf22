"""The version of the installed distribution, looked up when first asked for: the look-up costs milliseconds."""

from __future__ import annotations

from functools import cache


@cache
def version() -> str:
    """For example `0.1.0`."""
    from importlib import metadata

    return metadata.version("fal-realtime")
