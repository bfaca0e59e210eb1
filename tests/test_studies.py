"""The study scripts: their statistics against scipy's own and against loops, and the arms of small runs."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

import alignlab
import alignlab.intervene
from alignlab.data.records import Record
from alignlab.data.wordproblems import generate
from alignlab.recording.effects import BASELINE, Effects, Item

from .scripts_as_modules import SCRIPTS, script_as_module


def loaded(name: str) -> Any:
    return script_as_module(SCRIPTS / f"studies/{name}.py")


@pytest.fixture(scope="module")
def study() -> Any:
    return loaded("neuron_training")


def test_differences_are_paired_by_seed_with_scipys_interval(study: Any) -> None:
    random = np.random.default_rng(0)

    def cells(arm: str, seeds: list[int]) -> list[Any]:
        return [study.Cell(arm, seed, 1e-3, 9, None, 1.0, {study.RIGHT: random.random(3)}) for seed in seeds]

    # In another order, and with a seed that the neurons have not.
    by_arm = {"neurons": cells("neurons", [0, 1, 2, 3, 4]), "random": cells("random", [7, 4, 3, 2, 1, 0]), "lora": []}
    by_arm["matched"] = cells("matched", [2])
    table = study.differences_table(by_arm, study.RIGHT).splitlines()
    assert [line.split(" | ")[:2] for line in table[2:]] == [["| matched", "1"], ["| random", "5"]]
    own = np.array([cell.shares[study.RIGHT] for cell in by_arm["neurons"]])
    other = np.array([cell.shares[study.RIGHT] for cell in by_arm["random"][:0:-1]])
    for group, cell in enumerate(table[3].strip(" |").split(" | ")[2:]):
        tested = scipy.stats.ttest_rel(own[:, group], other[:, group])
        interval, paired = tested.confidence_interval(0.95), own[:, group] - other[:, group]
        expected = [paired.mean(), interval.low, interval.high, paired.min(), paired.max()]
        assert [float(number) for number in re.findall(r"[+-][\d.]+", cell)] == pytest.approx(expected, abs=6e-4)


def test_worked_answers_are_compared_on_the_problems_that_the_base_works_out(tmp_path: Path) -> None:
    """Against a loop over the answers; the text of an answer alone says whether it is worked out."""
    recipes, random = loaded("demo_recipes"), np.random.default_rng(4)
    items = [Item(str(number), code, str(number % 5), "7") for code in ("en", "de", "fr") for number in range(30)]
    answers: dict[str, list[tuple[str, bool]]] = {}
    for name in ("base", "answers-0", "answers-1", "answers-2"):
        texts = [random.choice(["#### 7", " #### 5\n", "3 + 4 = 7\n#### 7", "3 + 4 = 9\n#### 9"]) for _ in items]
        answers[name] = [(str(text), text.strip()[-1] == "7") for text in texts]
        right = torch.tensor([[one] for _, one in answers[name]])
        told, tokens = torch.zeros_like(right, dtype=torch.int16), torch.ones_like(right, dtype=torch.int32)
        folder = tmp_path / "seed0" / name
        folder.mkdir(parents=True)
        Effects(tuple(items), (BASELINE,), ("en", "de", "fr"), right, told, tokens, right.clone()).save(
            folder / "effects.safetensors"
        )
        lines = [json.dumps({"text": text}) for text, _ in answers[name]]
        (folder / "answers.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = recipes.kinds_of_answers(recipes.found(tmp_path)).splitlines()[2:]
    assert len(lines) == 3
    for line, code in zip(lines, ("de", "fr", "en"), strict=True):
        own = [place for place, item in enumerate(items) if item.language == code]
        worked = [place for place in own if "=" in answers["base"][place][0]]
        before, *shares = (sum(said[place][1] for place in worked) / len(worked) for said in answers.values())
        interval = scipy.stats.ttest_1samp(np.array(shares) - before, 0).confidence_interval(0.95)
        expected = [before, np.mean(shares), np.mean(shares) - before, interval.low, interval.high]
        cells = line.strip("| ").split(" | ")
        found = [float(number) for number in re.findall(r"[+-]?\d\.\d+", " ".join([cells[5], *cells[7:]]))]
        assert found == pytest.approx(expected, abs=6e-4)


@pytest.mark.slow
def test_the_arms_train_as_many_numbers_and_the_tables_have_them(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> str:
        monkeypatch.setattr(sys, "argv", ["neuron_training.py", *argv])
        study.main()
        return str(capsys.readouterr().out)

    small = ("--steps=2", "--problems=2", "--texts=10", "--out=study")
    run("train", "--neurons-rate=1e-2", "--lora-rate=2e-3", "--seeds=2", *small)
    cells = {path.parent.name: json.loads(path.read_text()) for path in Path("study/test").glob("*/cell.json")}
    assert len(cells) == 8
    trained = {cell["arm"]: cell["trained"] for cell in cells.values()}
    chosen = alignlab.load_run("study/counted").sets(0)
    neurons = int((chosen["zh"] | chosen["de"]).sum())
    assert trained["neurons"] == trained["matched"] == trained["random"] == 3 * 160 * neurons  # the model is 160 wide
    a_rank = 4 * 3 * (160 + 640)  # four layers of three maps between 160 and 640
    assert trained["lora"] % a_rank == 0
    assert abs(trained["lora"] - trained["neurons"]) <= a_rank / 2
    printed = run("tables", "--out=study")
    assert printed.count("| specific and related |") == printed.count("| LoRA, rank") == 2
    times = [path.stat().st_mtime_ns for path in sorted(Path("study").rglob("cell.json"))]
    run("train", "--neurons-rate=1e-2", "--lora-rate=2e-3", "--seeds=2", *small)
    assert [path.stat().st_mtime_ns for path in sorted(Path("study").rglob("cell.json"))] == times
    assert "| LoRA | 0.001 |" in run("rates", "--rates", "1e-3", "--arms", "lora", *small)


@pytest.fixture(scope="module")
def steering() -> Any:
    return loaded("news_steering")


def test_lines_are_halved_where_their_language_ends_words(steering: Any) -> None:
    assert steering.halves("one two three four", "en") == ("one two", "three four")
    assert steering.halves("事情就这样开始了", "zh") == ("事情就这", "样开始了")
    # No mark is parted from its letter: 6 characters, of 8 code points.
    first, second = steering.halves("กำกี่กู", "th")
    assert first + second == "กำกี่กู"
    assert not unicodedata.combining(second[0])
    assert unicodedata.category(second[0]) != "Mn"
    assert steering.halves("Word", "en") == ("", "Word")
    records = [
        Record(name, code, line, cluster=block)
        for name, block, lines in (
            ("1", "a", {"en": "one two", "zh": "一二"}),
            ("2", "a", {"en": "Word", "zh": "一二"}),
            ("3", "a", {"en": "five six", "zh": "五六"}),
            ("4", "a", {"en": "one more", "zh": "一二"}),
            ("5", "b", {"en": "the last", "zh": "末末"}),
        )
        for code, line in lines.items()
    ]
    chosen = steering.prompts_of(records, of_block=2)
    assert [(one.language, one.id) for one in chosen] == [(code, name) for code in ("en", "zh") for name in "135"]
    assert (chosen[1].prompt, chosen[1].answer, chosen[1].cluster) == ("five", "six", "a")


def test_sets_of_one_size_hold_the_lowest_entropies_above_tau() -> None:
    effects, random = loaded("news_effects"), np.random.default_rng(3)
    tokens = torch.full((3, 1), 1000)
    firings = torch.from_numpy(random.integers(0, 1001, (3, 1, 2, 40)))
    counts = alignlab.ActivationCounts(("en", "de", "fr"), firings, tokens, tokens, "mlp.act", "all")
    found = effects.equal_size(counts, 5, 0.8)
    p = firings[:, 0].numpy() / 1000
    tau = np.sort(p.ravel())[round(0.8 * p.size) - 1]
    for number, code in enumerate(counts.languages):
        above = [place for place in np.ndindex(2, 40) if p[(number, *place)] > tau]
        entropies = {place: scipy.stats.entropy([p[(g, *place)] for g in range(3)]) for place in above}
        expected = sorted(entropies, key=entropies.__getitem__)[:5]
        assert {tuple(place) for place in found[code].nonzero().tolist()} == set(expected)


def test_what_steering_does_is_counted_as_a_loop_counts_it(steering: Any) -> None:
    random = np.random.default_rng(5)
    items = [[str(line), f"block {line // 3}", code] for code in ("en", "de") for line in range(12)]
    arms = ["nothing", "neurons", "residual diff-mean", *(f"matched neurons {draw}" for draw in range(3))]
    shape = len(items), len(arms)
    found = {
        "target": "fr",
        "chosen": {"neurons": "scale 2", "residual diff-mean": "layer 0, 1"},
        "arms": arms,
        "forced": {"nothing": 9, "scale 2": 3, "layer 0, 1": 4, "add 1": 1},
        "forced_of": 10,
        "items": items,
        "tokens": random.integers(3, 9, (len(items), 2)).tolist(),
        "dropped": [False] * len(items),
        "shared": 0.25,
        "languages": random.choice(np.array(["fr", "en", None], dtype=object), shape).tolist(),
        "distinct": random.random(shape).tolist(),
        "own_nats": (100 * random.random(shape)).tolist(),
        "target_nats": (100 * random.random(shape)).tolist(),
    }
    one = steering.Told(found)
    assert one.most_forced == {"neurons": 0.3, "residual diff-mean": 0.4}
    in_target, lss, nats, tokens = [], [], 0.0, 0
    for item in range(len(items)):
        in_target.append(found["languages"][item][1] == "fr")
        before, after = (found["own_nats"][item][arm] - found["target_nats"][item][arm] for arm in (0, 1))
        lss.append(after > before)
        nats += found["target_nats"][item][0] - found["target_nats"][item][1]
        tokens += found["tokens"][item][1]
    cells = steering.pooled([one], "neurons")
    numbers = [float(re.match(r"[+-]?\d+\.\d+", cell)[0]) for cell in cells]  # type: ignore[index]
    assert numbers[0] == pytest.approx(np.mean(in_target), abs=6e-4)
    assert numbers[2] == pytest.approx(np.mean(lss), abs=6e-4)
    assert numbers[3] == pytest.approx(nats / tokens, abs=6e-4)
    controls = [[languages[3 + draw] == "fr" for languages in found["languages"]] for draw in range(3)]
    cell = steering.pooled([one], "matched neurons")[0]
    assert float(cell.split()[0]) == pytest.approx(np.mean(controls), abs=6e-4)
    more, p = steering.beyond([one, one], "neurons", "matched neurons", "in_target")
    assert more.value == pytest.approx([np.mean(in_target) - np.mean(controls)] * 2)
    assert p == pytest.approx(np.minimum(more.p * 2, 1))
    own, target = np.array(found["own_nats"]), np.array(found["target_nats"])
    d = own / np.array(found["tokens"])[:, :1] - target / np.array(found["tokens"])[:, 1:]
    more, _ = steering.beyond([one], "neurons", "matched neurons", "d")
    assert more.value == pytest.approx([np.mean(d[:, 1]) - np.mean(d[:, 3:])])


@pytest.mark.slow
def test_a_small_news_model_is_steered(
    steering: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, effects = sys.modules["news_model"], sys.modules["news_effects"]
    texts = tmp_path / "texts"
    texts.mkdir()
    by_language: dict[str, list[str]] = {}
    for record in generate(model.LANGUAGES, 130, split="train"):
        by_language.setdefault(record.language, []).append(record.prompt.replace("\n", " "))
    for code, lines in by_language.items():
        (texts / f"{code}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    monkeypatch.setattr(model, "PARTS", {"train": (0, 40), "identify": (50, 90), "evaluate": (90, 130)})
    for name, value in {"WIDTH": 24, "NEURONS": 64, "LAYERS": 2, "HEADS": 2, "VOCABULARY": 400}.items():
        monkeypatch.setattr(model, name, value)
    monkeypatch.setattr(steering, "LAST_CHOOSING", 110)
    monkeypatch.setattr(steering, "FIRST_TELLING", 111)

    def run(script: Any, *argv: str) -> str:
        monkeypatch.setattr(sys, "argv", [script.__name__, *argv, f"--out={tmp_path / 'news'}"])
        script.main()
        return str(capsys.readouterr().out)

    with pytest.raises(SystemExit, match="0"):
        run(model, f"--texts={texts}", "--steps=4", "--set", "probe.max_texts=40", "identifier.top_rate=0.3")
    # No line of a part is one of another's, though the files of two parts number theirs from 1.
    known, measured = ([one.id for one in files.load()] for files in steering.texts_of(tmp_path / "news"))
    assert set(measured) == {str(number) for number in range(91, 131)}
    assert not set(known) & set(measured)
    assert "| zh |" in run(effects, "sets")
    folder, text = tmp_path / "news", f"text.source.path={tmp_path / 'news/evaluate'}"
    asked = [f"run={folder / 'run'}", f"neurons={folder / 'equal_sets.safetensors'}", "text.source.name=files", text]
    asked += ["text.source.id=id", "text.source.cluster=block", "text.source.prompt=text", "text.scope=all"]
    monkeypatch.setattr(effects, "EACH", 4)
    monkeypatch.setattr(effects, "BAR", 0.5)  # so that every language has some
    run(effects, "sets")
    assert alignlab.intervene.main([*asked, "text.prompts.template={prompt}", "seeds=2", "languages=[en,zh]"]) == 0
    monkeypatch.setattr(effects, "LANGUAGES", ("en", "zh"))
    capsys.readouterr()
    told = Effects.load(next((folder / "run/interventions/deactivation").glob("effects*.safetensors")))
    own = [item.language == "zh" for item in told.items]
    [arm] = [place for place, label in enumerate(told.labels) if label.set == "zh" and not label.control]
    change = float((told.nats[own, arm] - told.nats[own, 0]).sum() / told.counted[own].sum())
    *_, last = run(effects, "matrix").splitlines()
    assert last.split(" | ")[2].startswith(f"{change:.3f} [")
    run(steering, "steer", "--targets", "zh", "--sets", "equal_sets.safetensors")
    found = json.loads((tmp_path / "news/steering/equal_sets/zh.json").read_text(encoding="utf-8"))
    assert {len(row) for row in found["own_nats"]} == {len(found["arms"])} == {1 + 1 + 1 + 5 + 5 + 2}
    assert "zh" not in {language for _, _, language in found["items"]}
    printed = run(steering, "tables", "--sets", "equal_sets.safetensors")
    assert all(f"| {words} |" in printed for words in steering.WAYS.values())
