"""The page's figures as files: their names and words, and the pixels that an installed browser draws."""

from __future__ import annotations

import base64
import os
import re
import socketserver
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import sync_playwright

from alignlab.errors import InputError
from alignlab.report import main
from alignlab.reporting import png
from alignlab.reporting.page import PageRun
from alignlab.reporting.page.cards import cards
from alignlab.reporting.page.theme import DARK, LIGHT
from alignlab.reporting.png import SCALE, WIDTH, check_png, figures_of, write_png
from alignlab.train import main as train

from ..installed_browser import installed_browser
from .page_data import bare_run, page_run

HOSTILE = (
    "../../x/<img src='http://hostile.example/x.png'><a href='http://hostile.example'>b</a>&lt; ไทย 中文 বাংলা العربية"
)
NAME = r"(\w+)(\.[A-D])?(\.(anchored|reestimated|excess|jaccard|z))?\.png"
ONE = {
    *(f"{card}.{at}.png" for at in ("anchored", "reestimated") for card in ("answer", "kinds", "groups", "heatmaps",
        "layers", "languages", "degrees", "transitions")),
    "overlap.excess.png", "overlap.jaccard.png", "overlap.z.png", "chance.png", "parts.png", "losses.png",
    "training.png",
}  # fmt: skip
SMALL = [
    "config=demo", "trainer.max_steps=2", "tracker.every_n_steps=1", "probe.source.count=6", "probe.max_texts=6",
    "probe.source.languages=[en,zh,de]", "data.train.count=12", "data.examples_per_step=4", "wandb.mode=disabled",
    "probe.shards=3", "evaluation=null",
]  # fmt: skip
# What a browser, which is not the exporter, finds in a file.
PIXELS = """async file => {
    const image = new Image();
    image.src = "data:image/png;base64," + file;
    await image.decode();
    const {width, height} = image;
    const canvas = new OffscreenCanvas(width, height).getContext("2d");
    canvas.drawImage(image, 0, 0);
    const pixels = new Uint32Array(canvas.getImageData(0, 0, width, height).data.buffer);
    const hex = pixel => "#" + [0, 8, 16].map(by => (pixel >> by & 255).toString(16).padStart(2, "0")).join("");
    const edge = pixels.filter((_, at) => {
        const x = at % width, y = Math.floor(at / width);
        return Math.min(x, y, width - 1 - x, height - 1 - y) < 4;
    });
    return {width, height, colours: [...new Set(pixels)].map(hex), edge: [...new Set(edge)].map(hex)};
}"""


@pytest.fixture(scope="module")
def browser() -> str:
    return installed_browser()


@contextmanager
def pixels(browser: str) -> Iterator[Callable[[Path], dict[str, Any]]]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        page = launched.new_page()
        yield lambda path: page.evaluate(PIXELS, base64.b64encode(path.read_bytes()).decode())
        launched.close()


@pytest.fixture(scope="module")
def run() -> PageRun:
    return page_run(shape=(12, 100))


def title(figure: dict[str, Any]) -> str:
    text: str = figure["layout"]["title"]["text"]
    return text


def test_every_card_has_its_figures(run: PageRun) -> None:
    assert set(figures_of([run])) == ONE
    two = figures_of([run, replace(run, name="other")])
    of_all = {"kinds.anchored.png", "kinds.reestimated.png", "groups.anchored.png", "groups.reestimated.png"}
    by_run = {name.replace(".", f".{letter}.", 1) for name in ONE - of_all - {"training.png"} for letter in "AB"}
    assert set(two) == by_run | of_all | {"training.png"}
    assert set(figures_of([bare_run()])) == {"answer.anchored.png", "kinds.anchored.png"}


@pytest.mark.slow
def test_names_do_not_come_from_the_data(run: PageRun) -> None:
    runs = [replace(run, name=HOSTILE, step_names={0: HOSTILE, 200: HOSTILE}), replace(run, name="B/../x")]
    for shown in (runs, runs[:1]):
        figures, known = figures_of(shown), cards(shown)
        for name, figure in figures.items():
            found = re.fullmatch(NAME, name)
            assert found
            assert found[1] in known
            assert "<img" not in title(figure)
            assert "<a" not in title(figure)


def test_a_figure_says_what_it_shows(run: PageRun) -> None:
    figures = figures_of([run, page_run("sw-th", steps=(0, 300), shape=(12, 100), intervals=False)])
    assert "A zh-de, B sw-th" in title(figures["kinds.anchored.png"])
    for name, said in (
        ("layers.A.anchored.png", ("A zh-de · step 200", "line: the first step", "thresholds anchored to step 0")),
        ("layers.B.anchored.png", ("B sw-th · step 300", "Not computed. To have it: ")),
        ("parts.A.png", ("A zh-de · step 200",)),
        ("heatmaps.B.reestimated.png", ("re-estimated at every snapshot", "out of 100 neurons")),
    ):
        for text in said:
            assert text in title(figures[name])
        assert ("Not computed" in title(figures[name])) == ("B" in name)
    ends = [note["text"] for note in figures["transitions.A.anchored.png"]["layout"]["annotations"]]
    assert ends == ["<b>Step 0</b>", "<b>Step 200</b>"]
    for name, panels in (("kinds", "kinds.anchored.png"), ("chance", "chance.A.png")):
        card = cards([run])[name].variants
        drawn = next(iter(card.values()))[0].layout
        more = figures[panels]["layout"]["height"] - drawn["height"]
        assert more == figures[panels]["layout"]["margin"]["t"] - drawn["margin"]["t"] > 40


def test_what_is_missing_is_said_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    dies = tmp_path / "dies"
    dies.write_text("#!/bin/sh\necho 'needs the chromium snap' >&2\nexit 1\n")
    dies.chmod(0o755)

    def refusal() -> str:
        capsys.readouterr()
        assert main(["run=run", "png=figures"]) == 2  # there is no such run: nothing is looked at before
        return capsys.readouterr().err

    monkeypatch.setenv("BROWSER_PATH", "/no/where")
    assert "png: BROWSER_PATH is /no/where, which is no program; expected a browser" in refusal()
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path))
    assert "which is no program" in refusal()
    monkeypatch.setenv("BROWSER_PATH", str(dies))
    assert f"png: the browser {dies} does not start" in refusal()
    monkeypatch.setitem(sys.modules, "kaleido", None)
    assert "png: plotly's exporter is not installed" in refusal()
    assert "pip install 'alignlab[png]'" in refusal()
    assert [path.name for path in tmp_path.iterdir()] == ["dies"]


def test_no_browser_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))  # under which the exporter keeps a browser that it has fetched
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("choreographer.browsers.chromium._is_exe", lambda path: False)  # those in /usr/bin
    with pytest.raises(InputError, match=r"no Chrome or Chromium is installed.*Install Chromium or Chrome"):
        check_png(tmp_path / "figures", tmp_path / "report.html")


@pytest.mark.slow
def test_a_browser_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = tmp_path / "hangs"
    hangs.write_text(f"#!/bin/sh\necho $$ > {tmp_path / 'pid'}\nsleep 600\n")
    hangs.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(hangs))
    monkeypatch.setattr(png, "_START_SECONDS", 3)
    with pytest.raises(InputError, match="does not start"):
        check_png(tmp_path / "figures", tmp_path / "report.html")
    pid = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in ("file", "file/figures"):
        with pytest.raises(InputError, match=r"cannot be written to \(Not a directory\)"):
            check_png(tmp_path / folder, tmp_path / "report.html")
    for folder in ("report.html", "report.html/figures"):
        with pytest.raises(InputError, match="is where the page is written"):
            check_png(tmp_path / folder, tmp_path / "report.html")
    assert (tmp_path / "file").read_text() == "mine"


def test_all_are_written_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.setattr(png, "_draw", lambda figures, advance: figures)
    old, new = b"o" * 50, b"n" * 50
    write_png(tmp_path, {"a.png": old})  # type: ignore[dict-item]
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(TypeError):
        write_png(tmp_path, {"a.png": new, "b.png": None})  # type: ignore[dict-item]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "notes.txt"]
    assert (tmp_path / "a.png").read_bytes() == before
    write_png(tmp_path, {"a.png": new, "b.png": new})  # type: ignore[dict-item]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "notes.txt"]
    assert (tmp_path / "a.png").read_bytes().replace(before[33:-17], b"") == new


@pytest.mark.slow
def test_the_pixels_of_every_figure(run: PageRun, browser: str, tmp_path: Path) -> None:
    figures = figures_of([run])
    drawn: list[str] = []
    write_png(tmp_path / "figures", figures, lambda: drawn.append(""))
    assert len(drawn) == len(figures)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == set(figures)
    assert len({path.read_bytes() for path in (tmp_path / "figures").iterdir()}) == len(figures)
    with pixels(browser) as pixels_of:
        found = {name: pixels_of(tmp_path / "figures" / name) for name in figures}
    for name, figure in figures.items():
        head = (tmp_path / "figures" / name).read_bytes()[:24]
        size = (SCALE * WIDTH, SCALE * figure["layout"]["height"])
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", head[16:]) == size
        assert (found[name]["width"], found[name]["height"]) == size
        assert len(found[name]["colours"]) > 50, name
        assert found[name]["edge"] == [LIGHT["page"]], name  # nothing is cut
        assert DARK["page"] not in found[name]["colours"]
    for card in ("kinds", "layers", "transitions"):
        kinds = {LIGHT[kind] for kind in ("specific", "related", "general", "unassigned")}
        assert kinds <= set(found[f"{card}.anchored.png"]["colours"])


@pytest.mark.slow
@pytest.mark.usefixtures("browser")
def test_nothing_is_fetched(run: PageRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the browser asks of a network goes to a proxy, which is here: figures and their scripts ask nothing."""
    asked: list[str] = []

    class Proxy(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline().decode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(png, "_NO_PROXY_THERE", f"http://127.0.0.1:{server.server_address[1]}")
        figures = figures_of([replace(run, name=HOSTILE, step_names={0: HOSTILE})])
        write_png(tmp_path, {name: figures[name] for name in ("kinds.anchored.png", "transitions.anchored.png")})
        server.shutdown()
    assert [line for line in asked if re.search(r"plot|cdn|hostile|\.js|mathjax", line)] == []


@pytest.mark.slow
@pytest.mark.usefixtures("browser")
def test_a_browser_that_dies_leaves_nothing(run: PageRun, tmp_path: Path) -> None:
    def kill() -> None:
        for process in psutil.Process().children(recursive=True):
            if "chrom" in process.name():
                process.kill()

    with pytest.raises(InputError, match="does not draw "):
        write_png(tmp_path / "figures", figures_of([run]), kill)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("browser")
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        assert train([*SMALL, f"run.folder=runs/{name}"]) == 0
    before = sorted(Path("runs").rglob("*"))
    capsys.readouterr()
    assert main(["runs=[runs/a,runs/b]", "png=figures", "intervals=none", "dry_run=true"]) == 0
    assert "figures (PNG)" in capsys.readouterr().out
    assert sorted(Path("runs").rglob("*")) == before
    assert not Path("figures").exists()

    assert main(["runs=[runs/a,runs/b]", "png=figures", "intervals=none"]) == 0
    written = sorted(path.name for path in Path("figures").iterdir())
    assert re.search(rf"^figures +figures \({len(written)} PNG files\)$", capsys.readouterr().out, re.MULTILINE)
    assert {"kinds.anchored.png", "layers.A.anchored.png", "layers.B.reestimated.png", "training.png"} <= set(written)
    assert all(re.fullmatch(NAME, name) for name in written)
    assert Path("runs/a/report.html").is_file()


@pytest.mark.slow
def test_the_command_refuses_in_a_process_of_its_own(tmp_path: Path) -> None:
    without = (
        "import sys; sys.modules['kaleido'] = None; from alignlab.report import main; sys.exit(main(sys.argv[1:]))"
    )
    for command, environment, said in (
        (["-m", "alignlab.report"], {"BROWSER_PATH": "/no/where", "PATH": ""}, "BROWSER_PATH is /no/where"),
        (["-c", without], {}, "plotly's exporter is not installed"),
    ):
        done = subprocess.run(
            [sys.executable, *command, "run=run", "png=figures"], cwd=tmp_path,
            env=os.environ | environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_says_who_drew_it_and_only_such_files_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixel = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    monkeypatch.setattr(png, "_draw", lambda figures, advance: dict.fromkeys(figures, pixel))
    write_png(tmp_path, {"kinds.png": {}})
    written = (tmp_path / "kinds.png").read_bytes()
    text = written[33:]
    length = struct.unpack(">I", text[:4])[0]
    assert text[4 : 8 + length] == b"tEXtSoftware\0alignlab"
    assert struct.unpack(">I", text[8 + length : 12 + length])[0] == zlib.crc32(text[4 : 8 + length])
    assert written[:33] + text[12 + length :] == pixel
    write_png(tmp_path, {"kinds.png": {}, "layers.png": {}})
    (tmp_path / "layers.png").write_bytes(pixel)
    with pytest.raises(InputError, match=r"layers.png is there, and no figure that alignlab drew"):
        write_png(tmp_path, {"kinds.png": {}, "layers.png": {}})
    assert (tmp_path / "layers.png").read_bytes() == pixel
