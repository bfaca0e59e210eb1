"""The numbers that were asked by name, against rows written by hand."""

from __future__ import annotations

from dataclasses import replace

from alignlab.analysis.languages import EXCESS, EXPECTED, EXPECTED_COMMON, Z
from alignlab.neurons.table import Row
from alignlab.reporting.page.asked import asked_tables
from alignlab.reporting.page.data import Asked

FIRST = Row(analysis="losses", record="step 0", group="language", language="de", value=1.25, unit="nats a token")


def rows_of_last() -> list[Row]:
    now = [replace(FIRST, record="step 9", language=code, value=value) for code, value in (("de", 1.0), ("zh", 3.5))]
    change = replace(now[0], value=-0.25, since="step 0", reference=0.0, low=-0.5, high=-0.125, beyond_noise=True)
    other = replace(change, value=+7.0, since="", since_before="step 5", low=None, high=None, beyond_noise=None)
    few = replace(now[1], value=0.5, since="step 0", reference=0.0, status="too few")
    return [*now, change, other, few]


def test_numbers_and_their_change_stand_on_a_line() -> None:
    (table,) = asked_tables([FIRST], rows_of_last(), {"losses": "loss of each language"})
    assert table == Asked(
        "losses",
        "loss of each language",
        ("what", "step 0", "step 9", "change", "95 % interval", "against noise"),
        [
            ("de", "1.250", "1.000", "−0.250", "−0.500 to −0.125", "beyond noise"),
            ("zh", "", "3.500", "+0.500", "too few to tell", ""),
        ],
    )


def test_of_one_record_the_numbers_alone() -> None:
    (table,) = asked_tables([FIRST], [FIRST], {"losses": "loss"})
    assert (table.header, table.lines) == (("what", "step 0"), [("losses", "1.250")])


def test_changes_since_the_record_before_where_nothing_else_is_asked() -> None:
    by_layer = [
        Row(
            analysis="delta",
            record="b",
            since_before="a",
            kind="general",
            layer=layer,
            value=layer - 1.0,
            reference=0.0,
        )
        for layer in range(3)
    ]
    (table,) = asked_tables([], by_layer, {"delta": "change"})
    assert table.header == ("what", "change")
    assert table.lines == [("layer 0", "−1"), ("layer 1", "+0"), ("layer 2", "+1")]


def test_of_a_single_neuron_both_probabilities_stand_though_its_kind_has_changed() -> None:
    before = replace(FIRST, analysis="profile", unit="probability", layer=2, label="2.17", kind="related", degree=3)
    after = replace(before, record="step 9", value=0.25, kind="specific", degree=1)
    change = replace(after, value=-0.5, since="step 0")
    (table,) = asked_tables(
        [replace(row, analysis="single_neuron_profile") for row in (replace(before, value=0.75),)],
        [replace(row, analysis="single_neuron_profile") for row in (after, change)],
        {"single_neuron_profile": "probability"},
    )
    assert table.header == ("neuron", "step 0", "step 9", "change", "kind and degree")
    assert table.lines == [("2.17 de", "0.750", "0.250", "−0.500", "related 3 to specific 1")]


def test_movement_is_a_verdict_of_its_own() -> None:
    row = replace(
        FIRST, analysis="kinds", unit="neurons", value=3.0, since="step 0", reference=0.0, beyond_movement=False
    )
    (table,) = asked_tables([], [row], {"kinds": "counts"})
    assert table.header == ("what", "change", "against movement")
    assert table.lines == [("kinds", "+3", "not told from movement")]


def test_an_analysis_without_rows_is_named() -> None:
    assert asked_tables([FIRST], [FIRST], {"layer_parts": "parts"}) == [Asked("layer_parts", "parts", (), [])]


def pair_rows(record: str, excess: dict[str, float], adjusted: dict[str, float | None]) -> list[Row]:
    """Of de and three others: 4 of 10 in common, 2.25 expected; z ten times what is beyond."""
    found = []
    for other, beyond in excess.items():
        of = Row(analysis="language_overlap", record=record, group="pair", language="de", other=other, value=0)
        p = adjusted[other]
        found += [
            replace(of, measure="jaccard", value=0.4, unit="share", denominator=10),
            replace(of, measure=EXPECTED, value=0.4 - beyond, unit="share"),
            replace(of, measure=EXCESS, value=beyond, unit="share", reference=0.0),
            replace(of, measure="common", value=4, denominator=10),
            replace(of, measure=EXPECTED_COMMON, value=2.25),
            replace(of, measure=Z, value=10 * beyond, unit="z", p=p, p_adjusted=p, correction="holm" if p else ""),
        ]
    return found


def test_pairs_of_languages_are_told_in_a_sentence_and_the_surest_first() -> None:
    first = pair_rows("step 0", {"bn": 0.1, "en": 0.1, "sw": 0.1}, {"bn": 0.5, "en": 0.5, "sw": None})
    now = pair_rows("step 9", {"bn": -0.2, "en": 0.3, "sw": 0.1}, {"bn": 0.04, "en": 0.001, "sw": None})
    change = next(row for row in now if (row.other, row.measure) == ("bn", EXCESS))
    change = replace(change, value=-0.3, since="step 0", low=-0.4, high=-0.1, beyond_noise=True)
    (table,) = asked_tables(first, [*now, change], {"language_overlap": "pairs"})
    assert table.said == [
        "step 0: given the margins, 0 of 2 pairs share more than others and 0 less (corrected by Holm).",
        "step 9: given the margins, 1 of 2 pairs share more than others and 1 less (corrected by Holm).",
    ]
    assert table.header[:5] == ("pair", "common", "expected", "Jaccard", "expected Jaccard")
    assert table.header[5:] == (
        "z",
        "p, corrected",
        "beyond the margins",
        "its change",
        "95 % interval",
        "against noise",
    )
    assert table.lines == [
        ("de and en", "4", "2.2", "0.400", "0.100", "+3.0", "0.001", "+0.300", "", "", ""),
        (
            "de and bn",
            "4",
            "2.2",
            "0.400",
            "0.600",
            "−2.0",
            "0.04",
            "−0.200",
            "−0.300",
            "−0.400 to −0.100",
            "beyond noise",
        ),
        ("de and sw", "4", "2.2", "0.400", "0.300", "+1.0", "", "+0.100", "", "", ""),
    ]
    (alone,) = asked_tables(first, first, {"language_overlap": "pairs"})
    assert len(alone.said) == 1
    (untold,) = asked_tables([], [row for row in now if row.other == "sw"], {"language_overlap": "pairs"})
    assert untold.said == ["step 9: no pair of languages can be tested, since the margins leave no freedom."]
    assert asked_tables([], [], {"language_overlap": "pairs"}) == [Asked("language_overlap", "pairs", (), [], [])]
