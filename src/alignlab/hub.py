"""Whether the Hugging Face Hub answers: asked with one request, where its own libraries try again for half a minute."""

from __future__ import annotations

from functools import cache

TIMEOUT_S = 5.0


def hub_answers() -> bool:
    """Whether the Hub, or the mirror that HF_ENDPOINT names, answers; any answer will do, an error too.

    Asked once a process: a model, its tokenizer and its commit are read one after another. False at once under
    HF_HUB_OFFLINE=1. It waits `TIMEOUT_S` seconds at most where nothing answers.
    """
    from huggingface_hub import constants  # only for those who load from the Hub

    return _answers(constants.ENDPOINT, constants.HF_HUB_OFFLINE)


@cache
def _answers(endpoint: str, offline: bool) -> bool:
    if offline:
        return False
    from huggingface_hub.errors import HTTPError
    from huggingface_hub.utils import get_session

    try:
        get_session().head(endpoint, timeout=TIMEOUT_S)
    except (OSError, HTTPError):
        return False
    return True
