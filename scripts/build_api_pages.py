"""Write the API pages, HTML by pdoc from the docstrings: `make docs`.

python scripts/build_api_pages.py FOLDER
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pdoc

import alignlab

# What scripts and contributors use; the rest is read in the source.
MODULES = (
    "alignlab",
    "alignlab.callbacks",
    "alignlab.data.records",
    "alignlab.interventions.export",
    "alignlab.interventions.expressions",
    "alignlab.interventions.intervention",
    "alignlab.interventions.layers",
    "alignlab.interventions.operations",
    "alignlab.interventions.running",
    "alignlab.models.access",
    "alignlab.models.load",
    "alignlab.models.sites",
    "alignlab.neurons.classification",
    "alignlab.neurons.counts",
    "alignlab.neurons.identifiers",
    "alignlab.neurons.kinds",
    "alignlab.neurons.overlaps",
    "alignlab.neurons.sets",
    "alignlab.neurons.table",
    "alignlab.neurons.uncertainty",
    "alignlab.recording.by_document",
    "alignlab.recording.counting",
    "alignlab.recording.means",
    "alignlab.recording.observers",
    "alignlab.recording.passing",
    "alignlab.recording.probes",
)


def main(folder: Path) -> None:
    """One page a module, `index.html` and a search index; a name that cannot be shown is an error."""
    for name in alignlab.__all__:  # pdoc shows only what has been imported
        getattr(alignlab, name)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".* does not resolve")
        # Types that are imported for the type checker only are shown by their names.
        warnings.filterwarnings("ignore", "Error parsing type annotation")
        pdoc.pdoc(*MODULES, output_directory=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
