"""Every use of `unsafe` in src has its proof, and docs/unsafe.md lists them all.

Without arguments it compares; `--write` writes the list anew.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIST = ROOT / "docs" / "unsafe.md"
HEADER = """# Every `unsafe`, and why it is sound

Written by `scripts/audit_unsafe.py --write`; `scripts/audit` fails when it is out of date, or when a use has no
proof beside it in the source. Clippy refuses a block without one, too (`undocumented_unsafe_blocks`).

Where a proof says that the GIL is held, it holds because the module asks for it (`gil_used = true`); why it does that
is [a decision](decisions/0013-free-threaded.md).
"""
UNSAFE = re.compile(r"\bunsafe\b(?!_)")
FUNCTION = re.compile(r"\bfn\s+(\w+)")


@dataclass
class Use:
    """One use of `unsafe`."""

    line: int
    kind: str
    function: str
    proof: str


def code_of(line: str) -> str:
    """The line without its comment and the contents of its strings."""
    without_strings = re.sub(r'"(?:\\.|[^"\\])*"', '""', line)
    return without_strings.split("//")[0]


def comment_of(line: str) -> str | None:
    """The text of a line that is all comment, else None."""
    found = re.match(r"\s*//[/!]?\s?(.*)", line)
    return found.group(1).strip() if found else None


def kind_of(code: str) -> str:
    """What is unsafe."""
    if re.search(r"\bunsafe\s+(extern\s+\"\"\s+)?fn\b", code):
        return "function"
    if re.search(r"\bunsafe\s+extern\b", code):
        return "declaration"
    return "implementation" if re.search(r"\bunsafe\s+impl\b", code) else "block"


def proof_above(lines: list[str], at: int) -> str:
    """The comment with the proof before line `at`: the nearest one of the same statement or function head."""
    place = at - 1
    # Up through the statement, whose first lines may stand before the block.
    while place >= 0 and comment_of(lines[place]) is None:
        if not lines[place].strip() or at - place > 8:
            return ""
        place -= 1
    comment: list[str] = []
    while place >= 0 and (text := comment_of(lines[place])) is not None:
        comment.insert(0, text)
        place -= 1
    whole = " ".join(comment)
    found = re.search(r"(?:SAFETY:|# Safety)\s*(.*)", whole)
    return found.group(1).strip() if found else ""


def uses(path: Path) -> list[Use]:
    """All uses in one file, in their order."""
    lines = path.read_text().splitlines()
    found = []
    function = "(file)"
    for number, line in enumerate(lines):
        code = code_of(line)
        if name := FUNCTION.search(code):
            function = name.group(1)
        for _ in UNSAFE.finditer(code):
            kind = kind_of(code)
            owner = function if kind in ("block", "function") else "(file)"
            found.append(Use(number + 1, kind, owner, proof_above(lines, number)))
    return found


def main(*, write: bool) -> int:
    """Write or compare; 1 where something is missing."""
    parts, missing, total = [HEADER], [], 0
    for path in sorted((ROOT / "src").rglob("*.rs")):
        name = path.relative_to(ROOT).as_posix()
        found = uses(path)
        if not found:
            continue
        total += len(found)
        parts.append(f"\n## {name} ({len(found)})\n\n")
        parts += [f"- `{use.function}`, {use.kind}: {use.proof}\n" for use in found]
        missing += [f"{name}:{use.line}: this {use.kind} has no SAFETY comment" for use in found if not use.proof]
    text = "".join(parts)
    if missing:
        print("\n".join(missing), file=sys.stderr)
        return 1
    if write:
        LIST.write_text(text)
    elif not LIST.exists() or LIST.read_text() != text:
        print(
            "docs/unsafe.md is out of date: look at what changed, then scripts/audit_unsafe.py --write", file=sys.stderr
        )
        return 1
    print(f"unsafe: {total} uses, each with its proof in the source and in docs/unsafe.md")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/unsafe.md")
    sys.exit(main(write=parser.parse_args().write))
