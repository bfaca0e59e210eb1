"""The table of one language in a data set of the Hugging Face Hub, or in a local folder of the same form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alignlab.config import REQUIRED, Options, option
from alignlab.data.text_files import TextRow, no_column
from alignlab.errors import InputError, refuse_any
from alignlab.hub import hub_answers

# By what stands in a message of `datasets` or of the Hub, what to do.
_FIXES = {
    "gated": "Accept its conditions at https://huggingface.co/datasets/{path}, then log in: hf auth login.",
    "scripts are no longer supported": "Nothing that is loaded may execute. Give a data set of plain files, or what "
    "the Hub has made of this one: revision=refs/convert/parquet, with folder in place of subset.",
    "BuilderConfig": "Check the subset: the code that the data set has for the language is given in spelled.",
    "doesn't exist on the Hub": "Was it moved or renamed? See https://huggingface.co/datasets/{path}; give its new "
    "id in path. For a private one log in: hf auth login.",
}


class HubTable(Options):
    """Rows of a data set, loaded by `datasets`; one subset a language, or one table of several."""

    path: str = option(REQUIRED, "id on the Hub, such as juletxara/mgsm, or a local folder of a data set")
    root: str | None = option(
        None, "local folder with data sets by id, ROOT/juletxara/mgsm or ROOT/mgsm; null asks the Hub"
    )
    subset: str | None = option(None, "subset (config) of the data set, with {language} for the code")
    folder: str | None = option(
        None,
        "folder within the data set, with {language} for the code; the branch refs/convert/parquet has one a subset",
    )
    split: str = option("train", "split of the data set")
    revision: str | None = option(None, "branch, tag or commit of the data set; null takes the newest")
    spelled: dict[str, str] = option({}, "how the data set spells a code where it differs, such as {ja: jp}")

    def spell(self, code: str) -> str:
        return self.spelled.get(code, code)

    def rows(self, code: str) -> Iterator[TextRow]:
        """All rows of a language, numbered from 0. Raises InputError where they cannot be loaded."""
        for number, row in enumerate(self.table(code, None)):
            yield TextRow(Path(self.path), number, row, f"{self.where}, row {number}")

    @property
    def where(self) -> str:
        return f"{self.path} ({self.split})"

    def table(self, code: str, columns: Sequence[str] | None) -> Any:
        """The data set of a language with these columns, or with all. Raises InputError for what is not there."""
        import datasets  # a second to import: only for those who load from it

        subset, folder = (
            name.replace("{language}", self.spell(code)) if name else None for name in (self.subset, self.folder)
        )
        place = self._place()
        datasets.disable_progress_bars()
        try:
            with _from_cache_where_the_hub_is_silent(place):
                table = datasets.load_dataset(
                    place,
                    subset,
                    data_dir=folder,
                    split=self.split,
                    revision=self.revision,
                    cache_dir=_cache_of(Path(place)),
                )
        except ConnectionError as error:
            raise InputError.of(
                f"{self.path} ({subset or folder})" if subset or folder else self.path,
                "it is not here and the Hub cannot be reached",
                "a data set of the Hub or a local folder",
                "Check the network, or download the data set elsewhere and give its folder.",
            ) from error
        # It raises whatever its readers of all formats stumble over, RuntimeError for a data set that is a script.
        except Exception as error:
            generating = isinstance(error, datasets.exceptions.DatasetGenerationError) and error.__cause__
            lines = str(generating or error).split("\n")
            known = next((fix for sign, fix in _FIXES.items() if sign in str(error)), "")
            raise InputError.of(
                f"{self.path} ({subset or folder})" if subset or folder else self.path,
                f"it cannot be loaded ({' '.join(lines[:2]).strip() or type(error).__name__})",
                "a data set of the Hub or a local folder",
                known.format(path=self.path) or "Check the id, the subset and the split.",
            ) from error
        if columns is None:
            return table
        refuse_any(
            [no_column(self.where, name, table.column_names) for name in columns if name not in table.column_names]
        )
        return table.select_columns(list(columns))

    def _place(self) -> str:
        """The id or the folder that is loaded."""
        if self.root is None:
            return self.path
        root = Path(self.root).expanduser()
        places = [root / self.path, root / Path(self.path).name]
        found = next((place for place in places if place.is_dir()), None)
        if found is None:
            fix = f"Download it: hf download {self.path} --repo-type dataset --local-dir {places[0]}"
            raise InputError.of(str(places[0]), "there is no such folder", "a copy of the data set", fix)
        return str(found)


def _cache_of(folder: Path) -> str | None:
    """Where `datasets` keeps what it has read of a local folder, by the folder's place and files; None for the Hub's.

    In its own cache it takes two folders of one name for one where a README names the subsets, and gives of the second,
    or of a file that was corrected, what it has read of the first.
    """
    if not folder.is_dir():
        return None
    from datasets import config

    files = sorted(path for path in folder.resolve().rglob("*") if path.is_file())
    about = [(str(path), (found := path.stat()).st_size, found.st_mtime_ns) for path in files]
    return str(Path(config.HF_DATASETS_CACHE) / "local_folders" / hashlib.sha256(repr(about).encode()).hexdigest()[:32])


@contextmanager
def _from_cache_where_the_hub_is_silent(path: str) -> Iterator[None]:
    """Within the block `datasets` asks nobody for what it cannot get: it would try again for half a minute."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or not (Path(path).is_dir() or hub_answers())
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
