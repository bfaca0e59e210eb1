"""Tasks of lm-evaluation-harness on a model in memory; our own XCOPA agrees with its, item by item.

Its own task code puts the texts together and its own model class reads them; the questions are made here.
"""

from __future__ import annotations

import copy
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from alignlab.data.sources.choices import ChoiceFiles, XCopa
from alignlab.errors import InputError
from alignlab.evaluation.harness import run_tasks
from alignlab.evaluation.multiple_choice import choose, encode_choices
from alignlab.models.access import edit
from alignlab.models.sites import find_sites

from .scored_documents import scored

QUESTIONS = {
    "zh": [
        ("街道湿了。", "昨天下雨了。", "今天很热。", "cause", 0),
        ("小明忘了带伞。", "他买了苹果。", "他淋湿了。", "effect", 1),
        ("孩子们睡着了。", "房子很安静。", "房子是绿色的。", "effect", 0),
        ("他有十二个苹果。", "他买了七个。", "街道很长。", "cause", 0),
    ],
    "sw": [
        ("Juma ana matofaa 12.", "Alinunua mengine 7.", "Mtaa ni mrefu.", "cause", 0),
        ("Mvua ilinyesha.", "Nyumba ni kijani.", "Mtaa ulikuwa na maji.", "effect", 1),
        ("Watoto wamelala.", "Nyumba ni kimya.", "Anna ana matofaa.", "effect", 0),
    ],
    "it": [
        ("La strada era bagnata.", "Aveva piovuto.", "La casa è verde.", "cause", 0),
        ("Anna ha comprato 7 mele.", "La strada è lunga.", "Ora ne ha 19.", "effect", 1),
        ("I bambini dormono.", "È notte.", "È mezzogiorno.", "cause", 0),
    ],
}


@pytest.fixture(scope="module")
def lm_eval() -> Any:
    return pytest.importorskip("lm_eval", reason="the extra lmeval is not installed")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    for code, questions in QUESTIONS.items():
        names = ("premise", "choice1", "choice2", "question", "label")
        rows = [{**dict(zip(names, row, strict=True)), "idx": number} for number, row in enumerate(questions)]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / f"test.{code}.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def harness_tasks(folder: Path) -> list[dict[str, Any]]:
    from lm_eval.tasks.xcopa import utils

    return [
        {
            "task": f"local_xcopa_{code}",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(folder / f"test.{code}.jsonl")}},
            "output_type": "multiple_choice",
            "test_split": "test",
            "doc_to_text": getattr(utils, f"doc_to_text_{code}"),
            "doc_to_target": "label",
            "doc_to_choice": utils.doc_to_choice,
            "metric_list": [{"metric": name} for name in ("acc", "acc_norm", "acc_bytes")],
        }
        for code in QUESTIONS
    ]


@pytest.mark.parametrize("edited", [False, True])
def test_our_xcopa_is_the_harness_item_by_item(
    lm_eval: Any, folder: Path, tiny_llama: Any, tokenizer: Any, edited: bool
) -> None:
    sites = find_sites(tiny_llama)
    half = lambda _layer, activations, _forward: activations * 0.5  # noqa: E731
    around = (lambda: edit(tiny_llama, sites, half)) if edited else (lambda: edit(tiny_llama, [], half))
    results = run_tasks(tiny_llama, tokenizer, harness_tasks(folder), intervention=around)
    choices = XCopa(path=str(folder / "test.{language}.jsonl"), languages=list(QUESTIONS)).load()
    texts = encode_choices(choices, tokenizer)
    with around():
        nats = texts.by_option(scored(tiny_llama, texts.documents))
    read = [nats for result in results for item in result.items for nats in item.nats]
    assert nats[:, 0].flatten().tolist() == pytest.approx(read, abs=1e-4)
    for metric, normalisation in (("acc", "sum"), ("acc_norm", "character"), ("acc_bytes", "byte")):
        right = choose(nats, texts.lengths(normalisation)).right(texts.gold)[:, 0].tolist()  # type: ignore[arg-type]
        theirs = {result.task: result.values(metric).tolist() for result in results}
        assert [float(hit) for hit in right] == [value for code in QUESTIONS for value in theirs[f"local_xcopa_{code}"]]
        assert {result.totals[metric] for result in results} >= {np.mean(theirs["local_xcopa_zh"])}


def test_partial_scoring_is_the_harness_own(lm_eval: Any, folder: Path, tiny_llama: Any, tokenizer: Any) -> None:
    """In what it calls multiple inputs: other contexts, the same continuation."""
    from lm_eval.tasks.xwinograd import utils

    rows = [
        {"sentence": "The cup fell, since the _ was wet.", "option1": "cup", "option2": "floor", "answer": "2"},
        {"sentence": "Anna called Eva, since _ was ill.", "option1": "Anna", "option2": "Eva", "answer": "2"},
        {"sentence": "Anna called Eva, since _ was bored.", "option1": "Anna", "option2": "Eva", "answer": "1"},
    ]
    path = folder / "en.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task = {
        "task": "local_xwinograd",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(path)}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": utils.doc_to_text,
        "doc_to_target": utils.doc_to_target,
        "doc_to_choice": utils.doc_to_choice,
        "metric_list": [{"metric": "acc"}],
    }
    (result,) = run_tasks(tiny_llama, tokenizer, [task])
    columns = {"template": "{sentence}", "options": ["option1", "option2"], "label": "answer", "label_is": "number"}
    choices = ChoiceFiles(path=str(path), languages=["en"], gap="_", **columns).load()  # type: ignore[arg-type]
    texts = encode_choices(choices, tokenizer)
    nats = texts.by_option(scored(tiny_llama, texts.documents))
    assert nats[:, 0].flatten().tolist() == pytest.approx([one for item in result.items for one in item.nats], abs=1e-4)
    assert choose(nats).right(texts.gold)[:, 0].tolist() == (result.values("acc") == 1).tolist()


def test_an_adapter_and_all_else_are_left_as_they_were(
    lm_eval: Any, folder: Path, tiny_llama: Any, tokenizer: Any
) -> None:
    model = get_peft_model(tiny_llama, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")).train()
    model.base_model.model.lm_head.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.pad_token = None  # without one the harness gives it one
    config, side, pad = model.generation_config.to_dict(), tokenizer.padding_side, tokenizer.pad_token
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    expected = (random.random(), np.random.random(), torch.rand(1).item())  # noqa: NPY002
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    (result,) = run_tasks(model, tokenizer, harness_tasks(folder)[:1], limit=2, seed=7)
    assert (random.random(), np.random.random(), torch.rand(1).item()) == expected  # noqa: NPY002
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert (model.generation_config.to_dict(), tokenizer.padding_side, tokenizer.pad_token) == (config, side, pad)
    assert [item.number for item in result.items] == [0, 1]
    with pytest.raises(InputError, match=r"metric: 'accc'; expected one of: acc, acc_bytes, acc_norm. Did you mean"):
        result.values("accc")


def test_unknown_tasks_are_refused(lm_eval: Any, tiny_llama: Any, tokenizer: Any) -> None:
    with pytest.raises(InputError, match=r"tasks: unknown 'xcopa_chinese'; expected a name that the harness knows"):
        run_tasks(tiny_llama, tokenizer, ["xcopa_zh", "xcopa_chinese"])


def test_without_the_extra_it_says_how_to_get_it(
    tiny_llama: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(InputError, match=r"is not installed .* pip install 'alignlab\[lmeval\]'"):
        run_tasks(tiny_llama, tokenizer, ["xcopa_zh"])
