"""Prepare training data: say everything that matters of it before it is trained on, and write its good rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lorag.chat.prompts import as_served
from lorag.errors import DataError, InputError
from lorag.evaluation.examples import not_to_be_taught, read_examples
from lorag.files import jsonl_target
from lorag.interfaces import Progress, no_progress
from lorag.models import catalogue, naming
from lorag.models.tokenizer import load_tokenizer
from lorag.settings import DEFAULT_MODEL, ChatSettings, FinetuneSettings
from lorag.training.data.conversations import Outcome, read_outcomes, write_conversations
from lorag.training.data.inspection import Finding, Placed, by_reason, contradicting, overlap, placed, repeated
from lorag.training.data.token_lengths import TokenReport, token_report
from lorag.workflows.synthesize import plain_words

_tokenizer = lru_cache(maxsize=1)(load_tokenizer)  # the page asks row by row, and loading takes a second


@dataclass(frozen=True, slots=True)
class DataReport:
    """The contents of training data. Every row is either kept or in ``refused``."""

    path: str
    """The file, folder or data set that was read."""
    rows: int
    """Number of all rows."""
    kept: int
    """Number of rows that can be trained on."""
    refused: tuple[Finding, ...]
    """Rows that cannot be trained on, by reason, the most common first."""
    shapes: Mapping[str, int]
    """Number of kept rows by shape."""
    unread: Mapping[str, int]
    """Number of kept rows by key that Lorag does not read."""
    repeated: Finding
    """Rows equal to an earlier row."""
    contradicting: Finding
    """Rows with the same question as another row, ignoring case and punctuation, but another answer."""
    tested: Finding | None
    """Rows with a test question, ignoring case and punctuation; None without a question file."""
    nearly_tested: Finding | None
    """Other rows that share at least four fifths of their words with a test question; None without a question file."""
    tokens: TokenReport | None
    """Lengths in tokens; None if no model was named and the default model is not on this machine."""

    @property
    def sound(self) -> bool:
        """Whether every row can be trained on and rendered by the model's template."""
        return not self.refused and (self.tokens is None or not self.tokens.refused)


@dataclass(frozen=True, slots=True)
class Conversion:
    """The result of a conversion."""

    written: int
    """Number of conversations written."""
    left_out: tuple[Finding, ...]
    """Rows that were left out, by reason, the most common first."""


def check_data(
    path: Path | str,
    *,
    model: str | None = None,
    questions: Path | str | None = None,
    max_tokens: int | None = None,
    progress: Progress = no_progress,
) -> DataReport:
    """What training data holds, and what a model would see of it in training. No weights are loaded.

    Args:
        path: A JSONL file, a folder of such files, or the name of a hub's data set.
        model: The model whose tokens are counted. None takes the default where it is on this machine, else none are
            counted.
        questions: A ``qa.jsonl``; rows that ask its questions are reported.
        max_tokens: The length above which a row is reported; None takes the limit of training.
        progress: Called as the work proceeds, with a stage and how much of it is done.

    Returns:
        The report; every row is either kept or refused in it.

    Raises:
        DataError: A file cannot be read as a whole.
        InputError: ``max_tokens`` is below 1.

    Examples:
        >>> report = lorag.check_data("chat.jsonl", model="smollm2-135m")
        >>> report.rows, report.kept, report.sound
        (4, 4, True)
    """
    limit = FinetuneSettings().max_tokens if max_tokens is None else max_tokens
    if limit < 1:
        raise InputError(f"max_tokens {limit!r} is below 1")
    tests = not_to_be_taught(read_examples(Path(questions))) if questions is not None else None
    outcomes = read_outcomes(path)
    kept = placed(outcomes)
    tested, nearly = overlap(kept, tests, plain_words) if tests is not None else (None, None)
    return DataReport(
        path=str(path),
        rows=len(outcomes),
        kept=len(kept),
        refused=_refused(outcomes),
        shapes=dict(Counter(o.shape for o in outcomes if o.shape).most_common()),
        unread=dict(Counter(key for o in outcomes for key in o.unread).most_common()),
        repeated=repeated(kept),
        contradicting=contradicting(kept, plain_words),
        tested=tested,
        nearly_tested=nearly,
        tokens=served_tokens(model, kept, limit, progress),
    )


def convert_data(path: Path | str, out: Path | str) -> Conversion:
    """The readable rows of training data, written to ``out`` in the canonical form.

    Args:
        path: A JSONL file, a folder of such files, or the name of a hub's data set.
        out: A ``.jsonl`` file, outside of what is read.

    Returns:
        How many rows were written, and which were left out, with reasons.

    Raises:
        InputError: ``out`` does not end in ``.jsonl``, or lies in what is read.
        DataError: No row can be read. Nothing is written then.

    Examples:
        >>> lorag.convert_data("chat.jsonl", "clean.jsonl").written
        4
    """
    source = Path(path)
    target = jsonl_target(out, source)
    outcomes = read_outcomes(source)
    kept = placed(outcomes)
    if not kept:
        raise DataError(source, f"no row is a conversation; `lorag data check {source}` lists the reasons")
    write_conversations(target, [conversation for _, conversation in kept])
    return Conversion(len(kept), _refused(outcomes))


def _refused(outcomes: list[Outcome]) -> tuple[Finding, ...]:
    return by_reason((outcome.place, outcome.reason) for outcome in outcomes if outcome.conversation is None)


def served_tokens(
    model: str | None, kept: Sequence[Placed], max_tokens: int, progress: Progress = no_progress
) -> TokenReport | None:
    """The report on the conversations as they are served, in the tokens of ``model``; None without the default one."""
    if model is None and catalogue.model_path(DEFAULT_MODEL) is None:
        return None
    name = model or DEFAULT_MODEL
    tokenizer = _tokenizer(naming.resolve(name, "llm", progress))
    served = [(place, as_served(conversation, ChatSettings().response_template)) for place, conversation in kept]
    return token_report(name, tokenizer, served, max_tokens, progress)
