"""The files that pages are made of, and what a page may do."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources


def policy(*scripts: str) -> str:
    """What the page may do: run its own two scripts, known by their hashes, and nothing else.

    Markup that would slip in could not run, and nothing can be requested: not even by plotly's own code.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    # plotly.js sets styles of elements; heat maps are images it makes itself.
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def inside_script(code: str) -> str:
    """Code that cannot end its script element; where these occur in JavaScript they are in strings."""
    return code.strip().replace("</script", "<\\/script").replace("<!--", "\\x3c!--")


def asset(name: str) -> str:
    """The text of a file beside this one."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
