"""The documentation's site has all pages, everything public, and what to do at each error.

`scripts/docs` builds it, and checks what was built.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path

import pytest

from fal_realtime import _exceptions
from fal_realtime.batch import JournalError
from fal_realtime.ws_run import IncompleteResponseError

DOCS = Path(__file__).parents[2] / "docs"
CONFIG = (DOCS / "site" / "zensical.toml").read_text(encoding="utf-8")
LISTED = set(re.findall(r'= "([\w/-]+\.md)"', CONFIG))
SHOWN = {
    name
    for path in sorted((DOCS / "api").glob("*.md"))
    for name in re.findall(r"^::: (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
}
WHOLE = {"fal_realtime._exceptions", "fal_realtime.msgpack", "fal_realtime.ws_run", "fal_realtime.compat.fal_client"}
"""Modules of which all is shown."""
MODULES = [
    "",
    ".pool",
    ".batch",
    ".asgi",
    ".media",
    ".opentelemetry",
    ".prometheus",
    ".testing",
    ".msgpack",
    ".ws_run",
    ".compat.fal_client",
]


def public(module: str) -> list[str]:
    """The public names of a module, with their module."""
    return [f"{module}.{name}" for name in importlib.import_module(module).__all__]


def test_the_navigation_has_each_page() -> None:
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "node_modules" not in path.parts}
    assert {page for page in pages if not page.startswith("decisions/0")} <= LISTED
    assert {page for page in LISTED if not page.startswith("project/")} <= pages


@pytest.mark.parametrize("module", [f"fal_realtime{name}" for name in MODULES])
def test_the_reference_has_everything_public(module: str) -> None:
    if module in SHOWN:
        return  # all of it
    for name in public(module):
        thing = getattr(importlib.import_module(module), name.rpartition(".")[2])
        is_error = inspect.isclass(thing) and thing.__module__ == _exceptions.__name__
        assert name in SHOWN or (is_error and _exceptions.__name__ in SHOWN) or name.endswith(".__version__"), name


@pytest.mark.parametrize("name", sorted(SHOWN - {"fal_realtime.ray.infer"}))  # whose import needs Ray
def test_what_the_reference_shows_is_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert importlib.util.find_spec(name if name in WHOLE else module)
    assert name in WHOLE or hasattr(importlib.import_module(module), attribute)


def test_the_page_of_errors_says_of_each_what_to_do() -> None:
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    errors = {
        name
        for name, thing in inspect.getmembers(_exceptions, inspect.isclass)
        if issubclass(thing, Exception) and thing.__module__ == _exceptions.__name__
    }
    assert errors == {name for name in sections if name.endswith("Error")}
    for name in errors - {"FalRealtimeError"}:
        assert "\n*Do:* " in sections[name], name
    for error in (JournalError, IncompleteResponseError):
        assert f".{error.__name__}`" in page
