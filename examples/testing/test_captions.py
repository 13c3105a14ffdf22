"""Tests of one's own service without fal: the fixture `fal_local_server` comes with the package.

pip install pytest pytest-asyncio
pytest -o asyncio_mode=auto examples/testing
"""

import pytest
from captions import Captions

from fal_realtime import RealtimeError


@pytest.fixture
async def service(fal_local_server):
    @fal_local_server.app("me/captions")
    async def app(message):
        assert not message["image_url"].endswith(".txt"), "not an image"
        return {"caption": f"a picture of {message['image_url']}", "request_id": message["request_id"]}

    captions = Captions(fal_local_server.client())
    yield captions
    await captions.close()


async def test_an_image_is_asked_once(service, fal_local_server):
    assert [await service.caption("cat.jpg") for _ in range(3)] == ["a picture of cat.jpg"] * 3
    assert fal_local_server.messages_received == 1


async def test_a_lost_connection_is_not_seen(service, fal_local_server):
    await service.caption("cat.jpg")
    fal_local_server.drop_connections()
    assert await service.caption("dog.jpg") == "a picture of dog.jpg"


async def test_what_the_app_cannot_read_is_an_error(service):
    with pytest.raises(RealtimeError, match="INTERNAL_ERROR"):
        await service.caption("notes.txt")
