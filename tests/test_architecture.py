"""The map leads to places that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAP = (ROOT / "docs" / "architecture.md").read_text()
PLACES = re.findall(r"`(?:\w+::)?(\w+)` in `(src/[^`]+)`", MAP)


def test_the_map_answers_the_questions_of_newcomers() -> None:
    for question in ("written to the socket", "become a Python object", "reconnect decided", "new option go"):
        assert question in MAP
    assert len(PLACES) >= 6


@pytest.mark.parametrize(("symbol", "path"), PLACES)
def test_each_place_that_the_map_names_exists(symbol: str, path: str) -> None:
    assert re.search(rf"\b(fn|struct|enum) {symbol}\b", (ROOT / path).read_text()), f"{symbol} in {path}"
