"""``ChatBot``: a language model, a retriever or none, and everything an answer needs to be audited.

Every way of giving a model external knowledge is one of these: base (no retriever), finetuned (a model with an
adapter), retrieval (a retriever), both.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from lorag.chat.prompts import fitting_sources, is_refusal, question_prompt
from lorag.errors import InputError
from lorag.interfaces import LanguageModel, Retriever
from lorag.settings import ChatSettings
from lorag.types import Answer, Completion, Hit, Message, Prompt, Usage


class ChatBot:
    """Answers questions from a model's weights, or from passages when it has a retriever. A ``Responder``."""

    def __init__(
        self,
        model: LanguageModel,
        retriever: Retriever | None = None,
        settings: ChatSettings | None = None,
        k: int = 10,
        *,
        gated: bool = False,
    ) -> None:
        """``k`` bounds the passages looked at for one question; the token budget decides how many are sent.

        ``gated``: where the retriever finds nothing, the question is about something else; then the response template
        is the answer, and the model is not asked.
        """
        self.model = model
        self.retriever = retriever
        self.settings = settings or ChatSettings()
        self.k = k
        self.gated = gated and retriever is not None

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """One answer for each question, in order, generated in batches. Raises ``InputError`` for an empty question."""
        start = time.perf_counter()
        found = self._hits(questions)
        asked = [number for number, hits in enumerate(found) if hits or not self.gated]
        prepared = [self._prepare(questions[number], found[number]) for number in asked]
        seconds = (time.perf_counter() - start) / max(1, len(questions))
        completions = self.model.generate([prompt for prompt, _ in prepared], self.settings.sampling)
        answers = [self._refusal(seconds) for _ in questions]
        for number, (prompt, sources), completion in zip(asked, prepared, completions, strict=True):
            answers[number] = self._answer(prompt, sources, completion, seconds)
        return answers

    def ask(self, question: str) -> Answer:
        """The answer to one question."""
        return self.answer([question])[0]

    def reply(self, question: str, history: Sequence[Message] = ()) -> Reply:
        """A streamed answer to the next turn of a conversation; earlier turns go between instruction and question."""
        start = time.perf_counter()
        hits = self._hits([question])[0]
        if self.gated and not hits:
            return Reply(self, (), (), time.perf_counter() - start)
        prompt, sources = self._prepare(question, hits)
        prompt = (prompt[0], *history, *prompt[1:])
        return Reply(self, prompt, sources, time.perf_counter() - start)

    def _hits(self, questions: Sequence[str]) -> list[list[Hit]]:
        for question in questions:
            if not question.strip():
                raise InputError("the question is empty; ask something")
        if self.retriever is None:
            return [[] for _ in questions]
        return self.retriever.retrieve(questions, self.k)

    def _prepare(self, question: str, hits: Sequence[Hit]) -> tuple[Prompt, tuple[Hit, ...]]:
        sources = fitting_sources(hits, self.model.count_tokens, self.settings.context_tokens)
        return question_prompt(question, sources, self.settings.response_template), sources

    def _refusal(self, retrieve_seconds: float) -> Answer:
        """The answer to a question that the gate kept from the model: nothing was sent."""
        return Answer(self.settings.response_template, usage=Usage(retrieve_seconds=retrieve_seconds), refused=True)

    def _answer(self, prompt: Prompt, sources: tuple[Hit, ...], done: Completion, retrieve_seconds: float) -> Answer:
        usage = Usage(done.prompt_tokens, done.completion_tokens, retrieve_seconds, done.seconds)
        refused = is_refusal(done.text, self.settings.response_template)
        return Answer(done.text, prompt, sources, usage, refused, truncated=done.finish == "length")


class Reply:
    """A streamed answer: iterate for the pieces, then read ``answer``."""

    def __init__(self, bot: ChatBot, prompt: Prompt, sources: tuple[Hit, ...], retrieve_seconds: float) -> None:
        """Made by ``ChatBot.reply``."""
        self.sources = sources
        self.answer: Answer | None = None
        self._bot, self._prompt, self._retrieve_seconds = bot, prompt, retrieve_seconds

    def __iter__(self) -> Iterator[str]:
        """The pieces as they come; when they end, ``answer`` holds the whole."""
        if not self._prompt:
            self.answer = self._bot._refusal(self._retrieve_seconds)
            yield self.answer.text
            return
        start = time.perf_counter()
        pieces: list[str] = []
        for piece in self._bot.model.stream(self._prompt, self._bot.settings.sampling):
            pieces.append(piece)
            yield piece
        text = "".join(pieces).strip()
        count = self._bot.model.count_tokens
        usage = Usage(
            sum(count(message.content) for message in self._prompt),
            count(text),
            self._retrieve_seconds,
            time.perf_counter() - start,
        )
        refused = is_refusal(text, self._bot.settings.response_template)
        self.answer = Answer(text, self._prompt, self.sources, usage, refused)
