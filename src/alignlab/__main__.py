"""`python -m alignlab` is the console script `alignlab`."""

from __future__ import annotations

from alignlab.cli import run

if __name__ == "__main__":
    run()
