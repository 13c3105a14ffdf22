"""The defaults that signatures show."""

from __future__ import annotations

from ._policy import ReconnectPolicy

DEFAULT_MAX_MESSAGE_SIZE = 64 * 1024 * 1024
"""Bytes."""

DEFAULT_READ_AHEAD = 64 * 1024 * 1024
"""Bytes."""

DEFAULT_RECONNECT = ReconnectPolicy()
