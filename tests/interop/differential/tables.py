"""Writes the tables of the documentation, by running everything in them: `docs/fal-parity.md` and `docs/values.md`.

    cd tests/interop && python -m differential.tables [--runs 20] [--output FOLDER]

Needs `hypercorn`, `granian` and `wsproto` for the servers, and `npm ci --prefix tests/node` for the TypeScript client.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import msgpack

from fal_realtime import _core

from .apps import FIELDS, GIVEN
from .compare import REPLAYS, Outcome, compare, differences, local_server, may_be_late
from .others import CLIENTS, NODE_CLIENT, Through, compare_through, node, with_fal_client, with_node_client
from .scenes import VALUES, Scene, scenes
from .serve import SERVERS
from .transcripts import Transcript, play_frames, real_server, shown

DOCS = Path(__file__).parents[3] / "docs"
NODE_PACKAGES = Path(__file__).parents[2] / "node" / "node_modules"

PARITY = """\
# The local server and fal

Written by `python -m differential.tables` in `tests/interop`, which runs all of it. {versions}

## What was compared

Every scene was played with this package's client, once with `connect` and once with `connect_raw`, against the real
`fal` under uvicorn and against `LocalServer`, both serving the same handlers. All that came back was compared: results,
errors with their words, frames, close codes and reasons. Scenes that differed, or that had no answer but the end of the
session, were played again, alone, up to three times: on a busy machine inputs may be late for a session that waits for
0.4 seconds. Where fal's own answers vary from
run to run, a scene was played {runs} times on both, and the sets of what came were compared.

| what | scenes | comparisons | differ |
|---|---|---|---|
{summary}

{found}

## Through fal's own clients

The same scenes with `fal-client` and with `@fal-ai/client` in place of this package's client, against both servers: all
that the application is told, results, errors, the end and its code. What a client cannot write by itself (malformed
messages, text, types that its encoder refuses) it sends through an encoder of the scene's; bytes pass through
`@fal-ai/client`. Not played were scenes whose answers vary, the two with messages of 16 MiB (both clients compress, for
so long that the session may end), and by `@fal-ai/client`, which opens with its first input, the one without inputs. It
tells an error before a result that came with it: there the order was not compared.

| client | scenes | differ |
|---|---|---|
{through}

{through_differences}

## Where fal varies

How often each answer came, of {runs} runs.

| scene | fal | `LocalServer` |
|---|---|---|
{varying}

## What differs, and why

- Authentication, tokens and unknown apps (404) are the gateway's, which is not part of the `fal` package: `LocalServer`
  plays it as its protocol is described, and checks that `max_buffering` is from 1 to 60.
- `fal` knows an app by its routes alone, `LocalServer` by its id: `owner/alias` has the route `/realtime`, a longer
  name its own.
- uvicorn pings its clients every 20 seconds and offers compression (a message is too large for it by its inflated
  size); `LocalServer` does neither.
- When it stops, uvicorn closes with 1012, `LocalServer` with 1001.
- A handler that calls `sys.exit()` ends the session without a close frame in `LocalServer`; fal's process may end with
  it. This was not compared.
- Breaches of the WebSocket protocol were not compared, but for messages that are too large.
- The built-in apps (`local/echo` and the others) are not Python and know no tasks: of a burst that comes with one read
  they keep the newest `buffering` inputs, and their results are in order.
- `LocalServer` takes inputs from another thread than the handlers', so that what comes in several reads may be split at
  other places.

## What an empty reason can mean

`INTERNAL_ERROR` with the reason `""` is what fal sends for everything whose `str()` is empty: its own `AppException`
and `FieldException` when they are made with keywords, a handler that took more than twice the `session_timeout`, a
message with a reserved byte or nested deeper than 1,024 levels, and errors that were raised without words.
"""

VALUES_PAGE = """\
# What becomes of a value

Written by `python -m differential.tables` in `tests/interop`, which runs all of it. {versions}

## Values that you send

`app.realtime` here is `async def handler(self, message)`, without annotation or with `Any`; it gets what
`msgpack.unpackb` makes of the message. A top-level `None` is the end of the inputs: fal ends the session.
A top-level `bytes`, `bytearray` or `memoryview` is an encoded message, which goes out as it is; other buffers are
encoded.

| you send `{{"v": …}}` | on the wire | an `Any` handler of fal gets | the same value through `fal-client` |
|---|---|---|---|
{sent}

Keys must be `str`, or of a type that is sent as one: fal's server refuses others, and the client says so at once.

## What a typed field makes of it

A handler `async def handler(self, message: Input)` is called with `Input(**message)`. Here `Input` has one field,
`value`.

| field | accepts, as what | refuses |
|---|---|---|
{fields}

## Results that a handler returns

| a handler returns | you get |
|---|---|
{given}

## Values of JavaScript

What an `Any` handler of fal gets of what `@fal-ai/client` sends.

| you send | the handler gets |
|---|---|
{javascript}

## Other servers

fal's apps run under uvicorn. The same scenes under its other WebSocket implementations and other ASGI servers, {scenes}
each, one run; what differed was played again, alone, up to three times:

| server | scenes that differ from uvicorn's |
|---|---|
{servers}
"""


def versions() -> str:
    """What ran."""
    names = ("fal", "uvicorn", "websockets", "pydantic", "msgpack", "fal-client", "hypercorn", "granian", "wsproto")
    said = [f"{name} {metadata.version(name)}" for name in names]
    package = NODE_PACKAGES / "@fal-ai" / "client" / "package.json"
    said.append(f"@fal-ai/client {json.loads(package.read_text())['version']}")
    return f"CPython {platform.python_version()}, {', '.join(said)}."


def cell(text: str) -> str:
    """Text as code in a table."""
    text = text.replace("|", "\\|").replace("\n", "⏎")
    return f"`{text if len(text) <= 150 else text[:149] + '…'}`" if text else ""


def group_of(scene: Scene) -> str:
    """What a scene is about."""
    groups = {"sent": "values sent", "malformed": "malformed messages", "malformed, typed": "malformed messages"}
    head = scene.name.partition(":")[0]
    if scene.name.startswith("field "):
        return "typed fields"
    if head.startswith("sent"):
        return "values sent"
    if head.startswith("give"):
        return "results"
    if head.startswith("raise"):
        return "errors of handlers"
    if scene.varies:
        return "bursts, order and batches"
    return groups.get(head, "kinds of handlers, sessions, limits and routes")


def parity(outcomes: list[Outcome], runs: int, through: list[Through]) -> str:
    """The page that says what was compared."""
    groups: dict[str, list[Outcome]] = collections.defaultdict(list)
    for outcome in outcomes:
        groups[group_of(outcome.scene)].append(outcome)
    summary = [
        f"| {name} | {len({item.scene.name for item in items})} | {len(items)} | "
        f"{sum(not item.agree for item in items)} |"
        for name, items in sorted(groups.items())
    ]
    varying = [
        f"| {outcome.scene.name} | {counted(outcome.real)} | {counted(outcome.local)} |"
        for outcome in outcomes
        if outcome.scene.varies
    ]
    said = differences(outcomes)
    found = "No scene differed." if not said else "What differed:\n\n```\n" + "\n".join(said) + "\n```"
    return PARITY.format(
        versions=versions(),
        runs=runs,
        summary="\n".join(summary),
        varying="\n".join(varying),
        found=found,
        through="\n".join(f"| `{item.client}` | {len(item.real)} | {len(item.differing)} |" for item in through),
        through_differences=through_differences(through),
    )


def through_differences(through: list[Through]) -> str:
    """Which scenes differ through fal's own clients."""
    rows = [
        f"| {name} | `{item.client}` | {told(item.real[name])} | {told(item.local[name])} |"
        for item in through
        for name in item.differing
    ]
    return (
        "\n".join(["| scene | client | fal | `LocalServer` |", "|---|---|---|---|", *rows])
        if rows
        else "None differed."
    )


def told(transcript: Transcript) -> str:
    """A transcript as code."""
    return "<br>".join(cell(line) for line in transcript)


def counted(counts: collections.Counter[Transcript]) -> str:
    """How often which results came, in short: the numbers of the results."""
    said = []
    for transcript, times in counts.most_common(5):
        # Without what ends the session.
        numbers = [
            line.partition(":")[2].partition("}")[0].partition(", 'data'")[0].strip() for line in transcript[:-2]
        ]
        said.append(f"{times}x {cell(' '.join(numbers))}")
    rest = sum(counts.values()) - sum(times for _, times in counts.most_common(5))
    return "<br>".join(said) + (f"<br>{rest}x others" if rest else "")


def answer_of(transcript: Transcript) -> str:
    """The first thing that came back: a result, or the reason of an error."""
    first = transcript[0]
    if first.startswith("{"):
        try:
            message = json.loads(first)
        except ValueError:
            return first
        return f"{message['error']}: {message['reason']}" if message.get("type") == "x-fal-error" else first
    return first


def described(transcript: Transcript) -> str:
    """What `/describe` said that it got."""
    answer = answer_of(transcript)
    try:
        value: Any = eval(answer, {"__builtins__": {}})
        return str(value["repr"])
    except Exception:  # noqa: BLE001 - it is no description
        return answer


async def through_others(real: str, local: str, every: list[Scene]) -> list[Through]:
    """What fal's own clients are told by both servers."""
    return [
        await compare_through(client, real, local, every)
        for client in CLIENTS
        if client != NODE_CLIENT or node() is not None
    ]


async def values_of_others(real: str) -> tuple[dict[str, str], dict[str, Any]]:
    """What fal answers to the values that its own clients send by themselves."""
    sent = {name: await with_fal_client(real, "/describe", {"v": value}) for name, value in VALUES.items()}
    return sent, await asyncio.to_thread(with_node_client, real, "/describe") or {}


async def under(base_url: str, wanted: list[Scene], usual: dict[str, Transcript]) -> dict[str, Transcript]:
    """What comes back for each scene. One that differs from the usual is played again, alone, up to three times."""
    limit = asyncio.Semaphore(16)

    async def one(scene: Scene) -> tuple[str, Transcript]:
        async with limit:
            return scene.name, await play_frames(base_url, scene)

    answers = dict(await asyncio.gather(*map(one, wanted)))
    for scene in wanted:
        for _ in range(REPLAYS):
            if answers[scene.name] != usual[scene.name] or may_be_late(scene, answers[scene.name]):
                answers[scene.name] = await play_frames(base_url, scene)
    return answers


def beside(transcript: Transcript, other: Transcript) -> str:
    """What is in the one and not in the other, or all of it."""
    return " / ".join([line for line in transcript if line not in other] or transcript)


async def usual_answers(real: str, wanted: list[Scene], outcomes: list[Outcome]) -> dict[str, Transcript]:
    """What fal answers under uvicorn, in the raw mode: twice, or else most often.

    On a busy machine an input may have been late for both servers.
    """
    answers = {
        outcome.scene.name: collections.Counter([next(iter(outcome.real))])
        for outcome in outcomes
        if outcome.player == "connect_raw" and not outcome.scene.varies
    }
    limit = asyncio.Semaphore(8)

    async def again(scene: Scene) -> None:
        async with limit:
            answers[scene.name][await play_frames(real, scene)] += 1

    await asyncio.gather(*map(again, wanted))
    for scene in wanted:
        for _ in range(REPLAYS):
            if answers[scene.name].most_common(1)[0][1] < 2:
                await again(scene)
    return {name: counts.most_common(1)[0][0] for name, counts in answers.items()}


def servers_table(steady: list[Scene], usual: dict[str, Transcript]) -> str:
    """The table of ASGI servers."""
    rows = ["| uvicorn (websockets-sansio) | |"]
    for server in SERVERS:
        if server == "uvicorn":
            continue
        with real_server(server) as url:
            answers = asyncio.run(under(url, steady, usual))
        kinds: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
        for name, transcript in answers.items():
            if transcript != usual[name]:
                kinds[beside(usual[name], transcript), beside(transcript, usual[name])].append(name)
        cells = [
            f"{len(names)} (such as {names[0]}): {cell(theirs)} in place of {cell(usually)}"
            for (usually, theirs), names in sorted(kinds.items(), key=lambda item: -len(item[1]))
        ]
        rows.append(f"| {server} | {'<br>'.join(cells) or 'none'} |")
    return "\n".join(rows)


def values_page(usual: dict[str, Transcript], sent: dict[str, str], javascript: dict[str, Any], servers: str) -> str:
    """The page of types."""
    sent_rows = []
    for name, value in VALUES.items():
        wire = shown(msgpack.unpackb(_core.encode_input({"v": value}), timestamp=0)["v"])
        got = described(usual[f"sent in a dict: {name}"])
        theirs = sent[name]
        sent_rows.append(f"| {name} | {cell(wire)} | {cell(got)} | {cell(described((theirs,)))} |")
    fields = []
    for field in FIELDS:
        taken, refused = [], []
        for name in VALUES:
            transcript = usual.get(f"field {field} <- {name}")
            if transcript is None:
                continue
            if "x-fal-error" in transcript[0]:
                refused.append(name)
            else:
                taken.append(f"{name}: {cell(described(transcript))}")
        fields.append(f"| `{field}` | {'<br>'.join(taken)} | {', '.join(refused)} |")
    given = [f"| {name} | {cell(answer_of(usual[f'give: {name}']))} |" for name in GIVEN]
    javascript_rows = [
        f"| {name} | {cell(answer['results'][0]['repr'] if answer['results'] else '; '.join(answer['errors']))} |"
        for name, answer in javascript.items()
    ]
    return VALUES_PAGE.format(
        versions=versions(),
        sent="\n".join(sent_rows),
        fields="\n".join(fields),
        given="\n".join(given),
        javascript="\n".join(javascript_rows),
        servers=servers,
        scenes=len(usual),
    )


def main() -> None:
    """Run everything and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="how often scenes are played that vary")
    parser.add_argument("--output", type=Path, default=DOCS, help="the folder of the pages, in place of `docs`")
    options = parser.parse_args()
    every = scenes()
    with real_server() as real, local_server() as local:
        outcomes = asyncio.run(compare(real, local, every, options.runs))
        through = asyncio.run(through_others(real, local, every))
        sent, javascript = asyncio.run(values_of_others(real))
        steady = [scene for scene in every if not scene.varies]
        usual = asyncio.run(usual_answers(real, steady, outcomes))
    servers = servers_table(steady, usual)
    (options.output / "fal-parity.md").write_text(parity(outcomes, options.runs, through))
    (options.output / "values.md").write_text(values_page(usual, sent, javascript, servers))


if __name__ == "__main__":
    main()
