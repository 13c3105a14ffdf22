"""Nothing that Cargo.toml or pyproject.toml declares is unused, and crates that only tests use are dev-dependencies."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from audit_imports import without_text

ROOT = Path(__file__).parent.parent
CRATES_WITHOUT_A_USE = {"log": "its features compile the log of rustls and tungstenite out"}
PLUGINS = {"pytest-asyncio": "asyncio_mode", "pytest-timeout": "timeout"}
"""Distributions that are used by an option of pytest alone."""
TEST_MODULE = re.compile(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))? )?mod (\w+)(;|\s*\{)")


def rust_code(folder: Path) -> tuple[str, str]:
    """What is compiled into the crate, and what for its tests alone."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.rs"))}
    tests = set()
    code, test_code = [], []
    for path, text in texts.items():
        home = path.parent if path.name in ("mod.rs", "lib.rs") else path.with_suffix("")
        for name, end in TEST_MODULE.findall(text):
            if end == ";":
                tests |= {home / f"{name}.rs", home / name}
    for path, text in texts.items():
        if tests.intersection([path, *path.parents]):
            test_code.append(text)
            continue
        # By convention the tests are the last thing in a file.
        inline = next((found.start() for found in TEST_MODULE.finditer(text) if found[2] != ";"), len(text))
        code.append(text[:inline])
        test_code.append(text[inline:])
    return without_text("\n".join(code)), without_text("\n".join(test_code))


def unused_crates() -> Iterator[str]:
    """What is wrong with the dependencies of the crate."""
    command = ["cargo", "metadata", "--format-version=1", "--no-deps", "--offline"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603 - fixed
    metadata = json.loads(output)
    code, tests = rust_code(ROOT / "src")
    for folder in ("benches", "examples"):
        tests += "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / folder).rglob("*.rs"))
    sources = {None: code, "dev": tests, "build": (ROOT / "build.rs").read_text(encoding="utf-8")}
    for one in metadata["packages"][0]["dependencies"]:
        name = one["rename"] or one["name"]
        use = re.compile(rf"(?<![\w:]){name.replace('-', '_')}(?=::|;| as )")
        if use.search(sources[one["kind"]]) or name in CRATES_WITHOUT_A_USE:
            continue
        only = " but in tests, benchmarks or examples" if one["kind"] is None and use.search(tests) else ""
        yield f"Cargo.toml: nothing uses {name}{only}"


def declared() -> dict[str, list[str]]:
    """The distributions of each extra, read without a TOML parser: Python 3.10 has none."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    parts = re.split(r"^([\w-]+) = ", re.sub(r"^\s*#.*", "", section, flags=re.MULTILINE), flags=re.MULTILINE)[1:]
    return {extra: re.findall(r'"([\w.-]+)', listed) for extra, listed in zip(parts[::2], parts[1::2], strict=True)}


def python_code(folders: Iterable[str]) -> str:
    """Scripts and programs of whatever kind, without the comments of Python's and the shell's."""
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    paths = [path for path in paths if "node_modules" not in path.parts and path.suffix in ("", ".py", ".sh")]
    text = "\n".join(path.read_text(encoding="utf-8", errors="ignore") for path in [*paths, ROOT / "check"])
    return re.sub(r"^\s*#.*", "", text, flags=re.MULTILINE)


def unused_distributions() -> Iterator[str]:
    """What is wrong with the extras of the package."""
    modules: dict[str, set[str]] = {}  # by distribution
    for module, distributions in packages_distributions().items():
        for name in distributions:
            modules.setdefault(name.lower().replace("_", "-"), set()).add(module)
    options = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.pytest.ini_options]")[2]
    shipped, all_code = python_code(["python"]), python_code(["tests", "scripts", "python", "examples"])
    for extra, names in declared().items():
        for name in names:
            if name in PLUGINS and re.search(rf"^{PLUGINS[name]} =", options, re.MULTILINE):
                continue
            words = "|".join(map(re.escape, {name, *modules.get(name.lower(), ())}))
            use = rf"^\s*(?:from|import) (?:{words})\b|[\"'/](?:{words})[\"'\s.]|-m (?:{words})\b"
            if not re.search(use, shipped if extra == "cli" else all_code, re.MULTILINE):
                yield f"pyproject.toml: nothing uses {name} of the extra {extra}"


def main() -> None:
    """Fails if something is unused."""
    found = [*unused_crates(), *unused_distributions()]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
