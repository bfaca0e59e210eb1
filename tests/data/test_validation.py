"""What is held out: whole groups, by a slow search for what is connected."""

from __future__ import annotations

import random

import numpy as np
import pytest

from alignlab.data.encoding import Document
from alignlab.data.examples import Answers
from alignlab.data.options import DataConfig, ValidationOptions
from alignlab.data.sources import Mixture, Part, WordProblems
from alignlab.data.training import load_training
from alignlab.data.validation import groups_of, held_out
from alignlab.errors import InputError


def document(name: str, cluster: str = "", language: str = "de") -> Document:
    one = np.ones(2, dtype=bool)
    return Document(name, language, np.array([1, 2], dtype=np.int32), one, ~one, cluster)


def random_documents(seed: int) -> list[Document]:
    generator = random.Random(seed)
    return [document(str(generator.randrange(30)), generator.choice(["", "", "a", "b", "c", "d"])) for _ in range(60)]


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_what_ids_and_clusters_connect(seed: int) -> None:
    documents = random_documents(seed)
    groups = groups_of(documents)
    # Slowly: whoever shares an id or a cluster is put into one set, until nothing changes.
    sets = [{number} for number in range(len(documents))]
    changed = True
    while changed:
        changed = False
        for one in range(len(documents)):
            for other in range(len(documents)):
                same = documents[one].id == documents[other].id or documents[one].cluster == documents[other].cluster
                if same and sets[one] is not sets[other]:
                    whole = sets[one] | sets[other]
                    for member in whole:
                        sets[member] = whole
                    changed = True
    for one in range(len(documents)):
        for other in range(len(documents)):
            assert (groups[one] == groups[other]) == (sets[one] is sets[other])


@pytest.mark.parametrize("seed", range(20))
def test_whole_groups_are_held_out_and_no_more_than_asked_for(seed: int) -> None:
    documents = random_documents(seed)
    groups = groups_of(documents)
    smallest = min(groups.count(group) for group in groups)
    for wanted in (1, 5, 20):
        out = held_out(documents, wanted, seed)
        for group in set(groups):
            assert len({held for held, own in zip(out, groups, strict=True) if own == group}) == 1
        assert 0 < sum(out) <= max(wanted, smallest)


def test_single_documents_are_held_out_to_the_number_and_by_the_seed() -> None:
    documents = [document(str(number)) for number in range(100)]
    assert sum(held_out(documents, 17, 0)) == 17
    assert held_out(documents, 17, 0) == held_out(documents, 17, 0) != held_out(documents, 17, 1)


SOURCE = WordProblems(languages=["zh", "de"], count=60)


@pytest.mark.parametrize("validation", [ValidationOptions(share=0.25), ValidationOptions(examples=30)])
def test_a_share_of_the_problems_is_whole_templates_in_all_languages(
    tokenizer: object, validation: ValidationOptions
) -> None:
    english = Part(source=WordProblems(languages=["en"], count=60), weight=2)
    config = DataConfig(
        train=Mixture(parts={"all": Part(source=SOURCE), "english": english}), validation=validation, max_length=2000
    )
    data = load_training(config, tokenizer, Answers(), seed=0)
    assert len(data.examples) + len(data.validation) == 180
    assert not {one.cluster for one in data.examples} & {one.cluster for one in data.validation}
    assert 0 < len(data.validation) <= (45 if validation.share else 30)
    assert sum(part.size for part in data.parts) == len(data.examples)
    # Parts are still side by side: what the plan takes for English is.
    sizes = [part.size for part in data.parts]
    assert {one.language for one in data.examples[: sizes[0]]} == {"zh", "de"}
    assert {one.language for one in data.examples[sizes[0] :]} == {"en"}


def test_a_source_of_its_own(tokenizer: object) -> None:
    own = WordProblems(languages=["sw"], count=5, split="test")
    config = DataConfig(train=SOURCE, validation=ValidationOptions(source=own), max_length=2000)
    data = load_training(config, tokenizer, Answers(), seed=0)
    assert (len(data.examples), len(data.validation)) == (120, 5)
    assert {one.language for one in data.validation} == {"sw"}


def test_nothing_left_to_train_on_is_refused(tokenizer: object) -> None:
    config = DataConfig(
        train=WordProblems(languages=["de"], count=1), validation=ValidationOptions(share=0.5), max_length=2000
    )
    with pytest.raises(InputError, match=r"^data.validation: all 1 examples of the training data would be held out"):
        load_training(config, tokenizer, Answers(), seed=0)
