"""No two files import each other, nor do larger circles of them, and imports go one way through the layers.

Reads the `use` lines and the paths of src, and the imports of the Python files. A file may import its own child modules
and they it. Beside that, at each level of the tree, what a module and all below it imports must not lead back to it:
what looks like a module from outside can be read, and moved, without its neighbours.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent

# What the parts of the crate may import of each other, and the crates that they may not.
LAYERS: dict[str, tuple[set[str], set[str]]] = {
    "error": (set(), {"tokio", "pyo3", "rustls", "rustix", "fastrand"}),
    "sync": (set(), {"tokio", "pyo3", "rustls", "rustix", "fastrand", "parking_lot"}),
    "core": ({"core", "error", "sync"}, {"tokio", "pyo3", "rustls", "rustix", "fastrand"}),
    "net": ({"net", "core", "error", "sync"}, {"pyo3"}),
    "server": ({"server", "net", "core", "error", "sync"}, {"pyo3"}),
    "py": ({"py", "server", "net", "core", "error", "sync"}, set()),
}

Module = tuple[str, ...]


@dataclass
class Import:
    """A path that a file names, as it stands there."""

    line: int
    path: Module
    # The name by which the file knows it; `None` where it is not bound.
    name: str | None = None


@dataclass
class File:
    """A file, and what it imports."""

    path: Path
    module: Module
    imports: list[Import] = field(default_factory=list)


# --- Rust ---

NOT_CODE = re.compile(
    r"""//[^\n]* | /\*(?:[^*]|\*(?!/))*\*/            # comments
      | b?r(?P<hashes>\#*)".*?"(?P=hashes)            # raw strings
      | b?c?"(?:\\.|[^"\\])*"                          # strings
      | b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^'\\])'          # characters, but no lifetimes
    """,
    re.VERBOSE | re.DOTALL,
)
TOKEN = re.compile(r"(?P<word>[A-Za-z_]\w*)|(?P<sep>::)|(?P<sign>[{}();,*<>])|\n")
PATH_ATTRIBUTE = re.compile(r'#\[path = "([^"]+)"\]\s*(?:pub(?:\([^)]*\))? )?mod (\w+);')


def without_text(source: str) -> str:
    """The source with comments and strings made blank; the lines stay."""
    return NOT_CODE.sub(lambda found: "\n" * found.group().count("\n") + " ", source)


def tokens_of(source: str) -> list[tuple[str, int]]:
    """The words and signs that matter, each with its line."""
    found, line = [], 1
    for token in TOKEN.finditer(without_text(source)):
        if token.group() == "\n":
            line += 1
        else:
            found.append((token.group(), line))
    return found


def expand(tokens: list[tuple[str, int]], at: int, before: Module) -> tuple[list[Import], int]:
    """The paths of one branch of a `use` tree that begins at `at`, and where it ends."""
    path, name, found = before, None, []
    while at < len(tokens):
        word, line = tokens[at]
        if word == "{":
            at += 1
            while tokens[at][0] != "}":
                branch, at = expand(tokens, at, path)
                found += branch
                at += tokens[at][0] == ","
            return found, at + 1
        if word in (",", "}", ";"):
            break
        if word == "as":
            name = tokens[at + 1][0]
            at += 1
        elif word != "::":
            path = (*path, word)
        at += 1
    line = tokens[min(at, len(tokens)) - 1][1]
    # `use a::b::{self}` names `a::b`.
    path = path[:-1] if path[-1:] == ("self",) and len(path) > 1 else path
    return [Import(line, path, name or path[-1])], at


def rust_imports(source: str, module: Module) -> list[Import]:
    """All paths of the file, from the root on where they say where they begin, else as they stand there."""
    tokens, found = tokens_of(source), []
    # The inline modules around, each with the depth of its braces.
    inline: list[tuple[str, int]] = []
    depth = at = 0
    while at < len(tokens):
        word, line = tokens[at]
        before = tokens[at - 1][0] if at else ""
        after = tokens[at + 1][0] if at + 1 < len(tokens) else ""
        here = (*module, *(name for name, _ in inline))
        if word == "{":
            depth += 1
        elif word == "}":
            depth -= 1
            if inline and inline[-1][1] > depth:
                inline.pop()
        elif word == "mod" and at + 2 < len(tokens) and tokens[at + 2][0] == "{":
            inline.append((after, depth + 1))
            depth += 1
            at += 3
            continue
        elif word == "use" and after != "<":
            branches, at = expand(tokens, at + 1, ())
            found += [Import(it.line, absolute(it.path, here), it.name) for it in branches]
            continue
        elif after == "::" and before != "::" and word != ">":
            path: Module = (word,)
            line_of_path = line
            while at + 2 < len(tokens) and tokens[at + 1][0] == "::" and re.match(r"[A-Za-z_]", tokens[at + 2][0]):
                path = (*path, tokens[at + 2][0])
                at += 2
            found.append(Import(line_of_path, absolute(path, here)))
        at += 1
    return found


def absolute(path: Module, here: Module) -> Module:
    """The path from the crate's root on. What begins with another name is left as it is."""
    if path[0] == "self":
        return (*here, *path[1:])
    while path and path[0] == "super":
        here, path = here[:-1], path[1:]
        if path[:1] != ("super",):
            return (*here, *path)
    return path


def rust_files(root: Path) -> list[File]:
    """The files of a crate by their modules; the root of it is `crate`."""
    renamed = {}
    for path in root.rglob("*.rs"):
        for file, name in PATH_ATTRIBUTE.findall(path.read_text()):
            home = path.parent if path.name in ("mod.rs", "lib.rs") else path.with_suffix("")
            renamed[path.parent / file] = home / f"{name}.rs"
    files = []
    for path in sorted(root.rglob("*.rs")):
        parts = renamed.get(path, path).relative_to(root).with_suffix("").parts
        if parts[-1] in ("mod", "lib"):
            parts = parts[:-1]
        module = ("crate", *parts)
        files.append(File(path, module, rust_imports(path.read_text(), module)))
    return files


# --- Python ---


def python_imports(source: str, module: Module, *, is_package: bool) -> list[Import]:
    """All imports, at whatever level of the file they stand, those for type checkers included."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [Import(node.lineno, tuple(alias.name.split("."))) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base: Module = ()
            if node.level:
                base = module[: len(module) - node.level + is_package]
            base = (*base, *(node.module.split(".") if node.module else ()))
            found += [Import(node.lineno, (*base, alias.name), alias.asname or alias.name) for alias in node.names]
    return found


def python_files(root: Path) -> list[File]:
    """The files of all packages and stray modules below a folder."""
    files = []
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.pyi")]):
        if "node_modules" in path.parts:
            continue
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = parts[:-1] if is_package else parts
        if module:
            imports = python_imports(path.read_text(), module, is_package=is_package)
            files.append(File(path, module, imports))
    return files


# --- the graph ---


def resolve(path: Module, files: dict[Module, list[File]], seen: frozenset[Module] = frozenset()) -> set[Module]:
    """The modules that a path leads to: the one that it names, and where that one has from what it hands on."""
    for length in range(len(path), 0, -1):
        module = path[:length]
        if module not in files:
            continue
        found = {module}
        if length < len(path) and path not in seen:
            for file in files[module]:
                for handed_on in file.imports:
                    if handed_on.name == path[length] and handed_on.path != path:
                        rest = (*whole(handed_on.path, file, files), *path[length + 1 :])
                        found |= resolve(rest, files, seen | {path})
        return found
    return set()


def whole(path: Module, file: File, files: dict[Module, list[File]]) -> Module:
    """The path with its first name, if that is one of the file's own, replaced by what it stands for."""
    if (child := (*file.module, path[0])) in files:
        return (*child, *path[1:])
    for other in file.imports:
        if other.name == path[0] and other.path[-1:] != ("*",) and other.path[0] != path[0]:
            return (*other.path, *path[1:])
    return path


@dataclass(frozen=True)
class Edge:
    """One import of a file of ours by another."""

    source: Module
    target: Module
    place: str


def edges_of(files: list[File]) -> list[Edge]:
    """Who imports whom."""
    by_module: dict[Module, list[File]] = defaultdict(list)
    for file in files:
        by_module[file.module].append(file)
    edges = []
    for file in files:
        for imported in file.imports:
            for target in sorted(resolve(whole(imported.path, file, by_module), by_module)):
                if target != file.module:
                    place = f"{display(file.path)}:{imported.line}"
                    edges.append(Edge(file.module, target, place))
    return edges


def display(path: Path) -> str:
    """The path as messages name it."""
    return (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path).as_posix()


def circles(edges: list[Edge]) -> list[str]:
    """One line for each circle, at the level at which its modules are neighbours."""
    levels: dict[Module, dict[str, dict[str, Edge]]] = defaultdict(lambda: defaultdict(dict))
    for edge in edges:
        ways = (tests_beside(edge.source), tests_beside(edge.target))
        for depth, (source, target) in enumerate(zip(*ways, strict=False)):
            if source != target:
                levels[ways[0][:depth]][source].setdefault(target, edge)
                break
        # Else one is the parent of the other.
    found = []
    for parent, graph in sorted(levels.items()):
        for group in strongly_connected({source: set(targets) for source, targets in graph.items()}):
            circle = shortest_circle(group, graph)
            steps = [
                f"{source} imports {target} ({graph[source][target].place})"
                for source, target in zip(circle, [*circle[1:], circle[0]], strict=True)
            ]
            others = sorted(group - set(circle))
            tail = f"; in the same knot: {', '.join(others)}" if others else ""
            found.append(f"{'::'.join(parent) or 'top'}: {', '.join(steps)}{tail}")
    return found


def tests_beside(module: Module) -> Module:
    """The module with `tests` made a neighbour of what they test: they may use what uses that."""
    if "tests" not in module[2:]:
        return module
    at = module.index("tests", 2)
    return (*module[: at - 1], f"{module[at - 1]}::tests", *module[at + 1 :])


def shortest_circle(group: set[str], graph: dict[str, dict[str, Edge]]) -> list[str]:
    """The shortest way from one of the group back to it."""
    best: list[str] = []
    for start in sorted(group):
        ways = [[start]]
        reached = {start}
        while ways:
            way = ways.pop(0)
            for target in sorted(set(graph[way[-1]]) & group):
                if target == start and (not best or len(way) < len(best)):
                    best = way
                elif target not in reached:
                    reached.add(target)
                    ways.append([*way, target])
    return best


def strongly_connected(graph: dict[str, set[str]]) -> list[set[str]]:
    """The groups of more than one node of which each can be reached from each."""
    reachable: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for target in graph.get(todo.pop(), set()) - seen:
                seen.add(target)
                todo.append(target)
        reachable[start] = seen
    groups = []
    for node in sorted(graph):
        group = {other for other in reachable[node] if node in reachable.get(other, set())}
        if len(group) > 1 and node == min(group):
            groups.append(group)
    return groups


# --- layers ---


def wrong_way(files: list[File]) -> list[str]:
    """One line for each import that goes against the layers."""
    found = []
    for file in files:
        layer = file.module[1] if len(file.module) > 1 else ""
        allowed, forbidden = LAYERS.get(layer, (set(LAYERS), {"pyo3"}))
        for imported in file.imports:
            place = f"{display(file.path)}:{imported.line}"
            if imported.path[0] == "crate" and len(imported.path) > 1:
                other = imported.path[1]
                if other in LAYERS and other != layer and other not in allowed:
                    found.append(f"{place}: {layer} imports {other}")
            elif imported.path[0] in forbidden:
                found.append(f"{place}: {layer or 'the root'} uses the crate {imported.path[0]}")
    return found


def main() -> int:
    """1 where something imports what it must not."""
    rust = rust_files(ROOT / "src")
    unknown = {file.module[1] for file in rust if len(file.module) > 1} - set(LAYERS)
    wrong = [f"src/{name}: in no layer of {Path(__file__).name}" for name in sorted(unknown)]
    wrong += wrong_way(rust) + circles(edges_of(rust))
    count = len(rust)
    for folder in ("python", "tests", "benches", "scripts"):
        files = python_files(ROOT / folder)
        count += len(files)
        wrong += circles(edges_of(files))
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    print(f"imports: {count} files, none in a circle and none against the layers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
