"""`benchmark agreement`: plan, record what is missing, compare, and say what was written."""

from __future__ import annotations

from pathlib import Path

from alignlab import console
from alignlab.atomic import whole_folder
from alignlab.benchmarking.agreement import KIND, AgreementConfig, Compared, compare, rows_of
from alignlab.benchmarking.agreement_options import AgreementOptions
from alignlab.benchmarking.agreement_page import write_agreement_page
from alignlab.benchmarking.agreement_table import show_compared, show_plan, show_written
from alignlab.manifest import check_replaceable
from alignlab.models.distributed import is_first, join
from alignlab.neurons.table import write_csv
from alignlab.runs import check_writable


def run(options: AgreementOptions) -> None:
    """The whole command. What is recorded of a model is kept, so that a stopped command goes on with the next."""
    config = AgreementConfig.of(options)
    questions = config.questions()
    show_plan(config, questions)
    check_replaceable(config.results, KIND, "folder")
    check_writable(config.results, "folder")
    if config.dry_run:
        console.say("\nThis was a dry run: nothing was written. Leave out dry_run=true to run it.")
        return
    join()
    for _, recount in questions.values():
        recount.count()
    if is_first():
        compared = compare(config, questions)
        _write(config, compared, config.results)
        show_compared(compared)
        show_written(config, config.results)


def _write(config: AgreementConfig, compared: Compared, folder: Path) -> None:
    with whole_folder(folder, KIND) as partial:
        write_csv(partial / "table.csv", rows_of(compared))
        write_agreement_page(compared, partial / "report.html")
        (partial / "config.yaml").write_text(config.document, encoding="utf-8")
