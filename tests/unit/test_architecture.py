"""The map leads to places that exist, in one step, and so do the decisions and the glossary."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MAP = (DOCS / "architecture.md").read_text(encoding="utf-8")
QUESTIONS = dict(re.findall(r"^\| (Wh.*\?) \| (.*) \|$", MAP, re.MULTILINE))
PLACES = re.findall(r"\[`(?:(\w+)::)?(\w+)`\]\(\.\./((?:src|python)/[^)]+)\)", MAP)
RECORDS = sorted((DOCS / "decisions").glob("[0-9]*.md"))
NAMING = [DOCS / "architecture.md", DOCS / "glossary.md", DOCS / "unsafe.md", ROOT / "CONTRIBUTING.md", *RECORDS]


@pytest.mark.parametrize(
    "question",
    [
        "Where is a message written to the socket?",
        "Where does a result become a Python object?",
        "Where is a reconnect decided?",
        "Where does a new option go?",
    ],
)
def test_the_map_answers_a_newcomers_question_with_a_place(question: str) -> None:
    assert re.match(r"\[`[\w:]+`\]\(\.\./(src|python)/", QUESTIONS[question])


@pytest.mark.parametrize(("owner", "name", "path"), PLACES)
def test_each_place_that_the_map_leads_to_exists(owner: str, name: str, path: str) -> None:
    source = (ROOT / path).read_text(encoding="utf-8")
    if owner:
        blocks = re.findall(rf"^impl(?:<.*>)? (?:\w+ for )?{owner}\b.*?^}}", source, re.MULTILINE | re.DOTALL)
        assert any(re.search(rf"\bfn {name}\b", block) for block in blocks), f"{owner}::{name} in {path}"
    else:
        assert re.search(rf"^(?:pub(?:\([\w: ]+\))? )?(?:struct|enum|class) {name}\b", source, re.MULTILINE), name


def test_the_map_has_two_pages_at_most() -> None:
    assert MAP.count("\n") <= 120
    assert MAP.count("```mermaid") >= 2


@pytest.mark.parametrize("document", NAMING, ids=lambda path: path.name)
def test_each_module_and_file_that_a_document_names_exists(document: Path) -> None:
    for name in re.findall(r"`([\w./-]+)`", document.read_text(encoding="utf-8")):
        if re.fullmatch(r"(core|net|py|server)(/[a-z_]+)+", name):
            module = ROOT / "src" / name
            assert module.is_dir() or module.with_suffix(".rs").exists(), name
        elif re.match(r"(src|python|tests|scripts|docs|benches|examples|fuzz|findings)/", name) and "NAME" not in name:
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.name)
def test_each_decision_says_what_it_rests_on(record: Path) -> None:
    text = record.read_text(encoding="utf-8")
    parts = re.findall(r"^\*\*(Situation|Choice|Measured|Rejected|What would change it)\b", text, re.MULTILINE)
    assert parts == ["Situation", "Choice", "Measured", "Rejected", "What would change it"]
    title = text.splitlines()[0].removeprefix("# ")
    index = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    assert f"- [{record.name[:4]}]({record.name}) {title}\n" in index
