"""Compare the neurons of two models on the same text: how many of each kind, and which of a language's are the same.

    python examples/compare_models.py [MODEL MODEL]

A model is a folder, a Hub id or `builtin:demo`; both need as many layers and neurons. Without arguments the demo model
is compared with itself after 20 steps on German maths problems, which needs no network. From the command line, for any
number of models and with a page: python -m alignlab.analyze models=[A,B].
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from alignlab import ActivationCounts, NeuronSets
from alignlab.data.wordproblems import generate
from alignlab.models.load import DEMO, ModelConfig
from alignlab.models.sites import find_sites
from alignlab.neurons import Kind
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.probes import build_probe

LANGUAGES = ["en", "de", "zh", "sw"]
TOP_RATE = 0.1  # the demo model is small: 1 %, the usual rate, would be a handful of neurons


def count(source: str) -> ActivationCounts:
    """The firings of a model's neurons on 60 worked answers a language."""
    config = ModelConfig(source=source)
    model = config.build()
    probe = build_probe(generate(LANGUAGES, 60, "probe"), config.build_tokenizer())
    return count_firings(model, find_sites(model), probe, origin=Origin(model=source))


def tune(folder: Path) -> None:
    """The demo model after 20 steps on German problems, saved in a folder."""
    torch.manual_seed(0)
    config = ModelConfig(source=DEMO)
    model, tokenizer = config.build().train(), config.build_tokenizer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    problems = generate(["de"], 80)
    for start in range(0, len(problems), 4):
        batch = [f"{problem.prompt}\n{problem.answer}" for problem in problems[start : start + 4]]
        tokens = tokenizer(batch, return_tensors="pt", padding=True)
        labels = tokens.input_ids.masked_fill(tokens.attention_mask == 0, -100)
        model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def compare(first: str, second: str) -> None:
    """Print both models' neurons at the thresholds of the first."""
    identifier = TernaryConfig(top_rate=TOP_RATE)
    counts = [count(first), count(second)]
    before = identifier.identify(counts[0])
    results = [before, identifier.identify(counts[1], before)]

    print(f"A  {first}\nB  {second}\nB is classified at the thresholds of A: tau {before.threshold:.4f}\n")
    print(f"{'neurons':<12}{'A':>8}{'B':>8}")
    for kind in (Kind.SPECIFIC, Kind.RELATED, Kind.GENERAL, Kind.UNASSIGNED):
        print(f"{kind.label:<12}" + "".join(f"{int((result.kinds() == kind).sum()):>8}" for result in results))

    sets = [NeuronSets.of(result, (Kind.SPECIFIC, Kind.RELATED)) for result in results]
    both = NeuronSets({f"{name} {code}": of[code] for name, of in zip("AB", sets, strict=True) for code in LANGUAGES})
    print(f"\n{'specific or related':<20}{'A':>6}{'B':>6}{'in both':>9}{'of two random sets':>20}")
    for code in LANGUAGES:
        shared = both.overlap(f"A {code}", f"B {code}")
        print(f"{code:<20}{shared.size_a:>6}{shared.size_b:>6}{shared.common:>9}{shared.expected:>20.1f}")


def main(models: list[str]) -> None:
    """Compare two models, or the demo model with a tuned one."""
    if len(models) == 2:
        compare(*models)
    elif models:
        sys.exit("expected two models, or none: python examples/compare_models.py A B")
    else:
        with tempfile.TemporaryDirectory() as folder:
            tune(Path(folder) / "tuned")
            compare(DEMO, str(Path(folder) / "tuned"))


if __name__ == "__main__":
    main(sys.argv[1:])
