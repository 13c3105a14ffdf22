"""Tokens for browsers, and what is said where none can be had."""

from __future__ import annotations

import logging

from fal_realtime._client import RealtimeClient
from fal_realtime._exceptions import ApiError, AuthenticationError
from fal_realtime._token import RealtimeToken

from ._apps import App
from ._http import Refusal

log = logging.getLogger("fal_realtime")

_BUSY = (429, 503)


async def mint(client: RealtimeClient, app: App, expires_in: float) -> RealtimeToken:
    """A token for the app.

    Raises:
        Refusal: fal gave none. Why is logged, and not told to browsers: it is about the server's key.
    """
    try:
        return await client.mint_token(app.app, path=app.path, expires_in=expires_in)
    except AuthenticationError as error:
        log.error("no token for %s could be had: %s", app.whole, error)  # noqa: TRY400 - its traceback says nothing
        message = "fal refused the server's credentials"
        raise Refusal(502, message) from None
    except ApiError as error:
        log.warning("no token for %s could be had: %s", app.whole, error)
        message = "fal gave no token"
        status = 503 if error.status in _BUSY else 502
        raise Refusal(status, message, retry_after=error.retry_after) from None
