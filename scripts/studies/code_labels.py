"""Programming languages in the place of languages: real files, counted and classified as languages are.

    python scripts/studies/code_labels.py FOLDER [FOLDER ...] --out runs/code_labels
    python scripts/studies/code_labels.py FOLDER [FOLDER ...] --out runs/code_shuffled --shuffled 0

FOLDERs are searched for files by their extension, such as an environment's site-packages, /usr/lib and /usr/share. Of a
file the lines around its middle are a document (licences stand at the beginning), of a package at most a few, and a
package is a cluster. Languages with too few documents are named and left out. docs/studies/labels.md has
what was found.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from label_files import Excerpt, ask, write_labels

# By label: what the table says of it, and its extensions. Families are of syntax, and rough.
LABELS: dict[str, tuple[str, str, str]] = {
    "python": ("Python", "scripting", ".py"),
    "cython": ("Cython", "scripting", ".pyx .pxd .pxi"),
    "perl": ("Perl", "scripting", ".pl .pm"),
    "ruby": ("Ruby", "scripting", ".rb"),
    "tcl": ("Tcl", "scripting", ".tcl"),
    "shell": ("Shell", "scripting", ".sh .bash"),
    "vimscript": ("Vim script", "scripting", ".vim"),
    "c_lang": ("C", "braces", ".c"),
    "cpp": ("C++", "braces", ".cpp .cc .cxx .hpp .tcc"),
    "cuda": ("CUDA", "braces", ".cu .cuh"),
    "javascript": ("JavaScript", "braces", ".js .mjs .cjs"),
    "php": ("PHP", "braces", ".php"),
    "java": ("Java", "braces", ".java"),
    "fortran": ("Fortran", "fortran", ".f90 .f .f95"),
    "sql": ("SQL", "query", ".sql"),
    "cmake": ("CMake", "build", ".cmake"),
    "html": ("HTML", "markup", ".html .htm"),
    "xml": ("XML", "markup", ".xml .svg"),
    "rst": ("reStructuredText", "prose", ".rst"),
    "markdown": ("Markdown", "prose", ".md"),
    "css": ("CSS", "style", ".css"),
    "json": ("JSON", "data", ".json"),
    "yaml": ("YAML", "data", ".yaml .yml"),
    "toml": ("TOML", "data", ".toml"),
}
_EXTENSIONS = {extension: label for label, (_, _, all_of) in LABELS.items() for extension in all_of.split()}
LEAST_CHARACTERS, CHARACTERS, LONGEST_LINE, LARGEST = 200, 600, 400, 1_000_000


def main() -> None:
    options = arguments()
    found = {label: list(excerpts(options.folders, label, options)) for label in LABELS}
    enough = {}
    for label, those in found.items():
        clusters = len({one.cluster for one in those})
        fits = len(those) >= options.least and clusters >= options.least_clusters
        sys.stdout.write(
            f"{label}: {len(those)} documents of {clusters} packages{'' if fits else ': too few, left out'}\n"
        )
        if fits:
            enough[label] = those
    if len(enough) < 2:
        raise SystemExit("Fewer than two languages have enough files: name more folders, or a lower --least.")
    smallest = min(map(len, enough.values()))
    even = {label: those[:smallest] for label, those in enough.items()}  # sizes of sets depend on the amount of text
    table = {label: {"name": LABELS[label][0], "family": LABELS[label][1]} for label in even}
    config = write_labels(options.out, even, table, "programming language", shuffled=options.shuffled)
    ask(options.out, config, options.model, options.top_rate)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="searched for files")
    parser.add_argument("--out", type=Path, required=True, help="where text, config and results are written")
    parser.add_argument("--model", default="builtin:demo", help="a folder or Hub id")
    parser.add_argument("--documents", type=int, default=120, help="of a language at most")
    parser.add_argument("--least", type=int, default=40, help="with fewer documents a language is left out")
    parser.add_argument("--least-clusters", type=int, default=4, help="with fewer packages a language is left out")
    parser.add_argument("--of-package", type=int, default=20, help="documents of one package at most")
    parser.add_argument("--top-rate", type=float, default=0.1, help="of the identifier; the demo model is small")
    parser.add_argument("--shuffled", type=int, help="seed, by which labels are dealt to the documents anew: a null")
    return parser.parse_args()


def excerpts(folders: Sequence[Path], label: str, options: argparse.Namespace) -> Iterator[Excerpt]:
    """Documents of a language, no two alike, in an order that is the same each time."""
    paths = [(root, path) for root in folders for path in files_of(root) if _EXTENSIONS.get(path.suffix) == label]
    random.Random(label).shuffle(paths)
    seen: set[str] = set()
    of_package: Counter[str] = Counter()
    given = 0
    for root, path in paths:
        package = package_of(root, path)
        if given == options.documents:
            return
        text = excerpt(path) if of_package[package] < options.of_package else ""
        digest = hashlib.sha256(text.encode()).hexdigest()
        if text and digest not in seen:
            seen.add(digest)
            of_package[package] += 1
            given += 1
            yield Excerpt(text, package)


_FILES: dict[Path, list[Path]] = {}


def files_of(root: Path) -> list[Path]:
    """All files below a folder, links passed over, sorted."""
    if root not in _FILES:
        if not root.is_dir():
            raise SystemExit(f"{root}: there is no such folder")
        walked = os.walk(root, onerror=None, followlinks=False)
        _FILES[root] = sorted(Path(folder) / name for folder, _, names in walked for name in names)
    return _FILES[root]


def package_of(root: Path, path: Path) -> str:
    """The first two folders below the root: files of one package are not independent."""
    return "/".join([root.name, *path.relative_to(root).parts[:-1][:2]])


def excerpt(path: Path) -> str:
    """Lines around the middle of a file; "" of one that is no text, too short, or has lines that nobody wrote."""
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST:
            return ""
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    lines = text.splitlines()
    if len(text.strip()) < LEAST_CHARACTERS or "\0" in text or max(map(len, lines)) > LONGEST_LINE:
        return ""
    taken, size = [], 0
    for line in lines[len(lines) // 3 :]:
        taken.append(line)
        size += len(line) + 1
        if size >= CHARACTERS:
            break
    found = "\n".join(taken).strip()
    return found if len(found) >= LEAST_CHARACTERS else ""


if __name__ == "__main__":
    main()
