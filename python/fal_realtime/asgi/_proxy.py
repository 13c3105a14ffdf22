"""The proxy that `proxyUrl` of `@fal-ai/client` names: it adds the key to requests that it allows."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Collection, Sequence
from typing import Any, cast

from fal_realtime import _checks as check
from fal_realtime._client import RealtimeClient
from fal_realtime._version import version

from ._apps import AllowedApps, App
from ._endpoint import Endpoint, log
from ._http import Disconnected, Headers, Refusal, header, read_body, read_json, respond_json
from ._minting import mint
from ._target import TARGET_URL, Target, Targets
from ._trust import context_of
from ._types import AppEntry, AuthorizeHook, Receive, Scope, Send
from ._upstream import Dial, Exchange, Threads

_MAX_TOKEN_BODY_BYTES = 4096
_TOKEN_FIELDS = ("allowed_apps", "token_expiration", "duration")
_ANSWER_HEADERS = ("content-type", "retry-after", "cache-control")
"""What of fal's answer is a page's business, beside what begins with `x-fal-`. Cookies are not."""
_MULTIPLE_CHOICES, _BAD_REQUEST = 300, 400


class ProxyEndpoint(Endpoint):
    """The server side of `fal.config({ proxyUrl: "/fal/proxy" })`, for exactly the apps that are named.

    The client sends it each request that would go to fal, with the real address in the header `x-fal-target-url`, and
    it goes on with the key. Allowed are `https://fal.run` and `https://queue.fal.run` below an allowed app, token
    requests to `https://rest.fal.ai` for one, and, where that is switched on, uploads to fal's storage. Of the
    request's headers those that begin with `x-fal-` pass, of the answer's these, its type and `retry-after`.

    What is refused is answered with 400 (address), 401 (`authorize`), 413 (size), 429 or 503 (load), as JSON whose
    `message` is that of the client's `ApiError`.

    Token requests take the client's own way (native TLS, proxies, retries). All others use the standard library's
    HTTP, in a thread each, with the client's TLS options.
    """

    _methods = ("GET", "POST", "PUT")

    def __init__(
        self,
        client: RealtimeClient,
        *,
        apps: Collection[AppEntry],
        authorize: AuthorizeHook,
        allow_uploads: bool = False,
        queue_url: str = "https://queue.fal.run",
        max_expires_in: float = 120,
        max_request_bytes: int = 10 * 1024 * 1024,
        max_response_bytes: int = 64 * 1024 * 1024,
        max_requests: int = 32,
        timeout: float = 300,
        allow_origins: Collection[str] = (),
        allow_credentials: bool = False,
    ) -> None:
        """Check the options.

        Args:
            client: Whose key is added, and whose `base_url` and `rest_url` stand for `https://fal.run` and
                `https://rest.fal.ai`.
            apps: The apps that may be used: ids, or tuples of an id and a path other than `/realtime`.
            authorize: Takes the ASGI scope of a request, gives True where it may pass; sync or async. False is answered
                with 401; it may raise a `Refusal` of its own.
            allow_uploads: Pass on what `fal.storage` asks.
            queue_url: Where `https://queue.fal.run` is.
            max_expires_in: The longest life, in seconds, of a token that may be asked for.
            max_request_bytes: Of a request's body; a larger one is answered with 413.
            max_response_bytes: Of an answer's body; a larger one is cut off.
            max_requests: So many requests at a time, a thread each (token requests need none); more are answered with
                503. One whose browser left counts until its thread is back.
            timeout: Seconds without a byte from fal after which a request ends with 504; at most 20 for each step in
                which its connection opens.
            allow_origins: Exact origins (`https://app.example`) of pages on other hosts that may ask (CORS).
            allow_credentials: They may send cookies.

        Raises:
            ValueError: An option has a value that is not accepted, or an app id is none.
            TypeError: An option is of the wrong type.
        """
        super().__init__(authorize, max_expires_in, allow_origins, credentials=allow_credentials)
        for name, limit in (("max_request_bytes", max_request_bytes), ("max_response_bytes", max_response_bytes)):
            check.integer(name, limit, at_least=1)
        check.integer("max_requests", max_requests, at_least=1, at_most=1000)
        check.boolean("allow_uploads", allow_uploads)
        check.url("queue_url", queue_url, "http", "https")
        self._apps = AllowedApps(client, apps)
        self._client = client
        options = client._options  # noqa: SLF001 - our own package
        # The key goes there, as with `use_jwt=False`.
        options.check_key_in_handshake()
        run_url = options.resolved_base_url().replace("ws", "http", 1)
        hosts = {"rest": options.rest_url, "run": run_url, "queue": queue_url}
        self._targets = Targets(hosts, self._apps, uploads=allow_uploads)  # type: ignore[arg-type] # its very keys
        self._max_request_bytes = max_request_bytes
        self._max_response_bytes = max_response_bytes
        self._timeout = check.positive("timeout", timeout)
        self._threads = Threads(max_requests)
        self._dial = Dial(client, context_of(client))

    async def _serve(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        target = self._targets.of(scope)
        await self._check_authorized(scope)
        if target.is_token_request:
            await self._token(target, scope, receive, send, headers)
        else:
            await self._pass_on(target, scope, receive, send, headers)

    async def _token(self, target: Target, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        asked = await read_json(scope, receive, _MAX_TOKEN_BODY_BYTES)
        if unknown := sorted(asked.keys() - set(_TOKEN_FIELDS)):
            message = f"unknown field {unknown[0][:40]!r} in a token request"
            raise Refusal(400, message)
        app = self._app_of(asked.get("allowed_apps"))
        name = "duration" if "duration" in asked else "token_expiration"
        expires_in = self._check_expiry(name, asked.get(name), self._max_expires_in)
        token = (await mint(self._client, app, expires_in)).value
        # The forms of fal's two token APIs.
        await respond_json(send, 200, {"token": token} if target.path.endswith("realtime") else token, headers)

    def _app_of(self, allowed_apps: object) -> App:
        names: Sequence[Any] = cast("Sequence[Any]", allowed_apps) if isinstance(allowed_apps, list) else []
        if len(names) == 1:
            [name] = names
            app = self._apps.named(name) or self._apps.with_alias(name)
            if app is not None:
                return app
        message = "Invalid request: allowed_apps must name one app that this proxy allows"
        raise Refusal(400, message)

    async def _pass_on(self, target: Target, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        if self._threads.busy >= self._threads.most:
            message = "too many requests are under way"
            raise Refusal(503, message, retry_after=1)
        with Exchange(self._threads, target.url, self._timeout, self._dial) as exchange:
            body = await read_body(receive, self._max_request_bytes)
            answering = asyncio.ensure_future(self._exchange(exchange, scope, body, send, headers))
            leaving = asyncio.ensure_future(_disconnected(receive))
            try:
                await asyncio.wait([answering, leaving], return_when=asyncio.FIRST_COMPLETED)
                if not answering.done():
                    raise Disconnected
                answering.result()
            finally:
                answering.cancel()
                leaving.cancel()

    async def _exchange(self, exchange: Exchange, scope: Scope, body: bytes, send: Send, headers: Headers) -> None:
        sent = body if scope["method"] != "GET" else None
        try:
            response = await exchange.begin(scope["method"], self._request_headers(scope), sent)
        except TimeoutError:
            message = f"fal did not answer within {exchange.seconds:g} s"
            raise Refusal(504, message) from None
        except (OSError, http.client.HTTPException) as error:
            log.warning("%s: fal could not be asked: %s", type(self).__name__, _told(error))
            message = "fal could not be reached"
            raise Refusal(502, message) from None
        if _MULTIPLE_CHOICES <= response.status < _BAD_REQUEST:
            message = f"fal answered with a redirect ({response.status}), which is not followed"
            raise Refusal(502, message)
        if (response.length or 0) > self._max_response_bytes:
            message = f"fal's answer has more than {self._max_response_bytes} bytes"
            raise Refusal(502, message)
        answer = [*headers, *_answer_headers(response)]
        if response.length is not None:
            answer.append((b"content-length", str(response.length).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": answer})
        size = 0
        while part := await self._part(exchange):
            size += len(part)
            if size > self._max_response_bytes:
                # The head is out: that the answer ends without its last chunk is all that can be said.
                message = f"the answer of {scope['method']} has more than {self._max_response_bytes} bytes: cut off"
                raise RuntimeError(message)
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _part(self, exchange: Exchange) -> bytes:
        """What has come of the answer's body; empty at its end."""
        try:
            return await exchange.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = _told(error)
        message = f"fal's answer could not be read to its end: {why}"
        raise RuntimeError(message)

    def _request_headers(self, scope: Scope) -> dict[str, str]:
        credentials = self._client._options.resolved_credentials()  # noqa: SLF001 - our own package
        if credentials.secret is None:
            log.error("%s: there are no credentials: set FAL_KEY", type(self).__name__)
            message = "the server has no credentials for fal"
            raise Refusal(502, message)
        headers = {
            "authorization": f"{'Bearer' if credentials.bearer else 'Key'} {credentials.secret.reveal()}",
            "accept": header(scope, b"accept") or "application/json",
            "content-type": "application/json",
            "user-agent": header(scope, b"user-agent") or f"fal-realtime/{version()} (python)",
            "x-fal-client-proxy": f"fal-realtime/{version()}",
        }
        for key, value in scope["headers"]:
            name = bytes(key).lower()
            if name.startswith(b"x-fal-") and name not in (TARGET_URL, b"x-fal-client-proxy"):
                headers[name.decode("latin-1")] = value.decode("latin-1")
        return headers


def _told(error: Exception) -> str:
    """What may be logged of an error: nothing that fal or a proxy said, which may repeat the key or a login."""
    name = type(error).__name__
    return f"{name}: {error.strerror}" if isinstance(error, OSError) and error.errno else name


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _answer_headers(response: Any) -> Headers:
    passed = (
        (name.lower(), value)
        for name, value in response.getheaders()
        if name.lower() in _ANSWER_HEADERS or name.lower().startswith("x-fal-")
    )
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in passed]
