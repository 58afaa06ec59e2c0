"""A linear probe of whether the sources in a prompt answer its question.

A model that is asked what its sources do not answer mostly answers all the same, but the hidden state after its prompt
shows the difference (Slobodkin et al. 2023, "The Curious Case of Hallucinatory (Un)answerability"). The probe is a
ridge regression on the states of one layer, fitted to questions whose answering passage is among their sources, and to
the same questions with that passage left out. So what a question is about tells it nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lorag.types import LinearProbe

_PENALTY = 3.0
"""Of the squared weights, in times of the width of the layer; from 1 to 10 the results are alike (docs/log.md)."""
_FOLDS = 8
_REFUSED, _REFUSED_HELD, _MOST_REFUSED_HELD = 0.05, 0.1, 0.3
"""Shares of prompts whose sources answer that are refused: of questions, of what is held out where there are too few
questions, and at most of what is held out, which is often harder than questions are (docs/log.md)."""
_FEWEST_QUESTIONS = 12
_DEPTH = 0.7
"""How far up the layer lies, as a share of all; from 0.6 to 0.8 the results are alike (docs/log.md)."""


def refused(probe: LinearProbe, states: NDArray[np.float32]) -> list[bool]:
    """Which prompts ``probe`` refuses, by the states after them, ``(prompts, width)``."""
    return [bool(score < 0) for score in states @ np.asarray(probe.weights, np.float32) + probe.bias]


def probed_layer(layers: int) -> int:
    """The layer that is read, of a model of so many."""
    return round(_DEPTH * layers)


def fit_probe(
    model: str,
    layer: int,
    answered: NDArray[np.float32],
    unanswered: NDArray[np.float32],
    documents: Sequence[str],
    asked: NDArray[np.float32],
) -> LinearProbe:
    """The probe that separates the states of ``answered`` prompts from those of ``unanswered`` ones.

    Both are ``(conversations, width)``; row ``i`` of each is of one conversation, which is about ``documents[i]``.
    ``asked`` are states of questions as the test asks them, with sources that answer: a twentieth of them is refused.
    With fewer than 12 of them a tenth of ``answered``, measured while the documents of a conversation are held out.
    Raises ``ValueError`` where all conversations are about one document.
    """
    folds = _folds(documents)
    if len(set(folds)) < 2:
        raise ValueError("the conversations are about one document; none can be held out")
    states = np.concatenate([answered, unanswered]).astype(np.float64)
    signs = np.repeat([1.0, -1.0], len(answered))
    held = np.tile(folds, 2)
    scores = np.zeros(len(states))
    for fold in set(folds):
        weights, bias = _ridge(states[held != fold], signs[held != fold])
        scores[held == fold] = states[held == fold] @ weights + bias
    weights, bias = _ridge(states, signs)
    of_questions = asked @ weights + bias
    threshold = _threshold(scores[signs > 0], of_questions)
    return LinearProbe(
        model,
        layer,
        tuple(weights.tolist()),
        bias - threshold,
        len(answered),
        float((scores[signs > 0] < threshold).mean()),
        float((scores[signs < 0] < threshold).mean()),
        len(asked),
        float((of_questions < threshold).mean()) if len(asked) else 0.0,
    )


def _threshold(held: NDArray[np.float64], asked: NDArray[np.float64]) -> float:
    """The score below which a prompt is refused, by the scores of prompts whose sources answer."""
    if len(asked) < _FEWEST_QUESTIONS:
        return float(np.quantile(held, _REFUSED_HELD))
    least, most = np.quantile(held, (_REFUSED, _MOST_REFUSED_HELD))
    return float(np.clip(np.quantile(asked, _REFUSED), least, most))


def _folds(documents: Sequence[str]) -> NDArray[np.int64]:
    """For each conversation the part that it is held out with; those about one document are held out together."""
    number = {name: place for place, name in enumerate(dict.fromkeys(documents))}
    return np.array([number[name] % _FOLDS for name in documents], np.int64)


def _ridge(states: NDArray[np.float64], signs: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Weights and bias of ridge regression on standardised states, in its dual form: few rows, many columns."""
    mean, spread = states.mean(0), states.std(0) + 1e-6
    scaled = (states - mean) / spread
    dual = np.linalg.solve(scaled @ scaled.T + _PENALTY * states.shape[1] * np.eye(len(states)), signs - signs.mean())
    weights = scaled.T @ dual / spread
    return weights, float(signs.mean() - mean @ weights)
