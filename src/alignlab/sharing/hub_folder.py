"""A folder of shared neurons: made, put on the Hub, and read from the Hub or its cache.

It holds ``sets.safetensors`` (:class:`NeuronSets`), ``counts.safetensors`` where counts are shared
(:class:`ActivationCounts`), the card ``README.md``, and a manifest. Both files carry checksums of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from json import JSONDecodeError
from pathlib import Path

from alignlab.atomic import whole_folder
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.hub import hub_answers
from alignlab.neurons.classification import Classification
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.sets import NeuronSets
from alignlab.regular_files import open_regular
from alignlab.sharing.card import card
from alignlab.sharing.options import check_repo

KIND = "shared neurons"
SETS, COUNTS, CARD = "sets.safetensors", "counts.safetensors", "README.md"
_TYPE = "dataset"
_ON_HUB = "hub:"
# Files that published masks come in, which may execute code when they are loaded.
_PICKLES = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".npy", ".npz", ".joblib"}
_LONGEST_CARD = 1 << 20  # bytes that are read of one


@dataclass(frozen=True)
class Shared:
    """What somebody has shared.

    sets: of neurons, by name.  counts: those that they were found by, where these are shared too.
    folder: where the files lie.  card: the text of README.md, which is data: it is not run or shown as markup.
    """

    sets: NeuronSets
    counts: ActivationCounts | None
    folder: Path
    card: str = field(repr=False)


def push_to_hub(
    repo: str,
    sets: NeuronSets,
    counts: ActivationCounts | None = None,
    *,
    result: Classification | None = None,
    found_by: ActivationCounts | None = None,
    anchor: int | None = None,
    folder: Path | str | None = None,
    licence: str = "unknown",
    private: bool = True,
    dry_run: bool = False,
) -> str:
    """Make the folder of neurons to share, and put it on the Hub; the address there, or with dry_run the folder.

    repo: owner/name, a repository of the kind dataset, made where there is none.
    result: the classification that found the sets: the card then has numbers by kind.
    found_by: the counts of the sets where these are not shared: the card then says at which step of a training.
    anchor: the step of the training whose thresholds the sets have, where that is another one: the card says so.
    folder: where it is made; ``shared/`` and the name in `repo` by default. One that was made before is replaced.
    private: a repository that is made is seen by its owner alone.
    dry_run: make the folder, upload nothing.

    Raises InputError for a name that the Hub does not take, for counts that are of another model, text or shape than
    the sets, for a folder that holds something else, and where the Hub refuses.

    >>> import torch
    >>> from alignlab import NeuronSets, from_hub, push_to_hub
    >>> sets = NeuronSets({"en": torch.eye(3, dtype=torch.bool)}, model="ada/tiny")
    >>> folder = push_to_hub("ada/tiny-neurons", sets, dry_run=True)
    >>> from_hub(folder, model="ada/tiny").sets.sizes()
    {'en': 3}
    """
    if (expected := check_repo(repo)) is not None:
        raise InputError(Problem("repo", repr(repo), expected))
    check_fits(sets, counts)
    check_fits(sets, found_by)
    path = Path(folder).expanduser() if folder is not None else Path("shared") / repo.split("/")[-1]
    text = card(repo, sets, counts, result, licence, found_by, anchor)
    with whole_folder(path, KIND) as partial:
        sets.save(partial / SETS)
        if counts is not None:
            counts.save(partial / COUNTS)
        (partial / CARD).write_text(text, encoding="utf-8")
    return str(path) if dry_run else _upload(repo, path, private)


def check_fits(sets: NeuronSets, counts: ActivationCounts | None) -> None:
    """Refuse counts that are not those of the sets, as far as both say."""
    if counts is None:
        return
    of_sets = {
        "site": sets.site,
        "shape": str(sets.shape),
        "scope": sets.scope,
        "model": sets.model,
        "revision": sets.revision,
        "text": sets.data_fingerprint,
    }
    of_counts = {
        "site": counts.site,
        "shape": str(tuple(counts.shape[-2:])),
        "scope": counts.scope,
        "model": counts.model,
        "revision": counts.revision,
        "text": counts.data_fingerprint,
    }
    refuse_any(
        [
            Problem("counts", f"{name} {of_counts[name] or 'unknown'}", f"{name} {value}, as of the sets")
            for name, value in of_sets.items()
            if value and of_counts[name] != value
        ]
    )


def _upload(repo: str, folder: Path, private: bool) -> str:
    from huggingface_hub import HfApi

    if not hub_answers():
        found = "the Hub does not answer, or HF_HUB_OFFLINE=1"
        fix = f"The folder {folder} is complete: upload it later by the same command."
        raise InputError(Problem("upload", found, "a network", fix))
    hub = HfApi()
    try:
        hub.create_repo(repo, repo_type=_TYPE, private=private, exist_ok=True)
        hub.upload_folder(repo_id=repo, repo_type=_TYPE, folder_path=folder, commit_message="Neurons and their card")
    except _refusals() as error:
        fix = f"Log in with: hf auth login. The folder {folder} is complete."
        found = _said(error)
        raise InputError(Problem(f"repo {repo}", found, "a repository to write to", fix)) from error
    return f"https://huggingface.co/datasets/{repo}"


def _refusals() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises where the Hub refuses, and where something else answers in its place, as the login
    page of a network does.
    """
    from huggingface_hub.errors import HTTPError

    return HTTPError, OSError, ValueError, KeyError, TypeError


def _said(error: Exception, at: str = "") -> str:
    if isinstance(error, KeyError | TypeError | UnicodeDecodeError | JSONDecodeError):
        return f"what answers in the Hub's place{at} is something else, such as the login page of a network"
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"the Hub refuses{at} ({first})"


def from_hub(repo: str, revision: str | None = None, *, model: str | None = None) -> Shared:
    """Read what somebody has shared, from the Hub, its cache where there is no network, or a folder.

    repo: owner/name of a repository of the kind dataset, or a folder.
    revision: branch, tag or commit; a folder has none.
    model: id of the model that the sets are to be of, with @revision where that counts too; another one is refused.

    Raises InputError for what is not there, is no folder of shared neurons, is damaged, or of another model. Nothing
    that could execute code is read.

    >>> import torch
    >>> from alignlab import NeuronSets, from_hub, push_to_hub
    >>> sets = NeuronSets({"en": torch.eye(3, dtype=torch.bool)}, model="ada/tiny")
    >>> folder = push_to_hub("ada/tiny-neurons", sets, dry_run=True)
    >>> from_hub(folder, model="ada/tiny").sets.sizes()
    {'en': 3}
    """
    folder = _folder_of(repo, revision)
    others = sorted(path.name for path in folder.iterdir())
    if SETS not in others:
        fix = "Neurons of others that are pickled are read by alignlab.neurons.formats, which executes nothing."
        fix = fix if any(Path(name).suffix in _PICKLES for name in others) else ""
        found = f"no {SETS}, but {', '.join(others[:5]) or 'nothing'}"
        raise InputError(Problem(repo, found, "a folder that alignlab.share has made", fix))
    sets = NeuronSets.load(folder / SETS, format="alignlab")
    counts = ActivationCounts.load(folder / COUNTS) if COUNTS in others else None
    check_fits(sets, counts)
    if model is not None:
        name, _, of = model.partition("@")
        asked = [("model", name, sets.model), ("revision", of or sets.revision, sets.revision)]
        refuse_any(
            [
                Problem(repo, f"neurons of {what} {has or 'unknown'}", f"of {what} {wanted}")
                for what, wanted, has in asked
                if wanted != has
            ]
        )
    return Shared(sets, counts, folder, _card_in(folder) if CARD in others else "")


def _card_in(folder: Path) -> str:
    try:
        with open_regular(folder / CARD) as file:
            return file.read(_LONGEST_CARD).decode("utf-8", errors="replace")
    except OSError as error:
        found = f"it cannot be read ({error.strerror})"
        raise InputError.of(f"{folder / CARD}", found, "a text file", "Restore it, or remove it.") from error


def load_sets(place: str) -> NeuronSets:
    """The sets in a file, or shared ones.

    place: path of a file that `NeuronSets.save` wrote, or ``hub:owner/name``, or ``hub:owner/name@revision``.

    Raises InputError as `NeuronSets.load` and `from_hub` do.
    """
    if not place.startswith(_ON_HUB):
        return NeuronSets.load(Path(place).expanduser(), format="alignlab")
    name, _, revision = place.removeprefix(_ON_HUB).partition("@")
    return from_hub(name, revision or None).sets


def _folder_of(repo: str, revision: str | None) -> Path:
    kind = _kind_of(repo)
    if kind == "folder":
        if revision is not None:
            raise InputError(Problem("revision", repr(revision), f"none: {repo} is a folder"))
        return Path(repo).expanduser()
    if kind == "file":
        raise InputError(Problem(repo, "it is a file", "a folder", f"Name the folder that {SETS} lies in."))
    if (expected := check_repo(repo)) is not None:
        raise InputError(Problem(repr(repo), "no folder, and no name on the Hub", f"a folder, or {expected}"))
    from huggingface_hub import snapshot_download

    offline = not hub_answers()
    try:
        found = snapshot_download(
            repo, repo_type=_TYPE, revision=revision, allow_patterns=[SETS, COUNTS, CARD], local_files_only=offline
        )
    except _refusals() as error:
        at = f" at revision {revision}" if revision else ""
        said = f"it is not in the cache{at}, and the Hub does not answer" if offline else _said(error, at)
        fix = "A private one needs: hf auth login. Or pass the folder that holds its files."
        raise InputError(Problem(repo, said, "a repository of the kind dataset that you may read", fix)) from error
    if not Path(found).is_dir():
        raise InputError(Problem(found, "it is no folder", "what the Hub's cache holds of a commit", "Remove it."))
    return Path(found)


def _kind_of(repo: str) -> str | None:
    """Whether it is a `folder` or a `file` here; None for what is none, or cannot be a path."""
    try:
        path = Path(repo).expanduser()
        return "folder" if path.is_dir() else "file" if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # too long, the home of nobody, a NUL
        return None
