"""Opening the connection with fal, before the browser's WebSocket is accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fal_realtime._client import RealtimeClient
from fal_realtime._exceptions import AuthenticationError, FalRealtimeError, HandshakeError, RequestTimeoutError
from fal_realtime._raw import RawConnection

from ._http import Refusal
from ._relay_types import RelaySession

_BUSY = (429, 503)
_READ_AHEAD_BYTES = 256 * 1024
"""What may wait for a browser that does not read, besides the message that goes over it."""


def make_connection(
    client: RealtimeClient,
    session: RelaySession,
    *,
    subprotocols: Sequence[str],
    open_timeout: float,
    max_message_size: int,
) -> RawConnection:
    """A connection that is not open yet. It never reconnects: what a session is, its app knows, not the relay.

    Raises:
        ValueError: What the hook gave is not accepted.
    """
    connection = client.connect(
        session.app,
        raw=True,
        path=session.path,
        query=session.query,
        headers=session.headers,
        subprotocols=subprotocols,
        reconnect=None,
        open_timeout=open_timeout,
        max_message_size=max_message_size,
        read_ahead=_READ_AHEAD_BYTES,
    )
    assert isinstance(connection, RawConnection)  # noqa: S101 - for type checkers: raw=True gives one
    return connection


async def open_connection(connection: RawConnection) -> None:
    """Open it.

    Raises:
        Refusal: It could not be opened. Why is in the logs of this process; the browser hears what concerns it.
    """
    try:
        await connection.open()
    except RequestTimeoutError:
        message = "the app did not answer in time"
        raise Refusal(504, message) from None
    except AuthenticationError:
        message = "fal refused the server's credentials"
        raise Refusal(502, message) from None
    except HandshakeError as error:
        if error.status in _BUSY:
            message = "fal has no room for another session"
            raise Refusal(503, message, retry_after=error.retry_after) from None
        message = "the app could not be reached"
        raise Refusal(502, message) from None
    except FalRealtimeError:
        message = "the app could not be reached"
        raise Refusal(502, message) from None
    except asyncio.CancelledError:
        connection.close()
        raise
