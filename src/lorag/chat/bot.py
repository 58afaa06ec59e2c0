"""``ChatBot``: a language model, a retriever or none, and everything an answer needs to be audited.

Every way of giving a model external knowledge is one of these: base (no retriever), finetuned (a model with an
adapter), retrieval (a retriever), both. What does not fit into the model's context is left out in an order: worked
examples first, then sources, then the oldest turns; the question never.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from lorag.chat.answer_cache import AnswerCache
from lorag.chat.followups import search_query
from lorag.chat.guards import WordGuard
from lorag.chat.history import Exchange, fitting_exchanges, is_too_long
from lorag.chat.prompts import WorkedExample, fitting_sources, is_refusal, question_prompt, with_own
from lorag.chat.thoughts import opens_thoughts, without_thoughts, without_thoughts_streamed
from lorag.errors import InputError
from lorag.interfaces import LanguageModel, Retriever
from lorag.settings import ChatSettings
from lorag.types import Answer, Completion, Hit, Message, Prompt, Sampling, Usage


class ChatBot:
    """Answers questions from a model's weights, or from passages when it has a retriever. A ``Responder``.

    ``lorag.chatbot`` makes one from names and folders.

    Examples:
        >>> bot = lorag.ChatBot(lorag.language_model("smollm2-135m"), lorag.knowledge("index"))
        >>> answer = bot.ask("How long is the warranty?")
    """

    def __init__(
        self,
        model: LanguageModel,
        retriever: Retriever | None = None,
        settings: ChatSettings | None = None,
        k: int = 10,
        *,
        cache: AnswerCache | None = None,
        gated: bool = False,
        examples: Sequence[WorkedExample] = (),
    ) -> None:
        """A chatbot over a model and a retriever.

        Args:
            model: The model that answers.
            retriever: Finds the sources; None answers without sources.
            settings: How a question becomes a prompt and an answer.
            k: Maximum number of passages for one question; ``context_tokens`` limits how many of them are sent.
            cache: Answers to earlier questions that may be reused.
            gated: Whether a question without passages gets the response template, without asking the model.
            examples: Worked examples before every question, if they fit into the model's context.
        """
        self.model = model
        self.retriever = retriever
        self.settings = settings or ChatSettings()
        self.k = k
        self.cache = cache
        self.gated = gated and retriever is not None
        self.examples = tuple(examples)
        self._guard = WordGuard(self.settings.blocked_words)

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """One answer for each question, in order, generated in batches.

        Args:
            questions: Questions without a history.

        Returns:
            As many answers as questions.

        Raises:
            InputError: A question is empty, or does not fit the model's context.
        """
        return answer_together([(self, questions)])[0]

    def _begin(self, questions: Sequence[str]) -> _Begun:
        """What is known without the model, and the prompts of the rest."""
        state = self._state()
        known = {i: answer for i, question in enumerate(questions) if (answer := self._known(question, state))}
        rest = [i for i in range(len(questions)) if i not in known]
        start = time.perf_counter()
        self._require_room(*(questions[i] for i in rest))
        hits = self._hits([questions[i] for i in rest])
        asked = [
            (i, *self.prepare(questions[i], found))
            for i, found in zip(rest, hits, strict=True)
            if found or not self.gated
        ]
        seconds = (time.perf_counter() - start) / max(1, len(rest))
        known |= dict.fromkeys(rest, self._refusal(seconds))
        return _Begun(tuple(questions), state, known, asked, seconds)

    def _end(self, begun: _Begun, completions: Sequence[Completion]) -> list[Answer]:
        """The answers, from what the model completed."""
        for (i, prompt, sources), completion in zip(begun.asked, completions, strict=True):
            begun.known[i] = self._answer(prompt, sources, completion, begun.seconds)
            self._keep(begun.questions[i], begun.state, begun.known[i])
        return [begun.known[i] for i in range(len(begun.questions))]

    def ask(self, question: str) -> Answer:
        """The answer to one question.

        Args:
            question: A question without a history.

        Returns:
            The answer.

        Raises:
            InputError: The question is empty, or does not fit the model's context.
        """
        return self.answer([question])[0]

    def drawing(self, sampling: Sampling) -> ChatBot:
        """The same chatbot with other sampling settings.

        Args:
            sampling: How answers are generated.

        Returns:
            A chatbot without the cache, whose answers have the old settings.
        """
        settings = replace(self.settings, sampling=sampling)
        return ChatBot(self.model, self.retriever, settings, self.k, gated=self.gated, examples=self.examples)

    def searching(self, retriever: Retriever | None) -> ChatBot:
        """The same chatbot with another retriever.

        Args:
            retriever: Finds the sources; None answers without sources.

        Returns:
            A chatbot without the cache and the worked examples, which contain text of the old sources.
        """
        return ChatBot(self.model, retriever, self.settings, self.k, gated=self.gated)

    def reply(self, question: str, history: Sequence[Message] = (), instruction: str = "") -> Reply:
        """A streamed answer to the next turn of a conversation.

        Args:
            question: What the user says now.
            history: Earlier turns, placed between instruction and question.
            instruction: Text placed below the assistant's own instruction.

        Returns:
            The sources immediately, the pieces of the answer as they are generated, and then the whole answer.

        Raises:
            InputError: The question is empty, or does not fit the model's context.
        """
        state = None if history or instruction else self._state()
        known = self._known(question, state)
        if known is not None:
            return Reply(known.sources, _said(known))
        start = time.perf_counter()
        self._require_room(question, instruction)
        query = search_query(question, history)
        hits = self._hits([query])[0]
        if self.gated and not hits:
            return Reply((), _said(self._refusal(time.perf_counter() - start)))
        prompt, sources = self.prepare(question, hits, history, instruction)
        seconds, sampling = time.perf_counter() - start, self.settings.sampling

        def pieces() -> Generator[str, None, Answer]:
            stream = self.model.stream(prompt, sampling)
            said = without_thoughts_streamed(stream, sampling.thinking, opens_thoughts(self.model))
            done = yield from self._guard.masking(said)
            answer = self._answer(prompt, sources, done, seconds)
            if done.finish == "refused":
                yield answer.text
            if self.retriever is not None and query != question:
                answer = replace(answer, query=query)
            self._keep(question, state, answer)
            return answer

        return Reply(sources, pieces())

    def _state(self) -> str | None:
        return None if self.cache is None else self.cache.state(self.model.name)

    def _known(self, question: str, state: str | None) -> Answer | None:
        """The answer for which no model is needed: a refusal by the word list, or a kept one where there is a state."""
        if not question.strip():
            raise InputError("the question is empty; ask something")
        if words := self._guard.found(question):
            return Answer(self.settings.response_template, refused=True, guarded=words)
        return self.cache.find(question, state) if self.cache is not None and state is not None else None

    def _keep(self, question: str, state: str | None, answer: Answer) -> None:
        if self.cache is not None and state is not None:
            self.cache.keep(question, state, answer)

    def _hits(self, queries: Sequence[str]) -> list[list[Hit]]:
        if self.retriever is None:
            return [[] for _ in queries]
        return self.retriever.retrieve(queries, self.k)

    def _require_room(self, *texts: str) -> None:
        """Raises ``InputError`` for a text that is hopelessly long, before it is searched for or rendered."""
        room = self.model.room(self._prompt(""), self.settings.sampling)
        if room is not None and any(is_too_long(text, room) for text in texts):
            raise self._too_long("far")

    def prepare(
        self, question: str, hits: Sequence[Hit], history: Sequence[Message] = (), below: str = ""
    ) -> tuple[Prompt, tuple[Hit, ...]]:
        """The prompt that would be sent, cut to the model's context, and the sources in it.

        Args:
            question: What the user says now.
            hits: Passages that were found, the best first.
            history: Earlier turns.
            below: An instruction below the assistant's own.

        Returns:
            The prompt, and the passages in it, in the order of their numbers.

        Raises:
            InputError: The question alone does not fit.
        """
        model, settings = self.model, self.settings
        sources = fitting_sources(hits, model.count_tokens, settings.context_tokens)
        earlier = fitting_exchanges(history, model.count_tokens, settings.history_tokens)
        cuts = [
            *((self.examples[:n], sources, earlier) for n in range(len(self.examples), 0, -1)),
            *(((), sources[:n], earlier) for n in range(len(sources), 0, -1)),
            *(((), (), earlier[n:]) for n in range(len(earlier) + 1)),
        ]

        def prompt(cut: int) -> Prompt:
            examples, shown, turns = cuts[cut]
            return self._prompt(question, below, examples, shown, turns)

        def fits(cut: int) -> bool:
            room = model.room(prompt(cut), settings.sampling)
            return room is None or room >= 0

        first = 0 if fits(0) else bisect_left(range(len(cuts)), True, lo=1, key=fits)
        if first == len(cuts):
            missing = -(model.room(prompt(-1), settings.sampling) or 0)
            raise self._too_long(f"{missing} token{'s' * (missing != 1)}")
        return prompt(first), cuts[first][1]

    def _prompt(
        self,
        question: str,
        below: str = "",
        examples: Sequence[WorkedExample] = (),
        sources: Sequence[Hit] = (),
        earlier: Sequence[Exchange] = (),
    ) -> Prompt:
        settings = self.settings
        instruction, *shown, asked = question_prompt(
            question, sources, settings.response_template, settings.prompt, examples
        )
        return (with_own(instruction, below), *shown, *(turn for exchange in earlier for turn in exchange), asked)

    def _too_long(self, excess: str) -> InputError:
        return InputError(
            f"even without sources and history, the question exceeds {self.model.name}'s context by {excess}; shorten"
            f" it, or lower max_tokens from {self.settings.sampling.max_tokens}"
        )

    def _refusal(self, retrieve_seconds: float) -> Answer:
        """The answer to a question that the gate kept from the model: nothing was sent."""
        return Answer(self.settings.response_template, usage=Usage(retrieve_seconds=retrieve_seconds), refused=True)

    def _answer(self, prompt: Prompt, sources: tuple[Hit, ...], done: Completion, retrieve_seconds: float) -> Answer:
        done = without_thoughts(done, self.settings.sampling.thinking, opens_thoughts(self.model))
        if done.finish == "refused":
            done = replace(done, text=self.settings.response_template)
        spent, guarded = (done.prompt_tokens, done.completion_tokens), self._guard.found(done.text)
        return Answer(
            text=self._guard.masked(done.text),
            prompt=prompt,
            sources=sources,
            usage=Usage(*spent, retrieve_seconds, done.seconds, done.prefill_seconds),
            refused=is_refusal(done.text, self.settings.response_template),
            truncated=done.finish == "length",
            guarded=guarded,
            logprobs=() if guarded else done.logprobs,
        )


@dataclass(frozen=True, slots=True)
class _Begun:
    """Questions of which some are answered and the others wait for the model."""

    questions: tuple[str, ...]
    state: str | None
    known: dict[int, Answer]
    asked: Sequence[tuple[int, Prompt, tuple[Hit, ...]]]
    seconds: float
    """Of search, per question."""


def answer_together(asked: Sequence[tuple[ChatBot, Sequence[str]]]) -> list[list[Answer]]:
    """The answers of several chatbots, each to its own questions; those of one model come from the same batches.

    Raises as ``ChatBot.answer`` does.
    """
    begun = [(bot, bot._begin(questions)) for bot, questions in asked]
    waiting: dict[tuple[int, Sampling], list[tuple[ChatBot, _Begun]]] = {}
    for bot, each in begun:
        waiting.setdefault((id(bot.model), bot.settings.sampling), []).append((bot, each))
    done: dict[int, list[Completion]] = {}
    for (_, sampling), group in waiting.items():
        prompts = [prompt for _, each in group for _, prompt, _ in each.asked]
        completions = iter(group[0][0].model.generate(prompts, sampling) if prompts else ())
        done |= {id(each): [next(completions) for _ in each.asked] for _, each in group}
    return [bot._end(each, done[id(each)]) for bot, each in begun]


class Reply:
    """A streamed answer: iterate for the pieces, then read ``answer``."""

    def __init__(self, sources: tuple[Hit, ...], pieces: Generator[str, None, Answer]) -> None:
        """Made by ``ChatBot.reply``."""
        self.sources = sources
        self.answer: Answer | None = None
        self._pieces = pieces

    def __iter__(self) -> Generator[str]:
        """The pieces as they come; when they end, ``answer`` holds the whole."""
        self.answer = yield from self._pieces


def _said(answer: Answer) -> Generator[str, None, Answer]:
    """A remembered answer, in one piece."""
    yield answer.text
    return answer
