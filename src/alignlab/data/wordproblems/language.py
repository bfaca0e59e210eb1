"""What a language file says, and how its words and a problem's numbers become text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from alignlab.data.wordproblems.shapes import Step


@dataclass(frozen=True)
class ProblemLanguage:
    """The words of one language. All lists run in parallel with those of every other language.

    code: ISO 639 code.
    women, men: names; where a language declines them, the forms are separated by `|`.
    name_forms: endings of the placeholders for these forms: "" makes `{woman}`, "_gen" makes `{woman_gen}`.
    things: objects that problems count, with forms separated by `|`.
    thing_forms: the placeholders for these forms.
    templates: shape name -> the question and one sentence for each step. A sentence holds `{work} = ` and the step's
        result. Numbers are `{a}`, `{b}`, ...
    nouns: other nouns that change with their number, as forms separated by `|`: "coins" makes `{a_coins}`.
    plural: which form of a counted noun follows a number (needed with `nouns` only; `{a_things}` is made likewise).
    """

    code: str
    women: tuple[str, ...]
    men: tuple[str, ...]
    things: tuple[str, ...]
    thing_forms: tuple[str, ...]
    templates: Mapping[str, tuple[str, ...]]
    name_forms: tuple[str, ...] = ("",)
    nouns: Mapping[str, str] = field(default_factory=dict)
    plural: Callable[[int], int] | None = None

    def words(self, woman: int, man: int, thing: int, numbers: Mapping[str, int]) -> dict[str, str]:
        """Every placeholder but `{work}`, for the names and thing at these places of the lists and these numbers."""
        words = {name: str(number) for name, number in numbers.items()}
        for role, names, place in (("woman", self.women, woman), ("man", self.men, man)):
            forms = names[place].split("|")
            words |= {role + ending: form for ending, form in zip(self.name_forms, forms, strict=True)}
        words |= dict(zip(self.thing_forms, self.things[thing].split("|"), strict=True))
        if self.plural is not None:
            for noun, text in {**self.nouns, "things": self.things[thing]}.items():
                forms = text.split("|")
                words |= {f"{name}_{noun}": f"{n} {forms[self.plural(n)]}" for name, n in numbers.items()}
        return words

    def question(self, shape: str, words: Mapping[str, str]) -> str:
        """The question of a problem."""
        return self.templates[shape][0].format_map(words)

    def answer(self, shape: str, words: Mapping[str, str], steps: tuple[Step, ...]) -> str:
        """The worked answer: a sentence a step and, the same in every language, the line `#### result`."""
        sentences = self.templates[shape][1:]
        lines = [text.format_map({**words, "work": step.work}) for text, step in zip(sentences, steps, strict=True)]
        return "\n".join([*lines, f"#### {steps[-1].result}"])
