"""The values that Lorag's parts exchange: frozen, plain, and complete enough to be audited later.

Nothing here does work. A value rejects what can never be right (a chunk whose offsets run backwards); whether a value
fits its surroundings (a question whose evidence exists) is checked where both are known.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

from lorag.errors import InputError, SettingError

Role = Literal["system", "user", "assistant", "text"]
"""Who speaks; ``text`` marks plain text, which has no speaker, stands alone and gets no chat template."""
Via = Literal["dense", "lexical", "hybrid", "reranked", "second", "evidence", "whole"]
Status = Literal["unchanged", "changed", "new", "unanswerable"]
Thinking = Literal["off", "hidden", "shown"]
_THOUGHT_TOKENS = 2048
"""Default limit for thoughts and answer together, in tokens, if a model's context allows it."""
Attributes = tuple[tuple[str, str], ...]
"""Pairs of key and value; a key may have several values."""
Where = Mapping[str, Sequence[str]]
"""A filter for documents: for each key, a document needs a value that matches one of the patterns. In a pattern, ``*``
matches any text and ``?`` any character."""


@dataclass(frozen=True, slots=True)
class Place:
    """A page, slide or sheet of a document. It ends where the next place begins."""

    start: int
    """Offset of its first character in the document's text."""
    name: str
    """Its name, such as ``page 3``."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text with an id that stays the same when the text changes."""

    id: str
    """The id that questions refer to: a file's path below the folder, or ``doc_id`` of a JSONL row."""
    text: str
    """The text, as Markdown if the file has headings or tables."""
    source: str
    """Path of the file, relative to the folder that was loaded."""
    title: str = ""
    """The title in the file, or else the file's name; for a row its ``title``, which may be empty."""
    places: tuple[Place, ...] = ()
    """Its pages, slides or sheets, in the order of their starts."""
    meta: Attributes = ()
    """Further attributes, such as the keys of front matter; they do not change the version."""

    @property
    def attributes(self) -> Attributes:
        """The attributes that a filter sees, sorted: ``id``, ``source``, ``title``, ``type`` (the suffix), and
        ``meta``.
        """
        suffix = PurePosixPath(self.source).suffix.removeprefix(".").lower()
        own = (("id", self.id), ("source", self.source), ("title", self.title), ("type", suffix))
        return tuple(sorted({*own, *self.meta}))

    @property
    def version(self) -> str:
        """First 16 hex digits of SHA-256 over title, text and places; if it is unchanged, nothing is indexed again."""
        parts = (self.title, self.text, *(f"{place.start} {place.name}" for place in self.places))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of one document; always ``document.text[start:end] == text``.

    ``heading`` is the path of titles above the passage ("Warranty > Batteries"), and ``table_header`` the header row of
    the table that it continues; both are searched and shown with the passage but are not part of ``text``. ``place`` is
    its page, slide or sheet ("page 3", "page 3 to page 4"), or empty for files without pages.
    """

    document_id: str
    document_version: str
    start: int
    end: int
    text: str
    heading: str = ""
    table_header: str = ""
    place: str = ""

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for offsets that cannot belong to ``text``."""
        if self.end - self.start != len(self.text) or self.start < 0:
            raise ValueError(f"chunk offsets {self.start}:{self.end} do not fit a text of {len(self.text)} characters")

    @property
    def id(self) -> str:
        """A key; equal if and only if document, version and offsets are equal."""
        return f"{self.document_id}@{self.document_version}:{self.start}-{self.end}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A document's record in an index; ``chunks`` is the number of its chunks."""

    id: str
    version: str
    source: str
    chunks: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage with its score for a question."""

    chunk: Chunk
    """The passage."""
    score: float
    """Relevance; higher is better. Scores from different settings are not comparable."""
    via: Via
    """The search that gave the score."""

    def cited(self) -> dict[str, str | int | float]:
        """Where the passage stands, its text and how well it fits, as JSON takes it.

        Returns:
            The keys ``document_id``, ``place``, ``start``, ``end``, ``heading``, ``text``, ``score`` and ``via``.
        """
        chunk = self.chunk
        return {
            **{"document_id": chunk.document_id, "place": chunk.place, "start": chunk.start, "end": chunk.end},
            **{"heading": chunk.heading, "text": chunk.text, "score": self.score, "via": self.via},
        }


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    """Who speaks."""
    content: str
    """The text."""
    learned: bool = True
    """Whether an assistant's turn in training data is learned; other turns are never learned."""


Prompt = tuple[Message, ...]


def json_fields(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Fields of a value, for ``asdict``; ``learned`` is written only if it is False, so that old and new files agree.

    Log probabilities are not recorded.
    """
    return {name: value for name, value in pairs if (name, value) != ("learned", True) and name != "logprobs"}


@dataclass(frozen=True, slots=True)
class Conversation:
    """A row of training data: a conversation, or plain text as its only message, with the role ``text``."""

    messages: Prompt
    """The turns, at least one."""
    evidence: tuple[str, ...] = ()
    """Ids of the documents that it was made from; empty if unknown."""

    @property
    def is_text(self) -> bool:
        """Whether the row is plain text, of which every token is learned."""
        return self.messages[0].role == "text"

    @property
    def opening(self) -> str:
        """The first user turn; for plain text, the text."""
        return self.messages[0].content if self.is_text else self.question

    @property
    def origin(self) -> str:
        """Its documents, separated by spaces; without any, its opening."""
        return " ".join(self.evidence) or self.opening

    @property
    def question(self) -> str:
        """The first user turn, or an empty string."""
        return next((m.content for m in self.messages if m.role == "user"), "")

    @property
    def instruction(self) -> str:
        """The system turn at the beginning, or an empty string."""
        return self.messages[0].content if self.messages[0].role == "system" else ""


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


@dataclass(frozen=True, slots=True)
class Sampling:
    """How text is generated. Temperature 0 is greedy, and repeatable."""

    max_tokens: int = 96
    """Maximum number of tokens of an answer; an answer that is cut there is marked ``length``."""
    temperature: float = 0.0
    """0 takes the most probable token; higher values are more random."""
    top_p: float = 1.0
    """Nucleus sampling: share of the probability that the tokens that may be drawn have together, most probable
    first."""
    seed: int = 0
    """Seed of the random draws; no effect at temperature 0."""
    top_k: int = 0
    """Only this many of the most probable tokens are drawn; 0 allows all."""
    repetition_penalty: float = 1.0
    """Above 1, tokens in the prompt or the answer so far become less probable; 1 changes nothing."""
    num_beams: int = 0
    """Number of beams in beam search, of which the most probable answer is taken; 0 and 1 search without beams."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer; they are not part of it."""
    json_schema: str | None = None
    """A JSON schema, as JSON text, that the answer must follow (extra ``serve``)."""
    logprobs: int | None = None
    """Number of alternatives reported for each token, with their log probabilities and the token's own (0 to 20). None
    reports nothing."""

    def __post_init__(self) -> None:
        """Raises ``SettingError`` for a value out of range."""
        for name, holds, expected in (
            ("max_tokens", 1 <= self.max_tokens < 2**31, "1 or above, below 2**31"),
            ("temperature", self.temperature == 0 or 0.001 <= self.temperature <= 100, "0 (greedy) or 0.001 to 100"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("seed", 0 <= self.seed < 2**63, "0 or above, below 2**63"),
            ("top_k", 0 <= self.top_k < 2**31, "0 (all tokens) or above, below 2**31"),
            ("repetition_penalty", 0.01 <= self.repetition_penalty <= 100, "0.01 to 100"),
            ("num_beams", self.num_beams >= 0, "0 (none) or above"),
            ("stop", isinstance(self.stop, tuple) and all(self.stop), "a tuple of strings that are not empty"),
            ("json_schema", self.json_schema is None or _is_object(self.json_schema), "a JSON object as text"),
            ("logprobs", self.logprobs is None or 0 <= self.logprobs <= 20, "0 to 20, or None"),
        ):
            if not holds:
                raise SettingError(name, getattr(self, name), expected)

    @property
    def thinking(self) -> Thinking:
        """What happens to thoughts before an answer; here always ``off``."""
        return "off"

    def within(self, context_tokens: int) -> Sampling:
        """How to draw from a model with a context of that length.

        Args:
            context_tokens: The context of the model.

        Returns:
            These settings.
        """
        return self


@dataclass(frozen=True, slots=True)
class ThinkingSampling(Sampling):
    """How text is generated by a model that may think before it answers.

    A separate class, so that the fingerprints of runs without thoughts do not change.
    """

    max_tokens: int = _THOUGHT_TOKENS
    """Maximum number of tokens of thoughts and answer together. The default is at most half of a model's context."""
    thinking: Thinking = "hidden"
    """``off`` generates no thoughts, ``hidden`` removes them from the answer, ``shown`` keeps them."""

    def __post_init__(self) -> None:
        """Raises ``InputError`` as ``Sampling`` does, and for an unknown ``thinking``."""
        Sampling.__post_init__(self)
        if self.thinking not in get_args(Thinking):
            raise InputError(f"thinking {self.thinking!r} is not one of {', '.join(get_args(Thinking))}")

    def within(self, context_tokens: int) -> Sampling:
        """How to draw from a model with a context of that length.

        Args:
            context_tokens: The context of the model.

        Returns:
            These settings; the default of ``max_tokens`` is cut to half of the context.
        """
        half = max(1, context_tokens // 2)
        return replace(self, max_tokens=half) if half < self.max_tokens == _THOUGHT_TOKENS else self


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token of an answer, with the natural logarithm of its probability given everything before it.

    The probability is the model's own, before temperature, penalties or a schema. ``likeliest`` has the most probable
    tokens at its position, in descending order. If a token is only part of a character, its text contains U+FFFD.
    """

    text: str
    logprob: float
    likeliest: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """A linear function of the hidden state after a prompt; below 0, the sources do not answer the question."""

    model: str
    """Name of the model, with its adapter, to which the probe was fitted; it cannot be used with another one."""
    layer: int
    """The layer whose output is read, counted from 1; 0 are the token embeddings."""
    weights: tuple[float, ...]
    """One weight per dimension of the hidden state."""
    bias: float
    """Added to the weighted sum."""
    conversations: int
    """Number of conversations to which it was fitted, each with its answering passage and without."""
    refused_answered: float
    """Share of these conversations that it refuses with their answering passage, while their documents are held out."""
    refused_unanswered: float
    """The same share without that passage."""
    questions: int
    """Number of further questions whose sources answer them; if there are enough, they set its threshold."""
    refused_questions: float
    """Share of these questions that it refuses."""

    def __str__(self) -> str:
        """The probe in one line."""
        return (
            f"refuses by a probe of layer {self.layer}: {100 * self.refused_unanswered:.0f} % of {self.conversations}"
            f" held-out conversations without their answering passage, {100 * self.refused_answered:.0f} % with it, and"
            f" {100 * self.refused_questions:.0f} % of {self.questions} untested questions with it"
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model returned for one prompt.

    ``seconds`` is the prompt's share of its batch's wall time, and ``prefill_seconds`` the part before the first token
    (0 if unknown). ``logprobs`` is empty unless requested. ``finish`` is ``refused`` if a probe found that the sources
    do not answer the question; ``text`` is then empty.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    finish: Literal["stop", "length", "refused"]
    prefill_seconds: float = 0.0
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and seconds of one answer.

    ``retrieve_seconds`` is the search, ``generate_seconds`` the model; of the latter, ``prefill_seconds`` pass before
    the first token (0 if unknown), and ``decode_seconds`` after it.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    retrieve_seconds: float = 0.0
    generate_seconds: float = 0.0
    prefill_seconds: float = 0.0

    @property
    def decode_seconds(self) -> float:
        """The model's seconds after the first token."""
        return self.generate_seconds - self.prefill_seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with everything needed to audit it later."""

    text: str
    """The answer; empty if there is an ``error``."""
    prompt: Prompt = ()
    """The messages exactly as sent; empty if nothing was sent."""
    sources: tuple[Hit, ...] = ()
    """The passages in the prompt, numbered from 1 in this order."""
    usage: Usage = field(default_factory=Usage)
    """Tokens and seconds."""
    refused: bool = False
    """Whether the answer is a refusal."""
    truncated: bool = False
    """Whether the answer was cut at ``max_tokens``."""
    error: str | None = None
    """The reason why there is no answer, or None."""
    query: str = ""
    """The text that was searched for, if it was not the question itself."""
    guarded: tuple[str, ...] = ()
    """Blocked words in the question, which was therefore refused, or masked in ``text``."""
    cached: bool = False
    """Whether the answer was generated for an earlier question with the same meaning."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """One entry per token, if requested and no word is masked."""


@dataclass(frozen=True, slots=True)
class Example:
    """A test question with its references."""

    id: str
    """Its name, unique within a file."""
    question: str
    """The wording that is asked."""
    answers: tuple[str, ...]
    """Right answers; empty if the documents do not answer the question, so that a refusal is right."""
    evidence: tuple[str, ...] = ()
    """Ids of the documents that answer it."""
    paraphrases: tuple[str, ...] = ()
    """Other wordings, which a comparison never asks."""
    answers_after: tuple[str, ...] | None = None
    """Right answers after the documents were updated; None if unknown."""
    status: Status | None = None
    """How the update affects it; None if unknown."""
    meta: Mapping[str, str] = field(default_factory=dict)
    """The other keys of its row."""

    def after_update(self) -> Example:
        """The same question with the references that hold after the documents were updated.

        Returns:
            The question itself where these are not known.
        """
        return self if self.answers_after is None else replace(self, answers=self.answers_after)


@dataclass(frozen=True, slots=True)
class Score:
    """One metric's value for one answer; ``value`` is None if the metric does not apply, never 0."""

    metric: str
    value: float | None
