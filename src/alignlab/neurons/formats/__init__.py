"""Files of others: counts and sets as published code writes and reads them. Nothing that a file holds is executed."""

from alignlab.neurons.formats.counts import (
    COUNT_FORMATS,
    load_arithmetic_counts,
    load_lape_counts,
    load_ternary_counts,
    save_arithmetic_counts,
    save_lape_counts,
    save_ternary_counts,
)
from alignlab.neurons.formats.sets import SET_FORMATS, load_sets, save_sets

__all__ = [
    "COUNT_FORMATS",
    "SET_FORMATS",
    "load_arithmetic_counts",
    "load_lape_counts",
    "load_sets",
    "load_ternary_counts",
    "save_arithmetic_counts",
    "save_lape_counts",
    "save_sets",
    "save_ternary_counts",
]
