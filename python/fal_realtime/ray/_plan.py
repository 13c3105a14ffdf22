"""What each actor is to do; it travels to the nodes by pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RESULT = "result"
ACCOUNT = ("status", "error", "attempts", "latency")
"""The columns that each row gets, beside those of its result."""


@dataclass(frozen=True)
class Plan:
    """What each actor is to do."""

    app: str
    id: str | None
    inputs: Sequence[str] | Callable[[dict[str, Any]], Any] | None
    fields: Mapping[str, tuple[str, Any]] | None
    client_options: Mapping[str, Any] = field(repr=False)  # they may hold secrets
    pool_options: Mapping[str, Any] = field(repr=False)  # likewise
    ask_options: Mapping[str, Any]

    @property
    def added(self) -> list[str]:
        """The columns that are added."""
        return [*(self.fields or [RESULT]), *ACCOUNT]

    def check(self, columns: Sequence[str]) -> None:
        """Whether a dataset has the columns that are needed, and not those that are added.

        Raises:
            ValueError: It has not; says which there are, and what to do.
        """
        wanted = [] if self.inputs is None or callable(self.inputs) else list(self.inputs)
        wanted += [] if self.id is None else [self.id]
        if missing := [name for name in wanted if name not in columns]:
            message = (
                f"the dataset has no column {', '.join(missing)}; it has {', '.join(columns)}: name those in "
                "inputs= and id=, or rename them with dataset.rename_columns"
            )
            raise ValueError(message)
        if taken := [name for name in self.added if name in columns]:
            message = (
                f"the dataset has a column {', '.join(taken)} already, which would hold what became of each row: "
                "rename it with dataset.rename_columns, or drop it with dataset.drop_columns"
            )
            raise ValueError(message)

    def inputs_of(self, table: Any) -> list[Any]:
        """The input of each row of an Arrow table."""
        columns: list[str] = table.column_names
        if callable(self.inputs):
            return [self.inputs(row) for row in table.to_pylist()]
        names = [name for name in columns if name != self.id] if self.inputs is None else list(self.inputs)
        rows: list[Any] = table.select(names).to_pylist()
        return rows
