"""Expressions of sets, against Python's own operators, set algebra by hand, and text that wishes ill."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from alignlab.errors import InputError
from alignlab.interventions import Intervention, layer_mask, select_neurons
from alignlab.interventions.expressions import MOST_CHARACTERS, MOST_OPEN
from alignlab.neurons import Classification, Kind, NeuronSets, ternary

SHAPE = (3, 50)


def random_sets(*names: str) -> NeuronSets:
    generator = torch.Generator().manual_seed(0)
    return NeuronSets({name: torch.rand(SHAPE, generator=generator) < 0.4 for name in names})


SETS = random_sets("en", "de", "zh", "zh-Hans", "a b", "general")


class Mask:
    """A mask with Python's operators: what binds how is then Python's business."""

    def __init__(self, of: Tensor) -> None:
        self.of = of

    def __and__(self, other: Mask) -> Mask:
        return Mask(self.of & other.of)

    def __or__(self, other: Mask) -> Mask:
        return Mask(self.of | other.of)

    def __sub__(self, other: Mask) -> Mask:
        return Mask(self.of & ~other.of)

    def __invert__(self) -> Mask:
        return Mask(~self.of)


def written_at_random(rng: random.Random, depth: int) -> str:
    if depth == 0 or rng.random() < 0.2:
        return rng.choice(["en", "de", "zh"])
    kind = rng.randrange(5)
    if kind == 0:
        return f"~{written_at_random(rng, depth - 1)}"
    if kind == 1:
        return f"({written_at_random(rng, depth - 1)})"
    sign = rng.choice(["|", "&", "-", " | ", " & ", " - "])
    return f"{written_at_random(rng, depth - 1)}{sign}{written_at_random(rng, depth - 1)}"


def test_expressions_mean_what_python_means_by_them() -> None:
    rng, tried = random.Random(0), set()
    for _ in range(500):
        written = written_at_random(rng, 5)
        tried.add(written)
        expected = eval(written, {name: Mask(SETS[name]) for name in ("en", "de", "zh")})  # noqa: S307 - of our own making
        assert torch.equal(select_neurons(written, SETS), expected.of), written
    assert len(tried) > 300


def test_sets_worked_by_hand() -> None:
    en, zh, de = SETS["en"], SETS["zh"], SETS["de"]
    assert torch.equal(select_neurons("zh - en", SETS), zh & ~en)
    assert torch.equal(select_neurons("(zh | de) & ~en", SETS), (zh | de) & ~en)
    assert torch.equal(select_neurons("zh - de - en", SETS), zh & ~de & ~en)
    assert torch.equal(select_neurons("zh - (de - en)", SETS), zh & ~(de & ~en))
    assert torch.equal(select_neurons("\"zh-Hans\" - 'a b'", SETS), SETS["zh-Hans"] & ~SETS["a b"])
    assert torch.equal(select_neurons("general", SETS), SETS["general"])  # a set of that name is that set
    assert torch.equal(select_neurons(" \n en\t", SETS), en)


def test_what_is_given_is_nobody_else_s() -> None:
    select_neurons("en", SETS)[:] = True
    assert not SETS["en"].all()


def classified() -> Classification:
    generator = torch.Generator().manual_seed(1)
    p = torch.rand(3, *SHAPE, generator=generator, dtype=torch.float64) ** 3
    p[:, 0, :8] = 0.9  # above tau everywhere
    p[0, 1, :5], p[1, 1, :9], p[2, 1, 5:9] = 0.95, 0.9, 0.97  # in two
    p[2, 1, :5] = p[0, 1, 5:9] = 0.01
    return ternary(p, top_rate=0.7, bar=0.8, lambda_=0.1, languages=["en", "de", "general"])


def test_kinds_of_a_classification_neuron_by_neuron() -> None:
    result = classified()
    degree, kinds = result.degree, result.kinds()
    above = result.above

    def loop(wanted: Any) -> Tensor:
        return torch.tensor([[bool(wanted(layer, neuron)) for neuron in range(50)] for layer in range(3)])

    selected = result.selected
    expected = {
        "specific(en)": loop(lambda *at: selected[at] and above["en"][at] and degree[at] == 1),
        "related(de)": loop(lambda *at: selected[at] and above["de"][at] and degree[at] == 2),
        "specific(en) | related(en)": loop(lambda *at: selected[at] and above["en"][at] and degree[at] in (1, 2)),
        "above(de)": above["de"],
        '"general"': result.sets["general"],
        "de": result.sets["de"],
        "selected - unassigned": loop(lambda *at: selected[at] and degree[at] > 0),
        '(en | de) & ~related("general")': loop(
            lambda *at: (
                (result.sets["en"][at] or result.sets["de"][at])
                and not (selected[at] and above["general"][at] and degree[at] == 2)
            )
        ),
    }
    for written, mask in expected.items():
        assert torch.equal(select_neurons(written, result), mask), written
        assert 0 < int(mask.sum()) < 150, written
    other = classified()
    names = ("en", "de", "zh")
    sets = dict(zip(names, other.sets.values(), strict=True))
    three = Classification("ternary", names, sets, other.selected, other.owned, other.thresholds)
    assert torch.equal(select_neurons("general", three), kinds == Kind.GENERAL)
    assert int((kinds == Kind.GENERAL).sum()) >= 8
    of_all = select_neurons("specific(en)", three, convention="all")
    assert torch.equal(of_all, above["en"] & (degree == 1))


def pointed(expression: str, sets: Any = SETS) -> tuple[str, str]:
    """What is said, and the character that is pointed at."""
    with pytest.raises(InputError) as refused:
        select_neurons(expression, sets)
    text = str(refused.value.problems[0])
    *said, shown, mark = text.splitlines()
    return "\n".join(said), shown[mark.index("^") :][:1]


@pytest.mark.parametrize(
    ("expression", "said", "at"),
    [
        ("xx - en", "'xx' is not a set; expected one of en, de, zh, zh-Hans, a b, general.", "x"),
        ("en - 'zh-hans'", "Did you mean 'zh-Hans'?", "'"),
        ("zh - ", "the end; expected a set", " "),
        ("", "the end; expected a set", ""),
        ("zh en", "'en'; expected one of - & | between sets", "e"),
        ("zh & | en", "'|'; expected a set, ~ or (", "|"),
        ("(zh", "a ( that is never closed", "("),
        ("zh)", "a ) that nothing has opened", ")"),
        ("()", "')'; expected a set, ~ or (", ")"),
        ("zh + en", "'+'; expected names, quoted where they have other characters", "+"),
        ('"zh', "a quotation mark that is never closed", '"'),
        ("zh~", "'~'; expected one of - & | between sets", "~"),
        ("specific(zh)", "'specific' needs the classification of a run, and these are sets by name", "s"),
        ("specific(zh | en)", "specific( ...; expected one name, such as specific(zh)", "("),
        ("unassigned", "'unassigned' needs the classification", "u"),
        ("小明 - en", "'小明' is not a set", "小"),
        ("en - 小明", "'小明' is not a set", "小"),
    ],
)
def test_a_mistake_is_pointed_at(expression: str, said: str, at: str) -> None:
    found, character = pointed(expression)
    assert said in found.replace("'(' ", "( ")
    assert character == at


def test_the_mark_stands_below_the_place_behind_wide_characters() -> None:
    with pytest.raises(InputError) as refused:
        select_neurons("en & '小明' - xx", random_sets("en", "小明"))
    shown, mark = str(refused.value).splitlines()[-2:]
    assert shown == "    en & '小明' - xx"
    assert mark == "    " + " " * len("en & '") + " " * 4 + " " * len("' - ") + "^"


def test_all_names_that_are_not_there_are_told_at_once() -> None:
    with pytest.raises(InputError) as refused:
        select_neurons("xx | de - yy & zz", SETS)
    assert [problem.found[:4] for problem in refused.value.problems] == ["'xx'", "'yy'", "'zz'"]
    result = classified()
    with pytest.raises(InputError) as refused:
        select_neurons("specifik(en) | related(dee)", result)
    assert [problem.fix.splitlines()[0] for problem in refused.value.problems] == [
        "Did you mean 'specific'?",
        "Did you mean 'de'?",
    ]


def test_an_identifier_without_a_tau_has_no_kinds() -> None:
    sets = {"en": SETS["en"], "de": SETS["de"]}
    result = Classification("by hand", ("en", "de"), sets, SETS["en"] | SETS["de"])
    assert torch.equal(select_neurons("en - de", result), SETS["en"] & ~SETS["de"])
    assert torch.equal(select_neurons("selected", result), SETS["en"] | SETS["de"])
    assert "'specific' needs a tau, and by hand has none" in pointed("specific(en)", result)[0]


HOSTILE = [
    "(" * 100_000,
    "(" * (MOST_CHARACTERS - 2) + "en",
    "~" * (MOST_CHARACTERS - 2) + "en",
    "en" + " | en" * 1_999,
    "en" + ")" * 1_000,
    "x" * 9_000,
    '"' * 9_001,
    " " * 9_999,
    "en(" * 3_000,
    "__import__('os').system('touch gone')",
    "en if en else de",
    "en; de",
    "en\0de",
    "\x1b[31men",
    "[red]en[/red]",
    "en - \ud800",
    "lambda: en",
    "9" * 5_000,
]


@pytest.mark.parametrize("written", HOSTILE, ids=[repr(text[:12]) for text in HOSTILE])
def test_hostile_text_is_an_expression_or_refused(written: str) -> None:
    said = ""
    try:
        assert select_neurons(written, SETS).shape == SHAPE
    except InputError as refused:
        said = str(refused)
    assert len(said) < 5_000
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", said)


def test_parentheses_within_each_other_have_a_bound() -> None:
    deep = "(" * MOST_OPEN + "en" + ")" * MOST_OPEN
    assert torch.equal(select_neurons(deep, SETS), SETS["en"])
    with pytest.raises(InputError, match=f"{MOST_OPEN} at most"):
        select_neurons(f"({deep})", SETS)


# Layers


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("0-2", [0, 1, 2]),
        ("0-1, 4", [0, 1, 4]),
        (" 3 ", [3]),
        ("1 - 2,4-5", [1, 2, 4, 5]),
        (range(2, 4), [2, 3]),
        ([5, 0], [0, 5]),
        (torch.tensor([1, 4]), [1, 4]),
        (3, [3]),
        (None, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_layers(layers: Any, expected: list[int]) -> None:
    assert layer_mask(layers, 6).nonzero().flatten().tolist() == expected


@pytest.mark.parametrize(
    "layers", ["6", "0-6", "3-1", "", "x", "1;2", "-1", [-1], [6], [], "0-99999999999", "²", [0.5], [True], 1.0, [None]]
)
def test_layers_that_are_not_there(layers: Any) -> None:
    with pytest.raises(InputError, match="layers from 0 to 5"):
        layer_mask(layers, 6)


def test_an_intervention_on_an_expression_of_sets() -> None:
    sets = NeuronSets(SETS.sets, site="mlp.up")
    one = Intervention.of(sets, "zh - en", layers="1-2", scope="generated")
    expected = SETS["zh"] & ~SETS["en"]
    expected[0] = False
    assert torch.equal(one.neurons, expected)
    assert (one.at, one.name, one.language, one.scope) == ("mlp.up", "zh - en", "", "generated")
    assert Intervention.of(sets, "zh").language == "zh"
    assert Intervention.of(sets, "zh", name="mine", at="mlp.act").at == "mlp.act"


def test_what_is_of_another_type_is_refused() -> None:
    given: Any = classified()
    with pytest.raises(InputError, match="sets: a classification, which knows no site; expected NeuronSets"):
        Intervention.of(given, "en")
    given = dict(SETS.sets)
    with pytest.raises(InputError) as refused:
        select_neurons(given, given)
    assert [str(one).partition(";")[0] for one in refused.value.problems] == [
        "expression: of the type dict",
        "sets: of the type dict",
    ]


def test_another_case_is_told() -> None:
    with pytest.raises(InputError, match="Did you mean 'zh'"):
        select_neurons("ZH", SETS)


CULTURES = random_sets("us", "gb", "jp", "in")
_OF_LANGUAGES = random_sets("x", "y", "en", "ja")
SPOKEN = {"us": _OF_LANGUAGES["en"], "gb": _OF_LANGUAGES["en"], "jp": _OF_LANGUAGES["ja"], "in": _OF_LANGUAGES["y"]}


def test_labels_and_their_languages_neuron_by_neuron() -> None:
    def loop(wanted: Any) -> Tensor:
        return torch.tensor([[bool(wanted((layer, neuron))) for neuron in range(50)] for layer in range(3)])

    names = ("us", "gb", "jp", "in")
    expected = {
        "exclusive(us)": loop(lambda at: CULTURES["us"][at] and sum(bool(CULTURES[name][at]) for name in names) == 1),
        "pure(us)": loop(lambda at: CULTURES["us"][at] and not _OF_LANGUAGES["en"][at]),
        "compound(jp)": loop(lambda at: CULTURES["jp"][at] and _OF_LANGUAGES["ja"][at]),
        "generic": loop(lambda at: all(CULTURES[name][at] and not SPOKEN[name][at] for name in names)),
        '"us" - pure("us")': CULTURES["us"] & _OF_LANGUAGES["en"],
        "~exclusive(gb) & pure(gb)": loop(
            lambda at: (
                CULTURES["gb"][at]
                and not _OF_LANGUAGES["en"][at]
                and any(CULTURES[name][at] for name in ("us", "jp", "in"))
            )
        ),
    }
    for written, mask in expected.items():
        assert torch.equal(select_neurons(written, CULTURES, languages=SPOKEN), mask), written
        assert 0 < int(mask.sum()) < 150 or written == "generic", written
    parts = [select_neurons(f"{part}(us)", CULTURES, languages=SPOKEN) for part in ("pure", "compound")]
    assert torch.equal(parts[0] | parts[1], CULTURES["us"])
    assert not (parts[0] & parts[1]).any()


def test_generic_of_planted_neurons() -> None:
    every = torch.zeros(1, 6, dtype=torch.bool)
    every[0, :2] = True
    cultures = NeuronSets({"a": every | torch.eye(6, dtype=torch.bool)[2:3], "b": every.clone()})
    languages = {"a": torch.eye(6, dtype=torch.bool)[:1], "b": torch.zeros(1, 6, dtype=torch.bool)}
    assert select_neurons("generic", cultures, languages=languages).tolist() == [[False, True] + [False] * 4]


def test_exclusive_is_specific_where_a_set_is_what_is_above_tau() -> None:
    result = classified()
    for name in ("en", "de"):
        assert torch.equal(select_neurons(f"exclusive({name})", result), select_neurons(f"specific({name})", result))


@pytest.mark.parametrize(
    ("written", "languages", "said"),
    [
        ("pure(us)", None, "'pure' needs the neurons of the labels' languages, and there are none"),
        ("compound(us)", None, "'compound' needs"),
        ("generic", None, "'generic' needs"),
        ("pure(uss)", SPOKEN, "'uss' is not a language; expected one of us, gb, jp, in. Did you mean 'us'?"),
        ("pure(us)", {"gb": SPOKEN["gb"]}, "no neurons are known of the language of 'us'; expected labels with a lang"),
        ("generic", {"gb": SPOKEN["gb"]}, "no neurons are known of the language of 'us', 'jp', 'in'; expected labels"),
        ("pure(us)", {}, "no neurons are known of the language of 'us'"),
        ("exclusive(xx)", None, "'xx' is not a language; expected one of us, gb, jp, in"),
        ("exclusive()", None, "exclusive( ...; expected one name"),
        ("pure(us, gb)", SPOKEN, "','; expected names, quoted where they have other characters"),
        ("pure(us | gb)", SPOKEN, "pure( ...; expected one name"),
        ("exclusive", None, "'exclusive' is not a set"),
        ("generic(us)", SPOKEN, "'generic' is not a kind of a language"),
        ("pure (us) gb", SPOKEN, "'gb'; expected one of - & | between sets"),
        ("us", {"us": torch.zeros(3, 49, dtype=torch.bool)}, "torch.bool of the shape (3, 49); expected torch.bool of"),
        ("us", {"us": torch.zeros(3, 50)}, "torch.float32 of the shape (3, 50)"),
    ],
)
def test_what_labels_have_no_answer_to(written: str, languages: Any, said: str) -> None:
    with pytest.raises(InputError) as refused:
        select_neurons(written, CULTURES, languages=languages)
    assert len(refused.value.problems) == 1
    assert said in str(refused.value)
