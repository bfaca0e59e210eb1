"""The browser that tests of the page and of its figures drive."""

from __future__ import annotations

import os
import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def installed_browser() -> str:
    """Where it is. Without one a test is skipped on a user's machine, and fails where CI installs it."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        why = f"none of {', '.join(BROWSERS)} is installed: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return found
