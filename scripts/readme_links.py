"""Makes the relative links of a README absolute, for where it is read outside of its repository, as on PyPI.

    python scripts/readme_links.py https://github.com/OWNER/NAME COMMIT [README.md]

The file is changed in place: `scripts/wheels` does it before it builds what is published.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def absolute(text: str, repository: str, commit: str) -> str:
    """The text with links that lead into the repository at that commit; what is code stays as it is."""
    blocks = [match.span() for match in CODE.finditer(text)]

    def replace(match: re.Match[str]) -> str:
        picture, words, link = match.groups()
        if "://" in link or link.startswith(("#", "mailto:")) or any(a <= match.start() < b for a, b in blocks):
            return match[0]
        kind = "raw" if picture else "tree" if (ROOT / link.partition("#")[0]).is_dir() else "blob"
        return f"{picture}[{words}]({repository}/{kind}/{commit}/{link})"

    return LINK.sub(replace, text)


def main() -> None:
    """Change the file."""
    parser = argparse.ArgumentParser(description="Makes the relative links of a README absolute.")
    parser.add_argument("repository", help="its address, such as https://github.com/OWNER/NAME")
    parser.add_argument("commit", help="or a tag")
    parser.add_argument("readme", nargs="?", type=Path, default=ROOT / "README.md")
    arguments = parser.parse_args()
    text = arguments.readme.read_text(encoding="utf-8")
    changed = absolute(text, arguments.repository.rstrip("/"), arguments.commit)
    arguments.readme.write_text(changed, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
