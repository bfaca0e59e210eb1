"""Whether the Hugging Face Hub answers: asked with one request, where its own libraries try again for half a minute."""

from __future__ import annotations

TIMEOUT_S = 5.0


def hub_answers() -> bool:
    """Whether the Hub, or the mirror that HF_ENDPOINT names, answers now; any answer will do, an error too.

    False at once under HF_HUB_OFFLINE=1. It waits `TIMEOUT_S` seconds at most where nothing answers.
    """
    from huggingface_hub import constants  # only for those who load from the Hub
    from huggingface_hub.errors import HTTPError
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT_S)
    except (OSError, HTTPError):
        return False
    return True
