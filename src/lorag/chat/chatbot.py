"""``ChatBot``: a language model, a retriever or none, and everything an answer needs to be audited.

Every way of giving a model external knowledge is one of these: base (no retriever), finetuned (a model with an
adapter), retrieval (a retriever), both. What does not fit into the model's context is left out in an order: sources
first, then the oldest turns; the question never.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from lorag.chat.followups import search_query
from lorag.chat.history import fitting_exchanges
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
    ) -> None:
        """``k`` bounds the passages looked at for one question; the token budget decides how many are sent."""
        self.model = model
        self.retriever = retriever
        self.settings = settings or ChatSettings()
        self.k = k

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """One answer for each question, in order, generated in batches.

        Raises ``InputError`` for an empty question, and for one that does not fit the model's context.
        """
        start = time.perf_counter()
        prepared = [
            self._prepare(question, hits) for question, hits in zip(questions, self._hits(questions), strict=True)
        ]
        seconds = (time.perf_counter() - start) / max(1, len(questions))
        completions = self.model.generate([prompt for prompt, _ in prepared], self.settings.sampling)
        return [
            self._answer(prompt, sources, completion, seconds)
            for (prompt, sources), completion in zip(prepared, completions, strict=True)
        ]

    def ask(self, question: str) -> Answer:
        """The answer to one question."""
        return self.answer([question])[0]

    def reply(self, question: str, history: Sequence[Message] = ()) -> Reply:
        """A streamed answer to the next turn of a conversation; earlier turns go between instruction and question.

        Raises as ``answer`` does.
        """
        start = time.perf_counter()
        query = search_query(question, history) if question.strip() else question
        prompt, sources = self._prepare(question, self._hits([query])[0], history)
        searched = query if self.retriever is not None and query != question else ""
        return Reply(self, prompt, sources, searched, time.perf_counter() - start)

    def _hits(self, queries: Sequence[str]) -> list[list[Hit]]:
        for query in queries:
            if not query.strip():
                raise InputError("the question is empty; ask something")
        if self.retriever is None:
            return [[] for _ in queries]
        return self.retriever.retrieve(queries, self.k)

    def _prepare(
        self, question: str, hits: Sequence[Hit], history: Sequence[Message] = ()
    ) -> tuple[Prompt, tuple[Hit, ...]]:
        """The prompt, cut to the model's context, and the sources in it."""
        model, settings = self.model, self.settings
        sources = fitting_sources(hits, model.count_tokens, settings.context_tokens)
        earlier = fitting_exchanges(history, model.count_tokens, settings.history_tokens)
        while True:
            instruction, asked = question_prompt(question, sources, settings.response_template)
            prompt = (instruction, *(turn for exchange in earlier for turn in exchange), asked)
            room = model.room(prompt, settings.sampling)
            if room is None or room >= 0:
                return prompt, sources
            if sources:
                sources = sources[:-1]
            elif earlier:
                del earlier[0]
            else:
                raise InputError(
                    f"the question is {-room} tokens too long for {model.name}, even alone; shorten it, or lower"
                    f" max_tokens from {settings.sampling.max_tokens}"
                )

    def _answer(self, prompt: Prompt, sources: tuple[Hit, ...], done: Completion, retrieve_seconds: float) -> Answer:
        usage = Usage(done.prompt_tokens, done.completion_tokens, retrieve_seconds, done.seconds, done.prefill_seconds)
        refused = is_refusal(done.text, self.settings.response_template)
        return Answer(done.text, prompt, sources, usage, refused, truncated=done.finish == "length")


class Reply:
    """A streamed answer: iterate for the pieces, then read ``answer``."""

    def __init__(
        self, bot: ChatBot, prompt: Prompt, sources: tuple[Hit, ...], query: str, retrieve_seconds: float
    ) -> None:
        """Made by ``ChatBot.reply``."""
        self.sources = sources
        self.answer: Answer | None = None
        self._bot, self._prompt, self._query, self._retrieve_seconds = bot, prompt, query, retrieve_seconds

    def __iter__(self) -> Iterator[str]:
        """The pieces as they come; when they end, ``answer`` holds the whole."""
        done = yield from self._bot.model.stream(self._prompt, self._bot.settings.sampling)
        answer = self._bot._answer(self._prompt, self.sources, done, self._retrieve_seconds)
        self.answer = replace(answer, query=self._query)
