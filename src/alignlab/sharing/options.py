"""The options of `share`."""

from __future__ import annotations

import re

from alignlab.config import Options, option

# What the Hub takes: letters, digits, - _ and . between them, at most 96 of them, after the owner's name.
_REPO = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9])?/[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9])?", re.ASCII)
_LICENCE = re.compile(r"[a-z0-9.-]{1,60}")


def check_repo(repo: str) -> str | None:
    """What the name of a repository has to be, if this is none."""
    good = _REPO.fullmatch(repo) and "--" not in repo and ".." not in repo
    return None if good else "owner/name, of letters, digits, - _ and ., such as ada/mistral-neurons"


def _licence(text: str) -> str | None:
    return None if _LICENCE.fullmatch(text) else "a licence as the Hub writes it, such as cc-by-4.0, mit or unknown"


class ShareOptions(Options):
    """What is shared, and where."""

    dry_run: bool = option(False, "print the plan and stop")
    run: str | None = option(None, "folder of the run of which a snapshot's neurons are shared")
    step: int | None = option(None, "which snapshot; null: the last", unit="optimiser steps", ge=0)
    sets: str | None = option(None, "file of neuron sets (NeuronSets.save), in the place of a run")
    counts: str | None = option(None, "file of the counts (ActivationCounts.save) that `sets` were found by, if any")
    with_counts: bool = option(True, "of a run also the counts, from which others classify anew")
    repo: str | None = option(None, "name on the Hub, owner/name: a repository of the kind dataset", check=check_repo)
    folder: str | None = option(None, "where the folder is made; null: shared/ and the name in `repo`")
    licence: str = option("unknown", "licence of the sets, as the Hub writes it", check=_licence)
    upload: bool = option(
        False, "also put it on the Hub, as who `hf auth login` says; otherwise only the folder is made"
    )
    private: bool = option(True, "a new repository is seen by its owner alone")
