"""The report: one HTML page of one to four runs, a pure function of `PageRun`."""

from alignlab.reporting.page.data import (
    LanguageOverlap,
    LayerParts,
    LossRow,
    PageLanguage,
    PageNumber,
    PageRow,
    PageRun,
    Thresholds,
    Transition,
)
from alignlab.reporting.page.render import check_page, render, write_page

__all__ = [
    "LanguageOverlap",
    "LayerParts",
    "LossRow",
    "PageLanguage",
    "PageNumber",
    "PageRow",
    "PageRun",
    "Thresholds",
    "Transition",
    "check_page",
    "render",
    "write_page",
]
