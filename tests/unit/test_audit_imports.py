"""The audit of imports finds what it is there to find, and passes what it should."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "audit_imports.py"


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    specification = importlib.util.spec_from_file_location("audit_imports", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def paths(audit: ModuleType, source: str, module: str = "crate::net::link") -> set[str]:
    found = audit.rust_imports(source, tuple(module.split("::")))
    return {"::".join(imported.path) for imported in found}


def rust_circles(audit: ModuleType, root: Path, files: dict[str, str]) -> list[str]:
    found: list[str] = audit.circles(audit.edges_of(audit.rust_files(write(root, files))))
    return found


def python_circles(audit: ModuleType, root: Path, files: dict[str, str]) -> list[str]:
    found: list[str] = audit.circles(audit.edges_of(audit.python_files(write(root, files))))
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("use crate::core::ring::Ring;", {"crate::core::ring::Ring"}),
        ("use super::wakes;", {"crate::net::wakes"}),
        ("use super::super::core::ring as rings;", {"crate::core::ring"}),
        ("pub(super) use self::ending::Ending;", {"crate::net::link::ending::Ending"}),
        (
            "use crate::{\n    core::{frame::{Kind, Role}, ring},\n    net::wakes::{self, Notify},\n};",
            {
                "crate::core::frame::Kind",
                "crate::core::frame::Role",
                "crate::core::ring",
                "crate::net::wakes",
                "crate::net::wakes::Notify",
            },
        ),
        ("fn f() { crate::net::spin::busy(); }", {"crate::net::spin::busy"}),
        ("fn f() -> super::wakes::Wake<super::spin::Spin> {}", {"crate::net::wakes::Wake", "crate::net::spin::Spin"}),
        ("mod tests { use super::*; use super::super::wakes; }", {"crate::net::link::*", "crate::net::wakes"}),
        ("fn f() { spin::busy(); Vec::<u8>::new(); }", {"spin::busy", "Vec"}),
        ("mod a { mod b {} }\nuse super::wakes;", {"crate::net::wakes"}),
        ("fn f<T>() -> impl Future + use<T> { g(); }", set()),
        ('// use super::wakes;\n/* use super::spin; */\nconst A: &str = "super::wakes";', set()),
        ("const A: char = '\"'; use super::wakes; const B: char = '\"';", {"crate::net::wakes"}),
        ('const A: &str = r#"use super::spin; ""#; use super::wakes;', {"crate::net::wakes"}),
        ("use tokio::net::TcpStream;", {"tokio::net::TcpStream"}),
    ],
)
def test_all_ways_of_naming_another_file_are_read(audit: ModuleType, source: str, expected: set[str]) -> None:
    assert paths(audit, source) == expected


def test_two_files_that_import_each_other_are_found(audit: ModuleType, tmp_path: Path) -> None:
    found = rust_circles(audit, tmp_path, {"a.rs": "use super::b::B;", "b.rs": "\nfn f(a: crate::a::A) {}"})
    assert len(found) == 1
    for part in ("a imports b", "a.rs:1", "b imports a", "b.rs:2"):
        assert part in found[0]


def test_larger_circles_are_found_and_shown_by_the_shortest(audit: ModuleType, tmp_path: Path) -> None:
    files = {
        "a.rs": "use crate::b::B;",
        "b.rs": "use crate::c::C;",
        "c.rs": "use crate::{a::A, d::D};",
        "d.rs": "use crate::{b::B, e::E};",
        "e.rs": "",
    }
    found = rust_circles(audit, tmp_path, files)
    assert len(found) == 1
    assert "a imports b" in found[0]
    assert found[0].endswith("in the same knot: d")


def test_what_is_below_a_module_counts_as_the_module_for_its_neighbours(audit: ModuleType, tmp_path: Path) -> None:
    files = {"a.rs": "mod x;", "a/x.rs": "use crate::b::B;", "b.rs": "mod y;", "b/y.rs": "use crate::a::A;"}
    found = rust_circles(audit, tmp_path, files)
    assert len(found) == 1
    assert "x.rs:1" in found[0]


def test_what_a_parent_hands_on_is_found_where_it_comes_from(audit: ModuleType, tmp_path: Path) -> None:
    files = {
        "a.rs": "mod x; mod y; pub use x::X; use self::x::X as Other; use self::y::Y;",
        "a/x.rs": "use super::Y;",
        "a/y.rs": "use super::X;",
    }
    assert len(rust_circles(audit, tmp_path, files)) == 1


def test_paths_that_begin_with_a_name_of_the_file_are_followed(audit: ModuleType, tmp_path: Path) -> None:
    files = {"net/a.rs": "use crate::net; fn f() { net::b::g(); }", "net/b.rs": "use super::a; fn f() { a::g(); }"}
    found = rust_circles(audit, tmp_path, {"net.rs": "mod a; mod b;", **files})
    assert len(found) == 1
    assert "crate::net: a imports b" in found[0]


def test_a_parent_and_its_own_children_may_import_each_other(audit: ModuleType, tmp_path: Path) -> None:
    files = {"a.rs": "mod x; use x::X;", "a/x.rs": "use super::A;", "a/x/z.rs": "use crate::a::A;"}
    assert rust_circles(audit, tmp_path, files) == []


def test_tests_may_use_what_uses_what_they_test(audit: ModuleType, tmp_path: Path) -> None:
    files = {"net/a.rs": "", "net/a/tests.rs": "use crate::net::b::B;", "net/b.rs": "use super::a::A;"}
    assert rust_circles(audit, tmp_path, files) == []


@pytest.mark.parametrize(
    ("parent", "file", "module"), [("lib.rs", "no_poller.rs", "poller"), ("net.rs", "net/no_poller.rs", "net::poller")]
)
def test_a_file_under_another_name_is_known_by_its_module(
    audit: ModuleType, tmp_path: Path, parent: str, file: str, module: str
) -> None:
    files = {
        parent: f'#[path = "{file}"]\npub mod poller;',
        file: "use crate::a::A;",
        "a.rs": f"use crate::{module}::Poller;",
    }
    assert len(rust_circles(audit, tmp_path, files)) == 1


@pytest.mark.parametrize(
    ("name", "source", "complaint"),
    [
        ("core/a.rs", "use crate::net::b;", "core imports net"),
        ("core/a.rs", "fn f() { tokio::spawn(g()); }", "core uses the crate tokio"),
        ("net/a.rs", "fn f() { crate::py::g(); }", "net imports py"),
        ("net/a.rs", "use pyo3::prelude::*;", "net uses the crate pyo3"),
        ("server/a.rs", "use crate::py::b;", "server imports py"),
        ("error.rs", "use crate::core::b;", "error imports core"),
        ("lib.rs", "use pyo3::prelude::*;", "the root uses the crate pyo3"),
    ],
)
def test_imports_go_one_way(audit: ModuleType, tmp_path: Path, name: str, source: str, complaint: str) -> None:
    found = audit.wrong_way(audit.rust_files(write(tmp_path, {name: source})))
    assert len(found) == 1
    assert complaint in found[0]


def test_what_may_be_imported_is_not_complained_of(audit: ModuleType, tmp_path: Path) -> None:
    files = {
        "core/a.rs": "use crate::{core::b::B, error::Error}; use bytes::Bytes;",
        "net/a.rs": "use crate::core::a; use tokio::net::TcpStream;",
        "server/a.rs": "use crate::net::a;",
        "py/a.rs": "use pyo3::prelude::*; use crate::{core, net, server};",
    }
    assert audit.wrong_way(audit.rust_files(write(tmp_path, files))) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("from .b import B", "from .a import A"),
        ("from . import b", "import package.a"),
        ("import package.b as other", "def f():\n    from package import a"),
        ("from .b import B", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import A"),
    ],
)
def test_python_files_that_import_each_other_are_found(audit: ModuleType, tmp_path: Path, one: str, other: str) -> None:
    files = {"package/__init__.py": "from .a import A", "package/a.py": one, "package/b.py": other}
    found = python_circles(audit, tmp_path, files)
    assert len(found) == 1
    assert "a imports b" in found[0]


def test_python_names_that_the_package_hands_on_are_found_where_they_come_from(
    audit: ModuleType, tmp_path: Path
) -> None:
    files = {
        "package/__init__.py": "from .a import A\nfrom .b import B",
        "package/a.py": "from . import B",
        "package/b.py": "from package import A",
        "package/c.py": "from . import A",
    }
    assert len(python_circles(audit, tmp_path, files)) == 1


def test_this_repository_has_none(audit: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    status = audit.main()
    assert status == 0, capsys.readouterr().err
