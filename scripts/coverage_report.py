"""Lines of Rust that were run, a line for each folder of src: reads what `llvm-cov export --summary-only` prints."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Print the table."""
    lines: Counter[str] = Counter()
    covered: Counter[str] = Counter()
    for file in json.load(sys.stdin)["data"][0]["files"]:
        path = Path(file["filename"]).resolve()
        if not path.is_relative_to(ROOT / "src"):
            continue
        folder = path.relative_to(ROOT).parts[1]
        for name in (folder if "." not in folder else "src", "all"):
            lines[name] += file["summary"]["lines"]["count"]
            covered[name] += file["summary"]["lines"]["covered"]
    for name in sorted(lines, key=lambda name: (name == "all", name)):
        print(f"Rust, {name}: {covered[name] / lines[name]:.1%} of {lines[name]:,} lines")


if __name__ == "__main__":
    main()
