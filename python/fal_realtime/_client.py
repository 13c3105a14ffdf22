"""The client for asyncio."""

from __future__ import annotations

from dataclasses import fields

from . import _core
from ._base import BaseClient
from ._codec import AsyncEncodedConnection, is_async
from ._connection import NoopConnection, RealtimeConnection
from ._handler import options_from
from ._options import ClientOptions, ConnectOptions


class RealtimeClient(BaseClient[RealtimeConnection]):
    """Makes realtime connections for asyncio.

        client = RealtimeClient()  # FAL_KEY from the environment
        async with client.connect("fal-ai/fast-lcm-diffusion") as connection:
            result = await connection.request({"prompt": "a cat"}, timeout=5)

    One client serves any number of connections, in any number of threads and loops, and its connections to the same
    app share their token. It holds nothing open, so that it need not be closed.
    """

    def _make(
        self, client: _core.Client, app: str, options: ConnectOptions, *, noop: bool = False, url: str | None = None
    ) -> RealtimeConnection:
        arguments = {"app": app, "url": url, **options.as_native()}
        if noop:
            return NoopConnection(client, **arguments)
        if is_async(options.encode_message):
            encode = arguments.pop("encode_message")
            return AsyncEncodedConnection.create(client, encode=encode, arguments=arguments)
        return RealtimeConnection(client, **arguments)


def create_realtime_client(config: object = None) -> RealtimeClient:
    """The counterpart of `createRealtimeClient({ config })`.

    `config` is a mapping or a dataclass of `RealtimeClient`'s options, under their names or the TypeScript client's
    (`credentials`, `proxyUrl`, …); None takes the defaults.
    """
    known = [entry.name for entry in fields(ClientOptions)]
    return RealtimeClient(**({} if config is None else options_from(config, known, "config")))
