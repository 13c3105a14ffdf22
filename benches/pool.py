"""`pool.map` beside a pool of `fal_client`'s connections as one would write it: inputs answered, and their CPU time.

    .venv/bin/python benches/pool.py [--rounds 7] [--seconds 1] [--connections 8]

Each measurement is a process of its own, the two take turns, and each round begins with the other one. Both get the
same inputs from an iterator, keep one under way a connection (`depth=32`: so many, which `fal_client` cannot: it does
not know which result answers which input), and give each result to a loop. The server is that of the
other benchmarks (`cargo build --release --no-default-features --example echo_server`), in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import fal_client
import fal_client.client
from common import Spread, echo_server, message
from network import unpaced_loopback

from fal_realtime import RealtimeClient

TARGETS = {"200B": 5.0, "image": 1.5}
"""How many times as many as `fal_client` are wanted, by the size of the messages."""

WARM_UP = 0.3
"""Seconds before what is measured."""


def given(size: str) -> Iterator[dict[str, Any]]:
    """Inputs without an end. The server's image result has a fixed `request_id`, which the input has then, too."""
    one = message(size)
    if size != "image":
        del one["request_id"]
    return itertools.repeat(one)


async def ours(spec: dict[str, Any], ordered: bool) -> AsyncIterator[Any]:
    """`pool.map`."""
    client = RealtimeClient("bench:key", base_url=spec["url"], rest_url=spec["rest_url"], trust_env=False)
    size = spec["connections"]
    async with (
        client.pool(spec["app"], size=size, prewarm=size, depth=spec["depth"]) as pool,
        pool.map(given(spec["size"]), ordered=ordered) as outcomes,
    ):
        async for outcome in outcomes:
            yield outcome.unwrap()


async def theirs(spec: dict[str, Any], _: bool) -> AsyncIterator[Any]:
    """Tasks that each have one of `fal_client`'s connections, and a queue of results."""
    # It has no option for its addresses, only constants.
    fal_client.client.REALTIME_URL_FORMAT = f"{spec['url']}/"
    fal_client.client.REST_URL = spec["rest_url"]
    client = fal_client.AsyncClient(key="bench:key")
    inputs = given(spec["size"])
    results: asyncio.Queue[Any] = asyncio.Queue(2 * spec["connections"])

    async def work(connection: Any) -> None:
        for each in inputs:
            await connection.send(each)
            await results.put(await connection.recv())

    async with contextlib.AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(client.realtime(spec["app"])) for _ in range(spec["connections"])
        ]
        tasks = [asyncio.create_task(work(connection)) for connection in connections]
        try:
            while True:
                yield await results.get()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


Source = Callable[[dict[str, Any], bool], AsyncIterator[Any]]

POOLS: dict[str, tuple[Source, bool, int]] = {
    "pool.map": (ours, True, 1),
    "pool.map, ordered=False": (ours, False, 1),
    "pool.map, depth=32": (ours, True, 32),
    "fal_client": (theirs, False, 1),
}
"""Each with whether the outcomes are ordered, and with the requests under way on a connection."""


async def measured(spec: dict[str, Any]) -> dict[str, float]:
    """Inputs answered a second, and microseconds of this process's CPU for each."""
    pool, ordered, _ = POOLS[spec["pool"]]
    count, began, cpu = 0, 0.0, 0.0
    async with contextlib.aclosing(pool(spec, ordered)) as results:
        start = time.perf_counter()
        async for _ in results:
            now = time.perf_counter()
            if not began:
                if now - start >= WARM_UP:
                    began, cpu = now, cpu_seconds()
                continue
            count += 1
            if now - began >= spec["seconds"]:
                break
    return {"rate": count / (now - began), "cpu_us": (cpu_seconds() - cpu) / count * 1e6}


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def in_a_process(spec: dict[str, Any]) -> dict[str, float]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--spec", json.dumps(spec)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    figures: dict[str, float] = json.loads(ran.stdout)
    return figures


def shown(values: list[float], form: str) -> str:
    spread = Spread.of(values)
    assert spread is not None
    return f"{spread.median:{form}} [{spread.low:{form}}..{spread.high:{form}}]"


def compare(size: str, options: argparse.Namespace, addresses: dict[str, Any]) -> None:
    """All rounds of one size, and their table."""
    app = "local/image" if size == "image" else "local/echo"
    spec = {**addresses, "app": app, "size": size, "connections": options.connections, "seconds": options.seconds}
    # The image result has a fixed `request_id`: two under way on one connection could not be told apart.
    order = [name for name, (_, _, depth) in POOLS.items() if depth == 1 or size != "image"]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in order}
    for _ in range(options.rounds):
        for name in order:
            found[name].append(in_a_process({**spec, "pool": name, "depth": POOLS[name][2]}))
        order.append(order.pop(0))
    print(f"\n{size}, {options.connections} connections, {options.rounds} rounds of {options.seconds:g} s")
    for name, rounds in found.items():
        rates = [figures["rate"] for figures in rounds]
        ratios = [mine / each["rate"] for mine, each in zip(rates, found["fal_client"], strict=True)]
        costs = [figures["cpu_us"] for figures in rounds]
        shares = [mine / each["cpu_us"] for mine, each in zip(costs, found["fal_client"], strict=True)]
        print(f"  {name:<24} {shown(rates, ',.0f')} a second, {shown(ratios, '.2f')}x", end="")
        print(f"; {shown(costs, '.0f')} µs of CPU, {shown(shares, '.2f')}x")
    wanted = TARGETS[size]
    reached = Spread.of([a["rate"] / b["rate"] for a, b in zip(found["pool.map"], found["fal_client"], strict=True)])
    assert reached is not None
    print(f"  wanted: {wanted}x; {'met' if reached.median >= wanted else 'MISSED'}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of each measurement")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--sizes", default="200B,image")
    parser.add_argument("--spec", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.spec:
        print(json.dumps(asyncio.run(measured(json.loads(options.spec)))))
        return
    print("TCP congestion control:", unpaced_loopback())
    with echo_server() as server:
        for size in options.sizes.split(","):
            compare(size, options, server.addresses("ws"))


if __name__ == "__main__":
    main()
