"""What the native core imports by name."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from fal_realtime import _for_core

SOURCES = Path(__file__).parents[2] / "src" / "py"


def test_every_name_that_the_native_core_may_ask_for_is_there() -> None:
    for module, names in _for_core.NAMES.items():
        for name in names:
            assert getattr(_for_core, name) is getattr(import_module(f"fal_realtime.{module}"), name)


def test_the_native_core_imports_from_no_other_module() -> None:
    for path in SOURCES.rglob("*.rs"):
        imported = re.findall(r'import\((?:py, )?"(fal_realtime[^"]*)"', path.read_text())
        assert not imported, f"{path.relative_to(SOURCES)} imports {imported}: give _for_core.py the name"
