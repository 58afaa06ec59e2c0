"""The scene of one comparison: where it lies, what it searches in, and how it is set."""

from __future__ import annotations

from dataclasses import dataclass

from lorag.interfaces import Progress
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import CompareSettings
from lorag.workspace import Run


@dataclass(frozen=True, slots=True)
class Scene:
    """What every stage of a comparison shares."""

    run: Run
    knowledge: Knowledge
    settings: CompareSettings
    progress: Progress
