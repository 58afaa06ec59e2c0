"""A function of the user's as a ``Responder``: whatever answers questions can take part in a comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from lorag.chat.prompts import is_refusal
from lorag.errors import BudgetError, InputError
from lorag.types import Answer, Usage

Answering = Callable[[list[str]], Sequence[str | Answer]]
"""Questions in, one answer for each out, in order: its text, or an ``Answer`` where sources or tokens are known."""

_TRIED = 3
"""Questions that are asked one by one before a function counts as failing on all."""


class OwnResponder:
    """Answers by a function; an answer that declines, in the template's words or others, is a refusal."""

    def __init__(self, name: str, function: Answering, response_template: str) -> None:
        """``name`` is for messages."""
        self._name, self._function, self._template = name, function, response_template

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """The function's answers with their share of its seconds; ``InputError`` for what is no answer.

        Where the function raises, its questions are asked one by one, and those for which it raises again fail; so do
        all others after the first three have. ``InputError`` and ``BudgetError`` are passed on.
        """
        begun = time.perf_counter()
        try:
            said = list(self._function(list(questions)))
        except (InputError, BudgetError):
            raise
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            failed = Answer("", error=f"{type(error).__name__}: {error}")
            return [failed] if len(questions) < 2 else self._one_by_one(questions)
        seconds = (time.perf_counter() - begun) / max(1, len(questions))
        return [self._read(answer, seconds) for answer in said]

    def _one_by_one(self, questions: Sequence[str]) -> list[Answer]:
        answers: list[Answer] = []
        for question in questions:
            answers += self.answer([question])
            if len(answers) == _TRIED and all(answer.error for answer in answers):
                return [*answers, *(answers[-1] for _ in questions[_TRIED:])]
        return answers

    def _read(self, answer: object, seconds: float) -> Answer:
        if isinstance(answer, Answer):
            return answer
        if not isinstance(answer, str):
            raise InputError(
                f"the arm {self._name!r} returned an answer of type {type(answer).__name__} ({str(answer)[:60]!r});"
                " expected a list of str or lorag.Answer, one for each question in order"
            )
        text = answer.strip()
        return Answer(text, usage=Usage(generate_seconds=seconds), refused=is_refusal(text, self._template))
