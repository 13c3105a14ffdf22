"""Which rows an earlier run has written already."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from ._libraries import load

_READERS = 16
"""Threads: storage may be far away."""

INCOMPLETE = ".incomplete"
"""What is appended to the name of a file that a run which was killed has left half written."""

_logger = logging.getLogger("fal_realtime")


def ids_in(output: str, id: str, filesystem: Any) -> Any:
    """The ids in the Parquet files of a folder, as an Arrow array; None where there are none.

    A file that is not whole, since its writer was killed, is set aside: its rows count as not done.

    Raises:
        ValueError: The files have no such column, or it is of several types.
        OSError: The folder cannot be read.
    """
    arrow, fs = load("pyarrow"), load("pyarrow.fs")
    if filesystem is None:
        filesystem, output = (
            fs.FileSystem.from_uri(output) if "://" in output else (fs.LocalFileSystem(), str(Path(output).absolute()))
        )
    if filesystem.get_file_info(output).type == fs.FileType.NotFound:
        return None
    listed = filesystem.get_file_info(fs.FileSelector(output, recursive=True))
    files: list[str] = [file.path for file in listed if file.is_file and file.path.endswith(".parquet")]
    with ThreadPoolExecutor(_READERS, "fal-realtime-ids") as threads:
        columns = list(threads.map(partial(_ids_of, id=id, filesystem=filesystem), files))
    found = [column for column in columns if column is not None]
    try:
        return arrow.chunked_array(found).combine_chunks() if found else None
    except (arrow.ArrowInvalid, arrow.ArrowTypeError) as error:
        message = f"the column {id} is not of one type in the files of {output}: {error}"
        raise ValueError(message) from error


def _ids_of(path: str, id: str, filesystem: Any) -> Any:
    """Those of a file; None if it is not whole."""
    arrow, parquet = load("pyarrow"), load("pyarrow.parquet")
    with filesystem.open_input_file(path) as opened:
        try:
            file = parquet.ParquetFile(opened)
        except arrow.ArrowInvalid:  # the last bytes of a file say where its parts are
            file = None
        if file is not None:
            if id not in file.schema_arrow.names:
                message = (
                    f"{path} has no column {id} to tell which rows are done; it has "
                    f"{', '.join(file.schema_arrow.names)}: give another output=, or the id= with which it was written"
                )
                raise ValueError(message)
            return file.read([id]).column(0).combine_chunks()
    filesystem.move(path, path + INCOMPLETE)
    _logger.warning("%s is not whole, since the run that wrote it was ended: now %s", path, path + INCOMPLETE)
    return None


def without(block: Any, id: str, done: Any) -> Any:
    """The rows of an Arrow table whose ids are not among those.

    Raises:
        ValueError: There is no such column, a row has no id, or the ids are of another type.
    """
    arrow, compute = load("pyarrow"), load("pyarrow.compute")
    if id not in block.column_names:
        message = f"the dataset has no column {id}; it has {', '.join(block.column_names)}: name one of those in id="
        raise ValueError(message)
    ids = block.column(id)
    if ids.null_count:
        message = f"{ids.null_count} of {len(ids)} rows have no {id}: each needs one by which a later run knows it"
        raise ValueError(message)
    try:
        known = compute.is_in(ids, value_set=done.cast(ids.type))
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError, arrow.ArrowTypeError) as error:
        message = (
            f"{id} is {ids.type} in the dataset, and {done.type} in the output: they must be of one type ({error})"
        )
        raise ValueError(message) from error
    return block.filter(compute.invert(known))
