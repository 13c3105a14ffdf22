"""Tokens for browsers: `fal_realtime.asgi.TokenEndpoint` under real servers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from running_gateway import APPS, Gateway

from fal_realtime import AuthenticationError, RealtimeClient
from fal_realtime.asgi import Refusal, TokenEndpoint
from fal_realtime.testing import LocalServer


class TestAnswers:
    @pytest.mark.parametrize("app", ["local/echo", "local/echo/realtime"])
    async def test_a_token_opens_a_session_and_stands_in_no_log(
        self, running: Gateway, fal: LocalServer, app: str
    ) -> None:
        answer = await asyncio.to_thread(running.post, "/token", {"app": app})
        assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
        given = answer.json()
        assert (given["app"], given["expires_in"]) == ("local/echo/realtime", 120)
        browser = RealtimeClient(base_url=fal.base_url)
        async with browser.connect("local/echo", token_provider=lambda _: given["token"]) as connection:
            assert (await connection.request({"n": 1}, timeout=60))["n"] == 1
        assert running.lines or running.server != "uvicorn"  # it does log
        assert not [line for line in running.lines if given["token"] in line or fal.key in line]

    def test_a_browser_may_ask_for_less_time(self, running: Gateway, fal: LocalServer) -> None:
        assert running.post("/token", {"app": "local/echo", "expires_in": 30}).json()["expires_in"] == 30
        assert fal.mints[-1].body == {"allowed_apps": ["echo"], "token_expiration": 30}

    def test_a_path_of_its_own_is_part_of_the_app(self, running: Gateway) -> None:
        assert running.post("/token", {"app": "local/studio/custom"}).json()["app"] == "local/studio/custom"
        assert running.post("/token", {"app": "local/studio"}).status == 403


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "status", "words"),
        [
            ({"app": "local/other"}, 403, "app must be the id of an app"),
            ({"app": "local/echo/../other"}, 403, "app must be the id of an app"),
            ({"app": ["local/echo"]}, 400, "app must be the id of an app"),
            ({}, 400, "app must be the id of an app"),
            ({"app": "local/echo", "expires_in": 121}, 400, "expires_in must be a number of seconds from 1 to 120"),
            ({"app": "local/echo", "expires_in": 0}, 400, "expires_in must be"),
            ({"app": "local/echo", "expires_in": "60"}, 400, "expires_in must be"),
            ({"app": "local/echo", "expires_in": True}, 400, "expires_in must be"),
            ({"app": "local/echo", "allowed_apps": ["x"]}, 400, "unknown field 'allowed_apps'"),
            (["local/echo"], 400, "must be a JSON object"),
            ({"app": "x" * 5000}, 413, "at most 4096 bytes"),
        ],
        ids=repr,
    )
    def test_what_a_browser_may_not_ask_costs_no_token(
        self, running: Gateway, fal: LocalServer, body: Any, status: int, words: str
    ) -> None:
        before = fal.mint_requests
        answer = running.post("/token", body)
        assert answer.status == status
        assert words in answer.json()["message"]
        assert answer.json()["detail"] == answer.json()["message"]
        assert fal.mint_requests == before

    def test_what_is_no_json(self, running: Gateway) -> None:
        assert running.request("POST", "/token", b"{", content_type="application/json").status == 400
        assert running.request("POST", "/token", b"{}", content_type="text/plain").status == 415
        answer = running.request("GET", "/token")
        assert (answer.status, answer.headers["allow"]) == (405, "POST")

    @pytest.mark.parametrize(
        ("user", "status", "message"),
        [
            ("nobody", 401, "Unauthorized"),
            ("banned", 403, "you are banned"),
            ("bug", 500, "the server could not answer this request"),
        ],
    )
    def test_the_hook_decides(self, running: Gateway, fal: LocalServer, user: str, status: int, message: str) -> None:
        before = fal.mint_requests
        answer = running.post(f"/token?user={user}", {"app": "local/echo"})
        assert (answer.status, answer.json()["message"]) == (status, message)
        assert fal.mint_requests == before

    def test_why_fal_refused_is_for_the_log_alone(self, start: Any, fal: LocalServer) -> None:
        with start(key="other:key") as gateway:
            answer = gateway.post("/token", {"app": "local/echo"})
            assert (answer.status, answer.json()["message"]) == (502, "fal refused the server's credentials")
        assert any("no token for local/echo/realtime could be had" in line for line in gateway.lines)
        assert not any("other:key" in line for line in gateway.lines)


class TestCors:
    def test_an_allowed_origin(self, running: Gateway) -> None:
        asked = {"origin": "https://app.example", "access_control_request_method": "POST"}
        preflight = running.request("OPTIONS", "/token", access_control_request_headers="content-type", **asked)
        assert preflight.status == 204
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        assert preflight.headers["access-control-allow-headers"] == "content-type"
        assert preflight.headers["access-control-allow-methods"] == "POST"
        answer = running.post("/token", {"app": "local/echo"}, origin="https://app.example")
        assert (answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (
            "https://app.example",
            "origin",
        )
        assert "access-control-allow-credentials" not in answer.headers
        refused = running.post("/token", {"app": "no/such"}, origin="https://app.example")
        assert refused.headers["access-control-allow-origin"] == "https://app.example"

    @pytest.mark.parametrize("origin", ["https://app.example.evil", "http://app.example", "null"])
    def test_another_origin(self, running: Gateway, origin: str) -> None:
        assert running.request("OPTIONS", "/token", origin=origin).status == 403
        answer = running.post("/token", {"app": "local/echo"}, origin=origin)
        assert "access-control-allow-origin" not in answer.headers


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"apps": []}, ValueError, "nothing would be allowed"),
            ({"apps": "local/echo"}, TypeError, "apps must be a collection of app ids"),
            ({"apps": ["myapp"]}, ValueError, "no slash"),
            ({"authorize": None}, TypeError, "authorize must be a function"),
            ({"allow_origins": ["*"]}, ValueError, "exact origins"),
            ({"allow_origins": ["https://app.example/"]}, ValueError, "exact origins"),
            ({"max_expires_in": 1e6}, ValueError, r"at most 86400 seconds \(a day\)"),
            ({"expires_in": 300}, ValueError, r"at most max_expires_in \(120 s\)"),
        ],
        ids=repr,
    )
    def test_bad_options(self, options: Any, error: Any, words: str) -> None:
        whole = {"apps": APPS[:1], "authorize": lambda _: True, **options}
        with pytest.raises(error, match=words):
            TokenEndpoint(RealtimeClient("key"), **whole)

    def test_a_refusal_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="status must be one of an error"):
            Refusal(200, "fine")
        for seconds in (float("inf"), float("nan")):
            with pytest.raises(ValueError, match=f"retry_after must be finite, not {seconds}"):
                Refusal(503, "later", retry_after=seconds)
        with pytest.raises(TypeError, match="retry_after must be a number of seconds, or None, not str"):
            Refusal(503, "later", retry_after="5")  # type: ignore[arg-type]


async def test_without_the_key_a_token_cannot_be_made_up(fal: LocalServer) -> None:
    browser = RealtimeClient(base_url=fal.base_url)
    with pytest.raises(AuthenticationError):
        await browser.connect("local/echo", token_provider=lambda _: "made.up.token", reconnect=None)
