"""Operations, against their formulas on statistics of which every number is written here."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from alignlab.errors import InputError
from alignlab.intervening.options import WITH_MEANS, WITH_STRENGTH, OperationName
from alignlab.interventions import Add, Constant, DiffMean, Intervention, Replace, Scale, Zero, operation_of
from alignlab.interventions.operations import OPERATIONS
from alignlab.interventions.options import OperationOptions, ReplaceOptions, ScaleOptions
from alignlab.neurons import ActivationCounts

from .conftest import MeansOf

# 2 layers of 3 neurons; sums over 10, 20 and 40 tokens.
SUMS = torch.tensor(
    [
        [[10.0, 20.0, -5.0], [0.0, 1.0, 2.0]],
        [[40.0, 10.0, 60.0], [20.0, -20.0, 4.0]],
        [[40.0, 80.0, 0.0], [120.0, 4.0, 8.0]],
    ],
    dtype=torch.float64,
)
CHOSEN = torch.tensor([[True, False, True], [False, True, False]])


def counts(**changes: Any) -> ActivationCounts:
    """Counts with moments in en, de and zh."""
    tokens = torch.tensor([[10], [20], [40]])
    fields = {
        "languages": ("en", "de", "zh"),
        "firings": torch.zeros(3, 1, 2, 3, dtype=torch.int64),
        "tokens": tokens,
        "documents": torch.ones_like(tokens),
        "site": "mlp.act",
        "scope": "all",
        "activation_sum": SUMS,
        "activation_squares": SUMS**2,
    }
    return ActivationCounts(**{**fields, **changes})


def numbers(operation: Any, statistics: Any = None, language: str = "") -> tuple[list[float], list[float]]:
    edit = Intervention(CHOSEN, operation, statistics=statistics, language=language).edit
    assert edit.layers.tolist() == [0, 0, 1]
    assert edit.neurons.tolist() == [0, 2, 1]
    return edit.gain.tolist(), edit.offset.tolist()


def test_those_that_need_no_statistics() -> None:
    assert numbers(Zero()) == ([0, 0, 0], [0, 0, 0])
    assert numbers(Constant(value=0.5)) == ([0, 0, 0], [0.5, 0.5, 0.5])
    assert numbers(Scale(strength=-1.5)) == ([-1.5, -1.5, -1.5], [0, 0, 0])


def test_those_of_a_language_on_moments_worked_by_hand() -> None:
    # Means of the chosen neurons: en 1, -.5, .1; de 2, 3, -1; zh 1, 0, .1.
    assert numbers(Add(strength=2), counts(), "de") == ([1, 1, 1], [4, 6, -2])
    assert numbers(Replace(), counts(), "de") == ([0, 0, 0], [2, 3, -1])
    gain, offset = numbers(DiffMean(strength=2), counts(), "de")
    assert gain == [1, 1, 1]
    assert offset == pytest.approx([2 * (2 - 1), 2 * (3 + 0.25), 2 * (-1 - 0.1)])


def test_those_of_documents(tiny_llama: Any, means_of: MeansOf) -> None:
    means = means_of(tiny_llama, "mlp.act")
    chosen = torch.zeros(2, 48, dtype=torch.bool)
    chosen[0, 5] = chosen[1, 40] = True

    def offsets(operation: Any) -> list[float]:
        return Intervention(chosen, operation, statistics=means, language="sw").edit.offset.tolist()

    for place, (layer, neuron) in enumerate([(0, 5), (1, 40)]):
        documents = sorted(x for x in means.layer(layer, "sw")[:, neuron].tolist() if not math.isnan(x))
        last = len(documents) - 1
        assert last > 5
        assert offsets(Replace(by="maximum"))[place] == pytest.approx(documents[last])
        assert offsets(Replace(by="median"))[place] == pytest.approx(documents[last // 2])
        assert offsets(Replace(by="percentile", percentile=30))[place] == pytest.approx(documents[int(last * 0.3)])
        pairs = zip(means.layer(layer, "sw")[:, neuron].tolist(), means.tokens["sw"].tolist(), strict=True)
        whole = sum(x * n for x, n in pairs if n) / int(means.tokens["sw"].sum())
        assert offsets(Replace())[place] == pytest.approx(whole, rel=1e-5)
        assert offsets(Add(strength=3))[place] == pytest.approx(3 * whole, rel=1e-5)
        other = float(means.mean("en")[layer, neuron])
        assert offsets(DiffMean())[place] == pytest.approx(whole - other, rel=1e-4)


def test_only_layers_with_neurons_are_read(tiny_llama: Any, means_of: MeansOf) -> None:
    means = means_of(tiny_llama, "mlp.act")
    (means.folder / "layer-001.safetensors").unlink()
    chosen = torch.ones(2, 48, dtype=torch.bool)
    Intervention(chosen, Replace(by="median"), statistics=means, language="sw", layers="0")
    with pytest.raises(InputError, match="layer-001"):
        Intervention(chosen, Replace(by="median"), statistics=means, language="sw")


def test_every_operation_is_there_by_name() -> None:
    named = {get_args(kind.model_fields["name"].annotation) for kind in get_args(get_args(OperationOptions)[0])}
    assert {(name,) for name in OPERATIONS} == named
    scale = operation_of(ScaleOptions(strength=3))
    assert isinstance(scale, Scale)
    assert scale.described == "scale by 3"
    assert operation_of(ReplaceOptions(by="percentile")).described == "replace by percentile 90"
    for operation in (Zero(), Constant(value=1), Scale(strength=2), Add(), Replace(), DiffMean()):
        assert operation.described.startswith(operation.name)
        assert operation.needs_statistics == (operation.name in ("add", "replace", "diff_mean"))


def test_a_grid_takes_every_operation_with_what_it_has() -> None:
    assert set(get_args(OperationName)) == set(OPERATIONS)
    fields = {name: set(kind.model_fields) for name, kind in OPERATIONS.items()}
    assert set(WITH_STRENGTH) == {name for name, of in fields.items() if of & {"strength", "value"}}
    assert set(WITH_MEANS) == {name for name, kind in OPERATIONS.items() if kind.needs_statistics}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"statistics": None}, "none, for add; expected mean activations by language"),
        ({"language": "dee"}, "'dee', for add; expected one of en, de, zh. Did you mean 'de'?"),
        ({"at": "mlp.up"}, "of the site mlp.act; expected of mlp.up, where it is done"),
        ({"neurons": torch.ones(2, 4, dtype=torch.bool)}, "of (2, 3) layers, neurons; expected (2, 4), as the mask"),
        ({"neurons": torch.ones(2, 3)}, "shape (2, 3) of torch.float32; expected (2, 3) of torch.bool"),
        ({"statistics": counts(activation_sum=None, activation_squares=None)}, "counts without sums of activations"),
        ({"operation": Replace(by="median")}, "mean activations of documents for replace by median"),
        ({"scope": "answer"}, "'answer'; expected one of all, prompt, generated"),
        ({"at": "mlp.gate"}, "'mlp.gate'; expected one of mlp.act"),
        ({"layers": "5"}, "layers: '5'; expected layers from 0 to 1"),
        ({"neurons": [[True]]}, "neurons: of the type list; expected a tensor of torch.bool"),
        ({"operation": Zero}, "Zero'>; expected an operation, such as Zero()"),
        (
            {"operation": "zero", "statistics": {}},
            "operation: 'zero'; expected an operation, such as Zero() or Scale(strength=3).\nstatistics: of the type",
        ),
    ],
)
def test_refusals(changes: dict[str, Any], said: str) -> None:
    settings = {"neurons": CHOSEN, "operation": Add(), "statistics": counts(), "language": "de"}
    with pytest.raises(InputError) as refused:
        Intervention(**{**settings, **changes})
    assert said in str(refused.value)


def test_a_language_without_tokens_has_no_mean() -> None:
    none = counts(tokens=torch.tensor([[10], [20], [0]]), activation_sum=SUMS * torch.tensor([1, 1, 0])[:, None, None],
                  activation_squares=SUMS**2 * torch.tensor([1, 1, 0])[:, None, None])  # fmt: skip
    with pytest.raises(InputError, match="no counted token in zh"):
        numbers(Add(), none, "zh")
    alone = counts(
        **{name: getattr(counts(), name)[:1] for name in ("firings", "tokens", "documents", "activation_sum",
                                                          "activation_squares")},
        languages=("en",),
    )  # fmt: skip
    with pytest.raises(InputError, match="two or more languages"):
        numbers(DiffMean(), alone, "en")


def test_what_an_intervention_says_of_itself() -> None:
    one = Intervention(CHOSEN, Add(strength=2), statistics=counts(), language="de", scope="generated", name="warm")
    assert repr(one) == (
        "<Intervention: warm: add 2 times the mean (de) of 3 neurons in 2 layers at mlp.act, generated tokens>"
    )
    assert repr(Intervention(CHOSEN, layers=[1])) == "<Intervention: zero of 1 neurons in 1 layers at mlp.act>"


def test_an_intervention_cannot_be_changed() -> None:
    one = Intervention(mask := CHOSEN.clone())
    before: Tensor = one.edit.layers.clone()
    mask[:] = True
    assert torch.equal(one.edit.layers, before)
    assert int(one.neurons.sum()) == 3
    with pytest.raises(AttributeError):
        one.scope = "prompt"  # type: ignore[misc]
