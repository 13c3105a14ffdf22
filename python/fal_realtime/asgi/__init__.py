"""Gateways between browsers and fal, as plain ASGI 3 applications: no framework is needed, and any can mount them.

- `TokenEndpoint` gives a browser a short-lived token, with which it connects to fal itself.
- `ProxyEndpoint` is what `proxyUrl` of `@fal-ai/client` expects: it adds the key to the requests that it allows.
- `Relay` passes the messages of a browser's WebSocket on to an app and back, so that the browser never sees fal.
"""

from __future__ import annotations

from ._http import Refusal
from ._proxy import ProxyEndpoint
from ._relay import Relay
from ._relay_types import RelaySession, RelayStats
from ._tokens import TokenEndpoint

__all__ = ["ProxyEndpoint", "Refusal", "Relay", "RelaySession", "RelayStats", "TokenEndpoint"]
