"""The endpoint at which browsers ask for a token."""

from __future__ import annotations

from collections.abc import Collection

from fal_realtime import _checks as check
from fal_realtime._client import RealtimeClient

from ._apps import AllowedApps
from ._endpoint import Endpoint
from ._http import Headers, Refusal, read_json, respond_json
from ._minting import mint
from ._types import AppEntry, AuthorizeHook, Receive, Scope, Send

_MAX_BODY_BYTES = 4096
_FIELDS = ("app", "expires_in")


class TokenEndpoint(Endpoint):
    """`POST {"app": …, "expires_in": …}` answers `{"token": …, "app": …, "expires_in": …}`.

    With it a page needs no key, and connects to fal itself:

        fal.realtime.connect("fal-ai/fast-lcm-diffusion", {
          tokenProvider: async (app) => {
            const headers = { "content-type": "application/json" };
            const body = JSON.stringify({ app });
            const answer = await fetch("/fal/token", { method: "POST", headers, body });
            if (!answer.ok) throw new Error((await answer.json()).message);
            return (await answer.json()).token;
          },
          tokenExpirationSeconds: 120,
          …
        });

    A token opens sessions on your account for as long as it lives, and no longer: a session that is open goes on. It
    is in the answer and nowhere else: neither in a log nor in an error. Mount it at any path.
    """

    _methods = ("POST",)

    def __init__(
        self,
        client: RealtimeClient,
        *,
        apps: Collection[AppEntry],
        authorize: AuthorizeHook,
        expires_in: float = 120,
        max_expires_in: float = 120,
        allow_origins: Collection[str] = (),
        allow_credentials: bool = False,
    ) -> None:
        """Check the options.

        Args:
            client: Whose key the tokens are minted with.
            apps: The apps that a browser may ask for: ids, or tuples of an id and a path other than `/realtime`. With
                the client's `token_api="tokens"` (the default) fal makes each token valid for all paths of the app.
            authorize: Takes the ASGI scope of a request, gives True where it may have a token; sync or async. False is
                answered with 401; it may raise a `Refusal` of its own.
            expires_in: Seconds for which a token lives unless the browser asks for another time.
            max_expires_in: The most that it may ask for, at most a day.
            allow_origins: Exact origins (`https://app.example`) of pages on other hosts that may ask (CORS).
            allow_credentials: They may send cookies.

        Raises:
            ValueError: An option has a value that is not accepted, or an app id is none.
            TypeError: An option is of the wrong type.
        """
        super().__init__(authorize, max_expires_in, allow_origins, credentials=allow_credentials)
        if check.positive("expires_in", expires_in) > max_expires_in:
            message = f"expires_in must be at most max_expires_in ({max_expires_in!r} s), not {expires_in!r}"
            raise ValueError(message)
        self._client = client
        self._apps = AllowedApps(client, apps)
        self._expires_in = expires_in

    async def _serve(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        await self._check_authorized(scope)
        asked = await read_json(scope, receive, _MAX_BODY_BYTES)
        if unknown := sorted(asked.keys() - set(_FIELDS)):
            message = f"unknown field {unknown[0][:40]!r}: accepted are {' and '.join(_FIELDS)}"
            raise Refusal(400, message)
        app = self._apps.named(asked.get("app"))
        if app is None:
            message = "app must be the id of an app that this server gives tokens for"
            raise Refusal(403 if isinstance(asked.get("app"), str) else 400, message)
        expires_in = self._check_expiry("expires_in", asked.get("expires_in"), self._expires_in)
        token = await mint(self._client, app, expires_in)
        answer = {"token": token.value, "app": token.app, "expires_in": expires_in}
        await respond_json(send, 200, answer, headers)
