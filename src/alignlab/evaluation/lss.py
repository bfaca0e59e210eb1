"""LSS, the language shift score (Rahmanisa et al.): does an intervention make objects in the target language likelier?

For a prompt in language b and the objects that complete it, l_x is the summed log-probability of the object in language
x behind the prompt, and d = l_t - l_b. LSS(b -> t) is the share of items whose d is higher under the intervention than
without it. It is not defined for t = b. An intervention that does nothing gives 0, one that moves d either way as
often gives .5; what sets of the same size do is told by the controls beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignlab.data.choices import Choice, continued
from alignlab.data.records import Record
from alignlab.errors import InputError, Problem, refuse_any, some_of
from alignlab.evaluation.accuracy import Accuracy, accuracy, accuracy_change
from alignlab.evaluation.estimates import Estimate, mean
from alignlab.evaluation.multiple_choice import ChoiceTexts


@dataclass(frozen=True)
class ShiftItems:
    """Prompts in each language with their objects in all languages.

    choices: language by language; the options of each are the objects in `languages`, in that order, and the one in the
        prompt's own language stands as `gold`.
    left_out: ids that some language does not have.
    """

    languages: tuple[str, ...]
    choices: list[Choice]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class LanguageShift:
    """What an arm does to prompts in one language, towards another.

    share: LSS.  shift: the mean of d under the arm less d without, in nats; of an object or, where lengths were given,
        of a token, character or byte of it.
    dropped: items left out since their two objects tokenise alike.
    """

    share: Accuracy
    shift: Estimate
    dropped: int


def shift_items(records: Sequence[Record], *, delimiter: str = " ") -> ShiftItems:
    """Items out of parallel records, whose prompts end where their answers, the objects, begin.

    delimiter: between the two; in languages written without spaces records may say it themselves, with "".
    Raises InputError for an empty object, and where fewer than two languages share an id.
    """
    languages = tuple(dict.fromkeys(record.language for record in records))
    by_id: dict[str, dict[str, Record]] = {}
    for record in records:
        by_id.setdefault(record.id, {})[record.language] = record
    whole = {name: of for name, of in by_id.items() if len(of) == len(languages)}
    empty = [f"{record.id!r} ({record.language})" for record in records if not record.answer.strip()]
    problems = [Problem("objects", f"{some_of(empty)} without an answer", "an answer in each record")] if empty else []
    if len(languages) < 2 or not whole:
        found = f"{len(whole)} ids that all of {', '.join(languages) or 'no language'} have"
        problems.append(Problem("records", found, "parallel records of two or more languages"))
    refuse_any(problems)
    choices = [
        continued(
            of[language].prompt,
            [of[other].answer.strip() for other in languages],
            number,
            delimiter=delimiter,
            id=name,
            language=language,
            cluster=of[language].cluster,
        )
        for number, language in enumerate(languages)
        for name, of in whole.items()
    ]
    return ShiftItems(languages, choices, tuple(name for name in by_id if name not in whole))


def alike(texts: ChoiceTexts) -> Tensor:
    """Which options are scored on the same tokens as the one of the prompt's language (`gold`): (I, O) bool."""
    tokens: dict[tuple[int, int], bytes] = {}
    for document, item, option in zip(texts.documents, texts.item.tolist(), texts.option.tolist(), strict=True):
        tokens[item, option] = document.tokens[document.answer].tobytes()
    found = torch.zeros(texts.tokens.shape, dtype=torch.bool)
    for (item, option), scored in tokens.items():
        found[item, option] = scored == tokens[item, int(texts.gold[item])]
    return found


def preference(option_nats: Tensor, own: Tensor, target: int, lengths: Tensor | None = None) -> Tensor:
    """d = l_t - l_b of each item under each arm: (I, A) float64, in nats.

    option_nats: (I, A, O) negative log-likelihoods.  own: (I,) int64, the option in the prompt's language.
    lengths: (I, O), by which they are divided; None for none.
    """
    nats = option_nats.double()
    if lengths is not None:
        nats = nats / lengths.unsqueeze(1)
    ours = nats.gather(2, own.view(-1, 1, 1).expand(-1, nats.shape[1], 1)).squeeze(2)
    return ours - nats[:, :, target]


def language_shift(
    option_nats: Tensor,
    own: Tensor,
    target: int,
    dropped: Tensor,
    clusters: Sequence[str],
    *,
    arm: int,
    baseline: int = 0,
    lengths: Tensor | None = None,
) -> LanguageShift:
    """LSS of an arm and its mean shift, over items that are all in one language.

    option_nats: (I, A, O).  own: (I,) and target: as for `preference`.  dropped: (I,) bool, whose objects are alike.
    clusters: (I,) names.  arm, baseline: places among the arms.

    Raises InputError for a target that is the prompts' own language, and where all items are dropped.
    """
    kept = _kept(own, target, dropped)
    d = preference(option_nats, own, target, lengths)[kept]
    names = [name for name, stays in zip(clusters, kept.tolist(), strict=True) if stays]
    change = (d[:, arm] - d[:, baseline]).numpy()
    return LanguageShift(accuracy(change > 0, names), mean(change, names), int(dropped.sum()))


def beyond_control(
    option_nats: Tensor,
    own: Tensor,
    target: int,
    dropped: Tensor,
    clusters: Sequence[str],
    *,
    arm: int,
    control: int,
    baseline: int = 0,
) -> Accuracy:
    """How much higher the LSS of an arm is than that of its control, on the same items; arguments as above."""
    kept = _kept(own, target, dropped)
    d = preference(option_nats, own, target)[kept]
    names = [name for name, stays in zip(clusters, kept.tolist(), strict=True) if stays]
    shifted = (d > d[:, [baseline]]).numpy()
    return accuracy_change(shifted[:, control], shifted[:, arm], names)


def shift_matrix(
    option_nats: Tensor, texts: ChoiceTexts, items: ShiftItems, *, arm: int, normalised: bool = False
) -> Mapping[tuple[str, str], LanguageShift | None]:
    """(b, t) -> what an arm does to prompts in b towards t; None where t is b, and where all objects are alike.

    option_nats: (I, A, O), the first arm without intervention.  normalised: of a token of the objects.
    """
    same, lengths = alike(texts), texts.tokens if normalised else None
    cells: dict[tuple[str, str], LanguageShift | None] = {}
    for language in items.languages:
        rows = [number for number, choice in enumerate(items.choices) if choice.language == language]
        names = [items.choices[number].cluster for number in rows]
        for place, target in enumerate(items.languages):
            if target == language or bool(same[rows, place].all()):
                cells[language, target] = None
                continue
            own = texts.gold[rows]
            part = None if lengths is None else lengths[rows]
            cells[language, target] = language_shift(
                option_nats[rows], own, place, same[rows, place], names, arm=arm, lengths=part
            )
    return cells


def _kept(own: Tensor, target: int, dropped: Tensor) -> Tensor:
    if bool((own == target).any()):
        raise InputError.of("target", "it is the language of the prompts", "another", "LSS has no diagonal.")
    if bool(dropped.all()):
        raise InputError.of("items", f"the objects of all {len(dropped)} tokenise alike", "one or more that do not")
    return ~dropped
