"""The step of a pipeline that asks an app for each row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from fal_realtime import _checks as check
from fal_realtime._client import RealtimeClient
from fal_realtime._retrying import Attempts

from ._actor import Actor
from ._done import ids_in, without
from ._libraries import load
from ._plan import Plan

if TYPE_CHECKING:
    from typing_extensions import Self


class Dataset(Protocol):
    """What is used of a `ray.data.Dataset`."""

    def map_batches(self, fn: Any, **options: Any) -> Self:
        """Apply a function, or a class, to its blocks."""
        ...

    def repartition(self, **options: Any) -> Self:
        """Make its blocks of another size."""
        ...

    def schema(self, fetch_if_missing: bool = True) -> Any:
        """Give the names and types of its columns."""
        ...


AnyDataset = TypeVar("AnyDataset", bound=Dataset)

_DEFAULT_CPUS = 0.25
"""Of each actor: it waits for the network more than it computes."""

_BLOCKS_AT_ONCE = 2
"""In each actor, so that its connections have work while the last rows of a block are answered."""


def infer(
    dataset: AnyDataset,
    app: str,
    *,
    inputs: Sequence[str] | Callable[[dict[str, Any]], Any] | None = None,
    fields: Mapping[str, tuple[str, Any]] | None = None,
    id: str | None = None,
    output: str | None = None,
    filesystem: Any = None,
    actors: int = 2,
    size: int = 8,
    depth: int = 1,
    timeout: float | None = None,
    retries: int = 3,
    idempotent: bool = False,
    rows_per_block: int = 256,
    client_options: Mapping[str, Any] | None = None,
    actor_options: Mapping[str, Any] | None = None,
    **pool_options: Any,
) -> AnyDataset:
    """Ask an app for each row of a dataset, in actors with a pool of connections each. Runs when the dataset is used.

        answered = infer(ray.data.read_parquet("prompts"), "fal-ai/fast-lcm-diffusion", id="id", output="images")
        answered.write_parquet("images")

    The rows keep their columns, and get: `result` (msgpack; `fal_realtime.msgpack.decode` reads it) or the `fields`,
    `status` (`ok` or `error`), `error` (why there is no result), `attempts` (how often the row was given to a
    connection) and `latency` (seconds). An error is an outcome as well.

    With `output`, the folder to which the result is written, rows whose ids are in its Parquet files are not asked:
    what was stopped goes on where it was. Rows that were asked, and whose block was not written, are asked once more:
    at most `2 * actors * rows_per_block`, and what Ray holds between asking and writing. For one run at a time.

    The key is that of each node's environment (`FAL_KEY`): set it there, or by `runtime_env` of `ray.init`.

    Args:
        dataset: A `ray.data.Dataset`.
        app: The app id, such as `fal-ai/fast-lcm-diffusion`.
        inputs: The columns that make an input, by their names; or a function that makes one of a row, a dict. Default:
            all columns but `id`.
        fields: Instead of the whole result: names of columns, with the path in the result and the Arrow type, such as
            `{"image": ("images.0.content", pyarrow.binary())}`. Where a result lacks one, the row has an error.
        id: The column by which a row is known, of ints or strs, each once.
        output: A folder, or address, of Parquet files that earlier runs have written; there need not be one yet.
        filesystem: The `pyarrow.fs.FileSystem` of `output`. Default: that of its address, else the local one, which the
            nodes must share.
        actors: How many there are.
        size: The most connections of each actor: see `RealtimeClient.pool`.
        depth: The most requests under way on each connection: likewise.
        timeout: Seconds for each row, all attempts and the wait for room included. Default: none.
        retries: How often a row is sent again after an error that passes: see `Pool.request`.
        idempotent: It does no harm if an app gets a row twice: it is sent again also where its session was lost.
        rows_per_block: How many rows are asked for and written together; each becomes a file of the output.
        client_options: Of `RealtimeClient`, such as `base_url`. Not the key; but `credentials` may be a function, which
            is called on the nodes.
        actor_options: Ray's options for each actor, such as `num_cpus` (default: 0.25) and `runtime_env`.
        **pool_options: Of `RealtimeClient.pool` and `connect`, such as `max_age` and `path`.

    Raises:
        ImportError: Ray Data is not installed.
        ValueError: An option has a value that is not accepted; or the dataset has not the columns: here, if it knows
            them already, else when it runs.
        TypeError: An option is of the wrong type.

    What uses the dataset raises Ray's own error where the run cannot go on, with all blocks kept that were written
    before. Its text names the one that ended it: `AuthenticationError` (no key on the node, or it was refused),
    `HandshakeError` (such as for an app that does not exist), `ApiError` (no token), or `ConnectionClosedError` (too
    many connections in a row brought no result).
    """
    plan = Plan(
        app=app,
        id=id,
        inputs=inputs,
        fields=fields,
        client_options={**(client_options or {})},
        pool_options={"size": size, "depth": depth, **pool_options},
        ask_options={"timeout": timeout, "retries": retries, "idempotent": idempotent},
    )
    check.integer("actors", actors, at_least=1)
    check.integer("rows_per_block", rows_per_block, at_least=1)
    _check(plan, output)
    data = load("ray.data")
    check.instance("dataset", dataset, data.Dataset, "a ray.data.Dataset")
    known = dataset.schema(fetch_if_missing=False)
    if known is not None:
        plan.check(known.names)
    asked = dataset
    if id is not None and output is not None and (done := ids_in(output, id, filesystem)) is not None:
        ray, shared = load("ray"), load("ray").put(done)

        def not_done(block: Any) -> Any:
            return without(block, id, ray.get(shared))

        asked = asked.map_batches(not_done, batch_format="pyarrow", batch_size=None)
    return asked.repartition(target_num_rows_per_block=rows_per_block).map_batches(
        Actor,
        fn_constructor_args=(plan,),
        batch_format="pyarrow",
        batch_size=None,
        compute=data.ActorPoolStrategy(size=actors, max_concurrent_calls_per_actor=_BLOCKS_AT_ONCE),
        **{"num_cpus": _DEFAULT_CPUS, **(actor_options or {})},
    )


def _check(plan: Plan, output: str | None) -> None:
    """Whether the options are acceptable, before anything runs on a node."""
    if output is not None and plan.id is None:
        message = "output needs id, the column by which the rows of an earlier run are known"
        raise ValueError(message)
    if isinstance(plan.inputs, str):
        message = f"inputs must be a list of columns, or a function, not a str: [{plan.inputs!r}] is the input of one"
        raise TypeError(message)
    given = plan.client_options.get("credentials")
    if given is not None and not callable(given):
        message = (
            "client_options must not hold a key, which Ray would pass on in the clear: set FAL_KEY in the environment "
            "of the nodes, or give a function that gets it there"
        )
        raise ValueError(message)
    for name, wanted in (plan.fields or {}).items():
        if not (isinstance(cast("object", wanted), tuple) and len(wanted) == 2 and isinstance(wanted[0], str)):  # noqa: PLR2004
            message = (
                f"fields[{name!r}] must be a path and an Arrow type, such as ('images.0.content', pyarrow.binary())"
            )
            raise TypeError(message)
    Attempts(plan.ask_options["timeout"], plan.ask_options["retries"], idempotent=plan.ask_options["idempotent"])
    # Opens nothing.
    with_no_key: dict[str, Any] = {**plan.client_options, "credentials": "checks:options"}
    client = RealtimeClient(**with_no_key)
    client.pool(plan.app, **plan.pool_options)
    client.close()
