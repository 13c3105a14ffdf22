"""Makes one list of constraints of pip's reports: `lock_report.py REPORT…`, each named after its Python."""

from __future__ import annotations

import json
import re
import sys
from itertools import groupby
from pathlib import Path

HEAD = """\
# Written by scripts/lock: what the tests are run with. `pip install --constraint constraints.txt '.[cli,dev]'`
# Resolved for Python {pythons}."""


def versions(report: Path) -> dict[str, str]:
    """What a report would install, by normalised name."""
    found = {}
    for item in json.loads(report.read_text())["install"]:
        meta = item["metadata"]
        found[re.sub(r"[-_.]+", "-", meta["name"]).lower()] = meta["version"]
    return found


def lines(name: str, by_python: dict[str, str | None], pythons: list[str]) -> list[str]:
    """The constraints of a package. One that a Python does not need may be constrained there too."""
    needed = [(python, by_python[python]) for python in pythons if by_python[python] is not None]
    spans = [(version, [python for python, _ in span]) for version, span in groupby(needed, key=lambda item: item[1])]
    said = []
    for index, (version, span) in enumerate(spans):
        markers = []
        if index > 0:
            markers.append(f'python_version >= "{span[0]}"')
        if index < len(spans) - 1:
            markers.append(f'python_version < "{spans[index + 1][1][0]}"')
        said.append(f"{name}=={version}" + (f"; {' and '.join(markers)}" if markers else ""))
    return said


def main() -> None:
    """Print the list."""
    reports = sorted(map(Path, sys.argv[1:]), key=lambda path: [int(part) for part in path.stem.split(".")])
    found = {path.stem: versions(path) for path in reports}
    pythons = list(found)
    print(HEAD.format(pythons=", ".join(pythons)))
    for name in sorted({name for one in found.values() for name in one}):
        for line in lines(name, {python: found[python].get(name) for python in pythons}, pythons):
            print(line)


if __name__ == "__main__":
    main()
