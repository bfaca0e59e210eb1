"""What `scripts/bench.py` measures. Nothing here is a test: no figure fails."""
