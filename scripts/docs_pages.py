"""Lays out the pages of the documentation's site: those of docs, and what they lead to elsewhere in the repository.

Links between documents are written for who reads them in the repository. Here each gets the place that its target has
in the site, and its title where only the name of a file stood. A source file that a page leads to becomes a page of its
own, outside the navigation.

    python scripts/docs_pages.py FOLDER
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SITE = DOCS / "site"

# Documents that lie elsewhere in the repository, and their pages.
DOCUMENTS = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "benches/README.md": "project/benchmarks.md",
    "benches/results/report.md": "project/benchmark-report.md",
    "examples/README.md": "project/examples.md",
    "findings/README.md": "project/findings.md",
}
LANGUAGES = {
    ".rs": "rust",
    ".py": "python",
    ".toml": "toml",
    ".json": "json",
    ".js": "js",
    ".mjs": "js",
    ".html": "html",
}
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
FILE_NAME = re.compile(r"[\w./-]+\.md|CONTRIBUTING")
NOT_SHOWN = {"__pycache__", "node_modules"}


class Pages:
    """What has a page, and where."""

    def __init__(self) -> None:
        self.page_of = {ROOT / source: Path(page) for source, page in DOCUMENTS.items()}
        for source in DOCS.rglob("*"):
            if source.is_file() and SITE not in source.parents:
                self.page_of[source] = source.relative_to(DOCS)
        self.shown: list[Path] = []
        self.problems: list[str] = []

    def page(self, target: Path) -> Path | None:
        """The page of a file or folder of the repository; sources get theirs when something leads to them."""
        if target in self.page_of:
            return self.page_of[target]
        index = target / "README.md"
        if index in self.page_of:
            return self.page_of[index]
        if not target.exists() or ROOT not in target.parents:
            return None
        self.page_of[target] = Path("source", f"{target.relative_to(ROOT)}.md")
        self.shown.append(target)
        return self.page_of[target]

    def rewritten(self, source: Path, page: Path) -> str:
        """A document whose links lead to pages."""
        text = source.read_text(encoding="utf-8")
        code = [match.span() for match in CODE.finditer(text)]

        def replace(match: re.Match[str]) -> str:
            words, link = match.groups()
            inside_code = any(start <= match.start() and match.end() <= end for start, end in code)
            if inside_code or "://" in link or link.startswith(("#", "mailto:")):
                return match[0]
            path, hash_sign, anchor = link.partition("#")
            target = self.page((source.parent / path).resolve())
            if target is None:
                self.problems.append(f"{source.relative_to(ROOT)}: {link} leads nowhere")
                return match[0]
            if FILE_NAME.fullmatch(words) and not anchor:
                words = title(source.parent / path) or words
            return f"[{words}]({os.path.relpath(target, page.parent)}{hash_sign}{anchor})"

        return LINK.sub(replace, text)


def title(document: Path) -> str | None:
    """The title of a document: who reads the site knows no file names."""
    found = re.match(r"# (.+)", document.read_text(encoding="utf-8"))
    return found[1] if found else None


def shown(target: Path) -> str:
    """A page with a source file, or with all files of a folder."""
    files = [target] if target.is_file() else sorted(path for path in target.rglob("*") if path.is_file())
    parts = [f"---\nsearch:\n  exclude: true\n---\n\n# {target.relative_to(ROOT)}\n"]
    for path in files:
        if NOT_SHOWN & set(path.parts) or path.name.endswith((".pyc", "package-lock.json")):
            continue
        language = LANGUAGES.get(path.suffix, "text")
        title = f"\n## {path.relative_to(target)}\n" if target.is_dir() else ""
        parts.append(f"{title}\n````{language}\n{path.read_text(encoding='utf-8')}````\n")
    return "".join(parts)


def main() -> int:
    """Lay them out, anew."""
    parser = argparse.ArgumentParser(description="Lays out the pages of the documentation's site.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    shutil.rmtree(folder, ignore_errors=True)
    pages = Pages()
    for source, page in sorted(pages.page_of.items()):
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            (folder / page).write_text(pages.rewritten(source, page), encoding="utf-8")
        else:
            shutil.copyfile(source, folder / page)
    for target in pages.shown:
        page = folder / pages.page_of[target]
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(shown(target), encoding="utf-8")
    (folder / "site").mkdir()
    shutil.copyfile(SITE / "extra.css", folder / "site" / "extra.css")
    for problem in pages.problems:
        print(problem, file=sys.stderr)
    return 1 if pages.problems else 0


if __name__ == "__main__":
    sys.exit(main())
