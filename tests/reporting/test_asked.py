"""The numbers that were asked by name, against rows written by hand."""

from __future__ import annotations

from dataclasses import replace

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


def test_movement_is_a_verdict_of_its_own() -> None:
    row = replace(
        FIRST, analysis="kinds", unit="neurons", value=3.0, since="step 0", reference=0.0, beyond_movement=False
    )
    (table,) = asked_tables([], [row], {"kinds": "counts"})
    assert table.header == ("what", "change", "against movement")
    assert table.lines == [("kinds", "+3", "not told from movement")]


def test_an_analysis_without_rows_is_named() -> None:
    assert asked_tables([FIRST], [FIRST], {"layer_parts": "parts"}) == [Asked("layer_parts", "parts", (), [])]
