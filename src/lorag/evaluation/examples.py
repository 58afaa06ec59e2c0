"""Question files, their check against the documents, and fixed samples of them.

A question file is JSONL. ``id``, ``question``, ``answers`` and ``doc_ids`` are required; ``paraphrases``,
``answers_v2`` (the references after an update of the documents) and ``status`` are optional; every other key is
kept as text in ``Example.meta``. ``"answers": []`` says that the documents do not answer the question. A list inside
``answers`` is one reference of which every item is needed; it becomes a reference with an item on each line.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from lorag.errors import DataError, InputError
from lorag.files import read_jsonl
from lorag.types import Example, Status

_KEYS = {"id", "question", "answers", "doc_ids", "paraphrases", "answers_v2", "status"}


def read_examples(path: Path | str) -> list[Example]:
    """The questions of a JSONL file, in its order.

    Args:
        path: A file with a JSON object per line: ``id``, ``question``, ``answers``, ``doc_ids``; optionally
            ``paraphrases``, ``answers_v2`` and ``status``.

    Returns:
        At least one question.

    Raises:
        DataError: With the line number: a missing key, a wrong type, an empty question, an unknown status, a status
            that contradicts the references, or an id used twice. Also for a file without rows.

    Examples:
        >>> examples = lorag.read_examples("qa.jsonl")
        >>> examples[0].question, examples[0].answers
        ('In which city is the Korrin office?', ('Halifax',))
    """
    path = Path(path)
    examples: list[Example] = []
    lines: dict[str, int] = {}
    for line, row in read_jsonl(path):
        example = _example(path, line, row)
        if example.id in lines:
            message = f"id {example.id!r} is already used on line {lines[example.id]}; give each question its own id"
            raise DataError(path, message, line)
        lines[example.id] = line
        examples.append(example)
    if not examples:
        raise DataError(path, 'holds no questions; expected JSONL rows with "id", "question", "answers", "doc_ids"')
    return examples


def _example(path: Path, line: int, row: Mapping[str, Any]) -> Example:
    answers_after = _texts(path, line, row, "answers_v2") if row.get("answers_v2") is not None else None
    paraphrases = _texts(path, line, row, "paraphrases") if row.get("paraphrases") is not None else ()
    example = Example(
        id=_text(path, line, row, "id"),
        question=_text(path, line, row, "question"),
        answers=_texts(path, line, row, "answers"),
        evidence=_texts(path, line, row, "doc_ids"),
        paraphrases=paraphrases,
        answers_after=answers_after,
        status=_status(path, line, row),
        meta={
            key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for key, value in row.items()
            if key not in _KEYS
        },
    )
    _check_status(path, line, example)
    return example


def _text(path: Path, line: int, row: Mapping[str, Any], key: str) -> str:
    value = _required(path, line, row, key)
    if not isinstance(value, str):
        raise DataError(path, f"{key!r} is {value!r}, expected a string; put it in quotes", line)
    if not value.strip():
        raise DataError(path, f"{key!r} is empty; fill it in or delete the row", line)
    return value


def _texts(path: Path, line: int, row: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = _required(path, line, row, key)
    if not isinstance(value, list):
        raise DataError(path, f'{key!r} is {value!r}, expected a list of strings such as ["30 days"]', line)
    entries = [*map(_joined, value)] if key in ("answers", "answers_v2") else value
    for entry in entries:
        if not isinstance(entry, str) or not entry.strip():
            raise DataError(path, f"{key!r} holds {entry!r}, expected strings that are not empty", line)
    return tuple(entries)


def _joined(entry: Any) -> Any:
    """A list of texts as one text of a line each; anything else as it is."""
    texts = isinstance(entry, list) and entry and all(isinstance(item, str) and item.strip() for item in entry)
    return "\n".join(item.strip() for item in entry) if texts else entry


def _required(path: Path, line: int, row: Mapping[str, Any], key: str) -> Any:
    if key not in row:
        near = difflib.get_close_matches(key, [name for name in row if name not in _KEYS], n=1)
        add = "add it, or [] where no document answers" if key in ("answers", "doc_ids") else "add it"
        hint = f"rename {near[0]!r}" if near else add
        raise DataError(path, f"missing key {key!r}; {hint}", line)
    return row[key]


def _status(path: Path, line: int, row: Mapping[str, Any]) -> Status | None:
    value = row.get("status")
    if value is None:
        return None
    for known in get_args(Status):
        if value == known:
            status: Status = known
            return status
    near = difflib.get_close_matches(str(value), get_args(Status), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise DataError(path, f"unknown status {value!r}, expected one of {', '.join(get_args(Status))}{hint}", line)


def _check_status(path: Path, line: int, example: Example) -> None:
    """Refuses a status under which the question would be scored against references that do not hold."""
    if example.status in ("changed", "new") and example.answers_after is None:
        raise DataError(path, f"status {example.status!r} needs 'answers_v2', the references after the update", line)
    if example.status == "unanswerable" and (example.answers or example.answers_after):
        raise DataError(path, "status 'unanswerable' with references; empty them or change the status", line)


def status_of(example: Example) -> Status | None:
    """What an update does to the question: its declared status, else what its two lists of references say."""
    if example.status is not None or example.answers_after is None:
        return example.status
    if set(example.answers) == set(example.answers_after):
        return "unchanged" if example.answers else "unanswerable"
    return "changed" if example.answers else "new"


def makers(examples: Sequence[Example]) -> list[str]:
    """What made the questions: rules, models; empty where people brought some of them."""
    found = {example.meta.get("made_by", "") for example in examples}
    return [] if "" in found else sorted(found)


def not_to_be_taught(examples: Iterable[Example]) -> list[str]:
    """The texts that training data must not ask: every question, and the other wordings of a made one.

    Other wordings that people brought are there to be trained on.
    """
    return [text for e in examples for text in (e.question, *(e.paraphrases if "made_by" in e.meta else ()))]


def check_evidence(examples: Sequence[Example], document_ids: Iterable[str], path: Path) -> None:
    """Raises ``DataError`` for the first question whose evidence names a document that does not exist."""
    known = set(document_ids)
    for example in examples:
        for document_id in example.evidence:
            if document_id in known:
                continue
            near = difflib.get_close_matches(document_id, sorted(known), n=1, cutoff=0.0)
            hint = f"the nearest is {near[0]!r}" if near else "there are no documents at all"
            message = f"question {example.id!r} names document {document_id!r}, which does not exist; {hint}"
            raise DataError(path, f"{message}; correct its 'doc_ids'")


def sample(examples: Sequence[Example], limit: int | None, seed: int) -> list[Example]:
    """At most ``limit`` questions in their original order; which ones depends on ids and ``seed`` alone.

    Each status keeps its share (largest remainder); inside a status, questions are taken in the order of
    SHA-256 over ``"{seed}:{id}"``. None takes all. Raises ``InputError`` for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise InputError(f"cannot take {limit!r} questions, expected at least 1")
    if limit is None or limit >= len(examples):
        return list(examples)
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(status_of(example) or "", []).append(example)
    taken: set[str] = set()
    for name, quota in _quotas({name: len(group) for name, group in groups.items()}, limit).items():
        ranked = sorted(groups[name], key=lambda e: hashlib.sha256(f"{seed}:{e.id}".encode()).digest())
        taken.update(example.id for example in ranked[:quota])
    return [example for example in examples if example.id in taken]


def _quotas(sizes: Mapping[str, int], limit: int) -> dict[str, int]:
    """``limit`` seats dealt out in proportion to ``sizes`` by largest remainder; ties go to the first name."""
    total = sum(sizes.values())
    quotas = {name: limit * size // total for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: (-(limit * sizes[name] % total), name))
    for name in by_remainder[: limit - sum(quotas.values())]:
        quotas[name] += 1
    return quotas
