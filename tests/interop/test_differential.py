"""Every scene, through this package's client, against the real fal and against `LocalServer`."""

from __future__ import annotations

import importlib.util
import logging

import pytest

pytestmark = [
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("fal", "uvicorn")),
        reason="NOT TESTED against the real fal server: fal or uvicorn is missing",
    ),
]


async def test_what_comes_back_from_the_local_server_is_what_comes_back_from_fal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The tracebacks of some three hundred handlers that fail on purpose.
    monkeypatch.setattr(logging.getLogger("fal_realtime.testing"), "disabled", True)
    from differential.compare import compare, differences, local_server  # noqa: PLC0415
    from differential.scenes import scenes  # noqa: PLC0415
    from differential.transcripts import real_server  # noqa: PLC0415

    with real_server() as real, local_server() as local:
        outcomes = await compare(real, local, [scene for scene in scenes() if not scene.by_chance], runs=6)
    assert len(outcomes) > 1300
    assert differences(outcomes) == []


@pytest.mark.parametrize("client", ["fal-client", "@fal-ai/client"])
async def test_fals_own_clients_are_told_the_same_by_both(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("fal_realtime.testing"), "disabled", True)
    from differential.compare import local_server  # noqa: PLC0415
    from differential.others import NODE_CLIENT, compare_through, node, words  # noqa: PLC0415
    from differential.scenes import scenes  # noqa: PLC0415
    from differential.transcripts import real_server  # noqa: PLC0415

    if client == NODE_CLIENT and node() is None:
        pytest.skip("NOT TESTED against the real @fal-ai/client: node or its packages are missing")
    wanted = scenes()[::4]  # all are in the tables of the documentation
    with real_server() as real, local_server() as local:
        found = await compare_through(client, real, local, wanted)
    assert len(found.real) > 160
    assert words(found) == []
