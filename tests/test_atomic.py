"""Files and folders appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from alignlab import atomic
from alignlab.atomic import discard, name_being_written, remove, whole_file, whole_folder, write_text
from alignlab.errors import InputError


def names(folder: Path) -> list[str]:
    """All that is in a folder, without the manifests."""
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return [name for name in found if not name.endswith("manifest.json")]


def test_a_file_and_its_folders_appear(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "Äpfel\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "Äpfel\n".encode()
    assert names(tmp_path) == ["a", "a/b", "a/b/c.txt"]
    write_text(tmp_path / "a" / "b" / "c.txt", "new")
    assert (tmp_path / "a" / "b" / "c.txt").read_text(encoding="utf-8") == "new"


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_file_that_is_not_finished_leaves_the_old_one(tmp_path: Path, old: str | None, error: type) -> None:
    path = tmp_path / "file"
    if old:
        path.write_text(old, encoding="utf-8")

    def write_half() -> None:
        with whole_file(path) as partial:
            partial.write_text("half", encoding="utf-8")
            assert not old or path.read_text(encoding="utf-8") == old
            raise error

    with pytest.raises(error):
        write_half()
    assert names(tmp_path) == (["file"] if old else [])
    assert not old or path.read_text(encoding="utf-8") == old


def fill(folder: Path, text: str, count: int = 5) -> None:
    (folder / "inner").mkdir()
    for number in range(count):
        (folder / "inner" / f"{number}.txt").write_text(text, encoding="utf-8")


def test_a_folder_replaces_the_old_one_with_all_that_was_in_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "step-1"
    for text, count in (("one", 5), ("two", 2)):
        with whole_folder(path, "checkpoint") as partial:
            assert partial.parent == path.parent
            fill(partial, text, count)
    assert names(tmp_path / "deep") == ["step-1", "step-1/inner", "step-1/inner/0.txt", "step-1/inner/1.txt"]
    assert (path / "inner" / "0.txt").read_text(encoding="utf-8") == "two"


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_folder_that_is_not_finished_leaves_the_old_one(tmp_path: Path, old: bool, error: type) -> None:
    path = tmp_path / "step-1"
    if old:
        with whole_folder(path, "checkpoint") as partial:
            fill(partial, "old")
    before = names(tmp_path)

    def write_half() -> None:
        with whole_folder(path, "checkpoint") as partial:
            fill(partial, "new", 3)
            raise error

    with pytest.raises(error):
        write_half()
    assert names(tmp_path) == before
    assert not old or (path / "inner" / "0.txt").read_text(encoding="utf-8") == "old"


def test_a_folder_that_is_not_finished_leaves_no_folders_above_it(tmp_path: Path) -> None:
    def write_half() -> None:
        with whole_folder(tmp_path / "deep" / "er" / "step-1", "checkpoint"):
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert names(tmp_path) == []


def test_a_folder_that_cannot_take_its_name_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "step-1"
    with whole_folder(path, "checkpoint") as partial:
        fill(partial, "old")
    before, own = names(tmp_path), Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target == path and ".old." not in self.name:
            raise OSError("no")
        return own(self, target)

    def write() -> None:
        with whole_folder(path, "checkpoint") as partial:
            fill(partial, "new", 3)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(OSError, match="no"):
        write()
    assert names(tmp_path) == before
    assert (path / "inner" / "0.txt").read_text(encoding="utf-8") == "old"


LEAVE = """
import os, sys
from pathlib import Path
from alignlab.atomic import whole_file, whole_folder
path = Path(sys.argv[1])
with whole_folder(path / "step-1", "checkpoint") as partial:
    (partial / "half").write_text("left")
    with whole_file(path / "file") as other:
        other.write_text("left")
        os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", LEAVE, str(tmp_path)], check=False)
    assert killed.returncode == -9
    left = list(tmp_path.iterdir())
    assert len(left) == 2
    assert sorted(map(name_being_written, left)) == ["file", "step-1"]
    with whole_folder(tmp_path / "step-1", "checkpoint") as partial:
        assert names(partial) == []
        fill(partial, "new", 1)
    write_text(tmp_path / "file", "new")
    assert names(tmp_path) == ["file", "step-1", "step-1/inner", "step-1/inner/0.txt"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("neurons.csv.0a1b2c-12-0.partial", "neurons.csv"),
        ("step-000010.old.0a1b2c-12-34.partial", "step-000010"),
        ("step-000010.partial", "step-000010"),
        ("step-000010.old.partial", "step-000010"),
        ("neurons.csv", None),
        ("partial", None),
        (".partial", None),
        ("a.partial.zip", None),
    ],
)
def test_the_name_that_is_being_written_is_read_from_a_partial_one(name: str, expected: str | None) -> None:
    assert name_being_written(Path("folder") / name) == expected


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    with whole_file(tmp_path / "file") as first:
        first.write_text("first", encoding="utf-8")
        with whole_file(tmp_path / "file") as second:  # as a second process would
            second.write_text("second", encoding="utf-8")
        assert (tmp_path / "file").read_text(encoding="utf-8") == "second"
    assert (tmp_path / "file").read_text(encoding="utf-8") == "first"
    assert names(tmp_path) == ["file"]


RACE = """
import sys
from pathlib import Path
from alignlab.atomic import whole_folder, write_text
path, letter = Path(sys.argv[1]), sys.argv[2]
for _ in range(60):
    with whole_folder(path / "results", "analysis") as partial:
        for number in range(5):
            (partial / str(number)).write_text(letter * 1000)
    write_text(path / "page", letter * 100_000)
"""


def test_processes_that_write_the_same_do_not_meet(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", RACE, str(tmp_path), letter]) for letter in "abc"]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    assert names(tmp_path) == ["page", "results", *(f"results/{number}" for number in range(5))]
    texts = {(tmp_path / "results" / str(number)).read_text(encoding="utf-8") for number in range(5)}
    assert len(texts) == 1
    assert (tmp_path / "page").read_text(encoding="utf-8") in {letter * 100_000 for letter in "abc"}


def test_a_folder_that_is_somebody_elses_is_not_replaced(tmp_path: Path) -> None:
    thesis = tmp_path / "mine"
    thesis.mkdir()
    (thesis / "config.yaml").write_text("years of work", encoding="utf-8")

    def write(kind: str = "analysis") -> None:
        with whole_folder(thesis, kind) as partial:
            fill(partial, "new", 1)

    with pytest.raises(InputError, match="it holds something else; expected a new folder, or an analysis"):
        write()
    (thesis / "config.yaml").unlink()
    write()  # an empty folder is nobody's
    write()
    with pytest.raises(InputError, match="it holds an analysis; expected a new folder, or a checkpoint"):
        write("checkpoint")
    (thesis / "inner" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"it also holds inner/notes.txt, which alignlab did not write"):
        write()
    assert (thesis / "inner" / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert names(tmp_path) == ["mine", "mine/inner", "mine/inner/0.txt", "mine/inner/notes.txt"]


def test_files_put_there_while_the_folder_is_made_are_kept(tmp_path: Path) -> None:
    def write() -> None:
        with whole_folder(tmp_path / "results", "analysis") as partial:
            fill(partial, "new", 1)
            (tmp_path / "results").mkdir()
            (tmp_path / "results" / "notes.txt").write_text("mine", encoding="utf-8")

    with pytest.raises(InputError, match="it holds something else"):
        write()
    assert names(tmp_path) == ["results", "results/notes.txt"]


def test_a_discarded_folder_is_gone_and_a_link_only_loses_its_name(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "step-1", "checkpoint") as partial:
        fill(partial, "x")
    discard(tmp_path / "step-1")
    (tmp_path / "scratch").mkdir()
    fill(tmp_path / "scratch", "kept", 1)
    (tmp_path / "step-2").symlink_to(tmp_path / "scratch")
    discard(tmp_path / "step-2")
    assert names(tmp_path) == ["scratch", "scratch/inner", "scratch/inner/0.txt"]


def test_all_is_on_the_disk_before_it_bears_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "step-1"
    synced: list[tuple[str, bool]] = []
    monkeypatch.setattr(atomic, "_sync", lambda entry: synced.append((entry.name, path.exists())))
    with whole_folder(path, "checkpoint") as partial:
        fill(partial, "x", 2)
    before = {name for name, there in synced if not there}
    (partial_name,) = before - {"inner", "0.txt", "1.txt", "manifest.json"}
    assert partial_name.startswith("step-1.")
    assert len(before) == 5
    assert [name for name, there in synced if there] == [tmp_path.name]  # and then the name itself
    synced.clear()
    with whole_file(path.with_name("file")) as partial:
        partial.touch()
    assert [name.split(".")[0] for name, _ in synced] == ["file", tmp_path.name]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    texts = {letter * 200_000 for letter in "abcd"}
    write_text(path, "a" * 200_000)
    stop, seen = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            seen.append(path.read_text(encoding="utf-8"))

    reader = threading.Thread(target=read)
    reader.start()
    for round_ in range(30):
        write_text(path, "abcd"[round_ % 4] * 200_000)
    stop.set()
    reader.join()
    assert len(seen) > 20
    assert set(seen) <= texts


def test_a_reader_never_sees_half_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every removal and renaming: under the folder's name there is all of the old, all of the new, or nothing."""
    path = tmp_path / "step-1"
    with whole_folder(path, "checkpoint") as partial:
        fill(partial, "old", 4)
    seen = []

    def look() -> None:
        files = [entry.read_text(encoding="utf-8") for entry in sorted(path.rglob("*.txt"))]
        seen.append(tuple(files) if path.exists() else None)

    # Single steps of the file system, so that half a removal would be seen.
    for module, name in (("os", "unlink"), ("os", "rmdir"), ("os", "rename"), ("os", "replace"), ("os", "fsync")):
        own = getattr(sys.modules[module], name)

        def step(*args: object, own: object = own, **kwargs: object) -> object:
            look()
            result = own(*args, **kwargs)  # type: ignore[operator]
            look()
            return result

        monkeypatch.setattr(f"{module}.{name}", step)
    with whole_folder(path, "checkpoint") as partial:
        fill(partial, "new", 3)
    monkeypatch.undo()
    assert ("old",) * 4 in seen
    assert ("new",) * 3 in seen
    assert set(seen) <= {("old",) * 4, ("new",) * 3, None}


FULL_DISK = """
import resource, sys
from pathlib import Path
from alignlab.atomic import whole_folder, write_text
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
folder = Path(sys.argv[1])
for write in ("file", "folder"):
    try:
        if write == "file":
            write_text(folder / "file", "new" * 1000)
        else:
            with whole_folder(folder / "step-1", "checkpoint") as partial:
                (partial / "small").write_text("fits")
                (partial / "large").write_text("new" * 1000)
    except OSError as error:
        print(write, type(error).__name__)
"""


def test_a_full_disk_leaves_the_old_content(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    with whole_folder(tmp_path / "step-1", "checkpoint") as partial:
        fill(partial, "old", 1)
    before = names(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["file", "OSError", "folder", "OSError"]
    assert names(tmp_path) == before
    assert (tmp_path / "file").read_text(encoding="utf-8") == "old"
    assert (tmp_path / "step-1" / "inner" / "0.txt").read_text(encoding="utf-8") == "old"


def test_a_link_stays_and_what_it_points_to_is_emptied(tmp_path: Path) -> None:
    """Runs and checkpoints are often on another disk, behind a link."""
    (tmp_path / "scratch").mkdir()
    fill(tmp_path / "scratch", "x")
    (tmp_path / "others").mkdir()
    fill(tmp_path / "others", "kept")
    (tmp_path / "scratch" / "link").symlink_to(tmp_path / "others")
    (tmp_path / "checkpoints").symlink_to(tmp_path / "scratch")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = names(tmp_path / "others")
    remove(tmp_path / "checkpoints")
    remove(tmp_path / "dangling")
    assert (tmp_path / "checkpoints").is_symlink()
    assert list((tmp_path / "scratch").iterdir()) == []
    assert names(tmp_path / "others") == before != []


def test_removing_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    remove(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    fill(tmp_path / "folder", "x")
    remove(tmp_path / "folder")
    assert names(tmp_path) == []


PERMISSIONS = """
import os, sys
os.umask(int(sys.argv[1], 8))
from pathlib import Path
import torch
from safetensors.torch import save_file
from alignlab.atomic import whole_file, whole_folder
with whole_file(Path("one.safetensors")) as partial:
    save_file({"a": torch.zeros(1)}, partial)
with whole_folder(Path("folder"), "checkpoint") as partial:
    save_file({"a": torch.zeros(1)}, partial / "two.safetensors")
    (partial / "run.sh").touch(0o700)
"""


@pytest.mark.parametrize(("umask", "expected"), [("022", 0o644), ("007", 0o660), ("077", 0o600)])
def test_files_have_the_permissions_of_any_new_file(tmp_path: Path, umask: str, expected: int) -> None:
    subprocess.run([sys.executable, "-c", PERMISSIONS, umask], cwd=tmp_path, check=True)
    for name in ("one.safetensors", "folder/two.safetensors"):
        assert (tmp_path / name).stat().st_mode & 0o777 == expected, name
    assert (tmp_path / "folder/run.sh").stat().st_mode & 0o777 == expected | 0o100


def test_a_file_for_which_there_is_no_room_is_named(tmp_path: Path) -> None:
    """An open file bears no name in what the system says of it."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    write_text(tmp_path / "a.txt", "before")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large") as refused:
            write_text(tmp_path / "a.txt", "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert refused.value.filename == str(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "before"
    assert names(tmp_path) == ["a.txt"]
