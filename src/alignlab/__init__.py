"""alignlab: fine-tune language models across languages and watch their neurons change."""

__version__ = "0.1.0"
