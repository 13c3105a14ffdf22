"""What goes wrong in a first hour is said with what to look at."""

from __future__ import annotations

import pytest

from fal_realtime import AuthenticationError, FalRealtimeError, HandshakeError, SyncRealtimeClient
from fal_realtime.testing import LocalServer

LIMIT = 30


@pytest.mark.parametrize(
    ("key", "app", "path", "error", "words"),
    [
        ("k:s", "local/imgae", None, HandshakeError, r"status 404 \(is the app id, or the address, right\?\)"),
        ("k:s", "local/image", "/realtim", AuthenticationError, r"status 403 \(.* is the path right\?\)"),
        ("k:t", "local/image", None, AuthenticationError, r"status 401; check that the key is valid and may use this"),
    ],
    ids=["app", "path", "key"],
)
def test_a_mistake_of_the_address_or_the_key(
    key: str, app: str, path: str | None, error: type[FalRealtimeError], words: str
) -> None:
    with LocalServer(key="k:s") as server, server.sync_client(credentials=key) as client:
        connection = client.connect(app, path=path)
        with pytest.raises(error, match=words):
            connection.request({"prompt": "a cat"}, timeout=LIMIT)
        connection.close()


def test_no_key() -> None:
    connection = SyncRealtimeClient().connect("fal-ai/fast-lcm-diffusion")
    with pytest.raises(AuthenticationError, match=r"set FAL_KEY to a key from https://\S+/keys, or pass credentials"):
        connection.open()
    connection.close()


@pytest.mark.parametrize("app", ["https://fal.run/fal-ai/x", "wss://fal.run/fal-ai/x/realtime"])
def test_an_address_in_place_of_an_app_id(app: str) -> None:
    with pytest.raises(ValueError, match="it is an address, of which the app id is what follows the host"):
        SyncRealtimeClient("k:s").connect(app)
