"""Judges the report of an Autobahn fuzzing server: a summary of each group, exit status 1 if it is not enough."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

MAX_NON_STRICT = 2
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}


def verdict(case: dict[str, str]) -> str:
    """What a case came to, with the way it closed."""
    behavior, close = case["behavior"], case["behaviorClose"]
    if behavior not in PASSED or close not in PASSED:
        return "FAILED"
    return behavior if behavior != "OK" else close


def main(report: Path, expected: int) -> int:
    """Print the summary; 0 if everything is as it must be."""
    (cases,) = json.loads(report.read_text()).values()
    by_number = sorted(cases.items(), key=lambda item: [int(part) for part in item[0].split(".")])
    groups: dict[str, Counter[str]] = {}
    for number, case in by_number:
        outcome = verdict(case)
        groups.setdefault(number.split(".")[0], Counter())[outcome] += 1
        if outcome != "OK":
            print(f"{number:8} {outcome:13} behaviour {case['behavior']}, close {case['behaviorClose']}")
    columns = ["OK", "INFORMATIONAL", "NON-STRICT", "FAILED"]
    print("group    cases  " + "  ".join(columns))
    total: Counter[str] = sum(groups.values(), Counter())
    for name, counts in [*groups.items(), ("all", total)]:
        cells = "  ".join(f"{counts[column]:{len(column)}}" for column in columns)
        print(f"{name:8} {counts.total():5}  {cells}")
    problems = []
    if total["FAILED"]:
        problems.append(f"{total['FAILED']} failed")
    if total["NON-STRICT"] > MAX_NON_STRICT:
        problems.append(f"{total['NON-STRICT']} are non-strict, at most {MAX_NON_STRICT} may be")
    if not total or (expected and total.total() != expected):
        problems.append(f"{total.total()} cases ran, {expected} should have")
    print("FAILED: " + "; ".join(problems) if problems else "passed")
    return 1 if problems else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="the suite's index.json")
    parser.add_argument("--expected", type=int, default=0, help="how many cases there must be; 0: any number but 0")
    arguments = parser.parse_args()
    sys.exit(main(arguments.report, arguments.expected))
