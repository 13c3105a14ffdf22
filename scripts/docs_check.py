"""Checks the documentation's site as it was built, and adds `llms.txt`: the index of the pages for language models.

Each link and picture of each page leads to a file of the site, each anchor to a place in it, and nothing is loaded from
another host. The builder's own check knows the links that stand in Markdown; this one knows those of the result.

    python scripts/docs_check.py PAGES SITE
"""

from __future__ import annotations

import argparse
import shutil
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src")}
"""What a browser fetches by itself; an `a` is for the reader to follow."""


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what leads elsewhere, and what can be led to."""
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif (tag, name) in LOADED:
                self.loads.append(value)
            elif (tag, name) == ("a", "href"):
                self.links.append(value)


@cache
def page_of(path: Path) -> Page:
    """A page, read once."""
    return Page(path.read_text(encoding="utf-8"))


def problem(site: Path, page: Path, link: str, *, is_loaded: bool) -> str | None:
    """What is wrong with a link of a page."""
    parts = urlsplit(link)
    if parts.scheme in {"data", "mailto"}:
        return None
    if parts.scheme or parts.netloc:
        return "is loaded from another host" if is_loaded else None
    path = unquote(parts.path)
    target = page if not path else site / path.lstrip("/") if path.startswith("/") else page.parent / path
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return "leads nowhere"
    anchor = unquote(parts.fragment)
    if anchor and target.suffix == ".html" and anchor not in page_of(target).anchors:
        return "leads to no place in its page"
    return None


def problems(site: Path) -> list[str]:
    """What is wrong with the links of the site."""
    found = []
    for page in sorted(site.rglob("*.html")):
        if page.name == "404.html":
            continue  # it is shown at any address, so that its links are those of the site's root
        links = [(link, False) for link in page_of(page).links] + [(link, True) for link in page_of(page).loads]
        wrong = ((link, problem(site, page, link, is_loaded=is_loaded)) for link, is_loaded in dict.fromkeys(links))
        found += [f"{page.relative_to(site)}: {link} {what}" for link, what in wrong if what is not None]
    return found


def unlisted(pages: Path, listed: set[str]) -> list[str]:
    """The documents that the navigation does not lead to; decisions have an index of their own."""
    aside = {"decisions", "source", "project"}
    names = (path.relative_to(pages) for path in sorted(pages.rglob("*.md")))
    return [
        f"{name} is not in the navigation" for name in names if name.parts[0] not in aside and str(name) not in listed
    ]


def write_index(config: dict[str, Any], pages: Path, site: Path) -> set[str]:
    """Write `llms.txt` and the Markdown that it leads to; gives the pages that the navigation has."""
    lines = [f"# {config['site_name']}", "", f"> {config['site_description']}", ""]
    listed: set[str] = set()
    for section in config["nav"]:
        for heading, entries in section.items():
            lines += [f"## {heading}", ""]
            for entry in entries:
                for title, name in entry.items():
                    listed.add(name)
                    # What is generated from docstrings is no Markdown.
                    target = f"{name.removesuffix('.md')}/" if name.startswith("api/") else name
                    lines.append(f"- [{title}]({target})")
            lines.append("")
    for name in sorted(listed):
        if not name.startswith("api/"):
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(pages / name, site / name)
    (site / "llms.txt").write_text("\n".join(lines), encoding="utf-8")
    return listed


def main() -> int:
    """Write the index, and say what is wrong."""
    parser = argparse.ArgumentParser(description="Checks the documentation's site, and adds llms.txt.")
    parser.add_argument("pages", type=Path)
    parser.add_argument("site", type=Path)
    arguments = parser.parse_args()
    pages, site = arguments.pages.resolve(), arguments.site.resolve()
    with (pages.parent / "zensical.toml").open("rb") as file:
        config = tomllib.load(file)["project"]
    found = unlisted(pages, write_index(config, pages, site)) + problems(site)
    for each in found:
        print(each, file=sys.stderr)
    if not found:
        print(f"documentation: {len(list(site.rglob('*.html')))} pages, each link leads somewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
