"""Steering the news model into a language: by neurons, by the residual stream, by text in it, beside controls.

    python scripts/studies/news_steering.py steer --out runs/news
    python scripts/studies/news_steering.py tables --out runs/news

Prompts are the first halves of lines in nine languages; the tenth is the target. The operation and its strength, and
the layer and its strength, are those under which the second halves in the target language are likeliest, on other
lines than those that tell how well they do. A target that is there already is not steered to again.
docs/studies/news.md says how all is measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import regex
import torch
from news_effects import RUN, SETS, last_counts
from news_model import LANGUAGES
from numpy.typing import NDArray
from study import markdown
from torch import Tensor

from alignlab import NeuronSets
from alignlab.analysis.beyond_control import Excess, excess
from alignlab.atomic import write_text
from alignlab.data.records import Record
from alignlab.data.sources.files import Files
from alignlab.evaluation.accuracy import Accuracy, accuracy, accuracy_change
from alignlab.evaluation.estimates import Estimate, mean, ratio
from alignlab.evaluation.lss import ShiftItems, alike, preference, shift_items
from alignlab.evaluation.multiple_choice import ChoiceTexts, encode_choices
from alignlab.evaluation.output_language import language_of
from alignlab.intervening.chosen import in_common
from alignlab.interventions import Add, DiffMean, Intervention, Replace, Scale, residual_diff_mean
from alignlab.models.edits import Arm
from alignlab.models.load import ModelConfig
from alignlab.models.lower_layers import find_lower_layers
from alignlab.models.sites import find_sites
from alignlab.neurons.corrections import adjusted
from alignlab.recording.arm_generation import generate_under
from alignlab.recording.means import record_means
from alignlab.recording.probes import Probe, build_probe
from alignlab.recording.responses_file import text_of
from alignlab.recording.scoring import score
from alignlab.runs import RunFolder

# Lines up to the first of these choose operation, layer and strength; those from the second tell what the chosen
# ones do. Of every block of ten lines one is taken.
LAST_CHOOSING, FIRST_TELLING = 1750, 1801
LINES_OF_BLOCK = 1
DRAWS, AMONG = 5, 10
# Of the prompts that choose every third is also continued under all that may be chosen.
EVERY = 3
ALPHA = 0.05
NEW_TOKENS, TOKENS_PER_BATCH = 24, 4096
WITHOUT_SPACES = ("zh", "ja", "th")

STRENGTHS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
SCALES = (1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)
RESIDUAL_STRENGTHS = (0.5, 1.0, 2.0, 4.0)

NOTHING, NEURONS, MATCHED = "nothing", "neurons", "matched neurons"
RESIDUAL, DIRECTION = "residual diff-mean", "random direction"
BEFORE, BEHIND = "line before", "words behind"
WAYS = {
    NOTHING: "nothing",
    MATCHED: "matched neurons, mean of 5 draws",
    NEURONS: "neurons",
    DIRECTION: "residual, random direction, mean of 5 draws",
    RESIDUAL: "residual diff-mean",
    BEFORE: "a line in the target language before the prompt",
    BEHIND: "three words in the target language behind the prompt",
}

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def main() -> None:
    options = arguments()
    if options.command == "tables":
        print("\n\n".join(tables(read_all(options.out, options.sets))))
        return
    steering = Steering(options.out, options.sets)
    for target in options.targets:
        path = file_of(options.out, options.sets, target)
        if not path.exists():
            found = steering.to(target)
            write_text(path, json.dumps(found, ensure_ascii=False, allow_nan=False))
            print(target, found["chosen"], flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("steer", "tables"))
    parser.add_argument("--out", type=Path, default=Path("runs/news"), help="of news_model.py (default: %(default)s)")
    parser.add_argument("--sets", default=SETS, help="file of the neurons (default: %(default)s)")
    parser.add_argument("--targets", nargs="+", default=LANGUAGES, choices=LANGUAGES, help="default: all")
    return parser.parse_args()


def file_of(out: Path, sets: str, target: str) -> Path:
    return out / "steering" / Path(sets).stem / f"{target}.json"


def read_all(out: Path, sets: str) -> dict[str, Any]:
    """What was found for each target that has been steered to."""
    paths = {code: file_of(out, sets, code) for code in LANGUAGES}
    return {code: json.loads(path.read_text(encoding="utf-8")) for code, path in paths.items() if path.exists()}


def texts_of(out: Path) -> tuple[Files, Files]:
    """The lines on which neurons were found, and those that are measured."""
    codes = list(LANGUAGES)
    measured = Files(path=str(out / "evaluate"), languages=codes, id="id", cluster="block", prompt="text")
    return Files(path=str(out / "identify"), languages=codes), measured


def halves(line: str, language: str) -> tuple[str, str]:
    """The first half of a line, by characters, and what follows: cut at a space where the language writes any.

    One of them is empty where there is no place to cut.
    """
    characters = regex.findall(r"\X", line)
    middle = len(characters) // 2
    if language in WITHOUT_SPACES:
        return "".join(characters[:middle]).strip(), "".join(characters[middle:]).strip()
    spaces = [place for place, one in enumerate(characters) if one == " "]
    cut = min(spaces, key=lambda place: abs(place - middle), default=0)
    return "".join(characters[:cut]).strip(), "".join(characters[cut:]).strip()


def first_words(line: str, language: str) -> str:
    """Three words of a line; of a language without spaces between words ten characters."""
    if language in WITHOUT_SPACES:
        return "".join(regex.findall(r"\X", line)[:10]).strip()
    return " ".join(line.split()[:3])


def prompts_of(records: Iterable[Record], *, of_block: int) -> list[Record]:
    """First halves, with the second as answers, of the first lines of every block that have both in all languages.

    Language by language, as `shift_items` has them.
    """
    whole: dict[str, list[Record]] = {}
    for record in records:
        prompt, answer = halves(record.prompt, record.language)
        whole.setdefault(record.id, []).append(replace(record, prompt=prompt, answer=answer))
    taken: dict[str, list[str]] = {}
    for name, parts in whole.items():
        block = taken.setdefault(parts[0].cluster, [])
        if len(block) < of_block and all(part.prompt and part.answer for part in parts):
            block.append(name)
    languages = dict.fromkeys(part.language for parts in whole.values() for part in parts)
    chosen = [part for names in taken.values() for name in names for part in whole[name]]
    return [part for language in languages for part in chosen if part.language == language]


@dataclass(frozen=True)
class Measured:
    """What arms gave, by item and arm.

    languages: of the continuations, by code; None where it cannot be told.  texts: the continuations.
    distinct: share of their tokens that are not there before in them.
    own_nats, target_nats: of the second half in the prompt's language, and in the target language.
    """

    languages: list[list[str | None]]
    texts: list[list[str]]
    distinct: list[list[float]]
    own_nats: list[list[float]]
    target_nats: list[list[float]]

    def beside(self, other: Measured) -> Measured:
        """The same items under the arms of both."""
        both = {name: getattr(other, name) for name in vars(self)}
        return Measured(
            **{name: [a + b for a, b in zip(rows, both[name], strict=True)] for name, rows in vars(self).items()}
        )


class Steering:
    """The model, its neurons, what is known of them, and the lines."""

    def __init__(self, out: Path, sets: str) -> None:
        run = RunFolder(out / RUN)
        self.counts = last_counts(out)
        config = ModelConfig(source=str(run.checkpoint(run.checkpoint_steps()[-1])))
        self.model, self.tokenizer = config.build(), config.build_tokenizer()
        self.sets = NeuronSets.load(out / sets)
        self.lower = find_lower_layers(self.model)
        self.sites = {at: find_sites(self.model, at) for at in ("mlp.act", "residual")}
        known, measured = texts_of(out)
        self.known, lines = known.load(), measured.load()
        # What is chosen and what tells share no block.
        self.choosing = prompts_of((one for one in lines if int(one.id) <= LAST_CHOOSING), of_block=LINES_OF_BLOCK)
        self.telling = prompts_of((one for one in lines if int(one.id) >= FIRST_TELLING), of_block=LINES_OF_BLOCK)
        probe = build_probe(self.known, self.tokenizer, scope="all", max_texts=len(self.known))
        assert isinstance(probe, Probe)
        # Of the documents on which the neurons were found.
        self.means = {
            at: record_means(self.model, sites, probe, out / "means" / at) for at, sites in self.sites.items()
        }

    def to(self, target: str) -> dict[str, Any]:
        """Choose, and tell what the chosen ways of steering to a language do."""
        neurons, residual = self.by_neurons(target, self.sets[target]), self.by_residual(target)
        arms: dict[str, Arm] = {NOTHING: (), **neurons, **residual}
        [found] = self.likelihoods(target, self.choosing, list(arms.values()), own=False)
        _, tokens, _ = self.items(target, self.choosing)
        nats = dict(zip(arms, (np.sum(found, axis=0) / sum(of for _, of in tokens)).tolist(), strict=True))
        best = {NEURONS: min(neurons, key=nats.__getitem__), RESIDUAL: min(residual, key=nats.__getitem__)}
        some = [record for record in self.choosing if record.language != target][::EVERY]
        languages, _, _ = self.continued(some, list(arms.values()))
        told: dict[str, Arm] = {NOTHING: (), NEURONS: neurons[best[NEURONS]], RESIDUAL: residual[best[RESIDUAL]]}
        draws = [self.matched(target, draw) for draw in range(DRAWS)]
        for draw in range(DRAWS):
            told[f"{MATCHED} {draw}"] = self.by_neurons(target, draws[draw])[best[NEURONS]]
            told[f"{DIRECTION} {draw}"] = turned(residual[best[RESIDUAL]], LANGUAGES.index(target) * DRAWS + draw)
        measured = self.measured(target, self.telling, list(told.values()))
        for way in (BEFORE, BEHIND):
            measured = measured.beside(self.measured(target, self.told_in(target, way), [()]))
        items, tokens, dropped = self.items(target, self.telling)
        return {
            "target": target,
            "chosen": best,
            "choosing": nats,
            "forced": {name: sum(of[place] == target for of in languages) for place, name in enumerate(arms)},
            "forced_of": len(some),
            "arms": [*told, BEFORE, BEHIND],
            "items": items,
            "tokens": tokens,
            "dropped": dropped,
            "shared": in_common(draws),
            **vars(measured),
        }

    def by_neurons(self, target: str, neurons: Tensor) -> dict[str, Arm]:
        """By name what may be done to neurons, the weakest of each kind first."""
        operations = {
            **{f"scale {strength:g}": Scale(strength=strength) for strength in SCALES},
            **{f"add {strength:g}": Add(strength=strength) for strength in STRENGTHS},
            **{f"diff_mean {strength:g}": DiffMean(strength=strength) for strength in STRENGTHS},
            "replace by mean": Replace(),
            "replace by percentile 90": Replace(by="percentile"),
            "replace by maximum": Replace(by="maximum"),
        }
        means = self.means["mlp.act"]
        return {
            name: (Intervention(neurons, one, language=target, statistics=means).edit,)
            for name, one in operations.items()
        }

    def by_residual(self, target: str) -> dict[str, Arm]:
        """By name the residual stream shifted behind one layer, the weakest shifts first."""
        means = self.means["residual"]
        return {
            f"layer {layer}, {strength:g}": (residual_diff_mean(means, target, [layer], strength).edit,)
            for strength in RESIDUAL_STRENGTHS
            for layer in range(means.shape[0])
        }

    def matched(self, target: str, draw: int) -> Tensor:
        """As many neurons of no language in every layer, about as often active in this one."""
        alone = replace(self.sets, sets={target: self.sets[target]})
        return alone.matched(self.counts, draw, self.sets.union(), AMONG)[target]

    def told_in(self, target: str, way: str) -> list[Record]:
        """The prompts with text of the target language before or behind them, of other lines for other prompts."""
        lines = [record.prompt for record in self.known if record.language == target]
        prompts = []
        for record in self.telling:
            line = lines[int(record.id) % len(lines)]
            parts = [line, record.prompt] if way == BEFORE else [record.prompt, first_words(line, target)]
            prompts.append(replace(record, prompt=" ".join(parts)))
        return prompts

    def measured(self, target: str, records: Sequence[Record], arms: Sequence[Arm]) -> Measured:
        """What arms give on the prompts in other languages than the target."""
        prompts = [record for record in records if record.language != target]
        assert [[one.id, one.cluster, one.language] for one in prompts] == self.items(target, records)[0]
        return Measured(*self.continued(prompts, arms), *self.likelihoods(target, records, arms))

    def continued(
        self, records: Sequence[Record], arms: Sequence[Arm]
    ) -> tuple[list[list[str | None]], list[list[str]], list[list[float]]]:
        """Language, text and share of distinct tokens of each continuation, by record and arm."""
        responses = generate_under(
            self.model,
            [np.array(self.tokenizer(record.prompt)["input_ids"], np.int32) for record in records],
            arms,
            max_new_tokens=NEW_TOKENS,
            max_tokens_per_batch=TOKENS_PER_BATCH,
            sites=self.sites,
        )
        texts = [[text_of(self.tokenizer, one.tokens) for one in of] for of in responses]
        told = iter(language_of((text for of in texts for text in of), LANGUAGES))
        distinct = [[len(set(one.tokens.tolist())) / len(one.tokens) for one in of] for of in responses]
        return [[next(told) for _ in of] for of in texts], texts, distinct

    def likelihoods(
        self, target: str, records: Sequence[Record], arms: Sequence[Arm], *, own: bool = True
    ) -> list[list[list[float]]]:
        """Nats of the second half in the prompt's language, if these are asked for, and in the target language: each by
        item and arm.
        """
        made, texts = self._choices(records)
        asked = [pair if own else pair[1:] for pair in _own_and_target(made, target)]
        numbers = {(int(a), int(b)): number for number, (a, b) in enumerate(zip(texts.item, texts.option, strict=True))}
        documents = [texts.documents[numbers[pair]] for pairs in asked for pair in pairs]
        found = score(
            self.model, documents, arms, max_tokens_per_batch=TOKENS_PER_BATCH, lower=self.lower, sites=self.sites
        )
        return found.nats.view(len(asked), -1, len(arms)).transpose(0, 1).tolist()  # type: ignore[no-any-return]

    def items(self, target: str, records: Sequence[Record]) -> tuple[list[list[str]], list[list[int]], list[bool]]:
        """Of each prompt in another language its id, block and language; how many tokens its two second halves are;
        whether these are the same ones.
        """
        made, texts = self._choices(records)
        asked, same = _own_and_target(made, target), alike(texts)
        items = [
            [made.choices[item].id, made.choices[item].cluster, made.choices[item].language] for (item, _), _ in asked
        ]
        tokens = [[int(texts.tokens[pair]) for pair in pairs] for pairs in asked]
        return items, tokens, [bool(same[other]) for _, other in asked]

    def _choices(self, records: Sequence[Record]) -> tuple[ShiftItems, ChoiceTexts]:
        """The prompts, each with the second halves in all languages."""
        made = shift_items(records)
        return made, encode_choices(made.choices, self.tokenizer)


def _own_and_target(made: ShiftItems, target: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Of each item in another language its number with the place of its own option, and with the target's."""
    place = made.languages.index(target)
    return [
        ((number, choice.gold), (number, place))
        for number, choice in enumerate(made.choices)
        if choice.language != target
    ]


def turned(arm: Arm, seed: int) -> Arm:
    """A shift of one layer in a random direction, as long as it is."""
    (edit,) = arm
    drawn = torch.randn(len(edit.offset), generator=torch.Generator().manual_seed(seed))
    return (replace(edit, offset=drawn * (edit.offset.norm() / drawn.norm())),)


class Told:
    """What was found for one target, as arrays by item and arm."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.target: str = found["target"]
        # Of two draws of its matched neurons, and of random directions.
        self.shared = {MATCHED: float(found["shared"]), DIRECTION: 0.0}
        self.chosen: dict[str, str] = found["chosen"]
        self.arms: list[str] = found["arms"]
        forced = {NEURONS: [0], RESIDUAL: [0]}
        for name, count in found["forced"].items():
            if name != NOTHING:
                forced[RESIDUAL if name.startswith("layer") else NEURONS].append(count)
        self.most_forced = {way: max(counts) / found["forced_of"] for way, counts in forced.items()}
        self.blocks = [block for _, block, _ in found["items"]]
        own = np.array([language for _, _, language in found["items"]])
        languages = np.array(found["languages"], dtype=object)
        self.in_target = np.array(languages == self.target, dtype=np.bool_)
        self.in_own = np.array(languages == own[:, None], dtype=np.bool_)
        self.distinct: Floats = np.array(found["distinct"])
        self.kept = ~np.array(found["dropped"], dtype=np.bool_)
        self.tokens: Floats = np.array(found["tokens"], dtype=np.float64)
        # (I, A, 2), the own one first.
        self.nats = np.stack([np.array(found["own_nats"]), np.array(found["target_nats"])], axis=2)
        first = torch.zeros(len(own), dtype=torch.int64)
        d = preference(torch.from_numpy(self.nats), first, target=1).numpy()
        self.shifted: Bools = d > d[:, [self.arms.index(NOTHING)]]
        # The same, a token.
        self.d: Floats = preference(torch.from_numpy(self.nats), first, 1, torch.from_numpy(self.tokens)).numpy()

    def places(self, way: str) -> list[int]:
        """The arms of a way: one, or the draws of a control."""
        return [place for place, name in enumerate(self.arms) if name.rstrip("0123456789").strip() == way]

    def changed(self, way: str) -> Floats:
        """(I, 2): nats with less nats without, of the own half and the target's, mean of the draws."""
        return (self.nats[:, self.places(way)] - self.nats[:, [self.arms.index(NOTHING)]]).mean(axis=1)


def pooled(told: Sequence[Told], way: str) -> list[str]:
    """The numbers of a way over all targets, as cells of the table."""
    blocks = [block for one in told for block in one.blocks]
    kept = np.concatenate([one.kept for one in told])
    some = np.array(blocks)[kept].tolist()

    def share(name: str, chosen: Bools | None = None) -> str:
        values = np.concatenate([getattr(one, name)[:, one.places(way)] for one in told])
        names = blocks if chosen is None else some
        return interval(of_draws(values if chosen is None else values[chosen], names))

    changes = np.concatenate([one.changed(way) for one in told])
    tokens = np.concatenate([one.tokens for one in told])
    nats = [interval(ratio(-changes[:, place], tokens[:, place], blocks), "+.3f") for place in (1, 0)]
    distinct = np.concatenate([one.distinct[:, one.places(way)].mean(axis=1) for one in told]).mean()
    lss = "" if way == NOTHING else share("shifted", kept)
    return [share("in_target"), share("in_own"), lss, *(nats if way != NOTHING else ["", ""]), f"{distinct:.2f}"]


def of_draws(values: Bools, blocks: Sequence[str]) -> Accuracy | Estimate:
    """The share of items, (I, k); of several draws the mean of theirs, with the interval for these draws."""
    return accuracy(values[:, 0], blocks) if values.shape[1] == 1 else mean(values.mean(axis=1), blocks)


def interval(found: Accuracy | Estimate, form: str = ".3f") -> str:
    return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"


def beyond(told: Sequence[Told], way: str, control: str, name: str) -> tuple[Excess, Floats]:
    """By target how much more a way changes the mean of a number than its control does, and Holm's p over the targets.

    name: `in_target`, `shifted` or `d`.
    """
    blocks = sorted(set(told[0].blocks))
    of = {block: place for place, block in enumerate(blocks)}

    def sums(one: Told, place: int) -> Floats:
        values = getattr(one, name)
        changes = values[:, place].astype(np.float64) - values[:, one.arms.index(NOTHING)]
        return np.bincount([of[block] for block in one.blocks], changes, len(blocks))

    sizes = [np.bincount([of[block] for block in one.blocks], minlength=len(blocks)) for one in told]
    assert all((one == sizes[0]).all() for one in sizes)  # every target has its prompts in as many other languages
    chosen = np.stack([sums(one, one.places(way)[0]) for one in told])
    controls = np.stack([[sums(one, place) for place in one.places(control)] for one in told])
    found = excess(chosen, controls, sizes[0], [one.shared[control] for one in told])
    # Where nothing differs from nothing there is nothing beyond.
    return found, adjusted(np.nan_to_num(found.p, nan=1.0), "holm")


def tables(found: dict[str, Any]) -> list[str]:
    """All tables."""
    told = [Told(one) for one in found.values()]
    head = ["steered by", "continued in the target", "in the prompt's", "LSS", "target's half", "own half", "distinct"]
    whole = markdown([head, *([words, *pooled(told, way)] for way, words in WAYS.items())])
    by_target = [["target", "neurons", "residual", *WAYS, "most by neurons", "most by residual"]]
    for one in told:
        shares = [f"{one.in_target[:, one.places(way)].mean():.3f}" for way in WAYS]
        most = [f"{one.most_forced[way]:.2f}" for way in (NEURONS, RESIDUAL)]
        by_target.append([one.target, one.chosen[NEURONS], one.chosen[RESIDUAL], *shares, *most])
    verdicts = [["way", "control", "measure", *(one.target for one in told), "beyond"]]
    for way, control in ((NEURONS, MATCHED), (RESIDUAL, DIRECTION)):
        for name, words in (("in_target", "in the target"), ("shifted", "LSS"), ("d", "d, nats a token")):
            more, p = beyond(told, way, control, name)
            far = more.beyond & (more.value > 0) & (p < ALPHA)
            stars = [f"{value:+.3f}{'*' if one else ''}" for value, one in zip(more.value, far, strict=True)]
            verdicts.append([way, control, words, *stars, f"{int(far.sum())} of {len(told)}"])
    return [whole, markdown(by_target), markdown(verdicts), differences(told)]


def differences(told: Sequence[Told]) -> str:
    """Pairs of ways, over all targets: the difference of the shares, with paired intervals."""
    blocks = [block for one in told for block in one.blocks]
    rows = [["way", "less", "continued in the target"]]
    for way, other in ((RESIDUAL, NEURONS), (BEHIND, NEURONS), (BEHIND, RESIDUAL), (BEFORE, NEURONS)):
        of = {name: np.concatenate([one.in_target[:, one.places(name)[0]] for one in told]) for name in (way, other)}
        rows.append([way, other, interval(accuracy_change(of[other], of[way], blocks), "+.3f")])
    return markdown(rows)


if __name__ == "__main__":
    main()
