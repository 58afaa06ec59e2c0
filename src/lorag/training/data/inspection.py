"""What is to be said of training data before it is trained on: refused rows, repeats, contradictions, test questions.

Everything is counted and named by its first places; nothing is changed. ``plain`` is a function that brings a text
into the form in which two texts count as the same words.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lorag.training.data.conversations import Outcome
from lorag.types import Conversation, Prompt

Placed = tuple[str, Conversation]
"""A conversation and its place, as ``file:line``."""
Plain = Callable[[str], str]

_SHOWN = 5
_TELLING_WORDS = 3
"""Words of the shortest test question that is looked for inside a longer text."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How many rows share a trait, the places of the first few, and, of refused rows, the reason."""

    rows: int
    first: tuple[str, ...]
    reason: str = ""

    @classmethod
    def at(cls, places: Sequence[str], reason: str = "") -> Finding:
        """The finding at all these places."""
        return cls(len(places), tuple(places[:_SHOWN]), reason)


def placed(outcomes: Iterable[Outcome]) -> list[Placed]:
    """The conversations among the outcomes, each with its place."""
    return [(outcome.place, outcome.conversation) for outcome in outcomes if outcome.conversation is not None]


def by_reason(refused: Iterable[tuple[str, str]]) -> tuple[Finding, ...]:
    """One finding for each reason of ``(place, reason)`` pairs, the commonest first."""
    places: dict[str, list[str]] = defaultdict(list)
    for place, reason in refused:
        places[reason].append(place)
    return tuple(Finding.at(places[reason], reason) for reason in sorted(places, key=lambda r: -len(places[r])))


def repeated(conversations: Iterable[Placed]) -> Finding:
    """The conversations that are equal to an earlier one, word for word."""
    seen: set[Prompt] = set()
    places = []
    for place, conversation in conversations:
        if conversation.messages in seen:
            places.append(place)
        seen.add(conversation.messages)
    return Finding.at(places)


def contradicting(conversations: Sequence[Placed], plain: Plain) -> Finding:
    """The conversations that go like another up to their last answer, which is a different one."""
    rows = contradictions([conversation for _, conversation in conversations], plain)
    return Finding.at([conversations[row][0] for row in rows])


def contradictions(conversations: Sequence[Conversation], plain: Plain) -> list[int]:
    """The rows, from 0, that go like another row up to their last answer, which is a different one."""

    def asked(conversation: Conversation) -> tuple[str, ...]:
        return tuple(f"{m.role} {plain(m.content)}" for m in conversation.messages[:-1])

    answers: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for conversation in conversations:
        if not conversation.is_text:
            answers[asked(conversation)].add(plain(conversation.messages[-1].content))
    return [row for row, conversation in enumerate(conversations) if len(answers[asked(conversation)]) > 1]


def spoken_to(conversation: Conversation) -> list[str]:
    """All that a model is told in a row: the user's turns, or the plain text."""
    return [message.content for message in conversation.messages if message.role in ("user", "text")]


class TestQuestions:
    """The questions of a test, to recognise a training question that asks one of them.

    Near is a question that shares with one of them at least four fifths of the distinct words of both together.
    """

    __test__ = False  # no test, whatever its name begins with

    def __init__(self, questions: Iterable[str], plain: Plain) -> None:
        """``plain`` brings a text into the form in which two texts count as the same words."""
        self._plain = plain
        self._asked = {plain(question) for question in questions}
        self._index = _by_rare_words([frozenset(question.split()) for question in self._asked])
        lengths = {len(question.split()) for question in self._asked}
        self._lengths = sorted(length for length in lengths if length >= _TELLING_WORDS)

    def asks(self, text: str) -> bool:
        """Whether a text is one of the questions."""
        return self._plain(text) in self._asked

    def nearly_asks(self, text: str) -> bool:
        """Whether a text is near to one of the questions, or is one."""
        return self.asks(text) or _is_near(frozenset(self._plain(text).split()), self._index)

    def repeats(self, text: str) -> bool:
        """Whether a text is one of the questions, is near to one, or holds one of several words word for word."""
        return self.nearly_asks(text) or self._holds(text)

    def repeated_by(self, conversation: Conversation) -> bool:
        """Whether a turn of a user, or plain text, repeats one of the questions."""
        return any(map(self.repeats, spoken_to(conversation)))

    def stand_in(self, conversation: Conversation) -> bool:
        """Whether a user asks one of the questions, or plain text is one or holds one, word for word."""
        asked = spoken_to(conversation)
        return any(map(self.asks, asked)) or (conversation.is_text and any(map(self._holds, asked)))

    def _holds(self, text: str) -> bool:
        words = self._plain(text).split()
        return any(
            " ".join(words[start : start + length]) in self._asked
            for length in self._lengths
            for start in range(len(words) - length + 1)
        )


def overlap(conversations: Iterable[Placed], questions: Sequence[str], plain: Plain) -> tuple[Finding, Finding]:
    """The conversations in which a user asks one of ``questions``, and those others in which one nearly does.

    Plain text asks what it holds. Nearly: at least four fifths of the distinct words of both together are in both, or
    the question stands in what is asked.
    """
    tests = TestQuestions(questions, plain)
    same, near = [], []
    for place, conversation in conversations:
        if tests.stand_in(conversation):
            same.append(place)
        elif tests.repeated_by(conversation):
            near.append(place)
    return Finding.at(same), Finding.at(near)


def _by_rare_words(questions: Sequence[frozenset[str]]) -> dict[str, list[frozenset[str]]]:
    """The questions by a few of their rarest words, of which whatever is near to a question has at least one.

    What is near lacks at most a fifth of a question's words, so one word more than that cannot all be missing.
    """
    common = Counter(word for words in questions for word in words)
    index: dict[str, list[frozenset[str]]] = defaultdict(list)
    for words in questions:
        for word in sorted(words, key=lambda word: (common[word], word))[: len(words) // 5 + 1]:
            index[word].append(words)
    return index


def _is_near(words: frozenset[str], index: dict[str, list[frozenset[str]]]) -> bool:
    candidates = (question for word in words for question in index.get(word, ()))
    return any(5 * len(words & question) >= 4 * len(words | question) for question in candidates)
