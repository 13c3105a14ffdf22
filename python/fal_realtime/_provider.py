"""What a token provider may give."""

from __future__ import annotations

from types import CoroutineType

MAX_TOKEN_CHARACTERS = 16 * 1024
"""Characters: servers take no longer addresses, most of them half of that."""


def checked(token: object) -> str:
    """Give the token, if it is one."""
    if isinstance(token, str):
        if not token:
            message = "token_provider must not return an empty str"
            raise ValueError(message)
        if len(token) > MAX_TOKEN_CHARACTERS:
            limit = MAX_TOKEN_CHARACTERS
            message = f"token_provider returned a token of {len(token)} characters; at most {limit} fit an address"
            raise ValueError(message)
        return token
    if isinstance(token, CoroutineType):
        token.close()
        message = "token_provider returned a coroutine; declare it with `async def`, so that it is awaited on your loop"
        raise TypeError(message)
    message = f"token_provider must return a str, not {type(token).__name__}"
    raise TypeError(message)
