"""Weights & Biases: one run for the whole experiment, online when logged in, else offline beside the run."""

from __future__ import annotations

import netrc
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from lightning.pytorch.loggers import WandbLogger

from alignlab.config import option


@dataclass
class WandbConfig:
    """Where the numbers go beside the CSV files."""

    mode: Literal["auto", "online", "offline", "disabled"] = option(
        "auto", "auto: online when logged in to W&B, else offline"
    )
    project: str = option("alignlab", "project on W&B")
    entity: str | None = option(None, "user or team on W&B; null takes the default one")
    tags: list[str] = option([], "tags of the run")

    def resolved_mode(self) -> str:
        """The mode, `auto` decided."""
        if self.mode != "auto":
            return self.mode
        if os.environ.get("WANDB_MODE") in {"online", "offline", "disabled"}:
            return os.environ["WANDB_MODE"]
        return "online" if _logged_in() else "offline"

    def build(self, folder: Path, name: str, config: dict[str, Any]) -> WandbLogger | None:
        """The logger of a run whose files lie in `folder`; None when disabled."""
        mode = self.resolved_mode()
        if mode == "disabled":
            return None
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        # Offline artifacts would otherwise be staged outside the run folder.
        os.environ.setdefault("WANDB_DATA_DIR", str(folder / "wandb"))
        run = wandb.init(
            mode=mode,  # type: ignore[arg-type]
            dir=folder,
            name=name,
            project=self.project,
            entity=self.entity,
            tags=self.tags,
            config=config,
            job_type="train",
            settings=wandb.Settings(silent=True, console="off"),
        )
        return WandbLogger(experiment=run)


def _logged_in() -> bool:
    """Whether W&B would find credentials: a key in the environment, a token file, or its server in netrc."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return bool(host) and netrc.netrc(path).authenticators(str(host)) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False
