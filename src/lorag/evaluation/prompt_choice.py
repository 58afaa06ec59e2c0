"""Which prompt to ask with: a few are tried on questions that are not tested, fewer of them on more questions.

By successive halving (Jamieson and Talwalkar 2016), cut short because questions are few: every prompt answers half of
them, and the better half of the prompts answers the rest. A prompt with which clearly too many answerable questions are
refused ranks below all others. So few questions tell large differences only: the prompt that is named first among those
within one standard error of the best is taken (the rule of Breiman et al. 1984 for pruning trees).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt
from statistics import fmean
from typing import Any

from lorag.evaluation.answers.metrics import Correct, NewContentRecall
from lorag.evaluation.answers.style import Style
from lorag.files import draw
from lorag.settings import PromptSettings
from lorag.types import Answer, Example

MOST_REFUSED = 0.1
"""Share of answerable questions beyond which refusing costs more than it saves."""
FEWEST_QUESTIONS = 6
"""Below this many questions no prompt is chosen over the default."""
_STYLE_NOISE = 0.05
"""Shares of style checks that count as equal."""
_UNANSWERABLE_SHARE = 0.25
"""Least share of questions to refuse, where there are any."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a model is asked: under which prompt, a finetune at which share of its strength, with how many sources."""

    prompt: PromptSettings = field(default_factory=PromptSettings)
    strength: float = 1.0
    room: int | None = None
    """Tokens of sources in the prompt; None: as many as ``ChatSettings`` has."""

    def __str__(self) -> str:
        """The form in a few words."""
        room = f", up to {self.room} tokens of sources" if self.room else ""
        strength = f", finetune at {self.strength:g} of its strength" if self.strength != 1 else ""
        return f"{self.prompt}{room}{strength}"


Ask = Callable[[Mapping[Form, Sequence[Example]]], Mapping[Form, Sequence[Answer]]]
"""Answers the questions of each form as it asks, in order."""


@dataclass(frozen=True, slots=True)
class TriedPrompt:
    """A prompt and what it brought on the questions it was tried on."""

    prompt: PromptSettings
    questions: int
    right: float
    """Share answered right, or refused where the documents do not answer."""
    refused: float | None
    """Share of the answerable questions that were refused; None without any."""
    answered: float | None
    """Share of the unanswerable questions that were answered; None without any."""
    seconds: float
    """Seconds per question, generation alone."""
    prompt_tokens: float
    """Tokens per prompt."""
    strength: float = 1.0
    """Of the finetune that was asked, as in ``Form``."""
    answerable: int = 0
    """Questions of which ``refused`` is a share; 0 in files of earlier versions."""
    style: float | None = None
    """Mean share of the declared style checks that answers pass; None where no style is declared."""
    room: int | None = None
    """For sources, as in ``Form``."""

    @property
    def form(self) -> Form:
        """How the model was asked."""
        return Form(self.prompt, self.strength, self.room)

    @property
    def rank(self) -> tuple[bool, float]:
        """Higher is better: refusals not clearly beyond their limit first, then right answers."""
        return not self._refuses_too_much, self.right

    @property
    def _refuses_too_much(self) -> bool:
        refused = self.refused or 0.0
        error = sqrt(refused * (1 - refused) / self.answerable) if self.answerable else 0.0
        return refused - error > MOST_REFUSED


@dataclass(frozen=True, slots=True)
class PromptChoice:
    """The prompt to ask with; ``tried`` lists all, the chosen one first, then by how far they came."""

    prompt: PromptSettings = field(default_factory=PromptSettings)
    tried: tuple[TriedPrompt, ...] = ()
    strength: float = 1.0
    """Of the finetune to ask, as in ``Form``."""
    room: int | None = None
    """For sources, as in ``Form``."""

    @classmethod
    def of(cls, form: Form, tried: tuple[TriedPrompt, ...] = ()) -> PromptChoice:
        """The choice to ask as ``form`` does."""
        return cls(form.prompt, tried, form.strength, form.room)

    @property
    def form(self) -> Form:
        """How to ask."""
        return Form(self.prompt, self.strength, self.room)

    def __str__(self) -> str:
        """The choice in one line."""
        if not self.tried:
            return f"{self.form} (set by hand, or too few questions to choose on)"
        best = self.tried[0]
        return (
            f"{self.form} (best of {len(self.tried)} on {best.questions} questions that are not tested:"
            f" {100 * best.right:.0f} % right)"
        )

    def to_json(self) -> dict[str, Any]:
        """The choice and everything tried, as JSON takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PromptChoice:
        """What ``to_json`` wrote."""
        tried = [TriedPrompt(**{**each, "prompt": PromptSettings(**each["prompt"])}) for each in value["tried"]]
        form = Form(PromptSettings(**value["prompt"]), value.get("strength", 1.0), value.get("room"))
        return cls.of(form, tuple(tried))


def trial_questions(examples: Sequence[Example], limit: int) -> list[Example]:
    """At most ``limit`` of ``examples``, always the same, a quarter of them unanswerable where there are so many."""
    ordered = sorted(examples, key=lambda example: draw(f"trial {example.id}"))
    answerable = [example for example in ordered if example.answers]
    others = [example for example in ordered if not example.answers]
    few = min(len(others), max(round(_UNANSWERABLE_SHARE * limit), limit - len(answerable)))
    chosen = answerable[: limit - few] + others[:few]
    return sorted(chosen, key=lambda example: draw(f"order {example.id}"))


def choose_prompt(
    candidates: Sequence[Form], examples: Sequence[Example], ask: Ask, style: Style | None = None
) -> PromptChoice:
    """The first of ``candidates`` within one standard error of the best of them, on ``examples`` in the order given.

    With a declared ``style``, the first of those within it that keep the style best. With fewer than 6 examples, or one
    candidate, nothing is tried.
    """
    if len(examples) < FEWEST_QUESTIONS or len(candidates) < 2:
        return PromptChoice.of(candidates[0])
    correct = Correct(NewContentRecall.fit(examples))
    answers: dict[Form, list[Answer]] = {candidate: [] for candidate in candidates}
    tried: dict[Form, TriedPrompt] = {}
    left = list(candidates)
    for size in _sizes(len(examples)):
        asked = ask({candidate: examples[len(answers[candidate]) : size] for candidate in left})
        for candidate in left:
            answers[candidate] += asked[candidate]
            tried[candidate] = tried_prompt(candidate, examples[:size], answers[candidate], correct, style)
        left = _preferred_first(sorted(left, key=lambda each: tried[each].rank, reverse=True), candidates, tried)
        if size < len(examples):
            left = left[: _half(len(left))]
    order = sorted(candidates, key=lambda each: (tried[each].questions, tried[each].rank), reverse=True)
    taken = left[0]
    ranked = tuple(tried[each] for each in (taken, *(each for each in order if each != taken)))
    return PromptChoice.of(taken, ranked)


def choose_room(
    choice: PromptChoice, rooms: Sequence[int], examples: Sequence[Example], ask: Ask, style: Style | None = None
) -> PromptChoice:
    """What ``choose_prompt`` would take of ``choice`` and of more room for sources, by its prompt and the default one.

    ``rooms`` are tokens, in ascending order, each of which holds more of the passages that answer: the largest one is
    taken within noise. With examples a prompt is long, and the default one may read more sources better. ``examples``
    are those that the chosen prompt was tried on. Where nothing was tried, no room is.
    """
    if not rooms or not choice.tried:
        return choice
    correct = Correct(NewContentRecall.fit(examples))
    prompts = dict.fromkeys((PromptSettings(), choice.prompt))
    wider = [Form(prompt, choice.strength, room) for room in reversed(rooms) for prompt in prompts]
    asked = ask(dict.fromkeys(wider, examples))
    tried = {form: tried_prompt(form, examples, asked[form], correct, style) for form in wider}
    tried[choice.form] = choice.tried[0]
    ranked = sorted(tried, key=lambda each: tried[each].rank, reverse=True)
    taken, *others = _preferred_first(ranked, list(tried), tried)
    return PromptChoice.of(taken, (tried[taken], *(tried[each] for each in others), *choice.tried[1:]))


def _preferred_first(
    ranked: Sequence[Form], candidates: Sequence[Form], tried: Mapping[Form, TriedPrompt]
) -> list[Form]:
    """``ranked``, in front the preferred one of those as good as the best within noise, as in ``choose_prompt``."""
    best = tried[ranked[0]]
    enough = best.right - sqrt(best.right * (1 - best.right) / best.questions)
    good = [
        each
        for each in candidates
        if each in ranked and tried[each].rank[0] == best.rank[0] and tried[each].right >= enough
    ]
    styled = max(tried[each].style or 0.0 for each in good)
    preferred = next(each for each in good if (tried[each].style or 0.0) >= styled - _STYLE_NOISE)
    return [preferred, *(each for each in ranked if each != preferred)]


def planned_answers(candidates: int, questions: int) -> int:
    """How many answers ``choose_prompt`` asks for."""
    answers, before = 0, 0
    for size in _sizes(questions):
        answers += candidates * (size - before)
        candidates, before = _half(candidates), size
    return answers


def _half(count: int) -> int:
    return -(-count // 2)


def _sizes(questions: int) -> list[int]:
    """How many questions each round has answered in the end: half, then all."""
    return sorted({max(FEWEST_QUESTIONS, questions // 2), questions})


def tried_prompt(
    form: Form,
    examples: Sequence[Example],
    answers: Sequence[Answer],
    correct: Correct,
    style: Style | None = None,
) -> TriedPrompt:
    """What ``form`` brought, by its ``answers`` to ``examples``."""
    kept = [share for answer in answers if style and (share := style.share(answer.text)) is not None]
    pairs = list(zip(examples, answers, strict=True))
    refused = [float(answer.refused) for example, answer in pairs if example.answers]
    answered = [float(not answer.refused) for example, answer in pairs if not example.answers]
    return TriedPrompt(
        form.prompt,
        len(examples),
        fmean(score.value or 0.0 for score in correct.score(examples, answers)),
        fmean(refused) if refused else None,
        fmean(answered) if answered else None,
        fmean(answer.usage.generate_seconds for answer in answers),
        fmean(answer.usage.prompt_tokens for answer in answers),
        form.strength,
        len(refused),
        fmean(kept) if kept else None,
        form.room,
    )
