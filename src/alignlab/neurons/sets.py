"""Named sets of neurons: what identifiers find, what files hold, what is switched off."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from operator import and_, or_
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.checks import grid_problems, name_problems, range_problems, require_one_of
from alignlab.neurons.classification import Classification
from alignlab.neurons.controls import matched_control, random_control
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.counts_checks import MOST
from alignlab.neurons.formats.sets import load_sets, save_sets
from alignlab.neurons.headed_file import contents_of
from alignlab.neurons.kinds import Convention, Kind
from alignlab.neurons.overlaps import Overlap, overlap
from alignlab.neurons.probabilities import Bools
from alignlab.neurons.sets_file import SETS, is_safetensors, read_sets
from alignlab.neurons.short_repr import in_words
from alignlab.redaction import hide


@dataclass(frozen=True, eq=False, repr=False)
class NeuronSets(Mapping[str, Tensor]):
    """Sets of neurons by name, such as one for each language; a mapping from names to (L, N) bool.

    sets: by name, in order; all of one shape. Empty sets keep their place.
    site: where in the model the neurons are, such as ``mlp.act``.
    scope, statistic: of the counts they come from: the tokens counted, and what was read from them.
    model, revision: id and revision of the model.
    data_fingerprint: of the texts counted.
    tokens: by language, how many were counted.
    thresholds: by name, such as ``tau`` and ``lambda``. All of these are empty where unknown.

    Names may be of anything that texts can be sorted by: languages, cultures, programming languages. `a & b`, `a | b`
    and `a - b` go name by name, and with one (L, N) mask on the right every set meets that mask.

    Raises InputError for sets that are no bool masks of one shape, for names that are empty, and for numbers of tokens
    and thresholds that nothing can have.

        >>> import torch
        >>> from alignlab import NeuronSets
        >>> english = torch.tensor([[True, True, False, False, False, False]])  # a layer of 6 neurons
        >>> sets = NeuronSets({"en": english, "de": english.roll(1)})
        >>> sets
        <NeuronSets: 1 x 6 neurons at mlp.act
         2 sets: en 2, de 2>
        >>> (sets - sets["de"]).sizes()
        {'en': 1, 'de': 0}
        >>> sets.overlap("en", "de").common
        1
        >>> (sets.random(seed=1) & sets.union()).sizes()  # a control: as many neurons in every layer, of no set
        {'en': 0, 'de': 0}
        >>> sets.save("sets.safetensors")
        >>> NeuronSets.load("sets.safetensors").names
        ('en', 'de')
    """

    sets: dict[str, Tensor]
    site: str = "mlp.act"
    scope: str = ""
    statistic: str = ""
    model: str = ""
    revision: str = ""
    data_fingerprint: str = ""
    tokens: dict[str, int] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = name_problems("sets", self.names)
        problems += grid_problems({f"set {name!r}": mask for name, mask in self.sets.items()}, torch.bool)
        problems += [
            Problem(f"tokens of {name!r}", f"{tokens}", "from 0 to 2^53")
            for name, tokens in self.tokens.items()
            if not 0 <= tokens <= MOST  # written so that NaN is refused too
        ]
        problems += [
            Problem(f"threshold {name!r}", f"{value}", "a number")
            for name, value in self.thresholds.items()
            if math.isnan(value)
        ]
        refuse_any(problems)

    @classmethod
    def of(
        cls,
        result: Classification,
        kinds: Collection[Kind] | None = None,
        convention: Convention = "paper",
        counts: ActivationCounts | None = None,
        statistic: str = "activation probability",
    ) -> NeuronSets:
        """The sets of a classification.

        kinds: a language's neurons (above tau) of these kinds, such as specific and related; None for `result.sets`,
            which is all that an identifier without a tau finds.
        convention: by which neurons have their kind.
        counts: what was classified, or counts of the same tokens, for the header.
        statistic: what was read of these tokens.
        """
        sets = result.sets
        if kinds is not None:
            codes = result.kinds(convention)
            among = torch.isin(codes, torch.tensor([*kinds], dtype=codes.dtype))
            sets = {name: above & among for name, above in result.above.items()}
        header: dict[str, Any] = {}
        if counts is not None:
            shared = ("site", "scope", "model", "revision", "data_fingerprint")
            header = {name: getattr(counts, name) for name in shared}
            header["tokens"] = dict(zip(counts.languages, counts.language_tokens().tolist(), strict=True))
            header["statistic"] = statistic
        return cls(dict(sets), thresholds=result.thresholds, **header)

    @classmethod
    def join(cls, *parts: NeuronSets) -> NeuronSets:
        """The sets of several, each name from one of them, with the first one's header but for the tokens."""
        if not parts:
            raise InputError(Problem("sets", "none given", "one or more"))
        refuse_any(name_problems("sets", [name for part in parts for name in part]))
        for part in parts:
            parts[0]._check_fits(part.shape, part.site)
        sets = {name: part.sets[name] for part in parts for name in part}
        return replace(parts[0], sets=sets, tokens=reduce(or_, (part.tokens for part in parts)))

    def __repr__(self) -> str:
        layers, neurons = self.shape
        thresholds = [f"{name} {value:.4g}" for name, value in self.thresholds.items()]
        facts = [f"{layers} x {neurons} neurons at {self.site}", *thresholds, hide(self.model)]
        sizes = in_words([f"{name} {size}" for name, size in self.sizes().items()])
        return f"<NeuronSets: {', '.join(filter(None, facts))}\n {len(self)} sets: {sizes}>"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.sets)

    @property
    def shape(self) -> tuple[int, int]:
        """L, N."""
        layers, neurons = next(iter(self.sets.values())).shape
        return layers, neurons

    def __getitem__(self, name: str) -> Tensor:
        return self.sets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sets)

    def __len__(self) -> int:
        return len(self.sets)

    def __and__(self, other: NeuronSets | Tensor) -> NeuronSets:
        return self._each(and_, self._matching(other))

    def __or__(self, other: NeuronSets | Tensor) -> NeuronSets:
        return self._each(or_, self._matching(other))

    def __sub__(self, other: NeuronSets | Tensor) -> NeuronSets:
        return self._each(lambda mask, taken: mask & ~taken, self._matching(other))

    def union(self) -> Tensor:
        """The neurons of any set, (L, N) bool."""
        return reduce(or_, self.sets.values())

    def intersection(self) -> Tensor:
        """The neurons of every set, (L, N) bool."""
        return reduce(and_, self.sets.values())

    def sizes(self) -> dict[str, int]:
        """Number of neurons of each set."""
        return {name: int(mask.sum()) for name, mask in self.sets.items()}

    def sizes_by_layer(self) -> dict[str, Tensor]:
        """Number of neurons of each set in each layer, (L,) int64."""
        return {name: mask.sum(dim=1) for name, mask in self.sets.items()}

    def overlap(self, a: str, b: str, pool: Tensor | None = None) -> Overlap:
        """How much two sets have in common, beside chance; see `alignlab.neurons.overlap`.

        That is chance for sets made independently. For the languages of one classification, all pairs together are
        compared by `alignlab.neurons.language_overlaps`.
        """
        return overlap(self._known(a), self._known(b), pool)

    def random(self, seed: int = 0, outside: Tensor | None = None) -> NeuronSets:
        """For every set a control of the same layers and numbers, drawn from the neurons in no set at all.

        seed: a set's control depends on the seed and its name. Controls of different sets may share neurons.
        outside: (L, N) bool, more neurons that no control may hold, such as general ones.

        Raises InputError where a layer has too few neurons left.
        """
        return self._controls(outside, partial(random_control, seed=seed))

    def matched(
        self,
        probabilities: ActivationCounts | Mapping[str, Tensor],
        seed: int = 0,
        outside: Tensor | None = None,
        among: int = 1,
    ) -> NeuronSets:
        """For every set a control of the same layers and numbers, alike in activity: neuron by neuron the nearest p.

        probabilities: by language, (L, N) float64, each set being matched on its own language's; or the counts.
        seed: the order in which neurons are served, which matters where two want the same one; and the draw.
        among: draw each from this many nearest ones, so that seeds differ; 1 takes the nearest itself.
        outside: (L, N) bool, more neurons that no control may hold.

        Raises InputError where a layer has too few neurons left, and for sets without probabilities.
        """
        most = 1.0
        if isinstance(probabilities, ActivationCounts):
            most = math.inf if probabilities.subtracted else 1.0
            probabilities = dict(zip(probabilities.languages, probabilities.probabilities(), strict=True))
        self._check_probabilities(probabilities, most)

        def control(target: Bools, free: Bools, name: str) -> Bools:
            return matched_control(target, free, probabilities[name].numpy(), seed, name, among)

        return self._controls(outside, control)

    def save(self, path: Path | str, format: str = "alignlab") -> None:  # noqa: A002
        """Write the sets, whole or not at all.

        format: ``alignlab``, safetensors with a header; or as others write: ``lape`` (lists of indices), and for one
            set ``culture``, ``plnd`` or ``attribution``. Only the first keeps names and header.

        Raises OSError when it cannot be written, InputError when the format cannot hold the sets.
        """
        if format != "alignlab":
            return save_sets(Path(path), self.sets, format, self.site, self.model)
        return SETS.save(Path(path), {"sets": torch.stack(list(self.sets.values()))}, self)

    @classmethod
    def load(
        cls,
        path: Path | str,
        languages: Sequence[str] | None = None,
        num_neurons: int | None = None,
        num_layers: int | None = None,
        format: str | None = None,  # noqa: A002
        site: str | None = None,
    ) -> NeuronSets:
        """Read what `save` or published code wrote.

        languages: names of the sets in the order of the file; in alignlab's own files they are there, and only checked.
        num_neurons, num_layers: N and L of the model. Lists of indices need N, attribution files both; else checked.
        format: as in `save`; None looks: safetensors, ``.json`` (attribution), ``.txt`` (plnd), or what a torch file
            holds.
        site: where the neurons are; for files with several sites (plnd, attribution) the one to read. None takes
            mlp.act, and mlp.up for plnd; in alignlab's own files it is there, and only checked.

        Raises InputError when the file is missing, truncated, of another format, would execute, or does not fit.
        """
        path = Path(path)
        if format == "alignlab" or (format is None and is_safetensors(path)):
            masks, header = read_sets(path)
            with contents_of(path):
                sets = cls(masks, **header)
            _check_expected(path, sets, languages, num_neurons, num_layers, site)
            return sets
        read, at = load_sets(path, languages, num_neurons, num_layers, format, site)
        return cls(read, site=at)

    def _each(self, operation: Callable[[Tensor, Tensor], Tensor], masks: Mapping[str, Tensor]) -> NeuronSets:
        return replace(self, sets={name: operation(mask, masks[name]) for name, mask in self.sets.items()})

    def _controls(self, outside: Tensor | None, control: Callable[..., Bools]) -> NeuronSets:
        """For every set what `control` makes of it, of the neurons in no set and not `outside`, and of its name."""
        taken = self.union()
        if outside is not None:
            self._check_mask(outside)
            taken = taken | outside
        free = ~taken.numpy()
        controls = {name: control(mask.numpy(), free, name=name) for name, mask in self.sets.items()}
        return replace(self, sets={name: torch.from_numpy(mask) for name, mask in controls.items()})

    def _check_probabilities(self, probabilities: Mapping[str, Tensor], most: float = 1.0) -> None:
        for name in self.sets:
            if name not in probabilities or tuple(probabilities[name].shape) != self.shape:
                layers, neurons = self.shape
                found = "missing" if name not in probabilities else f"shape {tuple(probabilities[name].shape)}"
                raise InputError(Problem(f"probabilities of {name!r}", found, f"({layers}, {neurons})"))
            refuse_any(range_problems(f"probabilities of {name!r}", probabilities[name], most))

    def _known(self, name: str) -> Tensor:
        require_one_of("set", name, self.sets)
        return self.sets[name]

    def _matching(self, other: NeuronSets | Tensor) -> Mapping[str, Tensor]:
        if isinstance(other, Tensor):
            self._check_mask(other)
            return dict.fromkeys(self.sets, other)
        if set(other) != set(self):
            raise InputError(Problem("sets", f"names {', '.join(other)}", f"{', '.join(self)}, or one mask for all"))
        self._check_fits(other.shape, other.site)
        return other

    def _check_mask(self, mask: Tensor) -> None:
        if mask.dtype != torch.bool:
            raise InputError(Problem("mask", f"{mask.dtype}", "torch.bool"))
        self._check_fits(tuple(mask.shape), self.site)

    def _check_fits(self, shape: tuple[int, ...], site: str) -> None:
        if shape != self.shape or site != self.site:
            expected = f"{self.shape} at {self.site}, (layers, neurons)"
            raise InputError(Problem("sets", f"{shape} at {site}", expected))


def _check_expected(
    path: Path,
    sets: NeuronSets,
    languages: Sequence[str] | None,
    num_neurons: int | None,
    num_layers: int | None,
    site: str | None,
) -> None:
    layers, neurons = sets.shape
    found = {"names": sets.names, "neurons of a layer": neurons, "layers": layers, "site": sets.site}
    wanted = (None if languages is None else tuple(languages), num_neurons, num_layers, site)
    refuse_any(
        [
            Problem(f"{path}", f"{what} {there}", f"{expected}")
            for (what, there), expected in zip(found.items(), wanted, strict=True)
            if expected not in (None, there)
        ]
    )
