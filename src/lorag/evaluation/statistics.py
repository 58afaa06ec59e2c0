"""Intervals and tests for questions that belong to documents, and the number of questions a difference needs.

Questions about one document succeed and fail together, so the bootstrap resamples documents ("clusters"), with all
their questions: draws are ratios of sums, which is the mean over the questions drawn. Percentiles are widened for
few documents (the expanded percentile interval of Hesterberg 2015, "What Teachers Should Know About the Bootstrap",
section 4.3). A bootstrap cannot see what did not happen: of 40 right answers out of 40 it makes an interval of
width zero. A score interval can, but takes every question as a document of its own. For 0/1 values the wider of the
two is taken at each end: Wilson's for a mean, Tango's for a paired difference.

With fewer than 8 documents there is nothing to resample; questions are then the units, and the interval speaks of
other questions about these same documents. Graded values (shares between 0 and 1) fall back only where the
bootstrap has no width or there are fewer than 8 units: to Wilson's interval at their mean, which is safe because no
distribution on [0, 1] with this mean spreads more than the 0/1 one.

Pure functions; every seed comes from the settings. Does not decide anything: see ``verdict``.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lorag.files import draw
from lorag.settings import VerdictSettings

FEWEST_CLUSTERS = 8
"""Below this many documents (or questions) nothing is resampled."""
POWER = 0.8
"""Chance of telling a difference that is really there, for ``questions_needed``."""
_BLOCK = 2_000_000
"""Most numbers drawn at a time, to bound memory."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends belong to it."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of ``n`` values and where it may lie."""

    mean: float
    interval: Interval
    n: int


@dataclass(frozen=True, slots=True)
class Difference:
    """First minus second over the same ``n`` questions; ``discordant`` counts those whose values differ.

    ``standard_error`` is that of the mean with questions clustered by document.
    """

    mean: float
    interval: Interval
    p_value: float
    discordant: int
    n: int
    standard_error: float

    def reversed(self) -> Difference:
        """Second minus first."""
        return replace(self, mean=-self.mean, interval=Interval(-self.interval.high, -self.interval.low))


def mean_interval(
    values: Sequence[float], clusters: Sequence[Hashable], settings: VerdictSettings | None = None
) -> Estimate:
    """The mean of ``values`` in [0, 1] with its interval; ``clusters`` names the document of each value.

    Raises ``ValueError`` for no values, values outside [0, 1], or lengths that differ.
    """
    settings = settings or VerdictSettings()
    x = _shares(values)
    units = _units(clusters, len(x))
    mean = float(x.mean())
    score = wilson(mean, len(x), settings.confidence)
    interval = _bootstrap(x, units, settings)
    if interval is None:
        interval = score
    elif _is_binary(x):
        interval = _wider(interval, score)
    return Estimate(mean, Interval(max(0.0, interval.low), min(1.0, interval.high)), len(x))


def wilson(mean: float, n: int, confidence: float) -> Interval:
    """Wilson's score interval of a share ``mean`` of ``n`` (Wilson 1927); never of width zero."""
    z = _z(confidence)
    middle = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
    # Rounding must not push the mean itself, 0 or 1, out of its interval.
    return Interval(min(mean, max(0.0, middle - half)), max(mean, min(1.0, middle + half)))


def paired_difference(
    a: Sequence[float], b: Sequence[float], clusters: Sequence[Hashable], settings: VerdictSettings | None = None
) -> Difference:
    """Mean of ``a - b``, values in [0, 1] of the same questions, with its interval and p-value.

    p-value, two-sided: for 0/1 values McNemar's exact test (binomial on the discordant pairs); for graded values
    flipping the signs of whole documents. Raises ``ValueError`` as ``mean_interval`` does.
    """
    settings = settings or VerdictSettings()
    first, second = _shares(a), _shares(b)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values cannot be paired with {len(second)}")
    d = first - second
    units = _units(clusters, len(d))
    interval = _bootstrap(d, units, settings)
    if _is_binary(first) and _is_binary(second):
        wins, losses = int((d > 0).sum()), int((d < 0).sum())
        score = tango(wins, losses, len(d), settings.confidence)
        interval = score if interval is None else _wider(interval, score)
        p_value = mcnemar(wins, losses)
    else:
        interval = interval or _unseen(float(d.mean()), len(d), settings.confidence)
        p_value = _sign_flips(d, units, settings)
    interval = Interval(max(-1.0, interval.low), min(1.0, interval.high))
    return Difference(float(d.mean()), interval, p_value, int((d != 0).sum()), len(d), _standard_error(d, units))


def mcnemar(wins: int, losses: int) -> float:
    """Two-sided exact p-value of McNemar's test from the two counts of discordant pairs; 1 when there are none."""
    from scipy.stats import binomtest

    return float(binomtest(wins, wins + losses, 0.5).pvalue) if wins + losses else 1.0


def tango(wins: int, losses: int, n: int, confidence: float) -> Interval:
    """Tango's score interval of ``(wins - losses) / n`` for paired 0/1 values (Tango 1998, Stat. Med. 17:891).

    Without discordant pairs it is ``z² / (n + z²)`` to each side, as Wilson's for a share of zero.
    """
    return Interval(-_tango_upper(losses, wins, n, confidence), _tango_upper(wins, losses, n, confidence))


def _tango_upper(wins: int, losses: int, n: int, confidence: float) -> float:
    """The largest true difference that the score test does not reject, by bisection."""
    z = _z(confidence)
    low, high = (wins - losses) / n, 1.0
    for _ in range(60):
        delta = (low + high) / 2
        # The share of losses that is likeliest under a true difference of delta, from its quadratic equation.
        linear = (2 * n - wins + losses) * delta - wins - losses
        root = math.sqrt(max(0.0, linear * linear + 8 * n * losses * delta * (1 - delta)))
        share = (root - linear) / (4 * n)
        variance = n * max(0.0, 2 * share + delta * (1 - delta))
        if n * delta - (wins - losses) <= z * math.sqrt(variance):
            low = delta
        else:
            high = delta
    return high


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number by Holm's step-down method, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def questions_needed(difference: Difference, settings: VerdictSettings | None = None) -> int:
    """Questions in all that tell a difference as large as the one seen, or as the margin where that is larger.

    Two-sided at ``1 - confidence`` with a power of 0.8, by the sample size of McNemar's test (Connor 1987):
    ``(z_a sqrt(s) + z_b sqrt(s - e²))² / e²`` for an effect ``e``, where ``s`` is the mean square of the paired
    differences: the share of discordant pairs when questions are independent, more when documents go together.
    At least one discordant pair is taken to have been seen.
    """
    settings = settings or VerdictSettings()
    effect = max(abs(difference.mean), settings.margin)
    square = max(difference.n * difference.standard_error**2 + difference.mean**2, 1 / difference.n, effect**2)
    z_alpha, z_beta = _z(settings.confidence), NormalDist().inv_cdf(POWER)
    return math.ceil((z_alpha * math.sqrt(square) + z_beta * math.sqrt(square - effect**2)) ** 2 / effect**2)


def halves(clusters: Sequence[Hashable]) -> NDArray[np.intp]:
    """0 or 1 for each question, so that what is chosen on one half can be measured on the other. Shape ``(n,)``.

    Whole documents go to either side, every second one in an order of chance that is always the same; questions do,
    where there are fewer than 8 documents.
    """
    names: Sequence[Hashable] = clusters if len(set(clusters)) >= FEWEST_CLUSTERS else range(len(clusters))
    order = sorted(dict.fromkeys(names), key=lambda name: draw(f"half {name}"))
    side = {name: number % 2 for number, name in enumerate(order)}
    return np.array([side[name] for name in names], dtype=np.intp)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _shares(values: Sequence[float]) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x):
        raise ValueError(f"expected at least one value in one dimension, found shape {x.shape}")
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError("expected values between 0 and 1")
    return x


def _is_binary(x: Floats) -> bool:
    return bool(np.isin(x, (0.0, 1.0)).all())


def _wider(first: Interval, second: Interval) -> Interval:
    return Interval(min(first.low, second.low), max(first.high, second.high))


def _units(clusters: Sequence[Hashable], n: int) -> NDArray[np.intp]:
    """A number for each value: its document's, or its own where there are fewer than 8 documents. Shape ``(n,)``."""
    if len(clusters) != n:
        raise ValueError(f"{len(clusters)} clusters for {n} values")
    numbers: dict[Hashable, int] = {}
    units = np.array([numbers.setdefault(name, len(numbers)) for name in clusters], dtype=np.intp)
    return units if len(numbers) >= FEWEST_CLUSTERS else np.arange(n)


def _bootstrap(x: Floats, units: NDArray[np.intp], settings: VerdictSettings) -> Interval | None:
    """The expanded percentile interval of the mean over resampled units; None where it has no width.

    Units with equal sums and counts are interchangeable, so that a draw is one multinomial over the distinct pairs
    (``kinds``): the same distribution as over the units, with far fewer numbers.
    """
    from scipy.stats import t

    totals = np.stack([np.bincount(units, weights=x), np.bincount(units)], axis=1)
    kinds, members = np.unique(totals.round(12), axis=0, return_counts=True)
    if len(totals) < FEWEST_CLUSTERS:
        return None
    rng = np.random.default_rng(settings.seed)
    block = max(1, _BLOCK // len(kinds))
    means = []
    for start in range(0, settings.draws, block):
        size = min(block, settings.draws - start)
        drawn = rng.multinomial(len(totals), members / members.sum(), size=size) @ kinds
        means.append(drawn[:, 0] / drawn[:, 1])
    stretch = math.sqrt(len(totals) / (len(totals) - 1))
    tail = NormalDist().cdf(-stretch * float(t.ppf((1 + settings.confidence) / 2, len(totals) - 1)))
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Interval(float(low), float(high)) if high - low > 1e-9 else None


def _unseen(mean: float, n: int, confidence: float) -> Interval:
    """For graded differences that are all alike: up to a share ``w = z² / (n + z²)`` of questions was never seen.

    ``w`` is Wilson's upper end for a share of zero, a little wider than the rule of three; those questions may
    differ by anything from -1 to 1.
    """
    share = wilson(0.0, n, confidence).high
    return Interval((1 - share) * mean - share, (1 - share) * mean + share)


def _standard_error(d: Floats, units: NDArray[np.intp]) -> float:
    """Of the mean of ``d``, linearised for a ratio of sums over clusters, with ``G / (G - 1)``."""
    residuals = np.bincount(units, weights=d - d.mean())
    return float(math.sqrt(len(residuals) / max(len(residuals) - 1, 1) * (residuals**2).sum()) / len(d))


def _sign_flips(d: Floats, units: NDArray[np.intp], settings: VerdictSettings) -> float:
    """Two-sided p-value of the sum of ``d`` when each unit's sign is a fair coin."""
    from scipy.stats import permutation_test

    totals = np.bincount(units, weights=d)
    if not (np.abs(totals) > 1e-12).any():
        return 1.0
    result = permutation_test(
        (totals,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=settings.draws,
        batch=max(1, _BLOCK // len(totals)),
        rng=np.random.default_rng(settings.seed),
    )
    return float(result.pvalue)
