"""README stays short, links lead somewhere, and ARCHITECTURE's tree is the tree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
README_LINES = 130
PACKAGES = ("models", "training", "importing", "service", "benchmarks")


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    return {anchor(line.lstrip("#")) for line in path.read_text().splitlines() if line[:1] == "#"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(document: Path) -> None:
    for target, heading in LINK.findall(document.read_text()):
        path = document.parent / target if target else document
        assert path.exists(), f"{document.name} links to {target}"
        if heading:
            assert heading in anchors(path), f"{document.name} links to {target}#{heading}"


def test_readme_is_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def tree() -> dict[str, set[str]]:
    """The Python files that ARCHITECTURE's tree names, by the top folder they stand below."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    named: dict[str, set[str]] = {}
    folder = ""
    for line in text.partition("```text\n")[2].partition("```")[0].splitlines():
        if top := re.match(r"(\w+)/", line):
            folder = top[1]
        named.setdefault(folder, set()).update(re.findall(r"\b(\w+\.py)\b", line))
    return named


@pytest.mark.parametrize("package", PACKAGES)
def test_the_tree_names_every_file_and_no_other(package: str) -> None:
    named = tree()[package]
    top = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py", "__main__.py"}
    assert top <= named, "docs/ARCHITECTURE.md does not name them"
    assert named <= {path.name for path in (ROOT / package).rglob("*.py")}, "they are no more"
