"""The options of `benchmark agreement`. Like all modules called options this one imports no torch."""

from __future__ import annotations

from typing import get_args

from alignlab.config import option, section
from alignlab.labels import LABELS_MEANING, Labelled, LabelsOptions
from alignlab.languages import check_codes
from alignlab.models.options import ModelOptions, PrecisionName
from alignlab.neurons.options import IdentifierOptions, TernaryOptions
from alignlab.options import check_folder
from alignlab.recording.options import ProbeOptions

NAMES = tuple(kind.model_fields["name"].default for kind in get_args(get_args(IdentifierOptions)[0]))
MOST_MODELS = 2


def _few(models: list[str]) -> str | None:
    return None if len(models) <= MOST_MODELS and len(set(models)) == len(models) else "one or two models, each once"


def _once(names: list[str]) -> str | None:
    return None if names and len(set(names)) == len(names) else "names of identifiers, each once"


class AgreementOptions(Labelled):
    """Several identifiers on one run or two models, and how far they agree."""

    dry_run: bool = option(False, "print the plan and stop")
    run: str | None = option(None, "folder of a run, whose base and last checkpoint are asked")
    labels: LabelsOptions = section(LabelsOptions, f"{LABELS_MEANING}; by default as in the run")
    models: list[str] = option(
        [], "one or two folders or Hub ids of models or PEFT adapters; in a run also steps", check=_few
    )
    model: ModelOptions | None = section(
        None, "how models are loaded, and the base of adapters; by default as in the run, or as they say"
    )
    probe: ProbeOptions = section(ProbeOptions, "on which text neurons are found; by default as in the run")
    against: ProbeOptions | None = section(
        None, "other text, such as news beside maths, on which neurons are found too"
    )
    precision: PrecisionName | None = option(None, "of the passes; null: as the run was trained, else 32-true")
    identifier: IdentifierOptions = section(
        TernaryOptions, "the one that stands in `identifiers` for its name; by default as in the run"
    )
    identifiers: dict[str, IdentifierOptions] = section(
        {name: {"name": name} for name in NAMES}, "what is compared, by names of your own; `name` says which it is"
    )
    only: list[str] | None = option(None, "some of `identifiers`; null takes all", check=_once)
    size: int | None = option(
        None,
        "neurons of each language where an identifier takes a number; null: as many as the sets of `identifier` have "
        "on average at the first model",
        ge=1,
    )
    reference: str | None = option(
        None,
        "language with whose number of tokens those of others are compared; null: as the run says, else en",
        check=lambda code: check_codes([code]),
    )
    folder: str | None = option(
        None, "folder of the results; null: analysis/agreement-<digest> in the run, else in runs/", check=check_folder
    )
