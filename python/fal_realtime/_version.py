"""The version of the installed distribution, looked up when first asked for: the look-up costs milliseconds."""

from __future__ import annotations

from functools import cache


@cache
def version() -> str:
    """For example `0.1.0`."""
    from importlib import metadata  # noqa: PLC0415 - its import is most of the cost

    return metadata.version("fal-realtime")
