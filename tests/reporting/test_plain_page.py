"""A page of sections: what is written in it is text, whatever it says, and only its own scripts may run."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from alignlab.marks import is_page
from alignlab.reporting.page.panels import Panels
from alignlab.reporting.page.plain import Section, plain_page, write_plain_page

from ..browser.test_page import HOSTILE, Open, browser, open_page

__all__ = ["browser", "open_page"]  # fixtures


class Read(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)

    def handle_data(self, data: str) -> None:
        if not self.elements or self.elements[-1] not in ("script", "style"):
            self.text.append(data)


def sections(said: str) -> list[Section]:
    figure = Panels([""], 1, 100)
    figure.add("bar", 0, x=[said, "other"], y=[1, 2])
    return [Section(said, [said], figure, [said], [[said]], [said]), Section("without a figure")]


def test_all_is_text() -> None:
    calm, hostile = (Read(plain_page(said, [said], sections(said))) for said in ("calm", HOSTILE))
    assert hostile.elements == calm.elements
    assert "".join(hostile.text).count(HOSTILE) == "".join(calm.text).count("calm") > 6


def test_a_long_table_may_be_folded() -> None:
    some = [Section(f"{place}", header=["a"], lines=[["1"]], folded=place == 1) for place in range(3)]
    page = plain_page("x", [], some)
    assert page.count("<details>") == page.count("</details>") == 1
    assert page.index('id="section-1"') < page.index("<details>") < page.index('id="section-2"')


def test_the_policy_knows_both_scripts_and_no_other() -> None:
    page = plain_page("title", [], sections("bars"))
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert re.findall(r"sha256-([^&']*)", policy[1]) == digests
    assert len(digests) == 2


def test_what_sections_found_stands_at_the_top_with_links_to_them() -> None:
    page = plain_page(
        "title", [], [Section("first", brief="found 3"), Section("second"), Section("third", brief="<b>")]
    )
    contents = page[page.index('class="contents"') : page.index("</ul>")]
    links = re.findall(r'<a href="#([\w-]+)">(\w+)</a>: (.*?)</li>', contents)
    assert [(title, brief) for _, title, brief in links] == [("first", "found 3"), ("third", "&lt;b&gt;")]
    for name, title, _ in links:
        assert re.search(rf'<section id="{name}">\s*<h2>{title}</h2>', page)
    assert re.search(r'Then\s*<a href="#section-1">second</a>', page)
    assert 'class="contents"' not in plain_page("title", [], sections("bars"))


@pytest.mark.slow
@pytest.mark.parametrize("media", ["screen", "print"])
def test_on_a_narrow_screen_and_on_paper_contents_fit(open_page: Open, tmp_path: Path, media: str) -> None:
    path = tmp_path / "page.html"
    long = "5. Language-specific neurons become fewer, of trained and of unseen languages " * 2
    write_plain_page(
        path, "study", [], [Section(long, ["said"], brief="as claimed in 3 of 8, not told 5"), *sections("x")]
    )
    page = open_page(path, viewport={"width": 390, "height": 800})
    page.emulate_media(media=media)
    assert page.locator(".contents a").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator(".contents a").first.click()
    assert page.evaluate("location.hash") == "#section-0"


@pytest.mark.slow
def test_a_closed_section_is_opened_by_a_link_to_it_and_draws_its_figure_then(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    shut = replace(sections("shut")[0], closed=True)
    write_plain_page(path, "study", [], [*sections("x"), shut, *sections("y")])
    page = open_page(path, viewport={"width": 1000, "height": 800})
    figure, drawn = page.locator('[data-figure="2"]'), page.locator('[data-figure="2"] .main-svg').first
    assert not figure.is_visible()
    assert page.locator(".main-svg").count() > 0  # the others are drawn
    page.locator('nav a[href="#section-2"]').click()
    drawn.wait_for(state="visible")
    widths = [page.locator(f'[data-figure="{place}"] .main-svg').first.bounding_box() for place in (0, 2)]
    assert widths[0] is not None
    assert widths[1] is not None
    assert widths[1]["width"] == widths[0]["width"]
    page.locator("details.closed > summary").click()
    assert not figure.is_visible()


@pytest.mark.slow
def test_figures_are_drawn_in_either_theme(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_plain_page(path, HOSTILE, [HOSTILE], sections(HOSTILE))
    assert is_page(path)
    for scheme in ("light", "dark"):
        page = open_page(path, color_scheme=scheme)
        assert page.locator(".plot .main-svg").first.is_visible()
        assert page.evaluate("window.hit") is None
        colour = page.evaluate("document.querySelector('.plot').layout.template.layout.font.color")
        assert colour == {"light": "#1d2126", "dark": "#e7e9ec"}[scheme]
