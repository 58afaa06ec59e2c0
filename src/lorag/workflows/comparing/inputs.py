"""Everything that a comparison is given: read and checked against each other before anything is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lorag.chat.kept_prompt import KeptPrompt
from lorag.documents.load import Loaded, load_documents
from lorag.errors import InputError
from lorag.evaluation.answers.style import Style, read_style
from lorag.evaluation.examples import check_evidence, read_examples, sample
from lorag.evaluation.row_log import Moment
from lorag.files import fingerprint
from lorag.settings import CompareSettings
from lorag.training.control_questions import MultipleChoice
from lorag.training.data.conversations import read_conversations
from lorag.types import Conversation, Document, Example
from lorag.workflows.comparing.prompt_trials import gives_away
from lorag.workflows.finetune import control_questions
from lorag.workflows.questions.apart import made_note


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything the caller brought, read and checked."""

    documents: Sequence[Document]
    examples: list[Example]
    tested: list[Example]
    training: list[Conversation] | None
    update: Sequence[Document] | None
    update_training: list[Conversation] | None
    """Conversations about what the update changed."""
    notes: tuple[str, ...]
    style: Style | None
    control: list[MultipleChoice]
    prompt: KeptPrompt | None
    """The prompt of every arm, where it is not to be chosen."""

    @property
    def moments(self) -> tuple[Moment, ...]:
        """When questions are asked: before the update, and after it when there is one."""
        return ("before",) if self.update is None else ("before", "after")


def read_inputs(
    documents: Path | str,
    questions: Path | str,
    train: Path | str | None,
    update: Path | str | None,
    style: Path | str | None,
    control: Path | str | None,
    settings: CompareSettings,
    prompt: KeptPrompt | None = None,
    train_update: Path | str | None = None,
) -> Inputs:
    """All files, read and checked against each other, before anything is built."""
    if train_update is not None and update is None:
        raise InputError("training conversations for an update need the updated documents; name them with --update")
    now = load_documents(documents).require_all()
    later = load_documents(update).require_all() if update is not None else None
    examples = read_examples(Path(questions))
    read = [now] if later is None else [now, later]
    check_evidence(examples, [document.id for each in read for document in each.documents], Path(questions))
    tested = sample(examples, settings.limit, settings.seed)
    if prompt is not None:
        _require_fair(prompt, tested)
    return Inputs(
        documents=now.documents,
        examples=examples,
        tested=tested,
        training=read_conversations(train) if train is not None else None,
        update=later.documents if later is not None else None,
        update_training=read_conversations(train_update) if train_update is not None else None,
        notes=tuple(dict.fromkeys(note for each in read for note in _document_notes(each))),
        style=read_style(Path(style)) if style is not None else None,
        control=control_questions(control, settings.finetune),
        prompt=prompt,
    )


def _require_fair(prompt: KeptPrompt, tested: Sequence[Example]) -> None:
    """Raises ``InputError`` for a prompt whose examples tell what is tested."""
    if told := list(filter(gives_away(tested), prompt.examples)):
        raise InputError(
            f"the prompt's worked example {told[0].question!r} states an answer to a tested question, or nearly asks"
            " one; take it out of the prompt"
        )


def identity_of(inputs: Inputs, model: str, embedder: str, settings: CompareSettings) -> dict[str, str]:
    """Fingerprints of everything that decides the result; a run resumes only where all are the same."""

    def of_documents(documents: Sequence[Document] | None) -> str:
        return fingerprint([[d.id, d.version] for d in documents or ()])

    changes = inputs.update_training
    return {
        "documents": of_documents(inputs.documents),
        "questions": fingerprint([asdict(example) for example in inputs.examples]),
        "training data": _of_conversations(inputs.training),
        "update": of_documents(inputs.update),
        "style": fingerprint(asdict(inputs.style) if inputs.style else None),
        "model": model,
        "embedder": embedder,
        "settings": fingerprint(_decisive(settings)),
        **({"training data of the update": _of_conversations(changes)} if changes else {}),
        **({"control questions": fingerprint(list(map(asdict, inputs.control)))} if inputs.control else {}),
        **({"prompt": fingerprint(asdict(inputs.prompt))} if inputs.prompt else {}),
    }


def _of_conversations(conversations: Sequence[Conversation] | None) -> str:
    return fingerprint([asdict(conversation) for conversation in conversations or ()])


def _decisive(settings: CompareSettings) -> dict[str, Any]:
    """All settings but the verdict's and the number of trainings, which may change.

    What earlier versions did not know stands in it only where it is set.
    """
    found = {**asdict(settings), "verdict": None}
    del found["seeds"]
    if settings.recipe is not None and settings.recipe.passes is None:
        del found["recipe"]["passes"]
    if not settings.finetune.general_text_share:
        del found["finetune"]["general_text_share"]
    return found


def input_notes(inputs: Inputs, settings: CompareSettings) -> list[str]:
    """Caveats that follow from what was asked for."""
    notes = list(inputs.notes)
    if len(inputs.tested) < len(inputs.examples):
        notes.append(
            f"{len(inputs.tested)} of {len(inputs.examples)} questions were asked: a fixed pseudo-random sample"
            " (--limit); more questions give narrower intervals."
        )
    if made := made_note(inputs.tested):
        notes.append(made)
    if inputs.style is not None:
        notes.append("The declared style was not asked for in any prompt: an arm keeps it only if training taught it.")
    return notes


def _document_notes(loaded: Loaded) -> list[str]:
    """What a verdict over these documents does not know of them."""
    notes = [f"Of the documents, {note}." for note in loaded.notes]
    if loaded.passed_over:
        notes.append(f"Files of other kinds were passed over: {', '.join(loaded.passed_over)}.")
    return notes
