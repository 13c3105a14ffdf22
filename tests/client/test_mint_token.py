"""Tokens that a backend mints for others, and the two token APIs."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
import signal
import subprocess
import sys
import time
import types
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from support.peer import Peer

from fal_realtime import (
    ApiError,
    AuthenticationError,
    RealtimeClient,
    RealtimeToken,
    SyncRealtimeClient,
)
from fal_realtime.testing import LocalServer

APP = "local/echo"


@pytest.fixture
def server():
    with LocalServer() as server:
        server.serve_builtin(APP, "echo")
        server.serve_builtin("local/other", "echo")
        yield server


class TestMinting:
    async def test_a_minted_token_opens_a_session_with_its_app_and_no_other(self, server: LocalServer) -> None:
        token = await server.client().mint_token(APP, expires_in=30)
        assert token.app == "local/echo/realtime"
        left = token.expires_at - datetime.now(timezone.utc)
        assert timedelta(0) < left < timedelta(minutes=1), "by default it would be two minutes"
        browser = RealtimeClient(base_url=server.base_url)
        async with browser.connect(APP, token_provider=lambda _: token.value, throttle_interval=0) as connection:
            assert (await connection.request({"n": 1}))["n"] == 1
        with pytest.raises(AuthenticationError):
            await browser.connect("local/other", token_provider=lambda _: token.value, reconnect=None)

    def test_the_blocking_client_has_it_too(self, server: LocalServer) -> None:
        token = server.sync_client().mint_token(APP, path="/stream")
        assert (type(token), token.app) == (RealtimeToken, "local/echo/stream")

    @pytest.mark.parametrize(
        ("api", "path", "body"),
        [
            ("tokens", "/tokens/", {"allowed_apps": ["echo"], "token_expiration": 60}),
            ("realtime", "/tokens/realtime", {"allowed_apps": ["local/echo/realtime"], "duration": 60}),
        ],
    )
    async def test_each_api_is_asked_in_its_own_words(
        self, server: LocalServer, api: Any, path: str, body: Any
    ) -> None:
        client = server.client(token_api=api)
        await client.mint_token(APP, expires_in=60)
        async with client.connect(APP, token_expiration_seconds=60):
            pass
        assert [(mint.path, mint.body, mint.status) for mint in server.mints] == [(path, body, 200)] * 2

    async def test_with_the_newer_api_a_token_is_for_its_path_alone(self, server: LocalServer) -> None:
        token = await server.client(token_api="realtime").mint_token(APP, path="/elsewhere")
        browser = RealtimeClient(base_url=server.base_url)
        with pytest.raises(AuthenticationError):
            await browser.connect(APP, token_provider=lambda _: token.value, reconnect=None)

    async def test_a_body_of_the_connections_own_wins(self, server: LocalServer) -> None:
        body = {"allowed_apps": ["{alias}"], "duration": 7}
        async with server.client(token_api="realtime").connect(APP, token_body=body):
            pass
        assert server.mints[0].body == {"allowed_apps": ["echo"], "duration": 7}

    async def test_it_shows_itself_nowhere(self, server: LocalServer) -> None:
        token = await server.client().mint_token(APP)
        assert token.value
        for shown in (repr(token), str(token), f"{token}", repr([token]), repr(vars(type(token)))):
            assert token.value not in shown
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(token)


class TestFailures:
    async def test_refused_credentials(self, server: LocalServer) -> None:
        client = RealtimeClient("other:key", rest_url=server.rest_url)
        with pytest.raises(AuthenticationError, match="refused the credentials with status 401"):
            await client.mint_token(APP)
        with pytest.raises(AuthenticationError, match="refused the credentials with status 401"):
            SyncRealtimeClient("other:key", rest_url=server.rest_url).mint_token(APP)

    async def test_no_credentials(self) -> None:
        with pytest.raises(AuthenticationError, match="there are no credentials: set FAL_KEY"):
            await RealtimeClient().mint_token(APP)

    async def test_nobody_listens(self) -> None:
        client = RealtimeClient("key", rest_url="http://127.0.0.1:1")
        with pytest.raises(ApiError, match="refused") as caught:
            await client.mint_token(APP)
        assert (caught.value.status, caught.value.retryable) == (0, True)

    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            ({"app": "myapp"}, ValueError, "no slash"),
            ({"app": 1}, TypeError, "must be a str"),
            ({"app": APP, "path": "/../x"}, ValueError, "path"),
            ({"app": APP, "expires_in": 0}, ValueError, "expires_in must be"),
            ({"app": APP, "expires_in": 1e18}, ValueError, "expires_in must be at most 31622400 seconds"),
            ({"app": APP, "expires_in": "60"}, TypeError, "expires_in must be a number of seconds"),
        ],
    )
    async def test_bad_arguments(self, arguments: Any, error: Any, words: str) -> None:
        with pytest.raises(error, match=words):
            await RealtimeClient("key").mint_token(**arguments)

    async def test_a_closed_client_mints_nothing(self, server: LocalServer) -> None:
        client = server.client()
        client.close()
        with pytest.raises(RuntimeError, match="the client is closed"):
            await client.mint_token(APP)

    async def test_giving_up_ends_the_request(self, server: LocalServer) -> None:
        server.mint_delay(30)
        began = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(server.client().mint_token(APP), 0.2)
        assert time.monotonic() - began < 20

    def test_a_signal_ends_a_blocking_wait(self, server: LocalServer) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        server.mint_delay(30)
        old = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            with pytest.raises(KeyboardInterrupt):
                server.sync_client().mint_token(APP)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)

    def test_many_at_once_in_two_loops(self, server: LocalServer) -> None:
        async def many() -> int:
            client = server.client()
            return len({token.value for token in await asyncio.gather(*(client.mint_token(APP) for _ in range(50)))})

        assert [asyncio.run(many()) for _ in range(2)] == [50, 50]

    def test_a_process_that_leaves_meanwhile_leaves_in_peace(self, server: LocalServer) -> None:
        server.mint_delay(30)
        program = f"""
import asyncio
from fal_realtime import RealtimeClient
async def main():
    client = RealtimeClient("{server.key}", rest_url="{server.rest_url}")
    task = asyncio.ensure_future(client.mint_token("{APP}"))
    await asyncio.sleep(0.2)
    task.cancel()
asyncio.run(main())
"""
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")


def jwt(expires: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires}).encode()).decode().rstrip("=")
    return f"header.{claims}.signature"


class TestFoundCredentials:
    """Beyond the environment's key: as `fal-client` finds them."""

    @pytest.fixture
    def login(self, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setenv("FAL_HOME_DIR", str(tmp_path))
        return lambda *lines: (tmp_path / "auth0_token").write_text("\n".join(lines))

    async def authorization(self) -> list[str]:
        with Peer() as peer:
            await RealtimeClient(rest_url=peer.rest_url).mint_token(APP)
            return [mint.headers["authorization"] for mint in peer.mints]

    async def test_a_login_is_a_bearer_token(self, login: Any) -> None:
        token = jwt(time.time() + 3600)
        login("refresh", token)
        assert await self.authorization() == [f"Bearer {token}"]

    async def test_the_environment_comes_first_unless_it_is_told_otherwise(
        self, login: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = jwt(time.time() + 3600)
        login("refresh", token)
        monkeypatch.setenv("FAL_KEY", "id:secret")
        assert await self.authorization() == ["Key id:secret"]
        monkeypatch.setenv("FAL_FORCE_AUTH_BY_USER", "1")
        assert await self.authorization() == [f"Bearer {token}"]

    @pytest.mark.parametrize("lines", [["refresh"], ["refresh", "no-jwt"], ["refresh", jwt(1.0)]])
    async def test_a_login_that_is_over_says_so_where_credentials_are_needed(self, login: Any, lines: Any) -> None:
        login(*lines)
        client = RealtimeClient()
        with pytest.raises(AuthenticationError, match=r"no credentials \(the login in .*auth0_token has expired"):
            await client.mint_token(APP)
        with pytest.raises(AuthenticationError, match="has expired"):
            client.connect(APP, use_jwt=False)
        client.connect(APP, token_provider=lambda _: "token").close()

    async def test_a_notebooks_secret(self, login: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        # Colab cannot be had here: this is what its module looks like.
        asked: list[str] = []
        userdata = types.ModuleType("google.colab.userdata")
        userdata.get = lambda name: asked.append(name) or " id:secret\n"  # type: ignore[attr-defined,func-returns-value]
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
        monkeypatch.setitem(sys.modules, "google.colab.userdata", userdata)
        login("refresh", jwt(time.time() + 3600))
        assert await self.authorization() == ["Key id:secret"]
        assert await self.authorization() == ["Key id:secret"]
        assert asked == ["FAL_KEY"]

    async def test_a_notebooks_user_who_does_not_share_it_is_asked_once(
        self, login: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(name: str) -> str:
            asked.append(name)
            raise PermissionError(name)

        asked: list[str] = []
        userdata = types.ModuleType("google.colab.userdata")
        userdata.get = refuse  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
        monkeypatch.setitem(sys.modules, "google.colab.userdata", userdata)
        token = jwt(time.time() + 3600)
        login("refresh", token)
        assert [await self.authorization() for _ in range(2)] == [[f"Bearer {token}"]] * 2
        assert asked == ["FAL_KEY"]
