"""What the documents lead to is there, and the reference has every option with its default."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fal_realtime import RealtimeClient, ReconnectPolicy

ROOT = Path(__file__).parents[2]
FOLDERS = ("*.md", "docs/**/*.md", "benches/*.md", "benches/results/*.md", "findings/*.md")
DOCUMENTS = sorted(path for folder in FOLDERS for path in ROOT.glob(folder))
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@cache
def text(document: Path) -> str:
    """A document without its code, in which a link means nothing."""
    return CODE.sub(lambda code: re.sub(r"[\[\]()#]", " ", code[0]), document.read_text(encoding="utf-8"))


@cache
def anchors(document: Path) -> set[str]:
    """Where a link may lead to within a document: GitHub's names of its headings."""
    headings = re.findall(r"^#+ +(.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    for link in LINK.findall(text(document)):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def rows(heading: str) -> Iterator[tuple[list[str], str]]:
    """The names and the default of each row below a heading of the reference."""
    section = REFERENCE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| `"):
            names, default = line.split("|")[1:3]
            yield re.findall(r"`(\w+)`", names), default.replace("`", "").strip()


OPTIONS = {
    "Options of `connect`": (RealtimeClient.connect, {"self", "app", "handler"}),
    "Options of `RealtimeClient`": (RealtimeClient, set()),
    "Options of `ReconnectPolicy`": (ReconnectPolicy, set()),
}


@pytest.mark.parametrize("heading", OPTIONS)
def test_the_reference_has_every_option_with_its_default(heading: str) -> None:
    function, others = OPTIONS[heading]
    parameters = inspect.signature(function).parameters
    documented: dict[str, Any] = {}
    for names, default in rows(heading):
        assert not documented.keys() & set(names)
        documented |= dict.fromkeys(names)
        try:
            values = ast.literal_eval(default)
        except (SyntaxError, ValueError):
            continue  # said in words
        values = values if isinstance(values, tuple) else (values,) * len(names)
        assert dict(zip(names, values, strict=True)) == {name: parameters[name].default for name in names}
    assert documented.keys() == parameters.keys() - others


def test_the_reference_has_every_setting_of_the_process() -> None:
    sources = [*(ROOT / "src").rglob("*.rs"), *(ROOT / "python").rglob("*.py")]
    found = (re.findall(r"\bFAL_REALTIME_[A-Z_]+", path.read_text(encoding="utf-8")) for path in sources)
    read = {name for names in found for name in names}
    assert len(read) >= 4
    assert all(f"`{name}`" in REFERENCE for name in read)


def test_the_links_of_the_published_readme_lead_into_the_repository(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_bytes((ROOT / "README.md").read_bytes())
    repository = "https://git.example/owner/name"
    command = [sys.executable, ROOT / "scripts" / "readme_links.py", repository, "v1", page]
    subprocess.run(command, check=True, timeout=60)
    before, after = LINK.findall(text(ROOT / "README.md")), LINK.findall(text(page))
    assert "docs/quickstart.md" in before
    for link, published in zip(before, after, strict=True):
        kind = "raw" if link.endswith(".svg") else "blob"
        assert published == (link if "://" in link else f"{repository}/{kind}/v1/{link}")


def test_the_citation_names_the_version() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version
    assert f"\nversion: {version[1]}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_report_of_the_benchmarks_is_what_its_data_give(tmp_path: Path) -> None:
    results = ROOT / "benches" / "results"
    page, picture = tmp_path / "report.md", tmp_path / "performance.svg"
    page.write_text(re.sub(r"\d", "0", (results / "report.md").read_text(encoding="utf-8")), encoding="utf-8")
    command = [sys.executable, ROOT / "benches" / "report.py", results / "report.json", "--page", page]
    subprocess.run([*command, "--picture", picture], check=True, timeout=60)
    assert figures(page) == figures(results / "report.md")
    assert page.with_suffix(".json").read_bytes() == (results / "report.json").read_bytes()
    assert picture.read_bytes() == (ROOT / "docs" / "performance.svg").read_bytes()


def test_a_report_keeps_what_was_not_measured_again_with_its_date(tmp_path: Path) -> None:
    earlier = ROOT / "benches" / "results" / "report.json"
    was = json.loads(earlier.read_text(encoding="utf-8"))
    rounds = {"fal-realtime/callback": [{"first_ms": 12.5, "computing_ms": 3.0, "later_ms": 1.0, "lost": 0}]}
    about = {**was["environment"], "date": "2100-01-01"}
    measured = {**was, "environment": about, "targets": [], "cells": {"blocked/ws/200B": rounds}}
    (tmp_path / "run.json").write_text(json.dumps(measured), encoding="utf-8")
    page, picture = tmp_path / "report.md", tmp_path / "performance.svg"
    page.write_text("<!-- figures: begin --><!-- figures: end -->", encoding="utf-8")
    command = [sys.executable, ROOT / "benches" / "report.py", tmp_path / "run.json", "--keep", earlier]
    subprocess.run([*command, "--page", page, "--picture", picture], check=True, timeout=60)
    report = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    others = was["cells"].keys() - {"blocked/ws/200B"}
    assert report["dates"].keys() == others
    assert {name: report["cells"][name] for name in others} == {name: was["cells"][name] for name in others}
    assert report["cells"]["blocked/ws/200B"]["fal-realtime/callback"]["first_ms"] == [12.5, 12.5, 12.5]
    titles = re.findall(r"^\*\*.*rounds.*$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert [title for title in titles if not re.search(r", \d{4}-\d\d-\d\d\)$", title)] == [
        "**pongs while Python does not let the loop run · 200B · ws** (1 rounds)"
    ]
    assert "12.5" in picture.read_text(encoding="utf-8")


def figures(page: Path) -> str:
    """What the script wrote into a page."""
    found = re.search(r"<!-- figures: begin -->.*<!-- figures: end -->", page.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[0]
