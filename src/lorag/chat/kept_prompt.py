"""A prompt as a file: what stands in it, the worked examples that it shows, and the room that it leaves for sources.

``lorag compare`` and ``lorag tune`` write the prompts that they choose, people write others by hand, and every
assistant can be asked under one.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from lorag.chat.answer_cache import AnswerCache
from lorag.chat.bot import ChatBot
from lorag.chat.prompts import WorkedExample
from lorag.errors import DataError, InputError, UnknownNameError
from lorag.files import read_json
from lorag.interfaces import HiddenStates, LanguageModel, Retriever
from lorag.settings import ChatSettings, PromptSettings, RetrievalSettings
from lorag.types import Chunk, Hit, LinearProbe, Sampling

_FIELDS = {each.name: type(getattr(PromptSettings(), each.name)) for each in fields(PromptSettings)}
_KEYS = ("prompt", "examples", "context_tokens", "model", "probe")
_CHOSEN = ("tried", "strength", "room")
"""What stands beside them where a comparison chose the prompt."""


@dataclass(frozen=True, slots=True)
class KeptPrompt:
    """A prompt with its worked examples."""

    settings: PromptSettings = field(default_factory=PromptSettings)
    """What the prompt contains beside the question and its sources."""
    examples: tuple[WorkedExample, ...] = ()
    """Worked examples, shown before every question in this order."""
    context_tokens: int | None = None
    """Maximum size of the sources, in the model's tokens; None keeps the chatbot's own setting."""
    model: str | None = None
    """The model for which it was chosen; None if it was not chosen for one model."""
    probe: LinearProbe | None = None
    """The probe that refuses questions that the sources do not answer; None without one."""

    def __str__(self) -> str:
        """The prompt in one line."""
        room = "" if self.context_tokens is None else f", up to {self.context_tokens} tokens of sources"
        return f"{self.settings}{room}{', refuses by a probe' if self.probe is not None else ''}"

    @property
    def lacks_examples(self) -> bool:
        """Whether the settings ask for worked examples and there are none."""
        return bool(self.settings.examples or self.settings.refused_example) and not self.examples

    def applied(self, chat: ChatSettings) -> ChatSettings:
        """``chat`` with this prompt and its room for sources.

        Args:
            chat: The settings of a chatbot.

        Returns:
            The same settings, with those of the prompt.
        """
        room = chat.context_tokens if self.context_tokens is None else self.context_tokens
        return replace(chat, prompt=self.settings, context_tokens=room)

    def over(self, model: LanguageModel, searched: bool, sampling: Sampling) -> LanguageModel:
        """``model`` with the probe of this prompt, where it has one and documents are searched.

        The probe is left out, with a warning, for another model than its own, on an engine without hidden states, and
        where the model is to think, because its prompt then ends in another way.

        Args:
            model: The model that answers.
            searched: Whether its prompts hold sources.
            sampling: How answers are drawn.

        Returns:
            The model, which refuses what the probe refuses.
        """
        probe = self.probe
        if probe is None or not searched:
            return model
        if model.name != probe.model:
            reason = f"was fitted to {probe.model}"
        elif not isinstance(model, HiddenStates):
            reason = "needs the engine transformers"
        elif sampling.thinking != "off":
            reason = "is for answers without thoughts"
        else:
            return model.probing(probe)
        warnings.warn(f"the prompt's probe {reason}: {model.name} answers without it", stacklevel=2)
        return model

    def require_examples(self) -> None:
        """Raises ``InputError`` where it is to show worked examples and holds none."""
        if self.lacks_examples:
            raise InputError(
                "the prompt should show worked examples but holds none; add them as 'examples', or use the prompt file"
                " of a comparison, which holds them"
            )

    def chatbot(
        self,
        model: LanguageModel,
        retriever: Retriever | None,
        chat: ChatSettings,
        retrieval: RetrievalSettings,
        cache: AnswerCache | None = None,
    ) -> ChatBot:
        """The chatbot that asks ``model`` under this prompt.

        Args:
            model: The model that answers.
            retriever: What finds the sources; None answers without any.
            chat: How a question becomes a prompt and an answer, but for what this prompt decides.
            retrieval: How passages are found.
            cache: Earlier answers that may be given again.

        Returns:
            The chatbot.
        """
        return ChatBot(
            self.over(model, retriever is not None, chat.sampling),
            retriever,
            self.applied(chat),
            retrieval.k,
            cache=cache,
            gated=retrieval.leaves_out,
            examples=self.examples,
        )

    def to_json(self) -> dict[str, Any]:
        """The prompt as a JSON object; what is None is left out.

        Returns:
            What ``from_json`` reads.
        """
        probe = asdict(self.probe) if self.probe is not None else None
        named = {"context_tokens": self.context_tokens, "model": self.model, "probe": probe}
        return {
            "prompt": asdict(self.settings),
            "examples": [asdict(example) for example in self.examples],
            **{name: value for name, value in named.items() if value is not None},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> KeptPrompt:
        """The prompt that ``to_json`` wrote; the fields of its settings may also stand at the top.

        Args:
            value: A JSON object, as Python has it.

        Returns:
            The prompt.

        Raises:
            InputError: An unknown key, with the nearest known one, or a wrong value.
        """
        given, rest = value.get("prompt"), {name: each for name, each in value.items() if name != "prompt"}
        if given is None:  # the number of examples is a setting, a list of them is not
            given = {n: each for n, each in rest.items() if n in _FIELDS and not isinstance(each, list)}
            rest = {name: each for name, each in rest.items() if name not in given}
        known = (*_KEYS, *(_CHOSEN if "tried" in value else ()))
        _require_known(rest, known if "prompt" in value else {*known, *_FIELDS})
        settings, examples = _settings(given), _examples(rest.get("examples", []))
        if examples and not settings.examples:
            settings = replace(settings, examples=len(examples))
        room, model = rest.get("context_tokens"), rest.get("model")
        if room is not None and (type(room) is not int or room < 0):
            raise InputError(f"'context_tokens' is {room!r}, expected a whole number of at least 0")
        if not isinstance(model, str | None):
            raise InputError(f"'model' is {model!r}, expected the name of a model")
        return cls(settings, examples, room, model, _probe(rest.get("probe")))


def read_prompt(path: Path | str) -> KeptPrompt:
    """The prompt in a JSON file.

    Args:
        path: ``RUN/prompts/retrieval.json`` of a comparison, or a file by hand, such as ``{"question_first": true}``.

    Returns:
        The prompt, to be given to ``chatbot`` or ``compare``.

    Raises:
        DataError: Broken JSON, an unknown key (with the nearest known one), or a wrong value.

    Examples:
        >>> prompt = lorag.read_prompt("prompt.json")
        >>> str(prompt)
        'question before sources'
    """
    value = read_json(Path(path))
    if not isinstance(value, dict):
        raise DataError(path, f'is not a prompt: {value!r}; expected a JSON object such as {{"question_first": true}}')
    try:
        return KeptPrompt.from_json(value)
    except InputError as error:
        raise DataError(path, str(error)) from error


def text_source(text: str) -> Hit:
    """A source of a worked example that stands in no document."""
    return Hit(Chunk("example", "1", 0, len(text), text), 1.0, "evidence")


def _require_known(given: Mapping[str, Any], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            raise UnknownNameError("key", name, known)


def _settings(given: object) -> PromptSettings:
    if not isinstance(given, dict):
        raise InputError(f"'prompt' is {given!r}, expected an object with some of {', '.join(_FIELDS)}")
    _require_known(given, _FIELDS)
    for name, value in given.items():
        if type(value) is not _FIELDS[name]:
            expected = "true or false" if _FIELDS[name] is bool else "a whole number"
            raise InputError(f"{name!r} is {value!r}, expected {expected}")
    return PromptSettings(**given)


def _probe(given: Any) -> LinearProbe | None:
    if given is None:
        return None
    try:
        return LinearProbe(**{**given, "weights": tuple(map(float, given["weights"]))})
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("'probe' is not one that a comparison fitted; leave it out") from error


def _examples(given: object) -> tuple[WorkedExample, ...]:
    """Worked examples; a source is a hit as ``to_json`` writes it, or a plain text."""
    if not isinstance(given, list):
        raise InputError(f"'examples' is {given!r}, expected a list; their number is set in 'prompt'")
    read = []
    for number, value in enumerate(given):
        try:
            question, reply = value["question"], value["reply"]
            sources = tuple(map(_source, value["sources"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"item {number + 1} of 'examples' is not a worked example ({error!r}); expected an object with a"
                " 'question', its 'sources' (a list of strings) and the 'reply'"
            ) from error
        if not (isinstance(question, str) and isinstance(reply, str)):
            raise InputError(
                f"question and reply of example {number + 1} are {question!r} and {reply!r}, expected strings"
            )
        read.append(WorkedExample(question, sources, reply))
    return tuple(read)


def _source(value: Any) -> Hit:
    """A source; what was written of a document may have changed there since."""
    return text_source(value) if isinstance(value, str) else Hit(Chunk(**value["chunk"]), value["score"], value["via"])
