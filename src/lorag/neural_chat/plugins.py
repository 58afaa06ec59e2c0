"""``plugins``: the switches and arguments of what can be put beside a model, for the next ``PipelineConfig``.

This is the one thing in Lorag that the whole process shares, because the notebook sets it so. A ``PipelineConfig``
takes a copy of the arguments, so that chatbots do not change under each other; only ``enable`` is read at every call.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from lorag.neural_chat.knobs import require_known


@dataclass(slots=True)
class Plugin:
    """One of them; ``plugin["enable"]`` and ``plugin.enable`` are the same."""

    enable: bool = False
    args: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        require_known("part of a plugin", name, self.__slots__)
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        require_known("part of a plugin", name, self.__slots__)
        setattr(self, name, value)


@dataclass(slots=True)
class Plugins:
    """All of them by name; ``plugins["retrieval"]`` and ``plugins.retrieval`` are the same."""

    retrieval: Plugin = field(default_factory=Plugin)
    """Answers from documents; its arguments are those of ``retrieval.plan``."""
    cache: Plugin = field(default_factory=Plugin)
    """Gives an answer again to a question that means the same."""
    safety_checker: Plugin = field(default_factory=Plugin)
    """Refuses and masks the words of a list."""
    tts: Plugin = field(default_factory=Plugin)
    tts_multilang: Plugin = field(default_factory=Plugin)
    asr: Plugin = field(default_factory=Plugin)
    ner: Plugin = field(default_factory=Plugin)
    face_animation: Plugin = field(default_factory=Plugin)
    image2image: Plugin = field(default_factory=Plugin)

    def __getitem__(self, name: str) -> Plugin:
        require_known("plugin", name, self.__slots__)
        plugin: Plugin = getattr(self, name)
        return plugin

    def enabled(self) -> list[str]:
        """The names of those that are switched on."""
        return [each.name for each in fields(self) if self[each.name].enable]


plugins = Plugins()
