"""A ready dashboard for the runs of a W&B project, by wandb-workspaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alignlab.errors import InputError, Problem
from alignlab.reporting.wandb_charts import SNAPSHOT_STEP, STEP
from alignlab.reporting.wandb_media import DEGREES, LAYERS, LAYERS_OVER_STEPS
from alignlab.reporting.wandb_worker import first_line

KINDS = ("specific", "related", "general", "unassigned")
NAME = "alignlab"


def save_workspace(entity: str | None, project: str, languages: Sequence[str]) -> str:
    """Save the dashboard as a view of the project, and give its address.

    entity: null takes the default one of who is logged in.  languages: those counted.
    Raises `InputError` where wandb-workspaces is missing, nobody is logged in, or W&B refuses.
    """
    import wandb

    try:
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        fix = "pip install 'alignlab[workspace]'"
        raise InputError(Problem("workspace", "wandb-workspaces is not installed", "it", fix)) from error
    try:
        owner = entity or wandb.Api().default_entity
        view = ws.Workspace(entity=owner or "", project=project, name=NAME, sections=sections(languages))
        view.save()
    except (wandb.errors.Error, ValueError) as error:  # nobody logged in, no network, no such project
        found = f"W&B does not take it ({first_line(error)})"
        raise InputError(Problem("workspace", found, "a project to write to", "Log in: wandb login.")) from error
    return str(view.url)


def sections(languages: Sequence[str]) -> list[Any]:
    """What the dashboard shows: kinds over steps, trained against unseen, each language, each layer, losses."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    def lines(title: str, keys: Sequence[str], axis: str = SNAPSHOT_STEP) -> Any:
        return wr.LinePlot(title=title, x=axis, y=list(keys), title_x="optimiser step")

    return [
        ws.Section("Kinds over steps", [lines(kind, [f"neurons/{kind}"]) for kind in KINDS], is_open=True),
        ws.Section(
            "Trained against unseen",
            [
                lines(f"{kind}: mean a language", [f"neurons/{group}/{kind}" for group in ("trained", "unseen")])
                for kind in ("specific", "related")
            ],
            is_open=True,
        ),
        ws.Section(
            "Languages",
            [
                lines(f"{kind} by language", [f"neurons/{kind}/{code}" for code in languages])
                for kind in ("specific", "related")
            ],
        ),
        ws.Section("Layers and degrees", [wr.MediaBrowser(title="", media_keys=[LAYERS, LAYERS_OVER_STEPS, DEGREES])]),
        ws.Section(
            "Loss",
            [
                lines("training", ["train/loss"], STEP),
                lines("mean a language", ["neurons/trained/loss", "neurons/unseen/loss"]),
                lines("by language", [f"neurons/loss/{code}" for code in languages]),
            ],
        ),
    ]
