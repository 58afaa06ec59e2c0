"""The values that travel through Lorag: frozen, plain, and complete enough to be audited later.

Nothing here does work. A value refuses what could never be right (a chunk whose offsets run backwards); whether
a value fits its surroundings (a question whose evidence exists) is checked where both are known.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

from lorag.errors import InputError

Role = Literal["system", "user", "assistant", "text"]
"""Who speaks; ``text`` is nobody: plain text, which stands alone and in no chat template."""
Via = Literal["dense", "lexical", "hybrid", "reranked", "evidence", "whole"]
Status = Literal["unchanged", "changed", "new", "unanswerable"]
Thinking = Literal["off", "hidden", "shown"]
_THOUGHT_TOKENS = 2048
"""Room for thoughts and an answer, where a model's context allows."""
Attributes = tuple[tuple[str, str], ...]
"""Keys and values; a key may have several values."""
Where = Mapping[str, Sequence[str]]
"""Which documents are meant: those that have for every key a value like one of its patterns. In a pattern ``*`` stands
for any text and ``?`` for any character."""


@dataclass(frozen=True, slots=True)
class Place:
    """A page, slide or sheet of a document: it begins at the character ``start`` and ends where the next begins."""

    start: int
    """The character of the text at which it begins."""
    name: str
    """Such as ``page 3``."""


@dataclass(frozen=True, slots=True)
class Document:
    """One text with a name that outlives its wording."""

    id: str
    """The name that questions refer to: a file's path below the folder, or ``doc_id`` of a JSONL row. It stays the
    same when the text changes.
    """
    text: str
    """The text, in Markdown where the file has headings or tables."""
    source: str
    """The file that it was read from, as a path below the folder that was loaded."""
    title: str = ""
    """Its own title, or the name of the file."""
    places: tuple[Place, ...] = ()
    """Its pages, slides or sheets, in the order of their starts."""
    meta: Attributes = ()
    """What else is known of it; not part of the version."""

    @property
    def attributes(self) -> Attributes:
        """What it can be chosen by, sorted: ``id``, ``source``, ``title``, ``type`` (the suffix), and its ``meta``."""
        suffix = PurePosixPath(self.source).suffix.removeprefix(".").lower()
        own = (("id", self.id), ("source", self.source), ("title", self.title), ("type", suffix))
        return tuple(sorted({*own, *self.meta}))

    @property
    def version(self) -> str:
        """The first 16 hex digits of SHA-256 over title, text and places; documents of equal versions need no work."""
        parts = (self.title, self.text, *(f"{place.start} {place.name}" for place in self.places))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of one document: ``document.text[start:end] == text`` always holds.

    ``heading`` is the path of titles above the passage ("Warranty > Batteries"), and ``table_header`` the header row
    of the table that it continues: both are searched and shown with the passage, and are no part of it. ``place``
    says where in the file it stands ("page 3", "page 3 to page 4"); empty where the file has no pages.
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
        """Refuses offsets that cannot belong to ``text``."""
        if self.end - self.start != len(self.text) or self.start < 0:
            raise ValueError(f"chunk offsets {self.start}:{self.end} do not fit a text of {len(self.text)} characters")

    @property
    def id(self) -> str:
        """A key that is equal exactly when document, version and offsets are equal."""
        return f"{self.document_id}@{self.document_version}:{self.start}-{self.end}"


@dataclass(frozen=True, slots=True)
class Entry:
    """What an index knows of a document; ``chunks`` is how many it was cut into."""

    id: str
    version: str
    source: str
    chunks: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage and how well it fits a question."""

    chunk: Chunk
    """The passage."""
    score: float
    """How well it fits: higher is better. Scores of different settings are not comparable."""
    via: Via
    """What gave the score."""

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
    """Of a turn of an assistant in a row to train on: whether it is learned."""


Prompt = tuple[Message, ...]


def json_fields(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Fields of a value, for ``asdict``; ``learned`` only where it is False, so that messages are written as ever.

    Log probabilities are not recorded.
    """
    return {name: value for name, value in pairs if (name, value) != ("learned", True) and name != "logprobs"}


@dataclass(frozen=True, slots=True)
class Conversation:
    """A row to train on: a conversation, or plain text as its only message, of the role ``text``."""

    messages: Prompt
    """At least one turn."""
    evidence: tuple[str, ...] = ()
    """Ids of the documents that it was made from; empty where that is not known."""

    @property
    def is_text(self) -> bool:
        """Whether it is plain text: all of it is learned, as it stands."""
        return self.messages[0].role == "text"

    @property
    def opening(self) -> str:
        """The first user turn; of plain text, the text."""
        return self.messages[0].content if self.is_text else self.question

    @property
    def origin(self) -> str:
        """What it was made from: its documents, or itself where none are named."""
        return " ".join(self.evidence) or self.opening

    @property
    def question(self) -> str:
        """The first user turn, or the empty string."""
        return next((m.content for m in self.messages if m.role == "user"), "")

    @property
    def instruction(self) -> str:
        """The text of the system's turn, with which a conversation may begin, or the empty string."""
        return self.messages[0].content if self.messages[0].role == "system" else ""


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


@dataclass(frozen=True, slots=True)
class Sampling:
    """How text is drawn from a model. Temperature 0 is greedy and repeatable."""

    max_tokens: int = 96
    """Tokens after which an answer is cut (and marked ``length``)."""
    temperature: float = 0.0
    """0 takes the likeliest token; higher values draw more freely."""
    top_p: float = 1.0
    """Share of probability mass kept when drawing, likeliest tokens first."""
    seed: int = 0
    """Seed of the draw; without effect at temperature 0."""
    top_k: int = 0
    """Number of likeliest tokens kept when drawing; 0 keeps all."""
    repetition_penalty: float = 1.0
    """Above 1, tokens that stand in the prompt or the answer so far become less likely; 1 leaves all as they are."""
    num_beams: int = 0
    """Beginnings of an answer followed side by side, the likeliest whole one taken; 0 and 1 follow a single one."""
    stop: tuple[str, ...] = ()
    """Texts before which an answer ends."""
    json_schema: str | None = None
    """A JSON schema, as JSON text, that the answer keeps to (extra ``serve``)."""
    logprobs: int | None = None
    """Number of likeliest tokens given for each place, beside the log probability of the token itself (0 to 20).
    None gives no log probabilities."""

    def __post_init__(self) -> None:
        """Refuses values that draw nothing, by their names."""
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
                raise InputError(f"{name} {getattr(self, name)!r} is not valid; expected {expected}")

    @property
    def thinking(self) -> Thinking:
        """What becomes of thoughts before an answer."""
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
    """How text is drawn from a model that may think before it answers.

    A class of its own: whatever is drawn without it keeps the fingerprint that it always had.
    """

    max_tokens: int = _THOUGHT_TOKENS
    """Tokens after which thoughts and answer together are cut; many more than an answer alone needs. The default is at
    most half of a model's context."""
    thinking: Thinking = "hidden"
    """``hidden`` leaves thoughts out of the answer, ``shown`` keeps them in it; ``off`` is as ``Sampling``."""

    def __post_init__(self) -> None:
        """Refuses what ``Sampling`` refuses, and a choice that there is not."""
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
    """A token of an answer with the natural logarithm of its probability after everything before it.

    The probability is the model's own, before temperature, penalties, or a schema. ``likeliest`` are the tokens of the
    highest probability in its place, likeliest first. The text of a token that is a part of a character holds U+FFFD.
    """

    text: str
    logprob: float
    likeliest: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """A linear function of the hidden state after a prompt: below 0 its sources do not answer the question."""

    model: str
    """The model, with its adapter, whose states it was fitted to; of another one they mean something else."""
    layer: int
    """Whose output is read, counted from 1; 0 are the token embeddings."""
    weights: tuple[float, ...]
    """One for each dimension of the hidden state."""
    bias: float
    """Added to the weighted sum."""
    conversations: int
    """To which it was fitted, each with its answering passage and without."""
    refused_answered: float
    """Share of the conversations with their answering passage that it refuses, while their documents are held out."""
    refused_unanswered: float
    """The same without that passage."""
    questions: int
    """Not among them, whose sources answer: its threshold was set by these, if they are enough."""
    refused_questions: float
    """Share of these that it refuses."""

    def __str__(self) -> str:
        """What it does, in a few words."""
        return (
            f"refuses by a probe of layer {self.layer}: {100 * self.refused_unanswered:.0f} % of {self.conversations}"
            f" held-out conversations without their answering passage, {100 * self.refused_answered:.0f} % with it, and"
            f" {100 * self.refused_questions:.0f} % of {self.questions} untested questions with it"
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model returned for one prompt.

    ``seconds`` is this prompt's share of its batch's wall time, ``prefill_seconds`` the part of it that passed before
    the first token (0 where that is not known). ``logprobs`` are there where they were asked for. ``finish`` is
    ``refused`` where a probe found that the sources do not answer; the text is then empty.
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
    """Tokens and seconds one answer took.

    ``retrieve_seconds`` is the search, ``generate_seconds`` the model: ``prefill_seconds`` of it until the first token
    (0 where that is not known), and ``decode_seconds`` for the rest.
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
    """An answer with everything needed to audit it without the process that made it."""

    text: str
    """The answer; empty where there is an ``error``."""
    prompt: Prompt = ()
    """The messages exactly as sent; empty where nothing was sent."""
    sources: tuple[Hit, ...] = ()
    """The passages in the prompt, numbered from 1 in this order."""
    usage: Usage = field(default_factory=Usage)
    """Tokens and seconds that it took."""
    refused: bool = False
    """Whether the assistant declined."""
    truncated: bool = False
    """Whether it was cut at ``max_tokens``."""
    error: str | None = None
    """The reason where no answer came."""
    query: str = ""
    """What was searched for, where that is not the question itself."""
    guarded: tuple[str, ...] = ()
    """The blocked words for which the question was refused, or which are masked in ``text``."""
    cached: bool = False
    """Whether it was made for an earlier question that means the same."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """One for each token, where they were asked for and no word is masked."""


@dataclass(frozen=True, slots=True)
class Example:
    """A question with its references."""

    id: str
    """Its name, once in a file."""
    question: str
    """The wording that is asked."""
    answers: tuple[str, ...]
    """Right answers; without any, the documents do not answer it."""
    evidence: tuple[str, ...] = ()
    """Ids of the documents that answer it."""
    paraphrases: tuple[str, ...] = ()
    """Other wordings, never asked in a comparison."""
    answers_after: tuple[str, ...] | None = None
    """The right answers once the documents were updated; None where they are not known."""
    status: Status | None = None
    """What the update did to it; None where that is not given."""
    meta: Mapping[str, str] = field(default_factory=dict)
    """Other keys of its row."""

    def after_update(self) -> Example:
        """The same question with the references that hold after the documents were updated.

        Returns:
            The question itself where these are not known.
        """
        return self if self.answers_after is None else replace(self, answers=self.answers_after)


@dataclass(frozen=True, slots=True)
class Score:
    """One metric's value for one answer; ``value`` is None where the metric does not apply (never a zero)."""

    metric: str
    value: float | None
