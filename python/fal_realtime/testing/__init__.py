"""A fal realtime server inside the process, to test services against that use fal's realtime endpoints.

```python
from fal_realtime.testing import LocalServer

async def test_my_service():
    with LocalServer() as server:
        async with server.client().connect("local/echo", throttle_interval=0) as connection:
            assert await connection.request({"prompt": "a cat"}, timeout=5)
            server.drop_connections()  # what does my service do now?
```

It speaks the protocol as fal's own server does, runs on a thread of its own that neither a blocked event loop nor the
GIL can block, and goes wrong on demand. pytest finds the fixture `fal_local_server`, which is a started one.
"""

from __future__ import annotations

from ._apps import BuiltinApp
from ._handler_app import AppKind
from ._records import Handshake, MintRequest
from ._server import LocalServer
from ._sessions import ServerSession

__all__ = ["AppKind", "BuiltinApp", "Handshake", "LocalServer", "MintRequest", "ServerSession"]

# Their home is where they are imported from, also in pickles and tracebacks.
for _public in (Handshake, LocalServer, MintRequest, ServerSession):
    _public.__module__ = __name__
del _public
