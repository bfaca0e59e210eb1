"""Clusters of documents are dealt to shards whole, and what that does to intervals."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alignlab.data.encoding import Document
from alignlab.data.records import Record
from alignlab.data.sources import Files, ParallelText, Source, WordProblems
from alignlab.errors import InputError
from alignlab.models.sites import find_sites
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.neurons.uncertainty import bootstrap, bootstrap_difference, resampled_losses
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.dealing import deal
from alignlab.recording.probes import Probe, ProbeConfig, build_probe

WORDS = "the red fox runs over seven old hills while 12 birds sing and nobody counts them at night".split()  # noqa: SIM905


def texts(count: int, clusters: int | None, languages: Sequence[str] = ("en", "de"), seed: int = 0) -> list[Record]:
    """Parallel documents, of so many clusters of unequal sizes, or each on its own; in no order."""
    random = np.random.default_rng(seed)
    owners = [int(clusters * random.random() ** 2) for _ in range(count)] if clusters else []
    records = [
        Record(f"t{n}", code, f"question {n}", f"answer {n} in {code}", f"c{owners[n]}" if clusters else "")
        for code in languages
        for n in range(count)
    ]
    return [records[place] for place in random.permutation(len(records))]


def slow_order(seed: int, names: set[str]) -> list[str]:
    """The names in the order of their hashes, smallest first, one after another."""
    left, order = set(names), []
    while left:
        first = min(left, key=lambda name: hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest())
        order.append(first)
        left.remove(first)
    return order


def slow_deal(records: list[Record], seed: int, shards: int) -> dict[str, dict[str, int]]:
    """language -> id -> shard: the clusters of each language laid out one by one on S heaps, around and around."""
    dealt: dict[str, dict[str, int]] = defaultdict(dict)
    for language in {record.language for record in records}:
        mine = [record for record in records if record.language == language]
        heap = 0
        for cluster in slow_order(seed, {record.cluster for record in mine}):
            for record in mine:
                if record.cluster == cluster:
                    dealt[language][record.id] = heap
            heap = 0 if heap == shards - 1 else heap + 1
    return dealt


def shard_of(probe: Probe) -> dict[str, dict[str, int]]:
    return {
        language: dict(zip([one.id for one in documents], probe.shards_of(language).tolist(), strict=True))
        for language, documents in probe.documents.items()
    }


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize(("clusters", "shards"), [(None, 4), (None, 1), (9, 4), (9, 5), (3, 3), (30, 7)])
def test_clusters_are_dealt_as_a_slow_loop_deals_them(
    clusters: int | None, shards: int, seed: int, tokenizer: Any
) -> None:
    records = texts(40, clusters, seed=seed)
    probe = build_probe(records, tokenizer, shards=shards, seed=seed)
    expected = slow_deal(records, seed, shards)
    assert shard_of(probe) == expected
    assert (probe.shards, probe.shards_asked) == (shards, None)
    assert bool(probe.clusters) == (clusters is not None)
    for language, documents in probe.documents.items():
        tokens, numbers = [0] * shards, [0] * shards
        for document in documents:
            shard = expected[language][document.id]
            numbers[shard] += 1
            for answer, special in zip(document.answer, document.special, strict=True):
                tokens[shard] += bool(answer) and not bool(special)
        assert probe.tokens(language).tolist() == tokens
        assert probe.shard_documents(language).tolist() == numbers


def test_documents_on_their_own_are_dealt_as_before_there_were_clusters(tokenizer: Any) -> None:
    """By position in the order of the ids' hashes, mod S; and with the fingerprint of then, so that runs go on."""
    records = texts(30, None)
    probe = build_probe(records, tokenizer, shards=7, seed=2, max_texts=25)
    prints = ""
    for language, documents in probe.documents.items():
        order = slow_order(2, {record.id for record in records})[:25]
        assert [document.id for document in documents] == order
        assert probe.shards_of(language).tolist() == [place % 7 for place in range(25)]
        digest = hashlib.sha256()
        for document in documents:
            digest.update(f"{document.id}\0{language}\0{len(document.tokens)}\0".encode())
            digest.update(np.array(document.tokens, dtype="<i4").tobytes())
            digest.update(np.packbits(document.answer).tobytes() + np.packbits(document.special).tobytes())
        prints += digest.hexdigest()[:16]
    assert probe.fingerprint == hashlib.sha256(f"response 7 False {prints}".encode()).hexdigest()[:16]


def test_the_fingerprint_tells_how_clusters_are_dealt_and_not_their_names(tokenizer: Any) -> None:
    def renamed(records: list[Record], names: dict[str, str]) -> list[Record]:
        return [
            Record(one.id, one.language, one.prompt, one.answer, names.get(one.cluster, one.cluster)) for one in records
        ]

    records = texts(40, 9)
    prints = {
        name: build_probe(some, tokenizer, shards=4).fingerprint
        for name, some in {
            "clusters": records,
            "none": renamed(records, {f"c{n}": "" for n in range(9)}),
            "two as one": renamed(records, {"c3": "c4"}),
        }.items()
    }
    assert len(set(prints.values())) == 3
    assert build_probe(records, tokenizer, shards=4).fingerprint == prints["clusters"]


def test_max_texts_takes_the_same_documents_whatever_their_clusters(tokenizer: Any) -> None:
    probes = [build_probe(texts(40, clusters), tokenizer, shards=3, max_texts=11) for clusters in (None, 9)]
    alone, together = ({document.id for document in probe.documents["de"]} for probe in probes)
    assert alone == together
    assert len(alone) == 11


# Sources


def files(folder: Path, suffix: str, **options: Any) -> Files:
    """Three languages with the same 30 documents, of nine templates."""
    random = np.random.default_rng(4)
    templates = [f"t {random.integers(9)}" for _ in range(30)]
    for code in ("en", "de", "sw"):
        rows = [
            {"question": f"{code} {n}", "answer": f"answer {n}", "template": templates[n], "number": n}
            for n in range(30)
        ]
        lines = [
            json.dumps(row) if suffix == "jsonl" else "\t".join(map(str, row.values()))
            for row in [rows[place] for place in random.permutation(30)]
        ]
        (folder / f"{code}.{suffix}").write_text("\n".join(lines), encoding="utf-8")
    return Files(path=str(folder), **options)


def blocks(folder: Path) -> Files:
    for code in ("en", "de", "sw"):
        lines = [f"{code} {n}" if n % 6 else "" for n in range(30)]
        (folder / f"{code}.txt").write_text("\n".join(lines), encoding="utf-8")
    return Files(path=str(folder), cluster_lines=4)


def pairs(folder: Path) -> ParallelText:
    for code in ("en", "de", "sw"):
        (folder / code).write_text("\n".join(f"{code} {n}" for n in range(30)), encoding="utf-8")
    pattern = f"{folder}/{{language}}"
    return ParallelText(
        source=pattern, target=str(folder / "en"), languages=["de", "sw", "en"], parallel=True, cluster_lines=4
    )


SOURCES = {
    "word problems": lambda _: WordProblems(split="probe", count=30, languages=["en", "de", "sw"]),
    "jsonl": lambda folder: files(folder, "jsonl", prompt="question", answer="answer", id="number", cluster="template"),
    "tsv": lambda folder: files(folder, "tsv", prompt=0, answer=1, id=3, cluster=2),
    "lines": blocks,
    "pairs": pairs,
}


@pytest.mark.parametrize("kind", SOURCES)
def test_the_clusters_of_every_source_are_whole_and_alike_in_all_languages(
    kind: str, tokenizer: Any, tmp_path: Path
) -> None:
    source: Source = SOURCES[kind](tmp_path)
    probe = ProbeConfig(source=source, scope="all", shards=4).build(tokenizer)
    records = source.load()
    assert len({record.cluster for record in records}) < len({record.id for record in records})
    where: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for language, documents in probe.documents.items():
        for document, shard in zip(documents, probe.shards_of(language).tolist(), strict=True):
            where[document.cluster].add((shard, language))
    assert sum(len(documents) for documents in probe.documents.values()) == len(records)
    for places in where.values():
        assert len({shard for shard, _ in places}) == 1
        assert {language for _, language in places} == {"en", "de", "sw"}
    assert shard_of(probe) == slow_deal(records, 0, 4)  # type: ignore[arg-type]
    assert probe.clusters == source.clusters != ""


def test_parallel_documents_in_different_clusters_are_refused_all_at_once(tokenizer: Any) -> None:
    records = [
        Record(str(n), code, f"question {n}", "yes", f"c{n % 3 + (code == 'de' and n in (1, 2, 5, 7, 8))}")
        for code in ("en", "de", "sw")
        for n in range(9)
    ]
    with pytest.raises(InputError) as refusal:
        build_probe(records, tokenizer)
    assert str(refusal.value) == (
        "probe.source: 5 of 9 documents are in different clusters: '1' (en 'c1', de 'c2'), '2' (en 'c2', de 'c3'), "
        "'5' (en 'c2', de 'c3') and 2 more; expected the same cluster wherever the id is the same, as parallel "
        "documents are resampled together. Correct them, or set parallel=false in the source if documents of one id do "
        "not say the same thing."
    )


# Fewer clusters than shards


def test_there_are_no_more_shards_than_clusters(tokenizer: Any) -> None:
    records = texts(40, 9)
    number = len({record.cluster for record in records})
    probe = build_probe(records, tokenizer)
    assert (probe.shards, probe.shards_asked) == (number, 20)
    assert shard_of(probe) == slow_deal(records, 0, number)
    assert min(probe.shard_documents("en")) > 0
    assert probe.dealing == (
        f"{number} clusters (named by the records): {number} shards a language, not 20, of which some would be empty"
    )
    few = build_probe([*texts(30, None, ["en"]), *texts(12, None, ["sw"])], tokenizer)
    assert (few.shards, few.shards_asked) == (12, 20)
    assert few.dealing == ("12 (sw) to 30 (en) documents: 12 shards a language, not 20, of which some would be empty")
    assert build_probe(texts(20, None), tokenizer).dealing == ""
    one = build_probe(texts(5, 1), tokenizer)
    assert one.shards == 1
    assert one.dealing.endswith("; intervals need two or more")


def test_the_demo_has_22_templates(tokenizer: Any) -> None:
    source = WordProblems(split="probe", count=120)
    probe = ProbeConfig(source=source).build(tokenizer)
    assert probe.dealing == "22 clusters (templates): 20 shards a language"
    questions = {record.cluster: record.prompt for record in source.load() if record.language == "en"}
    assert len(questions) == 22
    # 22 clusters on 20 heaps: two shards hold two of them.
    per = defaultdict(set)
    for document, shard in zip(probe.documents["en"], probe.shards_of("en").tolist(), strict=True):
        per[shard].add(document.cluster)
    assert sorted(map(len, per.values())) == [1] * 18 + [2] * 2


# Intervals


def copied(copies: int, clusters: bool) -> list[Record]:
    """Twenty texts in two languages, each written down so many times; known to be copies, or not."""
    random = np.random.default_rng(1)
    return [
        Record(f"{n}" if copies == 1 else f"{n}-{copy}", code, question, answer, str(n) if clusters else "")
        for code in ("en", "de")
        for n in range(20)
        for question, answer in [(f"question {n}", " ".join(random.choice(WORDS, size=random.integers(3, 12))))]
        for copy in range(copies)
    ]


def test_copies_within_clusters_add_no_certainty(tokenizer: Any, tiny_llama: Any) -> None:
    """A copy tells nothing new: by clusters the spread is that of the texts without copies, by documents too small."""

    def counted(records: list[Record]) -> ActivationCounts:
        # Each text in a batch of its own: padding changes the last bits of a loss.
        probe = build_probe(records, tokenizer, max_tokens_per_batch=1)
        assert probe.shards == 20
        return count_firings(tiny_llama.double(), find_sites(tiny_llama), probe, origin=Origin())

    once = counted(copied(1, clusters=False))
    by_cluster, by_document = counted(copied(6, clusters=True)), counted(copied(6, clusters=False))
    assert by_cluster.totals().equal(6 * once.totals())
    assert by_document.totals().equal(by_cluster.totals())
    identifier = TernaryConfig(top_rate=0.4, bar=0.6)
    first, known, unknown = (bootstrap(counts, identifier, resamples=200) for counts in (once, by_cluster, by_document))
    assert np.array_equal(known.values, first.values)
    spread = [np.nanmean(drawn.values[:, :20].std(axis=0)) for drawn in (known, unknown)]
    assert spread[0] > 0.5
    assert spread[1] < 0.7 * spread[0]
    losses = [resampled_losses(counts) for counts in (once, by_cluster, by_document)]
    assert losses[0] is not None
    assert np.allclose(losses[0], losses[1], rtol=1e-12)
    # Six copies each: six times the documents, and a standard error smaller by the root of that.
    ratio = losses[2].std(axis=0) / losses[1].std(axis=0)
    assert np.all(np.abs(ratio - 6**-0.5) < 0.25)


def test_intervals_say_what_they_are_over(tokenizer: Any, tiny_llama: Any) -> None:
    identifier = TernaryConfig(top_rate=0.4, bar=0.6)
    for clusters, over in ((9, "clusters"), (None, "shards")):
        probe = build_probe(texts(40, clusters), tokenizer, shards=5)
        counts = count_firings(tiny_llama, find_sites(tiny_llama), probe, origin=Origin())
        assert counts.clusters == ("named by the records" if clusters else "")
        drawn = bootstrap(counts, identifier, resamples=20)
        again = bootstrap_difference(counts, counts, identifier, resamples=20)
        rows = [row for row in (*drawn.intervals, *again.intervals) if row.low is not None]
        assert {row.over for row in rows} == {over}


LANGUAGES, LAYERS, NEURONS = 4, 1, 500
TEMPLATES, PROBLEMS = 22, 120  # as in the demo
IDENTIFIER = TernaryConfig(top_rate=0.2, bar=0.7, lambda_=0.04)


def simulated(seed: int) -> tuple[ActivationCounts, ActivationCounts]:
    """New problems of new templates, as counts by cluster and by document.

    A neuron is more active in some templates than in others; the problems of one differ in length and by chance.
    """
    population, random = np.random.default_rng(0), np.random.default_rng(1000 + seed)
    logits = population.normal(-1.5, 1.2, (1, LAYERS, NEURONS)) + population.normal(0, 1.0, (4, LAYERS, NEURONS))
    templates = np.sort(random.integers(TEMPLATES, size=PROBLEMS))
    effects = 0.8 * random.normal(size=(LANGUAGES, TEMPLATES, LAYERS, NEURONS))[:, templates]
    tokens = random.integers(10, 40, (LANGUAGES, PROBLEMS))
    firings = random.binomial(tokens[..., None, None], 1 / (1 + np.exp(-logits[:, None] - effects)))
    empty, none = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.bool_)
    records = []
    for cluster in (True, False):
        documents = [
            Document(f"{n}", "", empty, none, none, f"template {templates[n]}" if cluster else "")
            for n in random.permutation(PROBLEMS)
        ]
        number = min(20, len({document.cluster for document in documents}))
        shards = np.zeros(PROBLEMS, dtype=np.int64)
        shards[[int(document.id) for document in documents]] = deal(documents, number)
        heaps = [np.flatnonzero(shards == shard) for shard in range(number)]
        records.append(
            ActivationCounts(
                tuple("abcd"),
                torch.from_numpy(np.stack([firings[:, heap].sum(axis=1) for heap in heaps], axis=1)),
                torch.from_numpy(np.stack([tokens[:, heap].sum(axis=1) for heap in heaps], axis=1)),
                torch.tensor([[len(heap) for heap in heaps]] * LANGUAGES),
                "mlp.act",
                "all",
            )
        )
    return records[0], records[1]


def coverage(runs: int) -> tuple[float, float]:
    """How often intervals by cluster and by document hold the mean of all estimates; mean over kinds and languages."""
    drawn = [
        [bootstrap(one, IDENTIFIER, resamples=100, seed=run).intervals for one in simulated(run)] for run in range(runs)
    ]
    estimates = np.array([[row.value for row in by_cluster] for by_cluster, _ in drawn])
    chosen = [
        place
        for place, row in enumerate(drawn[0][0])
        if row.layer is None and row.kind and row.group in ("all", "language") and estimates[:, place].mean() > 3
    ]
    assert len(chosen) >= 8
    hits = [
        [[rows[place].low <= estimates[:, place].mean() <= rows[place].high for place in chosen] for rows in pair]
        for pair in drawn
    ]
    by_cluster, by_document = np.mean(hits, axis=(0, 2))
    return float(by_cluster), float(by_document)


def test_intervals_hold_what_they_say_by_cluster_and_not_by_document() -> None:
    by_cluster, by_document = coverage(30)
    assert by_cluster > 0.92
    assert by_document < by_cluster - 0.05
