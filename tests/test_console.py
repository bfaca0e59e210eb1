"""What is printed: text is text, whatever is in it."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from lightning.fabric.utilities.rank_zero import rank_zero_only
from rich.console import Console

from alignlab import console

ESCAPES = "\x1b[2J\x1b]0;title\x07 \x9b31m \x00 \x7f \r over"
VISIBLE = r"\x1b[2J\x1b]0;title\x07 \x9b31m \x00 \x7f \r over"
MARKUP = "[bold red]not red[/] [link=https://x.y]z[/link] :smile: [/nothing]"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (ESCAPES, VISIBLE),
        ("tab\tand\nline", "tab\tand\nline"),
        ("Äpfel 苹果 🍎 ไทย", "Äpfel 苹果 🍎 ไทย"),
        ("C:\\x1b is text", "C:\\x1b is text"),
        ("file \udcff.txt", "file \\udcff.txt"),
        ("", ""),
    ],
)
def test_control_characters_are_made_visible(text: str, shown: str) -> None:
    assert console.plain(text) == shown
    console.plain(text).encode()  # else no terminal takes it


def test_every_control_character_but_tab_and_newline_is_made_visible() -> None:
    controls = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))} - {"\t", "\n"}
    # Separators of lines, and overrides and isolates of the direction of text.
    controls |= {chr(code) for code in (0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
    for code in range(0x3000):
        letter = chr(code)
        assert (console.plain(letter) != letter) == (letter in controls)


@pytest.fixture(params=[False, True], ids=["file", "terminal"])
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is printed, on a terminal or into a file."""
    output = io.StringIO()
    terminal = Console(
        file=output, force_terminal=request.param, highlight=False, soft_wrap=True, width=80, color_system=None
    )
    monkeypatch.setattr(console, "_console", terminal)
    return output


@pytest.mark.parametrize(("text", "shown"), [(ESCAPES, VISIBLE), (MARKUP, MARKUP), ("x" * 300, "x" * 300), ("", "")])
def test_lines_are_printed_as_they_are(screen: io.StringIO, text: str, shown: str) -> None:
    console.say(text)
    assert screen.getvalue() == f"{shown}\n"


def test_sentences_end_lines_between_words_on_a_terminal_and_commands_do_not(screen: io.StringIO) -> None:
    words = " ".join(f"word{number}" for number in range(40))
    console.note(words)
    console.say(words)
    noted, _, said = screen.getvalue().rstrip("\n").rpartition("\n")
    assert said == words
    lines = noted.splitlines()
    assert [word for line in lines for word in line.split()] == words.split()
    assert noted == words or (len(lines) > 1 and max(map(len, lines)) <= 80)


def test_headings_are_printed_as_they_are(screen: io.StringIO) -> None:
    console.heading(f"{MARKUP} \x1b[0m")
    assert f"{MARKUP} \\x1b[0m" in screen.getvalue()


def test_tables_hold_text(screen: io.StringIO) -> None:
    console.table(
        [("[red]a[/]", "1"), ("\x1b[2Jb", "200"), ("short",)], header=("[bold]kind[/]", "num\x07"), align="lr"
    )
    lines = [line.rstrip() for line in screen.getvalue().splitlines()]
    assert lines == [
        "[bold]kind[/]  num\\x07",
        "[red]a[/]            1",
        "\\x1b[2Jb           200",
        "short",
    ]


@pytest.mark.parametrize("width", [80, 90, 120])
def test_a_terminal_breaks_no_word_of_a_header(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    output = io.StringIO()
    monkeypatch.setattr(console, "_console", Console(file=output, force_terminal=True, width=width, color_system=None))
    kinds = ["specific", "related", "general", "unassigned", "selected"]
    header = ["record", *kinds, "loss trained", "loss reference", "loss unseen"]
    console.table(
        [("step 0", *["60"] * 5, *["0.015"] * 3), ("step 200", *["64"] * 5, *["0.379"] * 3)], header, "lrrrrrrrr"
    )
    lines = [line.split() for line in output.getvalue().splitlines()]
    words = {word for line in lines[:-2] for word in line}
    assert words == {word for name in header for word in name.split()}
    assert [line[:3] for line in lines[-2:]] == [["step", "0", "60"], ["step", "200", "64"]]


@pytest.mark.parametrize(("width", "blocks"), [(400, 1), (80, 3), (12, 20)])
def test_columns_that_do_not_fit_follow_in_blocks(monkeypatch: pytest.MonkeyPatch, width: int, blocks: int) -> None:
    output = io.StringIO()
    monkeypatch.setattr(console, "_console", Console(file=output, force_terminal=True, width=width, color_system=None))
    codes = [f"l{number}" for number in range(20)]
    rows = [[of, *(f"+0.{number:02d}{place:02d}" for number in range(20))] for place, of in enumerate(("zh", "sw"))]
    console.table(rows, ["set", *codes], "l" + "r" * 20, keep=1)
    shown = [[line.split() for line in block.splitlines()] for block in output.getvalue().strip().split("\n\n")]
    assert max(len(line.rstrip()) for line in output.getvalue().splitlines()) <= width
    assert len(shown) == blocks
    for line, whole in enumerate([["set", *codes], *rows]):
        assert {block[line][0] for block in shown} == {whole[0]}
        assert [cell for block in shown for cell in block[line][1:]] == whole[1:]


def test_progress_in_a_file_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr(console, "_console", Console(file=output, soft_wrap=True, highlight=False))
    clock = iter([0.0, 9.0, 20.0, 25.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.progress("[red]zh[/] \x1b[2J", total=6, done=1) as advance:
        advance()
        advance(note="[bold]x\x07")
        advance()
    # At 20 s two of the five that were left are done, so the other three take 30 s.
    assert output.getvalue() == "[red]zh[/] \\x1b[2J: 3 of 6 (50%), about 30 s left, [bold]x\\x07\n"


def test_what_was_done_before_does_not_shorten_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr(console, "_console", Console(file=output, soft_wrap=True, highlight=False))
    clock = iter([0.0, 5.0, 15.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.progress("x", total=100) as advance:
        advance(90, kept=True)  # which takes 5 s to read
        advance(2)
    # Two took 10 s, so the other eight take 40 s.
    assert output.getvalue() == "x: 92 of 100 (92%), about 40 s left\n"


def test_progress_on_a_terminal_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr(console, "_console", Console(file=output, force_terminal=True, color_system=None, width=200))
    with console.progress("[red]zh[/] \x07", total=4, done=1) as advance:
        advance(2, note="[bold]x\x07")
        assert console._display.progress is not None
        console._display.progress.refresh()
    assert "[red]zh[/] \\x07" in output.getvalue()
    assert "75%" in output.getvalue()
    assert "[bold]x\\x07" in output.getvalue()
    assert "\x07" not in output.getvalue()


def test_two_tasks_share_one_display(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(console, "_console", terminal)
    with console.progress("outer", total=2) as outer:
        first = console._display.progress
        with console.progress("inner", total=2) as inner:
            inner()
            assert console._display.progress is first
        outer()
        assert first is not None
        assert [(task.description, task.completed) for task in first.tasks] == [("outer", 1)]
    assert console._display.progress is None


def test_complaints_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    console.complain(f"{MARKUP} \x1b[2J")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"{MARKUP} \\x1b[2J\n")


@pytest.mark.parametrize("rank", [1, 7])
def test_other_ranks_are_silent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", rank, raising=False)
    console.say("x")
    console.heading("x")
    console.table([("x",)])
    console.complain("x")
    with console.progress("x", total=1) as advance:
        advance(1, note="x")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (45.4, "45 s"), (89.9, "90 s"), (90, "2 min"), (3000, "50 min"), (5400, "1.5 h"), (9000, "2.5 h")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert console.duration(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1550, "1.55 kB"),
        (99_900, "99.9 kB"),
        (184_000_000, "184 MB"),
        (14.5e9, "14.5 GB"),
        (2.5e12, "2.5 TB"),
    ],
)
def test_sizes(number: float, shown: str) -> None:
    assert console.size(number) == shown


def test_a_table_in_a_file_is_not_folded(capsys: pytest.CaptureFixture[str]) -> None:
    """Paths are copied from there; and no line ends in blanks."""
    long = "/".join(["folder"] * 60)
    console.table([("page", long), ("x", "short")])
    assert capsys.readouterr().out.splitlines() == [f"page  {long}", "x     short"]
