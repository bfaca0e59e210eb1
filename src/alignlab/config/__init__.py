"""Configuration: components declare options, files and the command line set them, every mistake is told at once.

This is mechanism only; it knows no component. `Options`, `option` and `section` declare, `load` reads, `help_text`
explains, `to_plain`, `to_yaml` and `differences` write a config down and compare two.
"""

from .declare import REQUIRED, Options, option, section
from .documents import COMMAND_LINE
from .files import shipped_configs
from .help_text import asks_for_help, help_text, start_text
from .loading import BaseOf, load, load_over
from .writing import as_override, differences, to_plain, to_yaml

__all__ = ["COMMAND_LINE", "REQUIRED", "BaseOf", "Options", "as_override", "asks_for_help", "differences", "help_text"]
__all__ += ["load", "load_over", "option", "section", "shipped_configs", "start_text", "to_plain", "to_yaml"]
