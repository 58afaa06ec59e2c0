"""The arms of a finetune that was made elsewhere, and what a report states of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorag.evaluation.results import BASE, BOTH, FINETUNED, FINETUNED_EVIDENCE, RETRIEVAL
from lorag.evaluation.row_log import Row
from lorag.interfaces import LanguageModel
from lorag.settings import PromptSettings
from lorag.workflows.comparing.arm_prompts import Trial, finetuned_forms
from lorag.workflows.comparing.asking import Arm
from lorag.workflows.comparing.prompt_trials import WITHOUT_SOURCES, Prompting
from lorag.workflows.finetuning.brought import Brought


@dataclass(frozen=True, slots=True)
class BroughtFinetune:
    """The arms of a finetune that was made elsewhere, and what a report states of it."""

    arms: dict[str, Arm]
    facts: dict[str, str]
    notes: list[str]


def brought_finetune(
    brought: Brought, model: LanguageModel, base: str, retrieval: Prompting, trial: Trial
) -> BroughtFinetune:
    """The arms over ``model``, each in the prompt that suits it best.

    Candidates are what it was trained under, where Lorag trained it; else those of the base.
    """
    alone_forms: Sequence[PromptSettings] = WITHOUT_SOURCES
    both_forms: Sequence[PromptSettings] = trial.shown.preferred
    if brought.trained is not None:
        alone_forms = both_forms = finetuned_forms(brought.trained.prompt, retrieval)
    cached = trial.scene.cached(model)
    alone = trial.prompting("finetuned", alone_forms, cached, None)
    both = trial.prompting("both", both_forms, cached, trial.scene.knowledge, room=retrieval.choice.room)
    reader = trial.reader("both", cached, both)
    facts = {
        "finetuning": f"not trained here: {brought}",
        "prompt of finetuned": str(alone.choice),
        "prompt of both": str(reader.prompting),
    }
    return BroughtFinetune(
        {FINETUNED: Arm(cached, alone), BOTH: reader, FINETUNED_EVIDENCE: reader},
        facts,
        _notes(brought, base),
    )


def _notes(brought: Brought, base: str) -> list[str]:
    notes = [f"The finetune was made elsewhere ({brought}): it may have been trained on tested questions."]
    if brought.served is not None:
        notes.append(
            "Answers come from servers, which may answer the same question differently when it is asked again."
        )
    named = brought.named_base
    if named and not _alike(named, base):
        notes.append(
            f"The adapter names {named!r} as its base and was used on {base!r}: the shapes of their weights agree, but"
            " an adapter is meaningful only on the weights that it was trained on."
        )
    return notes


def _alike(first: str, second: str) -> bool:
    """Whether one name of a model is part of the other, owner, commit and punctuation left out."""
    one, other = (re.sub(r"[^a-z0-9]", "", Path(name.split("@")[0]).name.lower()) for name in (first, second))
    return one in other or other in one


def unchanged(rows: Iterable[Row]) -> list[str]:
    """That the finetune answered as the base throughout, where it did: its server may not apply it."""
    texts: dict[str, dict[str, str]] = {}
    for row in rows:
        if row.phase == "before":
            texts.setdefault(row.arm, {})[row.example_id] = row.answer.text
    if texts.get(FINETUNED) != texts.get(BASE) or texts.get(BOTH) != texts.get(RETRIEVAL):
        return []
    return [
        "The finetune answered every question as the base did, with passages and without; check that its"
        " server applies it."
    ]
