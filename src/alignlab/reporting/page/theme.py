"""Colours of the page and of its figures, one set for light and one for dark.

The four kinds have the same colours in every figure. They are told apart with any of the three colour blindnesses: they
differ in lightness as well as in hue, which is why there is a set for each theme (a test holds both to it).
"""

from __future__ import annotations

from typing import Any

# By what it is for; the names are CSS variables too (page.css has the same values).
LIGHT = {
    "specific": "#1584cc",
    "related": "#c85f12",
    "general": "#0b4d30",
    "unassigned": "#8c8a8b",
    "none": "#dad9d6",
    "page": "#ffffff",
    "text": "#1d2126",
    "muted": "#5a616b",
    "line": "#e4e4e1",
    "more": "#7a3eb2",
    "less": "#8a6a00",
}
DARK = {
    "specific": "#3f8fe8",
    "related": "#d06a18",
    "general": "#5fe8a4",
    "unassigned": "#7f7f85",
    "none": "#3d4249",
    "page": "#14171c",
    "text": "#e7e9ec",
    "muted": "#a4abb5",
    "line": "#2b3037",
    "more": "#b58bea",
    "less": "#cda62a",
}

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif'


def faded(colour: str, alpha: float) -> str:
    """The colour at a fraction of its opacity: over any background it is a tint of it."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


# Of a colour behind numbers: in either theme they can be read on it.
BEHIND_NUMBERS = 0.4


def scale(name: str, most: float = 1) -> list[list[float | str]]:
    """From nothing to the colour, at `most` of its opacity: zero is the background, in both themes."""
    return [[0, faded(LIGHT[name], 0)], [1, faded(LIGHT[name], most)]]


def two_sided_scale(most: float = 1) -> list[list[float | str]]:
    """From less than chance over nothing to more."""
    less, more = LIGHT["less"], LIGHT["more"]
    return [[0, faded(less, most)], [0.5, faded(less, 0)], [0.5, faded(more, 0)], [1, faded(more, most)]]


def dark_colours() -> list[tuple[str, str]]:
    """What to replace in a figure to have it dark: every colour, as such and as `faded` begins."""
    pairs = []
    for name, light in LIGHT.items():
        pairs.append((light, DARK[name]))
        pairs.append((faded(light, 0)[:-2], faded(DARK[name], 0)[:-2]))
    return pairs


def template() -> dict[str, Any]:
    """What all figures share; the page puts the dark colours in its place."""
    axis = {
        "automargin": True,
        "fixedrange": True,  # a page is scrolled over its figures: they must not take the gesture for a zoom
        "gridcolor": LIGHT["line"],
        "linecolor": LIGHT["line"],
        "ticks": "",
        "title": {"standoff": 6, "font": {"size": 12, "color": LIGHT["muted"]}},
        "tickfont": {"size": 12, "color": LIGHT["muted"]},
        "zeroline": False,
    }
    return {
        "layout": {
            "font": {"family": FONT, "size": 13, "color": LIGHT["text"]},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "hoverlabel": {
                "bgcolor": LIGHT["page"],
                "bordercolor": LIGHT["muted"],
                "font": {"color": LIGHT["text"], "size": 13},
                "align": "left",
            },
            "dragmode": False,
            "separators": ".,",
            "xaxis": axis,
            "yaxis": axis,
            "legend": {"orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"},
        }
    }
