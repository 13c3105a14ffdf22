"""The audit of dependencies finds what nothing uses."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
CRATE = """
[package]
name = "sample"
version = "0.1.0"

[dependencies]
used = "1"
renamed = { package = "other", version = "1" }
idle = "1"
only-tests = "1"

[dev-dependencies]
idle-too = "1"
"""
SOURCE = """
use renamed::Thing; // idle::only in a comment
fn main() { used::run("idle::in a string") }

#[cfg(test)]
mod tests {
    use only_tests::check;
}
"""
PROJECT = """
[project.optional-dependencies]
cli = ["shown>=1"]
dev = [
    # "comment>=1",
    "imported>=1; sys_platform != 'win32'",
    "run>=2",
    "started>=3",
    "idle-wheel>=1",
]
more-tests = ["tried>=1", "idle-too>=1"]
[tool.other]
"""
TEST = """
from imported import name
# import idle_wheel
run(["run", "--fast"])
importorskip("tried.later")
"""


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script, for a project in a folder of its own."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    module = importlib.import_module("audit_dependencies")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    files = {
        "Cargo.toml": CRATE,
        "src/lib.rs": SOURCE,
        "build.rs": "",
        "pyproject.toml": PROJECT,
        "python/shown.py": "def show():\n    import shown\n",
        "tests/test_it.py": TEST,
        "check": 'step "started" python -m started\n',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return module


def test_crates_that_nothing_uses_are_found(audit: ModuleType) -> None:
    assert list(audit.unused_crates()) == [
        "Cargo.toml: nothing uses idle",
        "Cargo.toml: nothing uses only-tests but in tests, benchmarks or examples",
        "Cargo.toml: nothing uses idle-too",
    ]


def test_distributions_that_nothing_uses_are_found(audit: ModuleType) -> None:
    assert list(audit.unused_distributions()) == [
        "pyproject.toml: nothing uses idle-wheel of the extra dev",
        "pyproject.toml: nothing uses idle-too of the extra more-tests",
    ]
