"""Line-aligned parallel text: line i of one file says what line i of the other does."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from alignlab.config import REQUIRED, Options, option
from alignlab.data.records import Record
from alignlab.data.text_files import line_block, read_lines
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.languages import check_codes


class ParallelText(Options):
    """Pairs of files with the same number of lines; prompt from one, answer from the other."""

    name: Literal["parallel_text"] = "parallel_text"
    source: str = option(REQUIRED, "file of the prompts, with {language} for the code")
    target: str = option(REQUIRED, "file of the answers, with {language} for the code where it has one")
    languages: list[str] = option(REQUIRED, "languages of the prompts, by ISO 639 code", check=check_codes)
    parallel: bool = option(False, "lines of the same number say the same thing in every language")
    cluster_lines: int | None = option(
        None, "lines of a block that is taken as one article; null takes each pair on its own", unit="lines", ge=1
    )
    spelled: dict[str, str] = option({}, "how file names spell a code where they differ, such as {ja: jp}")
    limit: int | None = option(None, "first pairs to take of each language; null takes all", unit="pairs", ge=1)

    @property
    def clusters(self) -> str:
        return f"blocks of {self.cluster_lines} lines" if self.cluster_lines is not None else ""

    def load(self) -> list[Record]:
        records: list[Record] = []
        problems: list[Problem] = []
        for code in self.languages:
            try:
                records += self._pairs(code)
            except InputError as error:
                problems += error.problems
        refuse_any(problems)
        return records

    def _pairs(self, code: str) -> list[Record]:
        name = self.spelled.get(code, code)
        source = Path(self.source.replace("{language}", name)).expanduser()
        target = Path(self.target.replace("{language}", name)).expanduser()
        prompts, answers = read_lines(source), read_lines(target)
        for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=False), start=1):
            if bool(prompt.strip()) != bool(answer.strip()):
                empty, full = (source, target) if answer.strip() else (target, source)
                expected = f"the counterpart of {full}:{number}"
                raise InputError.of(f"{empty}:{number}", "the line is empty", expected, "The files are not aligned.")
        if len(prompts) != len(answers):
            (less, short), (more, long) = sorted([(len(prompts), source), (len(answers), target)])
            found = f"the file ends before line {less + 1}"
            raise InputError.of(f"{short}:{less + 1}", found, f"as many lines as {long} has ({more})")
        apart = "" if self.parallel else f"{code}:"
        pairs = [
            Record(f"{apart}{number}", code, prompt.strip(), answer.strip(), self._cluster(apart, number))
            for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True), start=1)
            if prompt.strip()
        ]
        return pairs[: self.limit]

    def _cluster(self, apart: str, line: int) -> str:
        """The block that a line is in; empty where each pair is on its own."""
        return "" if self.cluster_lines is None else apart + line_block(line, self.cluster_lines)
