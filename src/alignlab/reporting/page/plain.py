"""A page of sections, each with a figure and a table: for what is no run, such as a benchmark. One offline file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

import alignlab
from alignlab.atomic import write_text
from alignlab.reporting.page.assets import asset, inside_script, policy
from alignlab.reporting.page.panels import Panels
from alignlab.reporting.page.theme import dark_colours, template


@dataclass(frozen=True)
class Section:
    """What stands under a heading, in this order; all of it is text, never markup.

    said: sentences.  figure: drawn in the theme of the reader's system.  header, lines: of a table.
    notes: what the numbers mean.  brief: what was found, beside the title in the contents.
    folded: the table is shown when it is asked for.  closed: all but the title is.
    """

    title: str
    said: Sequence[str] = ()
    figure: Panels | None = None
    header: Sequence[str] = ()
    lines: Sequence[Sequence[str]] = field(default=(), repr=False)
    notes: Sequence[str] = ()
    brief: str = ""
    folded: bool = False
    closed: bool = False


def without_empty(header: Sequence[str], lines: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """A table without the columns in which nothing stands."""
    kept = [place for place in range(len(header)) if any(line[place] for line in lines)]
    return [header[place] for place in kept], [[line[place] for place in kept] for line in lines]


def plain_page(title: str, about: Sequence[str], sections: Sequence[Section]) -> str:
    """One self-contained HTML page, which runs its own two scripts and requests nothing."""
    script, plotly = inside_script(asset("plain.js")), inside_script(get_plotlyjs())
    figures = {
        str(place): {"data": section.figure.data, "layout": section.figure.layout}
        for place, section in enumerate(sections)
        if section.figure is not None
    }
    drawn = {"figures": figures, "template": template(), "dark": dark_colours()}
    return Environment(autoescape=True, undefined=StrictUndefined).from_string(asset("plain.html")).render(
        title=title,
        about=about,
        sections=sections,
        told=[(place, section) for place, section in enumerate(sections) if section.brief],
        others=[(place, section) for place, section in enumerate(sections) if not section.brief],
        version=alignlab.__version__,
        policy=policy(plotly, script),
        css=Markup(asset("page.css")),  # noqa: S704 (ours)
        js=Markup(script),  # noqa: S704 (ours)
        plotly=Markup(plotly),  # noqa: S704 (plotly's)
        data=Markup(to_json_plotly(drawn, engine="json")),  # noqa: S704 (without any "<")
    )  # fmt: skip


def write_plain_page(path: Path, title: str, about: Sequence[str], sections: Sequence[Section]) -> None:
    """Write the page, whole or not at all."""
    write_text(path, plain_page(title, about, sections))
