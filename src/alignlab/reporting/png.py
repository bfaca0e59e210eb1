"""The page's figures as PNG files, for papers and slides: plotly's own exporter draws them in an installed browser."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import tempfile
import textwrap
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import plotly

from alignlab.atomic import whole_file
from alignlab.errors import InputError, Problem
from alignlab.marks import PNG, is_ours
from alignlab.reporting.page.card import Card, letters
from alignlab.reporting.page.cards import cards
from alignlab.reporting.page.data import PageRun
from alignlab.reporting.page.evaluations import show_tasks
from alignlab.reporting.page.interventions import show
from alignlab.reporting.page.panels import Panels, plain
from alignlab.reporting.page.theme import LIGHT, template

WIDTH = 1000  # pixels of a figure, about what the page gives it; the file has SCALE times as many
SCALE = 2

_LETTERS_A_LINE = 132  # of the words above a figure: what WIDTH holds at their size in a wide font, and some more
_LINE = 17  # pixels
_START_SECONDS = 60
# The browser asks its maker for updates, time and more: through a proxy that is not there, nothing leaves the machine.
_NO_PROXY_THERE = "http://127.0.0.1:9"
_INSTALL = "Install Chromium or Chrome (apt-get install chromium), or set BROWSER_PATH to its executable."

_FIRST_CHUNKS = 33  # bytes of a PNG file's signature and its header

Figure = dict[str, Any]  # {"data": [...], "layout": {...}}, as plotly.js takes it


def check_png(folder: Path, page: Path) -> None:
    """Refuse, before any work, what cannot become figures in `folder`.

    Raises InputError where it cannot be written to or is where the page goes, where the exporter or a browser is not
    installed, and where the browser does not start.
    """
    if page.absolute() in (folder.absolute(), *folder.absolute().parents):
        raise InputError(Problem("png", f"{folder} is where the page is written", "another folder"))
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=there):  # the permissions alone do not tell of read-only disks and the like
            pass
    except OSError as error:
        found = f"{folder} cannot be written to ({error.strerror})"
        raise InputError(Problem("png", found, "a folder with write permission", "Set png to another.")) from None
    _draw({}, lambda: None)


def write_png(folder: Path, figures: Mapping[str, Figure], advance: Callable[[], None] = lambda: None) -> None:
    """Draw figures (see `figures_of`) and write them all or none; other files in the folder stay.

    advance: called after each.  Raises InputError as `check_png` does, OSError where they cannot be written.
    """
    problems = [
        Problem("png", f"{folder / name} is there, and no figure that alignlab drew", "another folder")
        for name in figures
        if (folder / name).exists() and not is_ours(folder / name)
    ]
    if problems:
        raise InputError(*problems)
    images = _draw(figures, advance)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as written:  # each takes its name at the end, once all are on disk
        for name, image in images.items():
            written.enter_context(whole_file(folder / name)).write_bytes(_marked(image))


def _marked(image: bytes) -> bytes:
    """A PNG file that says, in a chunk behind its first, who drew it."""
    length, check = (len(PNG) - 4).to_bytes(4), zlib.crc32(PNG).to_bytes(4)
    return image[:_FIRST_CHUNKS] + length + PNG + check + image[_FIRST_CHUNKS:]


def figures_of(runs: Sequence[PageRun]) -> dict[str, Figure]:
    """Every figure of the page by the name of its file: card, letter of the run (of several), thresholds or measure.

    Of figures with a choice of step it is the last step, as on the page when it is opened. They are in light colours,
    with the words that stand above and below them on the page, since a file is seen without them.
    """
    found = {}
    effects, tasks = show([run.interventions for run in runs]), show_tasks([run.evaluations for run in runs])
    for card in cards(runs, effects, tasks).values():
        variants = [
            (dict(zip(card.by, key.split("|"), strict=True)), panels) for key, (panels, _) in card.variants.items()
        ]
        for state, panels in sorted(variants, key=lambda variant: _step(variant[0])):
            letter = "ABCD"[int(state["run"])] if "run" in state and len(runs) > 1 else ""
            view = next((value for name, value in state.items() if name == card.name), None)
            parts = (card.name, letter, state.get("thresholds"), state.get("measure"), view, "png")
            found[".".join(filter(None, parts))] = _with_words(panels, *_words(card, state, runs))
    return found


def _step(state: Mapping[str, str]) -> int:
    """The step that is chosen, where there is a choice: figures of later steps take the place of earlier ones."""
    return int(state.get("until") or state.get("partsAt") or 0)


def _words(card: Card, state: Mapping[str, str], runs: Sequence[PageRun]) -> tuple[str, list[str]]:
    """The title, with the runs shown; and how the figure is read and what its numbers are."""
    place = int(state["run"]) if "run" in state else None
    labels = letters(runs)
    names = [label if label == run.name else f"{label} {run.name}" for label, run in labels.items()]
    title = [card.title, ", ".join(names if place is None else names[place : place + 1])]
    if place is not None and (card.name == "layers" or "partsAt" in state):
        title.append(runs[place].step_name(_step(state) or max(runs[place].steps)))
    captions = [
        caption.text
        for caption in card.captions
        if (place is None or caption.run in (None, place)) and caption.thresholds in (None, state.get("thresholds"))
    ]
    return " · ".join(title), [card.note, *captions]


def _with_words(panels: Panels, title: str, texts: Sequence[str]) -> Figure:
    """The figure, made higher by the words above it."""
    heads = textwrap.wrap(title, _LETTERS_A_LINE - 40)
    lines = [f'<span style="font-size:16px;color:{LIGHT["text"]}"><b>{plain(head)}</b></span>' for head in heads]
    lines += [plain(line) for text in texts for line in textwrap.wrap(text, _LETTERS_A_LINE)]
    more = _LINE * len(lines) + 24
    layout = dict(panels.layout)
    height = layout["height"] + more
    layout |= {
        "title": {
            "text": "<br>".join(lines),
            "font": {"size": _LINE / 1.3, "color": LIGHT["muted"]},  # plotly's lines are 1.3 times the size apart
            "x": 0, "xref": "container", "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top",
            "pad": {"l": 8, "t": 20},
        },
        "height": height,
        "margin": {**layout["margin"], "t": layout["margin"]["t"] + more},
        "paper_bgcolor": LIGHT["page"],
        "template": template(),
    }  # fmt: skip
    if "legend" in layout:  # at the top of the file: put under the words
        layout["legend"] = {**layout["legend"], "y": 1 - more / height}
    return {"data": panels.data, "layout": layout}


# --- the browser ------------------------------------------------------------------------------------------------------


def _draw(figures: Mapping[str, Figure], advance: Callable[[], None]) -> dict[str, bytes]:
    """Start the browser, draw and end it; refuses where it is not there, does not start or dies."""
    return asyncio.run(_drawn(_browser(), figures, advance))


def _browser() -> str:
    """Where the exporter's browser is; refuses where one of the two is not installed."""
    try:
        import kaleido.errors  # not in kaleido before 1.0, which brought a browser along
        from choreographer.browsers.chromium import Chromium
    except ImportError as error:
        found = f"plotly's exporter is not installed ({error})"
        raise InputError(Problem("png", found, "kaleido 1.5 or newer", "pip install 'alignlab[png]'")) from None
    path: str | None = Chromium.find_browser(skip_local=False)
    if path is None or not Path(path).is_file() or not os.access(path, os.X_OK):
        given = os.environ.get("BROWSER_PATH")
        found = f"BROWSER_PATH is {given}, which is no program" if given else "no Chrome or Chromium is installed"
        raise InputError(Problem("png", found, "a browser that draws the figures", _INSTALL))
    for library in (kaleido.__name__, "choreographer"):
        logging.getLogger(library).setLevel(logging.ERROR)  # what goes wrong with the browser is said by a refusal
    return path


async def _drawn(path: str, figures: Mapping[str, Figure], advance: Callable[[], None]) -> dict[str, bytes]:
    from choreographer.errors import BrowserClosedError, BrowserFailedError, ChannelClosedError
    from kaleido import Kaleido, PageGenerator

    plotly_js = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"  # by default it may come from a CDN
    page = PageGenerator(plotly=plotly_js.as_uri(), mathjax=False)
    browser = Kaleido(path=path, page_generator=page, proxy_server=_NO_PROXY_THERE, enable_extensions=False)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # what its tasks leave behind when it dies
    images: dict[str, bytes] = {}
    doing = "start"
    try:
        async with asyncio.timeout(_START_SECONDS):
            await browser.open()
        for name, figure in figures.items():
            doing = f"draw {name}"
            opts = {"format": "png", "width": WIDTH, "height": figure["layout"]["height"], "scale": SCALE}
            images[name] = await browser.calc_fig(figure, opts)
            advance()
    except BaseException as error:
        lived = _kill(getattr(browser, "subprocess", None))
        if isinstance(error, BrowserClosedError | BrowserFailedError | ChannelClosedError | TimeoutError) or (
            isinstance(error, asyncio.CancelledError) and not lived  # else it is Ctrl-C
        ):
            found = f"the browser {path} does not {doing} ({type(error).__name__})"
            expected = "a Chrome or Chromium that runs without a screen"
            raise InputError(Problem("png", found, expected, _INSTALL)) from error
        raise
    finally:
        await browser.close()
    return images


def _kill(process: subprocess.Popen[bytes] | None) -> bool:
    """End the browser with its children, since one that hangs would not close; whether it lived until now."""
    if process is None or process.poll() is not None:
        return process is None
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # a group of its own
    process.wait()
    return True
