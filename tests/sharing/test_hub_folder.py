"""Neurons that are shared: what is made is what is read, from a folder and from the Hub's cache; else it is refused."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts, NeuronSets, lape, ternary
from alignlab.neurons.classification import Classification
from alignlab.sharing.hub_folder import from_hub, push_to_hub

HOSTILE = "x`|<img src=x onerror=alert(1)>\n# heading [a](javascript:b)"


def found(
    model: str = "ada/tiny", languages: tuple[str, ...] = ("en", "zh"), seed: int = 0
) -> tuple[Any, ActivationCounts]:
    random = torch.Generator().manual_seed(seed)
    firings = torch.randint(0, 90, (len(languages), 4, 3, 50), generator=random)
    tokens = torch.full((len(languages), 4), 100)
    counts = ActivationCounts(
        languages, firings, tokens, tokens, "mlp.act", "all", model=model, revision="r1", data_fingerprint="f00d",
        step=20,
        trained_languages=("zh",),
    )  # fmt: skip
    return ternary(counts, top_rate=0.2), counts


def sets_of(result: Classification, counts: ActivationCounts) -> NeuronSets:
    return NeuronSets.of(result, counts=counts)


def in_cache(cache: Path, repo: str, folder: Path, commit: str = "a" * 40) -> None:
    """Lay a folder into a cache as huggingface_hub does: blobs, and links to them in the snapshot of a commit."""
    at = cache / f"datasets--{repo.replace('/', '--')}"
    snapshot = at / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (at / "blobs").mkdir()
    (at / "refs").mkdir()
    (at / "refs" / "main").write_text(commit)
    for file in folder.iterdir():
        blob = at / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(blob)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub, and no network."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return folder


def test_what_is_made_is_what_is_read_from_the_cache_of_the_hub(cache: Path, tmp_path: Path) -> None:
    result, counts = found()
    folder = Path(push_to_hub("ada/sets", sets_of(result, counts), counts, folder=tmp_path / "made", dry_run=True))
    in_cache(cache, "ada/sets", folder)
    for name, revision in (("ada/sets", None), ("ada/sets", "main"), ("ada/sets", "a" * 40), (str(folder), None)):
        shared = from_hub(name, revision, model="ada/tiny@r1")
        for file in ("sets.safetensors", "counts.safetensors", "README.md"):
            assert (shared.folder / file).read_bytes() == (folder / file).read_bytes()
        assert shared.counts is not None
        assert torch.equal(shared.counts.firings, counts.firings)
        for language in counts.languages:
            assert torch.equal(shared.sets[language], result.sets[language])
            assert torch.equal(ternary(shared.counts, top_rate=0.2).sets[language], shared.sets[language])
        assert shared.card == (folder / "README.md").read_text(encoding="utf-8")


def test_the_card_says_what_the_sets_are_of(tmp_path: Path) -> None:
    result, counts = found()
    sets = sets_of(result, counts)
    folder = push_to_hub("ada/sets", sets, counts, result=result, licence="mit", folder=tmp_path / "made", dry_run=True)
    text = (Path(folder) / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(text.split("---")[1])
    assert (head["license"], head["language"]) == ("mit", ["en", "zh"])
    for said in (
        "ada/tiny",
        "r1",
        "mlp.act",
        "scope `all`",
        "f00d",
        "3 layers x 50",
        "tau",
        "lambda",
        "step 20",
        'from_hub("ada/sets"',
    ):
        assert said in text
    general = int((result.degree == 2).sum())
    assert f"belong to all: {general:,}." in text
    for language, other in (("en", "zh"), ("zh", "en")):
        own, above = result.sets[language], result.above
        specific = int((own & ~above[other]).sum())
        related = int((own & above[other]).sum())
        related = 0 if len(counts.languages) == 2 else related  # of two languages those of both are general
        assert f"| `{language}` | {int(own.sum())} | 400 | {specific} | {related} |" in text


@pytest.mark.parametrize("identify", [ternary, lape])
@pytest.mark.parametrize("anchored", [False, True])
def test_the_code_of_the_card_finds_the_shared_sets(tmp_path: Path, identify: Any, anchored: bool) -> None:
    """Also where thresholds are those of another snapshot, which no `top_rate` of these counts gives."""
    _, counts = found()
    result = identify(counts, top_rate=0.2)
    if anchored:
        first = identify(found(seed=1)[1], top_rate=0.2)
        held = {"lambda_": first.lambda_} if "lambda" in first.thresholds else {}
        result = identify(counts, threshold=first.threshold, cut=first.cut, **held)
    folder = push_to_hub(
        "ada/sets", sets_of(result, counts), counts, result=result, folder=tmp_path / "made", dry_run=True
    )
    text = (Path(folder) / "README.md").read_text(encoding="utf-8")
    assert f"| found by | `{result.identifier}` |" in text
    code = text.split("```python")[1].split("```")[0].replace("ada/sets", folder)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    assert sum(int(neurons.sum()) for neurons in names["again"].values()) > 0
    for language in counts.languages:
        assert torch.equal(names["again"][language], names["shared"].sets[language])
    assert "---" not in repr(names["shared"])  # the card is read, not shown with the rest


def test_text_of_the_data_is_no_markup(tmp_path: Path) -> None:
    result, counts = found(HOSTILE, ("en", HOSTILE.replace("\n", " ")))
    folder = push_to_hub(
        "ada/sets", sets_of(result, counts), counts, result=result, folder=tmp_path / "made", dry_run=True
    )
    text = (Path(folder) / "README.md").read_text(encoding="utf-8")
    outside = "".join(text.split("```python")[0].split("`")[::2])
    assert "<img" not in outside
    assert "javascript" not in outside
    assert "\n# heading" not in text
    assert all(line.count("|") in (3, 6) for line in text.splitlines() if line.startswith("|"))
    code = text.split("```python")[1].split("```")[0]
    compile(code, "card", "exec")
    assert yaml.safe_load(text.split("---")[1])["language"] == ["en"]


def test_sets_alone_have_sizes(tmp_path: Path) -> None:
    sets = NeuronSets({"en": torch.eye(3, dtype=torch.bool), "quechua poems": torch.zeros(3, 3, dtype=torch.bool)})
    folder = push_to_hub("ada/sets", sets, folder=tmp_path / "made", dry_run=True)
    assert "| `quechua poems` | 0 | unknown |" in (Path(folder) / "README.md").read_text(encoding="utf-8")
    assert from_hub(folder).counts is None


def test_a_folder_of_before_is_replaced_and_one_of_somebody_is_not(tmp_path: Path) -> None:
    result, counts = found()
    sets = sets_of(result, counts)
    folder = tmp_path / "made"
    push_to_hub("ada/sets", sets, counts, folder=folder, dry_run=True)
    push_to_hub("ada/sets", sets, folder=folder, dry_run=True)
    assert not (folder / "counts.safetensors").exists()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="thesis"):
        push_to_hub("ada/sets", sets, folder=folder, dry_run=True)
    assert (folder / "thesis.txt").read_text() == "mine"


def test_without_a_network_nothing_is_uploaded_and_the_folder_is_there(cache: Path, tmp_path: Path) -> None:
    result, counts = found()
    with pytest.raises(InputError, match=r"upload: the Hub does not answer.*is complete"):
        push_to_hub("ada/sets", sets_of(result, counts), folder=tmp_path / "made")
    assert from_hub(str(tmp_path / "made")).sets.names == ("en", "zh")


@pytest.mark.parametrize("model", ["ada/other", "ada/tiny@r2", "Ada/tiny"])
def test_another_model_is_refused(tmp_path: Path, model: str) -> None:
    result, counts = found()
    folder = push_to_hub("ada/sets", sets_of(result, counts), folder=tmp_path / "made", dry_run=True)
    with pytest.raises(InputError, match=r"neurons of (model ada/tiny|revision r1); expected of"):
        from_hub(folder, model=model)


@pytest.mark.parametrize(
    "repo", ["", "sets", "a/b/c", "../x", "a/../b", "/etc/x", "ada/se ts", "ada/-x", "ada/" + "x" * 97, "a--b/c"]
)
def test_names_that_the_hub_does_not_take(tmp_path: Path, repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result, counts = found()
    with pytest.raises(InputError, match="owner/name"):
        push_to_hub(repo, sets_of(result, counts), dry_run=True)
    assert list(tmp_path.iterdir()) == []
    if repo:
        with pytest.raises(InputError, match="owner/name"):
            from_hub(repo)


def test_counts_of_something_else_are_refused(tmp_path: Path) -> None:
    result, counts = found()
    sets = sets_of(result, counts)
    other = found("ada/other")[1]
    with pytest.raises(InputError, match="counts: model ada/other; expected model ada/tiny, as of the sets"):
        push_to_hub("ada/sets", sets, other, folder=tmp_path / "made", dry_run=True)
    folder = Path(push_to_hub("ada/sets", sets, counts, folder=tmp_path / "made", dry_run=True))
    other.save(folder / "counts.safetensors")  # as if somebody had exchanged it
    with pytest.raises(InputError, match="counts: model ada/other"):
        from_hub(str(folder))


def test_what_is_not_there_damaged_or_pickled(cache: Path, tmp_path: Path) -> None:
    result, counts = found()
    folder = Path(push_to_hub("ada/sets", sets_of(result, counts), folder=tmp_path / "made", dry_run=True))
    with pytest.raises(InputError, match="not in the cache"):
        from_hub("ada/nothing")
    in_cache(cache, "ada/sets", folder)
    with pytest.raises(InputError, match="not in the cache at revision v2"):
        from_hub("ada/sets", "v2")
    with pytest.raises(InputError, match=r"revision.*is a folder"):
        from_hub(str(folder), "main")
    data = bytearray((folder / "sets.safetensors").read_bytes())
    data[-3] ^= 1
    (folder / "sets.safetensors").write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"sets\.safetensors"):
        from_hub(str(folder))
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "mask.pth").write_bytes(b"cos\nsystem\n(S'touch /tmp/never'\ntR.")
    with pytest.raises(InputError, match=r"no sets\.safetensors, but mask\.pth.*formats"):
        from_hub(str(pickled))
    (pickled / "mask.pth").unlink()
    with pytest.raises(InputError, match=r"but nothing"):
        from_hub(str(pickled))


STRANGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a pipe as counts": ("counts.safetensors", os.mkfifo, "counts.safetensors: it is no file"),
    "a folder as counts": ("counts.safetensors", Path.mkdir, "counts.safetensors: it is no file"),
    "a pipe as sets": ("sets.safetensors", os.mkfifo, "sets.safetensors: it is no file"),
    "a pipe as card": ("README.md", os.mkfifo, "README.md: it cannot be read"),
    "a card that leads nowhere": ("README.md", lambda path: path.symlink_to("nowhere"), "README.md: it cannot be read"),
}


@pytest.mark.parametrize("name", list(STRANGE))
def test_what_bears_the_name_of_a_file_and_is_none_is_refused(tmp_path: Path, name: str) -> None:
    """Above all counts: without a word they would be none."""
    result, counts = found()
    folder = Path(push_to_hub("ada/sets", sets_of(result, counts), counts, folder=tmp_path / "made", dry_run=True))
    file, put, says = STRANGE[name]
    (folder / file).unlink()
    put(folder / file)
    with pytest.raises(InputError, match=says):
        from_hub(str(folder))


def test_of_a_card_without_end_the_beginning_is_read(tmp_path: Path) -> None:
    result, counts = found()
    folder = Path(push_to_hub("ada/sets", sets_of(result, counts), folder=tmp_path / "made", dry_run=True))
    with (folder / "README.md").open("ab") as file:
        file.truncate(1 << 33)  # 8 GB, of which the disk holds none
    assert len(from_hub(str(folder)).card) == 1 << 20


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("~nobody-of-that-name/x", "no folder, and no name on the Hub"),
        ("a" * 5000, "no folder, and no name on the Hub"),
        ("made/sets.safetensors", "it is a file; expected a folder"),
    ],
)
def test_places_that_are_none(tmp_path: Path, place: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result, counts = found()
    push_to_hub("ada/sets", sets_of(result, counts), folder="made", dry_run=True)
    with pytest.raises(InputError, match=says):
        from_hub(place)


def test_a_cache_that_holds_a_file_in_the_place_of_a_commit(cache: Path, tmp_path: Path) -> None:
    result, counts = found()
    in_cache(
        cache,
        "ada/sets",
        Path(push_to_hub("ada/sets", sets_of(result, counts), folder=tmp_path / "made", dry_run=True)),
    )
    snapshot = cache / "datasets--ada--sets/snapshots" / ("a" * 40)
    shutil.rmtree(snapshot)
    snapshot.write_text("")
    with pytest.raises(InputError, match="it is no folder"):
        from_hub("ada/sets")


@pytest.mark.parametrize("body", [b"<html>Log in\xff", b"{}", b"[]"])
def test_what_answers_in_the_place_of_the_hub_is_told(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    """Such as the page on which a hotel's network wants a login: it answers everything, with status 200."""

    class Portal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if self.command != "HEAD" else b"")

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Portal)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    result, counts = found()
    try:
        with pytest.raises(InputError, match="something else, such as the login page"):
            push_to_hub("ada/sets", sets_of(result, counts), folder=tmp_path / "made")
        assert from_hub(str(tmp_path / "made")).sets.names == ("en", "zh")
        with pytest.raises(InputError, match="something else, such as the login page"):
            from_hub("ada/sets")
    finally:
        server.shutdown()
        server.server_close()
