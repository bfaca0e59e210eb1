"""Weights & Biases, as options."""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from alignlab.config import Options, option


class WandbOptions(Options):
    """Where the numbers go beside the CSV files."""

    mode: Literal["auto", "online", "offline", "disabled"] = option(
        "auto", "auto: online when logged in to W&B, else offline"
    )
    project: str = option("alignlab", "project on W&B")
    entity: str | None = option(None, "user or team on W&B; null takes the default one")
    tags: list[str] = option([], "tags of the run")
    group: str | None = option(None, "group of the run on W&B, such as one name for all seeds; null is none")
    artifact: Literal["none", "last", "all"] = option(
        "last",
        "counts that become an artifact: none, those of the last snapshot, or all (275 MB each at 7 B, 10 languages)",
    )
    checkpoints: bool = option(
        False,
        "also log each checkpoint as an artifact of type model, but those that checkpoints.keep_last will remove: the "
        "adapter or model and its tokenizer, without the state of the training",
    )
    init_timeout: float = option(
        30.0, "wait this long for the server at the start, then go on offline", unit="seconds", ge=1
    )
    finish_timeout: float = option(
        120.0, "wait this long for uploads at the end; the rest is kept for wandb sync", unit="seconds", ge=1
    )

    def resolved_mode(self) -> str:
        """The mode, `auto` decided."""
        if self.mode != "auto":
            return self.mode
        if os.environ.get("WANDB_MODE") in {"online", "offline", "disabled"}:
            return os.environ["WANDB_MODE"]
        return "online" if logged_in() else "offline"


def wandb_host() -> str:
    """The server that W&B would use."""
    return urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc


def logged_in() -> bool:
    """Whether W&B would find credentials: a key in the environment, a token file, or its server in netrc."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return bool(host) and netrc.netrc(path).authenticators(str(host)) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False
