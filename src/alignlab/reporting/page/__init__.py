"""The report: one HTML page of one to four runs, a pure function of `PageRun`."""

from alignlab.reporting.page.data import PageLanguage, PageRun
from alignlab.reporting.page.render import check_page, render, write_page

__all__ = ["PageLanguage", "PageRun", "check_page", "render", "write_page"]
