"""Find the neurons of each language, switch them off, and see in which language the loss rises.

    python examples/find_and_ablate.py [MODEL]

MODEL is a folder, a Hub id or `builtin:demo`, the default, which needs no network. The neurons of a language are its
specific and related ones. They are found on 60 worked answers, set to zero at mlp.act, and judged on 30 answers to the
same kinds of question with other numbers. Below each set stands the mean of three random controls: as many neurons in
the same layers that belong to no language and are not general. A rise no larger than the control's shows nothing about
the language. The values have no intervals: the text is small.
"""

from __future__ import annotations

import sys
from statistics import fmean

import torch
from torch import Tensor

from alignlab import NeuronSets
from alignlab.data.wordproblems import generate
from alignlab.interventions import Intervention, intervene
from alignlab.models.load import DEMO, ModelConfig
from alignlab.models.sites import find_sites
from alignlab.neurons import Kind
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.recording.by_document import DocumentLosses
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.passing import pass_through
from alignlab.recording.probes import build_probe

LANGUAGES = ["en", "de", "zh", "sw"]
SEEDS = (0, 1, 2)
TOP_RATE = 0.1  # the demo model is small: 1 %, the usual rate, would be a handful of neurons


class Experiment:
    """A model, and the text on which its loss is measured."""

    def __init__(self, source: str) -> None:
        config = ModelConfig(source=source)
        self.model, self.tokenizer = config.build(), config.build_tokenizer()
        self.sites = find_sites(self.model)
        self.held_out = build_probe(generate(LANGUAGES, 30, "test"), self.tokenizer)

    def find(self) -> tuple[NeuronSets, Tensor]:
        """The specific and related neurons of each language, and the general ones, (L, N) bool."""
        probe = build_probe(generate(LANGUAGES, 60, "probe"), self.tokenizer)
        counts = count_firings(self.model, self.sites, probe, origin=Origin())
        result = TernaryConfig(top_rate=TOP_RATE).identify(counts)
        return NeuronSets.of(result, (Kind.SPECIFIC, Kind.RELATED), counts=counts), result.general

    def losses(self, off: Tensor) -> dict[str, float]:
        """Nats a token of the held-out answers by language, with the neurons of `off`, (L, N) bool, at zero."""
        seen = DocumentLosses()
        with intervene(self.model, Intervention(off)):
            pass_through(self.model, self.held_out, [seen])
        return {code: float(seen.nats[code].sum() / seen.tokens[code].sum()) for code in LANGUAGES}


def main(source: str) -> None:
    """Print the loss by language before, and how much it rises for each set that is switched off."""
    experiment = Experiment(source)
    sets, general = experiment.find()
    before = experiment.losses(torch.zeros_like(general))
    controls = [sets.random(seed, outside=general) for seed in SEEDS]

    print(f"{source}: loss of worked answers in nats a token, and its change with neurons set to zero\n")
    print(f"{'switched off':<16}{'neurons':>8}" + "".join(f"{code:>9}" for code in LANGUAGES))
    print(f"{'nothing':<24}" + "".join(f"{before[code]:>9.3f}" for code in LANGUAGES))
    for name in LANGUAGES:
        after = experiment.losses(sets[name])
        random = [experiment.losses(control[name]) for control in controls]
        of_controls = {code: fmean(losses[code] for losses in random) for code in LANGUAGES}
        for label, losses in ((name, after), (f"  random for {name}", of_controls)):
            changes = "".join(f"{losses[code] - before[code]:>+9.3f}" for code in LANGUAGES)
            print(f"{label:<16}{int(sets[name].sum()):>8}{changes}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else DEMO)
