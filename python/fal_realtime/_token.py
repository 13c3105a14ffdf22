"""Tokens that a program mints for others, such as the browsers that it serves."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from ._secrets import Hidden


class RealtimeToken:
    """A token for one app; it shows itself nowhere but in `value`.

    Whoever has it can open sessions with the app until `expires_at`, on your account.
    """

    __slots__ = ("_secret", "app", "expires_at")

    def __init__(self, value: str, app: str, expires_in: float) -> None:
        self._secret = Hidden(value)
        self.app: str = app
        """The app id with its path, such as `fal-ai/fast-lcm-diffusion/realtime`."""
        self.expires_at: datetime = datetime.now(timezone.utc) + timedelta(seconds=expires_in)
        """When it ends, by this machine's clock; in UTC."""

    @property
    def value(self) -> str:
        """The token itself: what a `tokenProvider` in the browser gives, or the query parameter `fal_jwt_token`."""
        return self._secret.reveal()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self.app} until {self.expires_at:%Y-%m-%d %H:%M:%S} UTC>"

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse to be pickled: the token would be in the pickle."""
        message = f"a {type(self).__name__} cannot be pickled: pass its value on where it is needed"
        raise TypeError(message)
