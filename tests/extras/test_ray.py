"""`fal_realtime.ray.infer` on a Ray of this machine: each row has one outcome, whatever is killed.

FAL_REALTIME_SCALE=5 makes it 10,000 rows whose actor is killed, and 15,000 whose driver is.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.scale import SCALE, scaled

import fal_realtime.ray
from fal_realtime import msgpack
from fal_realtime.ray import infer
from fal_realtime.testing import LocalServer

pytestmark = [pytest.mark.extras, pytest.mark.timeout(300 * max(1.0, SCALE)), pytest.mark.filterwarnings("default")]

ROWS_PER_BLOCK = 50
PATIENCE = 120.0 * max(1.0, SCALE)

DRIVER = """
import sys
import ray
from fal_realtime.ray import infer

address, base_url, rest_url, output, rows = sys.argv[1:]
ray.init(address, log_to_driver=False)
options = {"base_url": base_url, "rest_url": rest_url, "trust_env": False}
rows = ray.data.range(int(rows))
answered = infer(rows, "me/app", id="id", inputs=lambda row: {"n": row["id"]}, output=output, rows_per_block=50,
                 size=4, client_options=options)
answered.write_parquet(output)
print("written", flush=True)
"""


class App:
    """Serves `me/app`, which counts how often it was asked for each number, and refuses some."""

    def __init__(self, server: LocalServer) -> None:
        self.asked: Counter[int] = Counter()
        self.refused: set[int] = set()
        self.pids: set[int] = set()
        self.kill = False
        """Kill the actor whose input comes once `most` are reached: it has that one under way."""
        self.reached = threading.Event()
        self.most = 10**9
        """From so many on `reached` is set."""
        self.options = {"base_url": server.base_url, "rest_url": server.rest_url, "trust_env": False}

        @server.app("me/app")
        async def handler(message: Any) -> Any:
            self.asked[message["n"]] += 1
            self.pids.add(message.get("pid", 0))
            if len(self.asked) >= self.most and not self.reached.is_set():
                self.reached.set()
                if self.kill:
                    os.kill(message["pid"], signal.SIGKILL)
            await asyncio.sleep(0.002)
            if message["n"] in self.refused:
                raise ValueError(message["n"])
            return {**message, "images": [{"content": b"\xff\x00" * 50, "width": 512}]}


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with LocalServer() as running:
        yield running


@pytest.fixture(scope="module")
def ray(server: LocalServer) -> Iterator[Any]:
    """A Ray of its own, whose processes have the key in their environment."""
    module = pytest.importorskip("ray", reason="NOT TESTED: Ray is missing")
    pytest.importorskip("ray.data")
    before = dict(os.environ)
    os.environ.update(
        FAL_KEY=server.key, RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", FAL_HOME_DIR=os.devnull
    )
    try:
        module.init(num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000)
        module.data.DataContext.get_current().enable_progress_bars = False
        yield module
    finally:
        module.shutdown()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def app(server: LocalServer) -> App:
    return App(server)


def written(folder: Path) -> dict[int, dict[str, Any]]:
    """The rows of the Parquet files in a folder, by their ids, of which none is there twice."""
    import pyarrow.parquet  # noqa: PLC0415

    rows = [row for path in sorted(folder.glob("*.parquet")) for row in pyarrow.parquet.read_table(path).to_pylist()]
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == len(rows)
    return by_id


# --- outcomes ---


def test_each_row_keeps_its_columns_and_gets_what_became_of_it(ray: Any, app: App, tmp_path: Path) -> None:
    app.refused = {3, 40}
    rows = ray.data.from_items([{"id": n, "n": n, "prompt": f"cat {n}", "other": b"\xff"} for n in range(60)])
    answered = infer(rows, "me/app", id="id", inputs=["n", "prompt"], rows_per_block=20, client_options=app.options)
    answered.write_parquet(str(tmp_path))
    found = written(tmp_path)
    assert sorted(found) == list(range(60))
    assert all((row["prompt"], row["other"]) == (f"cat {n}", b"\xff") for n, row in found.items())
    failed = {n for n, row in found.items() if row["status"] == "error"}
    assert failed == {3, 40}
    assert found[3]["result"] is None
    assert found[3]["error"].startswith("RealtimeError: INTERNAL_ERROR")
    good = [row for row in found.values() if row["status"] == "ok"]
    assert all(msgpack.decode(row["result"])["prompt"] == row["prompt"] for row in good)
    assert all(row["attempts"] >= 1 and row["latency"] > 0 and row["error"] is None for row in good)


def test_fields_become_columns_and_a_result_without_one_is_an_error(ray: Any, app: App) -> None:
    import pyarrow as pa  # noqa: PLC0415

    fields = {"image": ("images.0.content", pa.binary()), "width": ("images.0.width", pa.int16())}
    rows = ray.data.from_items([{"n": n} for n in range(4)])
    answered = infer(rows, "me/app", fields=fields, client_options=app.options)
    assert [(row["image"], row["width"]) for row in answered.take_all()] == [(b"\xff\x00" * 50, 512)] * 4
    assert "result" not in answered.columns()
    wrong = {"seed": ("images.0.seed", pa.int64()), "text": ("images.0.content", pa.int64())}
    errors = [
        infer(rows, "me/app", fields={name: field}, client_options=app.options).take(1)[0]["error"]
        for name, field in wrong.items()
    ]
    assert errors[0] == "ValueError: the result has no images.0.seed"
    assert errors[1].startswith("ValueError: images.0.content of the result is no int64")


# --- what is killed ---


def test_an_actor_that_is_killed_costs_no_row(ray: Any, app: App, tmp_path: Path) -> None:
    rows = scaled(2000)
    app.most, app.kill = scaled(600), True

    def input_of(row: dict[str, Any]) -> dict[str, Any]:
        return {"n": row["id"], "pid": os.getpid()}

    options = {"rows_per_block": ROWS_PER_BLOCK, "size": 4, "client_options": app.options}
    infer(ray.data.range(rows), "me/app", id="id", inputs=input_of, **options).write_parquet(str(tmp_path))
    assert app.reached.is_set()
    found = written(tmp_path)
    assert sorted(found) == list(range(rows))
    assert {row["status"] for row in found.values()} == {"ok"}
    assert len(app.pids) >= 3, "no actor took the place of the one that was killed"
    again = sum(app.asked.values()) - rows
    print(f"asked twice: {again}")
    assert 0 < again <= 4 * ROWS_PER_BLOCK


def test_a_driver_that_is_killed_goes_on_where_it_was(ray: Any, server: LocalServer, app: App, tmp_path: Path) -> None:
    rows = scaled(3000)
    app.most = scaled(1200)
    (tmp_path / "driver.py").write_text(DRIVER, encoding="utf-8")
    output = tmp_path / "output"
    arguments = [ray.get_runtime_context().gcs_address, server.base_url, server.rest_url, str(output), str(rows)]
    command = [sys.executable, str(tmp_path / "driver.py"), *arguments]
    with subprocess.Popen(command) as driver:
        assert app.reached.wait(PATIENCE)
        driver.kill()
    server.wait_for_connections(0, PATIENCE)  # its actors are gone
    before = len([*output.glob("*.parquet")])
    assert before > 0
    first = sum(app.asked.values())
    # As one that was killed in the midst of writing leaves it.
    whole = next(output.glob("*.parquet")).read_bytes()
    (output / "half.parquet").write_bytes(whole[: len(whole) // 2])
    assert subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout == "written\n"
    found = written(output)
    assert sorted(found) == list(range(rows))
    assert {row["status"] for row in found.values()} == {"ok"}
    again = sum(app.asked.values()) - rows
    aside = len([*output.glob("*.incomplete")])
    print(f"asked twice: {again} of {first} asked before the kill, in {before} files, {aside} set aside")
    assert 0 < again <= first
    assert (output / "half.parquet.incomplete").exists()
    # And a third time there is nothing to do.
    subprocess.run(command, check=True, timeout=PATIENCE)
    assert sum(app.asked.values()) == rows + again
    assert written(output) == found


def test_what_the_page_shows_runs(ray: Any, server: LocalServer, tmp_path: Path, monkeypatch: Any) -> None:
    passes: list[bool] = []

    @server.app("fal-ai/fast-lcm-diffusion")
    async def images(message: Any) -> Any:
        assert message["seed"] != 3 or passes
        return {**message, "images": [{"content": b"jpeg"}]}

    rows = ray.data.from_items([{"id": n, "prompt": "a cat", "seed": n} for n in range(5)])
    rows.write_parquet(str(tmp_path / "prompts"))
    options = {"base_url": server.base_url, "rest_url": server.rest_url, "trust_env": False}
    monkeypatch.setattr(fal_realtime.ray, "infer", partial(infer, client_options=options))
    page = (Path(__file__).parents[2] / "docs" / "ray.md").read_text(encoding="utf-8")
    first, fields, again = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}

    def run(snippet: str) -> None:
        # Ray runs already, and this machine is smaller.
        here = re.sub(r"^ray\.init.*", "", snippet, flags=re.MULTILINE).replace("actors=8", "actors=1")
        exec(here.replace("s3://bucket", str(tmp_path)), names)

    run(first)
    assert [n for n, row in written(tmp_path / "images").items() if row["status"] == "error"] == [3]
    passes.append(True)
    run(again)
    assert [(n, row["status"]) for n, row in written(tmp_path / "images-2").items()] == [(3, "ok")]
    run(fields)
    assert {row["image"] for row in names["answered"].take_all()} == {b"jpeg"}


# --- what is wrong ---


def test_a_dataset_without_the_columns_is_refused_here(ray: Any, app: App) -> None:
    rows = ray.data.from_items([{"n": 1, "status": "new"}])
    with pytest.raises(ValueError, match=r"no column prompt, id; it has n, status: name those in inputs= and id="):
        infer(rows, "me/app", inputs=["prompt"], id="id")
    with pytest.raises(ValueError, match=r"has a column status already.*rename_columns"):
        infer(rows, "me/app", inputs=["n"])


def test_a_dataset_whose_columns_show_when_it_runs_is_refused_then(ray: Any, app: App) -> None:
    rows = ray.data.range(3).map(lambda row: {"n": row["id"]})
    answered = infer(rows, "me/app", inputs=["prompt"], client_options=app.options)
    with pytest.raises(Exception, match="the dataset has no column prompt; it has n"):
        answered.take_all()
    assert app.asked.total() == 0


def test_a_refused_key_says_what_to_do(ray: Any, app: App) -> None:
    answered = infer(
        ray.data.from_items([{"n": 1}]),
        "me/app",
        client_options=app.options,
        actor_options={"runtime_env": {"env_vars": {"FAL_KEY": "another:key"}}},
    )
    with pytest.raises(
        ray.exceptions.RayTaskError, match=r"AuthenticationError: .*401 \(the run ends.*FAL_KEY"
    ) as caught:
        answered.take_all()
    assert "another:key" not in str(caught.value)


def test_an_app_that_does_not_exist_says_what_to_do_and_what_was_done_is_kept(
    ray: Any, app: App, tmp_path: Path
) -> None:
    options = {"id": "id", "inputs": lambda row: {"n": row["id"]}, "client_options": app.options}
    infer(ray.data.range(10), "me/app", **options).write_parquet(str(tmp_path))
    more = infer(ray.data.range(20), "me/absent", output=str(tmp_path), **options)
    with pytest.raises(
        ray.exceptions.RayTaskError, match=r"HandshakeError: .*no row of me/absent.*blocks that were written are kept"
    ):
        more.write_parquet(str(tmp_path))
    infer(ray.data.range(20), "me/app", output=str(tmp_path), **options).write_parquet(str(tmp_path))
    assert sorted(written(tmp_path)) == list(range(20))
    assert set(app.asked.values()) == {1}


def test_ids_are_to_be_there_and_of_one_type(ray: Any, app: App, tmp_path: Path) -> None:
    infer(ray.data.from_items([{"id": "a", "n": 1}]), "me/app", id="id", client_options=app.options).write_parquet(
        str(tmp_path)
    )

    def ended_by(rows: list[dict[str, Any]], key: str = "id") -> str:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the type is Ray's
            infer(
                ray.data.from_items(rows), "me/app", id=key, output=str(tmp_path), client_options=app.options
            ).take_all()
        return str(caught.value)

    assert "rows have no id" in ended_by([{"id": "b", "n": 1}, {"id": None, "n": 2}])
    assert "id is int64 in the dataset, and string in the output" in ended_by([{"id": 7, "n": 1}])
    assert "has no column key to tell which rows are done" in ended_by([{"key": "b", "n": 1}], key="key")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"client_options": {"credentials": "id:hidden"}}, "must not hold a key.*set FAL_KEY"),
        ({"output": "images"}, "output needs id"),
        ({"inputs": "prompt"}, r"inputs must be a list of columns.*\['prompt'\]"),
        ({"fields": {"seed": "seed"}}, r"fields\['seed'\] must be a path and an Arrow type"),
        ({"actors": 0}, "actors must be at least 1"),
        ({"size": 0}, "size must be"),
        ({"streaming": True}, "a pool takes no streaming"),
        ({"retries": -1}, "retries"),
    ],
)
def test_options_are_checked_before_anything_runs(options: dict[str, Any], says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says) as caught:
        infer(object(), "me/app", **options)  # type: ignore[type-var]
    assert "hidden" not in str(caught.value)
