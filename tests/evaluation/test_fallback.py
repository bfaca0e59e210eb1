"""Fallback with a speaker whose preferences are known: it answers in the first of its languages that is on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from alignlab.errors import InputError
from alignlab.evaluation.fallback import FallbackStep, fallback, path


class Speaker:
    """Answers each prompt in the first language of its list that is not off; None behind the last."""

    def __init__(self, *preferences: Sequence[str]) -> None:
        self.preferences, self.asked = preferences, []

    def __call__(self, off: tuple[str, ...]) -> list[str | None]:
        self.asked.append(off)
        return [next((code for code in codes if code not in off), None) for codes in self.preferences]


def test_the_adaptive_order_follows_the_answers() -> None:
    speaker = Speaker(["zh", "en"], ["zh", "de", "en"], ["zh", "en"], ["en", "de"])
    steps = fallback(speaker, ["de", "en", "sw", "zh"])
    assert [step.off for step in steps] == [(), ("zh",), ("zh", "en"), ("zh", "en", "de")]
    assert speaker.asked == [step.off for step in steps]
    assert path(steps, ["de", "en", "sw", "zh"]) == ["zh", "en", "de", None]
    assert dict(steps[1].counts) == {"en": 3, "de": 1}
    assert steps[2].abstained == 2
    # Nothing is left in any language: sw, in which nobody answered, is never switched off.
    assert steps[3].answers == (None,) * 4


def test_a_fixed_order_is_kept_to_its_end() -> None:
    speaker = Speaker(["zh", "en"], ["en"])
    steps = fallback(speaker, ["de", "en", "zh"], ["de", "zh"])
    assert [step.off for step in steps] == [(), ("de",), ("de", "zh")]
    assert [step.answers for step in steps] == [("zh", "en"), ("zh", "en"), ("en", "en")]


def test_a_language_that_is_off_and_still_spoken_is_not_switched_off_again() -> None:
    """Its neurons are off and it goes on; the next is then the one that most others are in."""
    answers = {(): ["zh", "zh", "en"], ("zh",): ["zh", "zh", "en"], ("zh", "en"): ["zh", "zh", "zh"]}
    steps = fallback(answers.__getitem__, ["en", "zh"])
    assert [step.off for step in steps] == [(), ("zh",), ("zh", "en")]


def test_of_equals_the_first_leads_and_shares_have_intervals() -> None:
    step = FallbackStep((), ("en", "de", None, "de", "en", "fr"))
    assert (step.leading(["de", "en"]), step.leading(["en", "de"]), step.leading(["sw"])) == ("de", "en", None)
    share = step.share("de", list("aabbcc"))
    assert (share.value, share.documents, share.clusters) == (1 / 3, 6, 3)


def test_what_is_wrong_is_told_before_anything_is_asked() -> None:
    speaker = Speaker(["en"])
    with pytest.raises(InputError) as refused:
        fallback(speaker, ["en", "de", "de"], ["dee", "en", "en"])
    told = str(refused.value)
    assert "languages: 'de' twice" in told
    assert "order: 'en' twice" in told
    assert "order: 'dee'; expected some of: en, de, de. Did you mean 'de'?" in told
    with pytest.raises(InputError, match="languages: none"):
        fallback(speaker, [])
    assert speaker.asked == []
