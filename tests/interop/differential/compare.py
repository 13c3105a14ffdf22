"""Plays every scene against both servers, and says what differs.

    cd tests/interop && python -m differential.compare [--runs 20] [--scene WORDS]

Scenes whose outcome varies with fal itself are played `--runs` times each: the outcomes of `LocalServer` must be among
fal's, and its commonest must be fal's commonest.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import sys
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fal_realtime.testing import LocalServer

from .apps import serve_locally
from .scenes import Scene, scenes
from .serve import NAME
from .transcripts import TOKENS, Transcript, play, play_frames, real_server

AT_ONCE = 24
"""So many scenes are played at the same time."""

REPLAYS = 10
"""So often a scene is played again, alone, whose transcripts differ."""

Player = Callable[[str, Scene], Awaitable[Transcript]]

PLAYERS: dict[str, Player] = {"connect": play, "connect_raw": play_frames}


@dataclass(frozen=True)
class Outcome:
    """What came of a scene on both servers: each transcript with how often it came."""

    scene: Scene
    player: str
    real: collections.Counter[Transcript]
    local: collections.Counter[Transcript]

    @property
    def agree(self) -> bool:
        """Whether they are equal; where fal varies, whether the local server does nothing that fal does not."""
        if not self.scene.varies:
            return self.real == self.local
        return set(self.local) <= set(self.real) or self.local.most_common(1)[0][0] == self.real.most_common(1)[0][0]


@contextmanager
def local_server() -> Iterator[str]:
    """The base URL of a `LocalServer` with the same apps."""
    with LocalServer(key="key-id:key-secret") as server:
        serve_locally(server, NAME)
        request = urllib.request.Request(
            f"{server.rest_url}/tokens/",
            json.dumps({"allowed_apps": [NAME.rpartition("/")[2]], "token_expiration": 3600}).encode(),
            {"Authorization": f"Key {server.key}", "Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request) as answer:
            TOKENS[server.base_url] = json.load(answer)
        try:
            yield server.base_url
        finally:
            del TOKENS[server.base_url]


def may_be_late(scene: Scene, transcript: Transcript) -> bool:
    """Whether an input may have been late: on a busy machine it is, for a session that waits for half a second or less.

    Then there is nothing but the end of the session, on both servers maybe; so there is where that is the answer.
    """
    return bool(scene.inputs) and (not transcript or '"error":"TIMEOUT"' in transcript[0])


async def compare(real: str, local: str, wanted: Iterable[Scene], runs: int) -> list[Outcome]:
    """Play the scenes against both; those that vary one at a time, the others together."""
    wanted = list(wanted)
    steady = [(scene, player) for scene in wanted if not scene.varies for player in PLAYERS]
    limit = asyncio.Semaphore(AT_ONCE)

    async def together(scene: Scene, player: str) -> Outcome:
        async with limit:
            first, second = await asyncio.gather(PLAYERS[player](real, scene), PLAYERS[player](local, scene))
        return Outcome(scene, player, collections.Counter([first]), collections.Counter([second]))

    outcomes = list(await asyncio.gather(*(together(scene, player) for scene, player in steady)))
    for index, outcome in enumerate(outcomes):
        for _ in range(REPLAYS):
            heard = (*outcomes[index].real, *outcomes[index].local)
            if not outcomes[index].agree or any(may_be_late(outcome.scene, transcript) for transcript in heard):
                outcomes[index] = await together(outcome.scene, outcome.player)
    for scene in wanted:
        if scene.varies:
            counts = [collections.Counter[Transcript](), collections.Counter[Transcript]()]
            for _ in range(runs):
                for count, url in zip(counts, (real, local), strict=True):
                    count[await play_frames(url, scene)] += 1
            outcomes.append(Outcome(scene, "connect_raw", counts[0], counts[1]))
    return outcomes


def differences(outcomes: list[Outcome]) -> list[str]:
    """What differs, in words."""
    said = []
    for outcome in outcomes:
        if not outcome.agree:
            said.append(f"{outcome.scene.name} ({outcome.player})")
            for server, counts in (("fal", outcome.real), ("LocalServer", outcome.local)):
                said += [f"    {server:<11} x{times}: {transcript}" for transcript, times in counts.most_common(4)]
    return said


def main() -> None:
    """Compare what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="how often scenes are played that vary")
    parser.add_argument("--scene", default="", help="only scenes whose names have these words")
    options = parser.parse_args()
    with real_server() as real, local_server() as local:
        wanted = [scene for scene in scenes() if options.scene in scene.name]
        outcomes = asyncio.run(compare(real, local, wanted, options.runs))
    said = differences(outcomes)
    print("\n".join(said))
    print(f"{len(outcomes)} compared, {sum(not outcome.agree for outcome in outcomes)} differ")
    sys.exit(bool(said))


if __name__ == "__main__":
    main()
