"""Runs every case of an Autobahn fuzzing server with `connect_raw`: echoes each message with its type.

What a case ends with (a refused frame, a close with an error code) is the server's to judge; this only fails where a
case does not come to an end.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from fal_realtime import FalRealtimeError, HandshakeError, RealtimeClient

AGENT = "fal-realtime"
CASE_LIMIT = 120.0
"""Seconds for one case: the largest send 16 MB in small pieces."""
START_LIMIT = 60.0
"""Seconds for the server to begin to listen."""


async def number_of_cases(client: RealtimeClient, url: str) -> int:
    """Ask the server, which may still be starting."""
    deadline = asyncio.get_running_loop().time() + START_LIMIT
    while True:
        try:
            async with client.connect_raw(f"{url}/getCaseCount") as connection:
                return int(await connection.recv())
        except HandshakeError:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.1)


async def run_case(client: RealtimeClient, url: str, number: int) -> None:
    """Echo until the server closes, or breaks the rules as this case wants."""
    try:
        async with client.connect_raw(f"{url}/runCase?case={number}&agent={AGENT}", close_timeout=5) as connection:
            async for message in connection:
                await connection.send(message)
    except FalRealtimeError:
        pass


async def main(url: str) -> int:
    """Run all cases and let the server write its report; the number of cases that did not come to an end."""
    client = RealtimeClient(trust_env=False)
    hung = 0
    for number in range(1, await number_of_cases(client, url) + 1):
        try:
            await asyncio.wait_for(run_case(client, url, number), CASE_LIMIT)
        except asyncio.TimeoutError:
            hung += 1
            print(f"the case with the number {number} did not end within {CASE_LIMIT} s", file=sys.stderr)
    async with client.connect_raw(f"{url}/updateReports?agent={AGENT}") as connection:
        async for _ in connection:
            pass
    return hung


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of the fuzzing server, such as ws://127.0.0.1:9001")
    sys.exit(min(asyncio.run(main(parser.parse_args().url)), 1))
