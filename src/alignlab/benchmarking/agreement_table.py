"""The comparison of identifiers as people read it on the terminal: its plan, and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mean

from alignlab import console
from alignlab.analysis.recount import ModelToCount, Recount
from alignlab.benchmarking.agreement import AgreementConfig, Compared
from alignlab.neurons.agreement import Agreement, shared_share
from alignlab.question import AnalyzeConfig
from alignlab.reporting.wording import number


def show_plan(config: AgreementConfig, questions: Mapping[str, tuple[AnalyzeConfig, Recount]]) -> None:
    """Print what will be compared, and what has to be recorded for it."""
    _, recount = next(iter(questions.values()))
    probe = recount.probe(recount.models[0], next(iter(recount.probes)))
    tokens = {model.label: f"{_tokens(recount, model):,}" for model in recount.models}
    alike = len(set(tokens.values())) == 1
    read = "a model" if alike else " and ".join(f"of {label}" for label in tokens)
    by_record: dict[str, list[str]] = {}
    for name, (_, one) in questions.items():
        by_record.setdefault("counts" if one.beside is None else one.beside.what, []).append(name)
    missing = {what: len(questions[names[0]][1].missing()) for what, names in by_record.items()}
    size = f"{config.size:,}" if config.size else f"as many as {config.identifier.name} finds, on average"
    console.heading("Plan of the comparison")
    console.table(
        [
            ("models", f"{len(recount.models)}: {', '.join(model.label for model in recount.models)}"),
            ("texts", f"{len(recount.probes)}, {' and '.join(dict.fromkeys(tokens.values()))} tokens {read}; "
             f"{' '.join(probe.languages)}"),
            *((f"reading {what}", f"{', '.join(names)}: {missing[what]} of {len(recount.records())} records "
               "have to be made") for what, names in by_record.items()),
            ("neurons a language", f"{size}, where an identifier takes a number"),
            ("device", f"{recount.loader.device}, {recount.loader.precision}"),
            ("kept in", str(recount.folder)),
            ("results", str(config.results)),
        ]
    )  # fmt: skip


def _tokens(recount: Recount, model: ModelToCount) -> int:
    """The tokens of all texts, as a model's tokenizer cuts them."""
    return sum(
        len(document)
        for name in recount.probes
        for documents in recount.probe(model, name).documents.values()
        for document in documents
    )


def show_compared(compared: Compared) -> None:
    """Print what each identifier finds in the last record, and what they share."""
    layers, width = compared.shape
    last = compared.records[-1]
    names = [*compared.found[last]]
    others = [record for record in compared.records if record != last]
    console.say()
    console.heading(f"Identifiers on {last}: {layers} x {width:,} neurons at {compared.site}, {compared.scope} tokens")
    header = ("", "identifier", "neurons a language", "in several", "halves", *others, "seconds")
    lines = []
    for place, name in enumerate(names, start=1):
        one = compared.found[last][name]
        sizes = [int(mask.sum()) for mask in one.sets.values()]
        lines.append(
            [
                str(place),
                name,
                f"{number(mean(sizes), 1)} ({min(sizes):,} to {max(sizes):,})",
                _share(shared_share(one.sets)),
                _beside(compared.of_halves(last, name)),
                *(_beside(compared.of_records(other, last, name)) for other in others),
                f"{one.seconds:.2f}",
            ]
        )
    console.table(lines, header, "llrr" + "r" * (len(others) + 2))
    if compared.note:
        console.note(compared.note)
    console.note(
        "halves: Jaccard overlap of what is found on either half of the documents (even and odd shards)"
        + (f"; {', '.join(others)}: with what is found there" if others else "")
        + ". Means over languages; in brackets what two random sets of these sizes in each layer would share. "
        "in several: of the neurons of any set, the share in two or more."
    )
    reasons = [f"note: {name}: {one.reason}" for name, one in compared.found[last].items() if one.reason]
    for reason in reasons:
        console.note(reason)
    if len(names) > 1:
        _show_pairs(compared, last, names)
    _show_fertility(compared, last)


def _show_pairs(compared: Compared, record: str, names: list[str]) -> None:
    pairs = {(first, second): found for first, second, found in compared.between(record)}
    lines = []
    for row, first in enumerate(names):
        cells = [str(row + 1), first]
        for column, second in enumerate(names):
            if row == column:
                cells.append("-")
            else:
                found = pairs[(first, second) if row < column else (second, first)]
                cells.append(_share(found.jaccard if row < column else found.chance))
        lines.append(cells)
    console.say()
    console.heading(f"What they share on {record}: Jaccard overlap, above; by chance, below the diagonal")
    console.table(lines, ("", "", *(str(place + 1) for place in range(len(names)))), "ll" + "r" * len(names), keep=2)
    console.note(
        "An overlap beyond chance says that two look at the same thing, not that either is right: that is asked where "
        "the truth is known, by alignlab.benchmark identifiers."
    )


def _show_fertility(compared: Compared, record: str) -> None:
    of = compared.fertility.get(record)
    if not of:
        return
    console.say()
    console.heading(f"Tokens counted on {record}: a count a token means another amount of text in each language")
    header = ("language", "documents", "tokens", "a character", f"beside {compared.reference}")
    lines = [
        [name, f"{one.documents:,}", f"{one.tokens:,}", number(one.per_character, 2), number(one.premium, 2)]
        for name, one in of.items()
    ]
    console.table(lines, header, "lrrrr")
    console.note(
        f"beside {compared.reference}: tokens of the same documents, as a ratio; empty where none are the same."
    )


def show_written(config: AgreementConfig, folder: Path) -> None:
    """Print the paths and the next command."""
    console.say()
    console.heading("Written")
    console.table(
        [
            ("numbers", f"{folder / 'table.csv'} (all pairs, languages and layers)"),
            ("page", f"{folder / 'report.html'} (opens in a browser, offline)"),
            ("question", str(folder / "config.yaml")),
        ]
    )
    source = f"run={config.run}" if config.run else f"models=[{','.join(config.models)}]"
    own = config.identifier.name
    other = next((one.name for one in config.chosen.values() if one.name != own), own)
    console.say(f"\nNext: one of them in full, e.g. python -m alignlab.analyze {source} identifier.name={other}")


def _share(value: float) -> str:
    return "" if value != value else f"{value:.2f}".removeprefix("0")


def _beside(found: Agreement | None) -> str:
    if found is None:
        return "one shard"
    return f"{_share(found.jaccard)} ({_share(found.chance)})" if found.jaccard == found.jaccard else "no neurons"
