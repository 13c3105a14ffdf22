"""Every crate in the lock file has a licence that deny.toml allows; needs nothing but cargo."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent


def allowed_licences() -> set[str]:
    """The list in deny.toml, which is read here without a TOML parser: Python 3.10 has none."""
    found = re.search(r"^allow = \[\n(.*?)^\]", (ROOT / "deny.toml").read_text(), re.MULTILINE | re.DOTALL)
    return set(re.findall(r'^\s*"([^"]+)"', found.group(1), re.MULTILINE)) if found else set()


def is_allowed(expression: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression can be met. `/` is the old way to write OR; AND binds closer than OR."""
    tokens = re.findall(r"[()]|[^\s()]+(?: WITH [^\s()]+)?", expression.replace("/", " OR "))

    def alternatives() -> bool:
        met = all_of()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            other = all_of()
            met = met or other
        return met

    def all_of() -> bool:
        met = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            other = one()
            met = met and other
        return met

    def one() -> bool:
        name = tokens.pop(0)
        if name != "(":
            return name in allowed
        met = alternatives()
        tokens.pop(0)
        return met

    met = alternatives()
    if tokens:
        message = f"not understood: {expression!r}"
        raise ValueError(message)
    return met


def main() -> int:
    """Print what there is; 1 if something is not allowed."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603 - fixed
    packages = [package for package in json.loads(output)["packages"] if package["source"]]
    allowed = allowed_licences()
    refused = [
        f"{package['name']} {package['version']}: {package['license'] or 'no licence named'}"
        for package in packages
        if not package["license"] or not is_allowed(package["license"], allowed)
    ]
    if refused or not packages:
        print("licences that deny.toml does not allow:", *refused, sep="\n  ", file=sys.stderr)
        return 1
    kinds = Counter(package["license"] for package in packages)
    print(f"licences: {len(packages)} crates with {len(kinds)} licence expressions, all of them allowed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
