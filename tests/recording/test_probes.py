"""Which documents a probe takes, how it deals them to shards, and which tokens it counts."""

from __future__ import annotations

from typing import Any

import pytest

from alignlab.data.prompts import Prompts
from alignlab.data.records import Message, Record
from alignlab.errors import InputError
from alignlab.recording.probes import build_probe


def parallel(count: int, languages: tuple[str, ...] = ("en", "de")) -> list[Record]:
    return [Record(str(n), code, f"question {n}", f"answer {n} in {code}") for code in languages for n in range(count)]


def test_parallel_documents_are_taken_together_and_share_a_shard(tokenizer: Any) -> None:
    probe = build_probe(parallel(50), tokenizer, max_texts=20, shards=4)
    ids = {code: [document.id for document in documents] for code, documents in probe.documents.items()}
    assert ids["en"] == ids["de"]
    assert len(ids["en"]) == 20
    # Seeded, and not simply the first ones.
    assert ids["en"] != [str(n) for n in range(20)]
    again = build_probe(list(reversed(parallel(50))), tokenizer, max_texts=20, shards=4)
    assert [document.id for document in again.documents["en"]] == ids["en"]
    other = build_probe(parallel(50), tokenizer, max_texts=20, shards=4, seed=1)
    assert {document.id for document in other.documents["en"]} != set(ids["en"])


def test_languages_keep_the_order_of_the_records(tokenizer: Any) -> None:
    assert build_probe(parallel(3, ("sw", "en", "de")), tokenizer).languages == ("sw", "en", "de")


def test_response_counts_the_answer_and_all_counts_everything_but_specials(tokenizer: Any) -> None:
    response = build_probe(parallel(1), tokenizer, scope="response").documents["en"][0]
    for scope, special, expected in (
        ("response", False, [a and not s for a, s in zip(response.answer, response.special, strict=True)]),
        ("all", False, [not s for s in response.special]),
        ("all", True, [True for _ in response.special]),
    ):
        probe = build_probe(parallel(1), tokenizer, scope=scope, count_special_tokens=special)  # type: ignore[arg-type]
        assert probe.counted(probe.documents["en"][0]).tolist() == expected
        assert probe.tokens("en").sum() == sum(expected)
    assert response.special.any()  # BOS is there to be left out


def test_a_language_with_nothing_to_count_is_refused(tokenizer: Any) -> None:
    texts = [*parallel(2, ("en",)), Record("0", "sw", "a question without an answer")]
    with pytest.raises(InputError) as refusal:
        build_probe(texts, tokenizer, scope="response")
    assert str(refusal.value) == (
        "probe (scope response): language 'sw' has no token to count in 1 documents; expected one or more. "
        "Give answers, or set probe.scope=all."
    )


def test_the_fingerprint_changes_with_the_text_and_with_what_is_counted(tokenizer: Any) -> None:
    def fingerprint(**changes: Any) -> str:
        options: dict[str, Any] = {"records": parallel(5), "tokenizer": tokenizer, **changes}
        return build_probe(**options).fingerprint

    other_text = [*parallel(5)[:-1], Record("4", "de", "question 4", "answer 5 in de")]
    prints = [
        fingerprint(),
        fingerprint(records=other_text),
        fingerprint(scope="all"),
        fingerprint(shards=3),
        fingerprint(count_special_tokens=True),
        fingerprint(prompts=Prompts(template="Q: {prompt}\n")),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint() == prints[0]
    # Five documents fill five shards, whatever is asked for.
    assert fingerprint(shards=5) == prints[0]
    # How documents are batched changes no count.
    assert fingerprint(max_tokens_per_batch=7) == prints[0]


def test_conversations_are_not_answered_again(tokenizer: Any) -> None:
    turns = (Message("user", "12?"), Message("assistant", "12"))
    with pytest.raises(InputError, match=r"^probe.responses: generated_once, and records are conversations"):
        build_probe([Record("1", "de", "", messages=turns)], tokenizer, responses="generated_once")
