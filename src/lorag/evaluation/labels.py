"""Numbers and arms as people read them: shares in percent, differences in percentage points, one decimal."""

from __future__ import annotations

from lorag.evaluation.results import BASE, BOTH, EVIDENCE, FINETUNED, LONG_CONTEXT, RETRIEVAL, Comparison
from lorag.evaluation.row_log import Phase
from lorag.evaluation.statistics import Difference, Estimate, Interval


class _Names(dict[str, str]):
    """Arms and metrics of the user's own have the names that they were given."""

    def __missing__(self, name: str) -> str:
        return name


ARM_NAMES = _Names(
    {
        BASE: "the base model",
        FINETUNED: "finetuning",
        RETRIEVAL: "retrieval",
        BOTH: "both together",
        LONG_CONTEXT: "a long context",
        EVIDENCE: "the base model with gold passages",
    }
)
"""Arms inside a sentence."""

METRIC_NAMES = _Names(
    {
        "correct": "right",
        "right_and_supported": "right and supported",
        "unsupported": "unsupported",
        "citation_precision": "citations that support",
        "citation_recall": "cited and supported",
        "correct_strict": "right, strictly",
        "correct_lenient": "right, leniently",
        "correct_answerable": "right where answerable",
        "exact_match": "exact match",
        "contains": "contains a reference",
        "token_f1": "token F1",
        "new_content_recall": "new-content recall",
        "style": "style kept",
        "refusal_recall": "refused of unanswerable",
        "refusal_precision": "unanswerable of refused",
        "false_refusal": "refused of answerable",
        "hallucination": "answered of unanswerable",
        "recall_at_5": "recall@5",
        "mrr_at_10": "MRR@10",
        "evidence_in_prompt": "evidence in prompt",
        "reference_in_prompt": "reference in prompt",
        "uptake": "changed: new answer",
        "stale": "changed: old answer",
        "accuracy_new": "new: right",
        "accuracy_unchanged": "unchanged: right",
    }
)
"""Column headings, in the order of tables."""

PHASE_NAMES: dict[Phase, str] = {"before": "Before the update", "after": "After the update"}


def phase_heading(comparison: Comparison, phase: Phase) -> str:
    """The phase's name, and whether the verdict rests on it; empty when there is only one phase."""
    if len(comparison.phases) == 1:
        return ""
    return PHASE_NAMES[phase] + (" (this decides)" if phase == comparison.phases[-1] else "")


def number(value: float, signed: bool = False) -> str:
    """100 times ``value`` with one decimal and no negative zero."""
    rounded = round(100 * value, 1) + 0.0
    return f"{rounded:+.1f}" if signed and rounded else f"{rounded:.1f}"


def span(interval: Interval, signed: bool = False) -> str:
    """Both ends, such as ``70.1 to 85.2``."""
    return f"{number(interval.low, signed)} to {number(interval.high, signed)}"


def share(estimate: Estimate) -> str:
    """Such as ``78.3 % (70.1 to 85.2)``."""
    return f"{number(estimate.mean)} % ({span(estimate.interval)})"


def plain(estimate: Estimate) -> str:
    """Such as ``41.5 (38.2 to 44.81)``, for a metric of the user's own, which need not be a share."""
    return f"{estimate.mean:.4g} ({estimate.interval.low:.4g} to {estimate.interval.high:.4g})"


def whole_percent(estimate: Estimate) -> str:
    """Such as ``78 (70-85)``, where there is little room."""
    return f"{100 * estimate.mean:.0f} ({100 * estimate.interval.low:.0f}-{100 * estimate.interval.high:.0f})"


def points(difference: Difference) -> str:
    """Such as ``+12.0 points (+5.1 to +19.0)``."""
    return f"{number(difference.mean, signed=True)} points ({span(difference.interval, signed=True)})"


def p_value(p: float) -> str:
    """Three decimals; ``< 0.001`` below that."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def listing(parts: list[str], word: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return f" {word} ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)
