"""Everything that a comparison is given: read and checked against each other before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lorag.chat.kept_prompt import KeptPrompt
from lorag.chat.own_responder import Answering, OwnResponder
from lorag.documents.load import Loaded, load_documents
from lorag.errors import InputError
from lorag.evaluation.answers.own_metrics import Measuring, require_measuring
from lorag.evaluation.answers.style import Style, read_style
from lorag.evaluation.examples import check_evidence, read_examples, sample
from lorag.evaluation.results import ARMS, CEILINGS, CHOSEN_ARMS, FOLLOWING, NO_ARM
from lorag.evaluation.row_log import Phase
from lorag.files import fingerprint
from lorag.interfaces import Responder
from lorag.settings import CompareSettings
from lorag.training.control_questions import MultipleChoice
from lorag.training.data.conversations import read_conversations
from lorag.types import Conversation, Document, Example, json_fields
from lorag.workflows.comparing.prompt_trials import gives_away
from lorag.workflows.finetune import control_questions
from lorag.workflows.finetuning.brought import Brought
from lorag.workflows.questions.apart import made_notes

MOST_QUESTIONS = 2_000
"""Questions that are asked unless a limit is given: their intervals are about 2 points to each side."""
_LONGEST_NAME = 40
"""Characters of an own arm's name: it stands at the head of a column."""


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
    brought: Brought | None = None
    """The finetune, where it was made elsewhere."""
    own: Mapping[str, Responder] = field(default_factory=dict)
    """The user's own arms by name."""
    metrics: Mapping[str, Measuring] = field(default_factory=dict)
    """The user's own metrics by name."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        """When questions are asked: before the update, and after it when there is one."""
        return ("before",) if self.update is None else ("before", "after")

    def asked(self, phase: Phase) -> list[Example]:
        """The questions with the references that hold in that phase."""
        return [example.after_update() for example in self.tested] if phase == "after" else self.tested


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
    brought: Brought | None = None,
    arms: Mapping[str, Answering | Responder] | None = None,
    metrics: Mapping[str, Measuring] | None = None,
) -> Inputs:
    """All files, read and checked against each other, before anything is built."""
    if train_update is not None and update is None:
        raise InputError("training conversations for an update need the updated documents; name them with --update")
    own = _own_responders(arms or {}, settings.chat.response_template)
    now = load_documents(documents).require_all()
    later = load_documents(update).require_all() if update is not None else None
    examples = read_examples(Path(questions))
    read = [now] if later is None else [now, later]
    check_evidence(examples, [document.id for each in read for document in each.documents], Path(questions))
    tested = asked_of(examples, settings)
    if prompt is not None:
        _require_fair(prompt, tested)
    require_measuring(metrics or {}, tested[0])
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
        brought=brought,
        own=own,
        metrics=metrics or {},
    )


def asked_of(examples: Sequence[Example], settings: CompareSettings) -> list[Example]:
    """The questions that a comparison asks of a file of them."""
    return sample(examples, MOST_QUESTIONS if settings.limit is None else settings.limit, settings.seed)


def _own_responders(arms: Mapping[str, Answering | Responder], response_template: str) -> dict[str, Responder]:
    """The user's own arms. Raises ``InputError`` for a name that no report can hold, and for what cannot answer."""
    taken = {*ARMS, *CEILINGS, *FOLLOWING, *CHOSEN_ARMS, *NO_ARM}
    responders: dict[str, Responder] = {}
    for name, answering in arms.items():
        if name != name.strip() or not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME or name in taken:
            raise InputError(
                f"{name!r} cannot be the name of an arm; expected 1 to {_LONGEST_NAME} characters on one line, and none"
                f" of {', '.join(sorted(taken))}"
            )
        if isinstance(answering, Responder):
            responders[name] = answering
        elif callable(answering):
            responders[name] = OwnResponder(name, answering, response_template)
        else:
            raise InputError(
                f"the arm {name!r} is {type(answering).__name__}; expected a function from a list of questions to a"
                " list of answers, or a chatbot"
            )
    return responders


def _require_fair(prompt: KeptPrompt, tested: Sequence[Example]) -> None:
    """Raises ``InputError`` for a prompt whose examples tell what is tested."""
    if told := list(filter(gives_away(tested), prompt.examples)):
        raise InputError(
            f"the prompt's worked example {told[0].question!r} states an answer to a tested question, or nearly asks"
            " one; remove it from the prompt"
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
        **({"prompt": fingerprint(_without_probe(inputs.prompt))} if inputs.prompt else {}),
        **({"finetune": inputs.brought.identity} if inputs.brought else {}),
    }


def _without_probe(prompt: KeptPrompt) -> dict[str, Any]:
    return {name: value for name, value in asdict(prompt).items() if name != "probe"}


def _of_conversations(conversations: Sequence[Conversation] | None) -> str:
    return fingerprint([asdict(conversation, dict_factory=json_fields) for conversation in conversations or ()])


def _decisive(settings: CompareSettings) -> dict[str, Any]:
    """All settings but those that may change: of the verdict, of servers, further trainings, and the long context.

    What earlier versions did not know stands in it only where it is set.
    """
    found = {**asdict(settings), "verdict": None}
    for name in ("seeds", "remote", "long_context"):
        del found[name]
    for name in ("json_schema", "logprobs"):
        if found["chat"]["sampling"][name] is None:
            del found["chat"]["sampling"][name]
    if settings.recipe is not None and settings.recipe.passes is None:
        del found["recipe"]["passes"]
    if not settings.finetune.general_text_share:
        del found["finetune"]["general_text_share"]
    if settings.finetune.refuse_absent:
        del found["finetune"]["refuse_absent"]
    if settings.retrieval.second_search:
        del found["retrieval"]["second_search"]
    return found


def input_notes(inputs: Inputs) -> list[str]:
    """Caveats that follow from what was asked for."""
    notes = list(inputs.notes)
    if len(inputs.tested) < len(inputs.examples):
        notes.append(
            f"{len(inputs.tested)} of {len(inputs.examples)} questions were asked: a fixed pseudo-random sample; more"
            " questions (--limit) give narrower intervals."
        )
    notes += [*made_notes(inputs.tested), *_gone_note(inputs)]
    if inputs.own and inputs.update is not None:
        notes.append(f"Your own arms ({', '.join(inputs.own)}) were asked only after the update.")
    if inputs.style is not None:
        notes.append("The declared style was not asked for in any prompt: an arm keeps it only if training taught it.")
    return notes


def _gone_note(inputs: Inputs) -> list[str]:
    """How many questions are about documents that the update does not contain: they may have been renamed."""
    if inputs.update is None:
        return []
    ids = {document.id for document in inputs.update}
    gone = [e for e in inputs.asked("after") if e.answers and e.evidence and not ids & {*e.evidence}]
    if not gone:
        return []
    return [
        f"{len(gone)} questions are answered after the update too, but it contains none of their documents, such as"
        f" {gone[0].evidence[0]}: the ceilings have no passages for them. If a document only has another name now, give"
        " it the name that the questions have."
    ]


def _document_notes(loaded: Loaded) -> list[str]:
    """What a verdict over these documents does not know of them."""
    notes = [f"Of the documents, {note}." for note in loaded.notes]
    if loaded.passed_over:
        notes.append(f"Files of other kinds were skipped: {', '.join(loaded.passed_over)}.")
    return notes
