"""Writing systems in the place of languages: parallel sentences, grouped by the script of their language.

    python scripts/studies/script_labels.py FOLDER --out runs/script_labels
    python scripts/studies/script_labels.py FOLDER --out runs/script_shuffled --shuffled 0

FOLDER has a file `<code>.txt` for each language, where line i says the same in all of them, such as NTREX-128. Of a
script with several languages they take turns, line by line, so that every script has each line once; ten lines that
stand together are a cluster. docs/studies/labels.md has what was found.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from alignlab.data.text_files import line_block, read_lines
from alignlab.languages import LANGUAGES

sys.path.insert(0, str(Path(__file__).parent))
from label_files import Excerpt, ask, write_labels

LINES_OF_A_CLUSTER = 10
# Which of them a syllable or a word is written by: the table's families.
KINDS = {
    "alphabet": "Latn Cyrl Grek Armn Geor Kore",
    "abjad": "Arab Hebr",
    "abugida": "Beng Deva Taml Telu Thai Khmr Mymr Laoo Ethi Gujr Guru Knda Mlym Orya Sinh Tibt",
    "logographs": "Hans Hant Jpan",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of files <code>.txt")
    parser.add_argument("--out", type=Path, required=True, help="where text, config and results are written")
    parser.add_argument("--model", default="builtin:demo", help="a folder or Hub id")
    parser.add_argument("--lines", type=int, default=300, help="lines of each script")
    parser.add_argument("--top-rate", type=float, default=0.1, help="of the identifier; the demo model is small")
    parser.add_argument("--shuffled", type=int, help="seed, by which labels are dealt to the lines anew: a null")
    options = parser.parse_args()
    by_script: dict[str, list[str]] = {}
    for path in sorted(options.folder.glob("*.txt")):
        if path.stem in LANGUAGES:
            by_script.setdefault(LANGUAGES[path.stem].script, []).append(path.stem)
    if len(by_script) < 2:
        raise SystemExit(f"{options.folder}: files of fewer than two scripts; expected <code>.txt, such as NTREX-128's")
    for script, codes in by_script.items():
        sys.stdout.write(f"{script}: {' '.join(codes)}\n")
    texts = {code: read_lines(options.folder / f"{code}.txt") for codes in by_script.values() for code in codes}
    documents = {
        script: [
            Excerpt(texts[codes[line % len(codes)]][line].strip(), line_block(line + 1, LINES_OF_A_CLUSTER), str(line))
            for line in range(options.lines)
        ]
        for script, codes in by_script.items()
    }
    kinds = {script: kind for kind, scripts in KINDS.items() for script in scripts.split()}
    table = {
        script: {
            "family": kinds[script],
            "typology": {"languages": "one" if len(by_script[script]) == 1 else "several"},
        }
        for script in by_script
    }
    config = write_labels(options.out, documents, table, "script", shuffled=options.shuffled)
    ask(options.out, config, options.model, options.top_rate)


if __name__ == "__main__":
    main()
