"""The likelihood of texts under arms, against transformers' own loss of a model whose weights were changed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM

from alignlab.data.encoding import Document
from alignlab.models.edits import Arm, NeuronEdit, edited
from alignlab.models.lower_layers import find_lower_layers
from alignlab.models.sites import find_sites
from alignlab.parts import Parts
from alignlab.recording.kept import Kept
from alignlab.recording.scoring import ON_A_PROCESSOR, Scores, items_fingerprint, plan_of, score

LAYERS, WIDTH, VOCABULARY = 4, 48, 90


@pytest.fixture
def model() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


def texts(count: int = 9, longest: int = 14) -> list[Document]:
    """Of 2 to `longest` tokens; the answer begins anywhere, with the first token too."""
    rng = np.random.default_rng(3)
    made = []
    for number in range(count):
        length = int(rng.integers(2, longest + 1))
        answer = np.arange(length) >= rng.integers(0, length)
        tokens = rng.integers(3, VOCABULARY, size=length).astype(np.int32)
        made.append(Document(f"{number}", "en", tokens, answer, np.zeros(length, dtype=bool)))
    return made


def off(layers: list[int], seed: int, gain: float = 0.0, **more: Any) -> NeuronEdit:
    """Eight neurons in each of the layers."""
    random = torch.Generator().manual_seed(seed)
    neurons = torch.cat([torch.randperm(WIDTH, generator=random)[:8] for _ in layers])
    where = torch.tensor(layers).repeat_interleave(8)
    return NeuronEdit(where, neurons, torch.full((len(where),), gain), torch.zeros(len(where)), **more)


ARMS: list[Arm] = [
    (),
    (off([0, 2], 1),),
    (off([3], 2),),
    (off([2, 3], 3, gain=2.0),),
    (off([1], 4), off([1, 3], 5, gain=-1.0)),
    (off([2], 6, gain=3.0, scope="prompt"), off([3], 7, scope="generated")),
]


def edited_copy(model: LlamaForCausalLM, arm: Arm) -> LlamaForCausalLM:
    """Its weights changed in place of its activations: what leaves a neuron goes through its column alone."""
    other = copy.deepcopy(model)
    for one in arm:
        for layer, neuron, gain in zip(one.layers.tolist(), one.neurons.tolist(), one.gain.tolist(), strict=True):
            other.model.layers[layer].mlp.down_proj.weight.data[:, neuron] *= gain
    return other


def loss_of(model: nn.Module, document: Document) -> float:
    """transformers' own, of one text without padding: a mean over the tokens of the answer that are predicted."""
    ids = torch.tensor(document.tokens).long().unsqueeze(0)
    labels = ids.where(torch.tensor(document.answer).unsqueeze(0), torch.tensor(-100))
    count = int(document.answer[1:].sum())
    with torch.no_grad():
        return float(model(input_ids=ids, labels=labels).loss) * count if count else 0.0


def scores(model: nn.Module, arms: list[Arm], **more: Any) -> Scores:
    return score(model, more.pop("documents", texts()), arms, **{"max_tokens_per_batch": 100, **more})


def counted_scores(model: LlamaForCausalLM, arms: list[Arm], **more: Any) -> tuple[Scores, list[int]]:
    """The scores, and the rows that every layer of every forward was run on; sites are found before."""
    sites, seen = {"mlp.act": find_sites(model)}, []
    hooks = [
        layer.register_forward_hook(lambda _m, _a, output: seen.append(output.shape[0])) for layer in model.model.layers
    ]
    found = scores(model, arms, sites=sites, **more)
    for hook in hooks:
        hook.remove()
    return found, seen


@pytest.mark.parametrize("budget", [1, 60, 10_000])
@pytest.mark.parametrize("shared", [False, True])
def test_nats_are_the_loss_of_a_model_with_changed_weights(model: LlamaForCausalLM, budget: int, shared: bool) -> None:
    lower = find_lower_layers(model) if shared else None
    arms = ARMS[:5]  # those without a scope are changes of weights
    found = scores(model, arms, lower=lower, max_tokens_per_batch=budget)
    expected = [
        [loss_of(other, document) for other in (edited_copy(model, arm) for arm in arms)] for document in texts()
    ]
    assert torch.allclose(found.nats, torch.tensor(expected, dtype=torch.float64), rtol=2e-5, atol=1e-5)
    assert found.counted.tolist() == [int(document.answer[1:].sum()) for document in texts()]
    spread = found.nats[found.counted > 0].std(dim=1)
    assert (spread > 0.01).all()  # arms do differ


@pytest.mark.parametrize("shared", [False, True])
def test_arms_of_one_forward_are_each_as_alone(model: LlamaForCausalLM, shared: bool) -> None:
    model.double()  # where batches of another shape round by nothing that matters
    together = scores(model, ARMS, lower=find_lower_layers(model) if shared else None)
    for place, arm in enumerate(ARMS):
        for number, document in enumerate(texts()):
            with edited(model, [arm], prompt=int(document.answer.argmax())):
                alone = loss_of(model, document)
            # Losses of tokens are float32.
            assert float(together.nats[number, place]) == pytest.approx(alone, rel=1e-5, abs=1e-6)


def test_other_tokens_than_those_of_the_answer_may_be_counted(model: LlamaForCausalLM) -> None:
    documents = texts()
    masks = [np.arange(len(document)) % 2 == 0 for document in documents]
    found = scores(model, ARMS[:2], counted=masks)
    for number, (document, mask) in enumerate(zip(documents, masks, strict=True)):
        with edited(model, [ARMS[1]]):
            expected = loss_of(model, Document("", "en", document.tokens, mask, mask))
        assert float(found.nats[number, 1]) == pytest.approx(expected, rel=2e-5)
    assert items_fingerprint(documents, masks) != items_fingerprint(documents)


def test_forwards_are_counted_the_baseline_once_and_a_repeat_never(model: LlamaForCausalLM) -> None:
    lower, same = find_lower_layers(model), (off([3], 2), off([0], 9, gain=1.0))
    cost = {}
    asked: dict[str, list[Arm]] = {
        "one": ARMS[:1],
        "baseline again": [(), (), (off([0], 8, gain=1.0),)],
        "all": ARMS[:5],
        "all twice": [*ARMS[:5], *ARMS[:5], same],
    }
    for name, arms in asked.items():
        for shared in (lower, None):
            found, seen = counted_scores(model, arms, lower=shared)
            assert found.forwards == pytest.approx(sum(seen) / LAYERS)
            cost[name, shared is None] = found.forwards
    assert cost["one", True] == cost["baseline again", True] == len(texts())
    assert cost["all", True] == cost["all twice", True] == 5 * len(texts())
    assert cost["all", False] == cost["all twice", False] < cost["all", True]
    found = scores(model, asked["all twice"], lower=lower)
    assert torch.equal(found.nats[:, :5], found.nats[:, 5:10])
    assert torch.equal(found.nats[:, 2], found.nats[:, 10])


def test_late_layers_cost_little(model: LlamaForCausalLM) -> None:
    arms: list[Arm] = [(), *((off([3], seed),) for seed in range(15))]
    found = scores(model, arms, lower=find_lower_layers(model), max_tokens_per_batch=1000)
    assert found.forwards == len(texts()) * (3 + 16) / 4


def test_texts_are_put_together_on_a_processor_as_far_as_its_cache_goes(model: LlamaForCausalLM) -> None:
    documents = texts(count=400)

    def largest(most: int, device: str) -> int:
        plan = plan_of(model, documents, ARMS, most, torch.device(device))
        return max(job.rows * max(len(documents[text]) for text in job.texts) for job in plan.jobs)

    assert 0.9 * ON_A_PROCESSOR < largest(8192, "cpu") <= ON_A_PROCESSOR < 0.9 * 8192 < largest(8192, "cuda") <= 8192
    assert largest(100, "cpu") <= 100


class Largest(TorchDispatchMode):
    """The most numbers in any tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else [made]:
            if isinstance(one, Tensor):
                self.most = max(self.most, one.numel())
        return made


def test_memory_does_not_grow_with_the_arms(model: LlamaForCausalLM) -> None:
    lower, mask = find_lower_layers(model), np.ones(10, dtype=bool)
    documents = [Document(f"{n}", "en", np.arange(10, dtype=np.int32) + n, mask, ~mask) for n in range(30)]
    most = []
    for count in (5, 60):
        arms: list[Arm] = [(off([0, 1, 2, 3], seed),) for seed in range(count)]
        with Largest() as largest:
            scores(model, arms, lower=lower, documents=documents, max_tokens_per_batch=500)
        most.append(largest.most)
    assert most[1] <= 1.05 * most[0]
    assert most[0] <= 500 * VOCABULARY  # the logits of one forward


@pytest.mark.parametrize("written", [0, 1, 3])
def test_stopped_and_continued_it_ends_with_the_same_bytes(
    model: LlamaForCausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    lower = find_lower_layers(model)
    whole = scores(model, ARMS, lower=lower)
    write, numbers = Parts.write, []

    def stop(self: Parts, number: int, rows: Any) -> None:
        if len(numbers) == written:
            raise KeyboardInterrupt
        numbers.append(number)
        write(self, number, rows)

    kept = Kept(tmp_path / "parts", "weights")
    with monkeypatch.context() as patched:
        patched.setattr(Parts, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            scores(model, ARMS, lower=lower, kept=kept)
    assert len(list(kept.folder.iterdir())) == written if written else not kept.folder.exists()
    told: list[tuple[int, bool]] = []

    def advance(cells: int, kept: bool = False) -> None:
        told.append((cells, kept))

    found, seen = counted_scores(model, ARMS, lower=lower, kept=kept, advance=advance)
    assert found.nats.numpy().tobytes() == whole.nats.numpy().tobytes()
    assert found.forwards == pytest.approx(sum(seen) / LAYERS)
    assert (found.forwards < whole.forwards) == (written > 0)
    assert sum(cells for cells, _ in told) == len(texts()) * len(ARMS)
    # What was there already is told first, and as such: it took no time.
    assert [kept for _, kept in told] == [True] + [False] * (len(told) - 1)
    assert (told[0][0] > 0) == (written > 0)
    # All of it is there now; that of other weights, texts or arms is not taken for it.
    again = scores(model, ARMS, lower=lower, kept=kept)
    assert (again.forwards, again.nats.numpy().tobytes()) == (0, whole.nats.numpy().tobytes())
    assert scores(model, ARMS, lower=lower, kept=Kept(kept.folder, "others")).forwards == whole.forwards
    other = [(off([0, 2], 99),) if place == 1 else arm for place, arm in enumerate(ARMS)]
    assert scores(model, other, lower=lower, kept=kept).forwards == whole.forwards
    assert scores(model, ARMS, lower=lower, kept=kept, documents=texts(10)).forwards > whole.forwards


def test_damaged_parts_are_made_again(
    model: LlamaForCausalLM, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Kept(tmp_path / "parts", "weights")
    whole = scores(model, ARMS, kept=kept)
    first, second, third, *_ = sorted(kept.folder.iterdir())
    first.write_bytes(first.read_bytes()[:-30])
    second.write_bytes(third.read_bytes())  # of other texts or arms
    third.write_text("".join(third.read_text().splitlines(keepends=True)[:-1]))
    found = scores(model, ARMS, kept=kept)
    assert found.nats.numpy().tobytes() == whole.nats.numpy().tobytes()
    assert 0 < found.forwards < whole.forwards
    assert f"{first.name} is damaged" in capsys.readouterr().out


def test_modes_hooks_and_gradients_are_left_as_they_were(model: LlamaForCausalLM) -> None:
    model.train()
    model.model.norm.eval()
    scores(model, ARMS, lower=find_lower_layers(model))
    assert model.training and not model.model.norm.training and torch.is_grad_enabled()  # noqa: PT018
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
