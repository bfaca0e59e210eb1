"""The documentation: every cell of Python runs, every link leads somewhere, the API pages can be built."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import alignlab

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md"))
TEXTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "BENCHMARKS.md", "CHANGELOG.md")] + PAGES


def cells(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", [page for page in PAGES if cells(page)], ids=lambda path: path.name)
def test_the_cells_of_a_page_run_one_after_another(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for cell in cells(path):
        exec(compile(cell, str(path), "exec"), names)  # noqa: S102
        if "print(" in cell:
            assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    for link in links:
        if not link.startswith(("http://", "https://", "#")):
            assert (path.parent / link.partition("#")[0]).exists(), link


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link).resolve() for link in re.findall(r"\]\(([^)\s]+)\)", index.read_text())}
    for page in PAGES:
        assert page == index or page in linked or page.parent in linked - {index.parent}, page


@pytest.mark.slow
def test_the_api_pages_are_built_and_hold_every_public_name(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "build_api_pages.py"
    subprocess.run([sys.executable, script, tmp_path], check=True, capture_output=True)
    page = (tmp_path / "alignlab.html").read_text(encoding="utf-8")
    for name in alignlab.__all__:
        assert f'id="{name}"' in page, name
    assert (tmp_path / "index.html").is_file()
    ignored = subprocess.run(["git", "check-ignore", "docs/api/index.html"], cwd=ROOT, capture_output=True, check=False)
    assert ignored.returncode in (0, 128)  # 128: an unpacked archive, where there is nothing to ignore


def test_the_version_is_the_same_wherever_it_stands() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\d\S*)", changelog, re.MULTILINE)[0] == alignlab.__version__
    assert citation()["version"] == alignlab.__version__


def test_the_citation_has_what_its_format_asks_for() -> None:
    """Citation File Format 1.2.0: the required fields, and types of the fields used."""
    found = citation()
    assert found["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= found.keys()
    allowed = {
        "cff-version", "message", "title", "abstract", "type", "authors", "version", "license", "repository-code",
        "keywords", "references",
    }  # fmt: skip
    assert found.keys() <= allowed
    assert found["type"] in ("software", "dataset")
    assert all(isinstance(found[name], str) for name in ("message", "title", "abstract", "version", "license"))
    assert found["repository-code"].startswith("https://")
    assert len(found["keywords"]) == len(set(found["keywords"])) > 0
    for work in [found, *found["references"]]:
        assert work["authors"]
        assert all(author.keys() in ({"name"}, {"family-names", "given-names"}) for author in work["authors"])
    for reference in found["references"]:
        assert {"type", "title", "authors"} <= reference.keys() <= {"type", "title", "authors", "year", "notes"}
        assert reference["type"] in ("article", "conference-paper")
        assert isinstance(reference["year"], int)


def citation() -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    return found
