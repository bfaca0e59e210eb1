"""Configuration: components declare options, files and the command line set them, every mistake is told at once.

This is mechanism only; it knows no component. `option`, `section` and `variant` declare, `load` reads, `help_text`
explains, `to_plain`, `to_yaml` and `differences` write a config down and compare two.
"""

from .arguments import asks_for_help
from .declare import REQUIRED, option, section, variant
from .files import shipped_configs
from .help_text import help_text
from .loading import Beneath, load
from .writing import differences, to_plain, to_yaml

__all__ = [
    "REQUIRED",
    "Beneath",
    "asks_for_help",
    "differences",
    "help_text",
    "load",
    "option",
    "section",
    "shipped_configs",
    "to_plain",
    "to_yaml",
    "variant",
]
