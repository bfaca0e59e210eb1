"""The terminal: lines, tables and progress, from rank zero only.

Text is never read as markup, control characters in it are shown, not sent (a document cannot steer the terminal), and
secrets are hidden.
"""

from __future__ import annotations

import io
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest

from lightning_utilities.core.rank_zero import rank_zero_only
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from alignlab.redaction import hide

# The name of threads that may be left at work when the process ends.
BACKGROUND = "alignlab background"

# Surrogates too: they stand for bytes of file names that are not UTF-8, and no terminal takes them.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"
    # What makes text look like other text: overrides of its direction, and separators of lines.
    r"\u202a-\u202e\u2066-\u2069\u2028\u2029]"
)
_SECONDS_BETWEEN_LINES = 10.0
_WIDEST = 4000
_console = Console(highlight=False, soft_wrap=True)


def plain(text: str) -> str:
    """The text with secrets hidden and control characters made visible."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], hide(text))


def has_controls(text: str) -> bool:
    """Whether there are characters in a text that a terminal would obey instead of showing them."""
    return _CONTROL.search(text) is not None or "\n" in text or "\t" in text


def say(text: str = "") -> None:
    """Print a line."""
    if _speaks():
        _console.print(Text(plain(text)))


def note(text: str) -> None:
    """Print sentences. A terminal breaks their lines between words; a command, which is to be copied, is said."""
    _fold(Text(plain(text)))


def heading(text: str) -> None:
    """Print a line that stands out."""
    _fold(Text(plain(text), style="bold"))


def _fold(text: Text) -> None:
    if _speaks():
        _console.print(text, soft_wrap=not _console.is_terminal)


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = (), align: str = "", keep: int = 0) -> None:
    """Print a table. align: one letter a column, `l` or `r`; the rest is left.

    In a file no line is folded. A terminal folds cells, where it is too narrow, but no words of a header if it can.
    keep: of a table of numbers; where not all columns fit they follow in blocks, each beside the first `keep` columns.
    """
    if not _speaks():
        return
    columns = max([len(header), *(len(row) for row in rows)])
    gap = 2
    if header and _console.is_terminal and _width(rows, header, gap) > _console.width:
        header = [name.replace(" ", "\n") for name in header]
        gap = 2 if _width(rows, header, 2) <= _console.width else 1
        if keep and _width(rows, header, 1) > _console.width:
            for number, block in enumerate(_blocks(_widths(rows, header), keep, _console.width)):
                if number:
                    _console.print()
                cells, names = [[row[place] for place in block] for row in rows], [header[place] for place in block]
                table(cells, names, "".join(align[place] for place in block))
            return
    grid = Table(show_header=bool(header), box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    for index in range(columns):
        name = header[index] if index < len(header) else ""
        right = index < len(align) and align[index] == "r"
        grid.add_column(Text(plain(name)), justify="right" if right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(plain(cell)) for cell in row))
    if _console.is_terminal:
        _console.print(grid)
        return
    wide = Console(file=io.StringIO(), width=_WIDEST)
    wide.print(grid)
    for line in wide.file.getvalue().splitlines():  # type: ignore[attr-defined]
        _console.print(Text(line.rstrip()))


def _width(rows: Sequence[Sequence[str]], header: Sequence[str], gap: int) -> int:
    """Letters of a line of a table that is not folded."""
    widths = _widths(rows, header)
    return sum(widths) + gap * (len(widths) - 1)


def _widths(rows: Sequence[Sequence[str]], header: Sequence[str]) -> list[int]:
    """Letters of each column."""
    columns = zip_longest(*rows, header, fillvalue="")
    return [max(cell_len(line) for cell in column for line in plain(cell).split("\n")) for column in columns]


def _blocks(widths: Sequence[int], keep: int, room: int, gap: int = 2) -> list[list[int]]:
    """The places of columns that fit into a line, each block with the first ones and at least one other."""
    first = list(range(keep))
    blocks: list[list[int]] = []
    for place in range(keep, len(widths)):
        longer = [*blocks[-1], place] if blocks else []
        if longer and sum(widths[each] + gap for each in longer) - gap <= room:
            blocks[-1] = longer
        else:
            blocks.append([*first, place])
    return blocks


def complain(text: str) -> None:
    """Print to standard error."""
    if _speaks():
        sys.stderr.write(f"{plain(text)}\n")


Advance = Callable[..., None]


class _Display:
    """One live display for all tasks of the process: a terminal can show only one."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.tasks = 0

    def enter(self) -> Progress:
        if self.progress is None:
            self.progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=30),
                TaskProgressColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=_console,
                transient=True,
            )
            self.progress.start()
        self.tasks += 1
        return self.progress

    def leave(self) -> None:
        self.tasks -= 1
        if self.tasks == 0 and self.progress is not None:
            self.progress.stop()
            self.progress = None


_display = _Display()


@contextmanager
def progress(description: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Show how far a task is: a bar on a terminal, else a line every ten seconds.

    Gives `advance(amount=1, note="", kept=False)`; kept: what was done before, which is told first and
    tells nothing of how long the rest takes.
    """
    if not _speaks():
        yield lambda amount=1, note="", kept=False: None
    elif _console.is_terminal:
        display = _display.enter()
        task = display.add_task(plain(description), total=total, completed=done, note="")
        try:
            # Whose clock starts at what it is told first, so that what was kept is no speed.
            yield lambda amount=1, note="", kept=False: display.update(task, advance=amount, note=plain(note))
        finally:
            display.remove_task(task)
            _display.leave()
    else:
        yield _lines(description, total, done)


def _lines(description: str, total: int, done: int) -> Advance:
    started = said = time.monotonic()
    first = done

    def advance(amount: int = 1, note: str = "", kept: bool = False) -> None:
        nonlocal done, said, started, first
        done += amount
        now = time.monotonic()
        if kept:
            started, first = now, done
        if now - said >= _SECONDS_BETWEEN_LINES:
            said = now
            left = (now - started) / max(done - first, 1) * (total - done)
            note = f", {note}" if note else ""
            say(f"{description}: {done:,} of {total:,} ({done / total:.0%}), about {duration(left)} left{note}")

    return advance


def duration(seconds: float) -> str:
    """A time for people, such as 45 s, 3 min or 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def size(number: float) -> str:
    """A number of bytes for people, such as 184 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def _speaks() -> bool:
    rank = getattr(rank_zero_only, "rank", None)  # Lightning says, once it is imported
    launched = (os.environ[name] for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if name in os.environ)
    return int(rank if rank is not None else next(launched, 0)) == 0
