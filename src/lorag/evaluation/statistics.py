"""Intervals and tests for questions that belong to documents, and the number of questions a difference needs.

Questions about one document succeed and fail together, so whole documents are the units of chance. If the documents'
differences are as likely to fall on either side, each could as well have had the other sign: the test flips the signs
of whole documents. Its inversion is the interval: the means of random subsets of the documents lie on either side of
the truth with known chance (Hartigan 1969, "Using subsample values as typical values", JASA 64:1303). Interval and
test come from the same subsets, all of them where there are few, and hold for documents of any sizes.

Flips cannot see what did not happen: 40 right answers out of 40 give an interval of width zero. A score interval can,
but takes every question as independent. For 0/1 values the wider of the two is taken at each end: Wilson's for a mean,
Tango's for a paired difference, both at the effective number of questions (Kish 1965): as many independent ones as say
the same. For the mean over several trainings it is the mean of their score intervals: each training sees the same
questions, so more of them do not show more of what did not happen. Graded values (shares between 0 and 1) fall back
only where flips give no width: to Wilson's interval at their mean, which is safe because no distribution on [0, 1] with
this mean spreads more than the 0/1 one.

With fewer than 8 effective documents there is too little to flip. Questions are then the units, and everything here
speaks of other questions about these same documents, not of other documents.

Pure functions; every seed comes from the settings. Does not decide anything: see ``verdict``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean, stdev

import numpy as np
from numpy.typing import NDArray

from lorag.files import draw
from lorag.settings import VerdictSettings

FEWEST_CLUSTERS = 8
"""Below this many effective documents (or questions) nothing is flipped."""
POWER = 0.8
"""Chance of detecting a difference that is really there, for ``questions_needed``."""
RANGE = 0.8
"""Confidence of the range of questions needed."""
_UNSEEN_CORRELATION, _UNSEEN_DISCORDANT = 0.2, 0.3
"""The correlation of questions about one document, where all values are alike and show none; and the share of questions
on which two arms differ, where nothing was asked yet."""
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

    ``standard_error`` is that of the mean with questions clustered by document; ``units`` is the number of documents,
    or of questions where they are the units, and None where it is not known.
    """

    mean: float
    interval: Interval
    p_value: float
    discordant: int
    n: int
    standard_error: float
    units: int | None = None

    def reversed(self) -> Difference:
        """Second minus first."""
        return replace(self, mean=-self.mean, interval=Interval(-self.interval.high, -self.interval.low))


def effective_documents(clusters: Sequence[Hashable]) -> float:
    """The number of documents with equally many questions that would say as much (Kish): ``n² / Σ nᵢ²``."""
    sizes = np.array(list(Counter(clusters).values()), dtype=np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(sizes) else 0.0


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
    score = wilson(mean, _effective_questions(x, units), settings.confidence)
    interval = _flip_signs(x, units, settings).interval
    if interval is None:
        interval = score
    elif _is_binary(x):
        interval = _wider(interval, score)
    return Estimate(mean, Interval(max(0.0, interval.low), min(1.0, interval.high)), len(x))


def number_interval(
    values: Sequence[float], clusters: Sequence[Hashable], settings: VerdictSettings | None = None
) -> Estimate:
    """As ``mean_interval``, of any finite numbers, taken as shares of the range that holds them, 0 and 1."""
    low, high = min(0.0, *values), max(1.0, *values)
    found = mean_interval([(value - low) / (high - low) for value in values], clusters, settings)
    mean, *ends = (low + share * (high - low) for share in (found.mean, found.interval.low, found.interval.high))
    return Estimate(mean, Interval(*ends), found.n)


def wilson(mean: float, n: float, confidence: float) -> Interval:
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

    The p-value is two-sided, from flipping the signs of whole documents; where questions are the units and the values
    0/1, that is McNemar's test. Raises ``ValueError`` as ``mean_interval`` does.
    """
    settings = settings or VerdictSettings()
    first, second = _shares(a), _shares(b)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values cannot be paired with {len(second)}")
    d = first - second
    units = _units(clusters, len(d))
    flips = _flip_signs(d, units, settings)
    n = _effective_questions(d, units)
    if _is_binary(first) and _is_binary(second):
        score = tango(n * float((d > 0).mean()), n * float((d < 0).mean()), n, settings.confidence)
        interval = score if flips.interval is None else _wider(flips.interval, score)
    else:
        interval = flips.interval or _unseen(float(d.mean()), n, settings.confidence)
    interval = Interval(max(-1.0, interval.low), min(1.0, interval.high))
    error, discordant = _standard_error(d, units), int((d != 0).sum())
    return Difference(float(d.mean()), interval, flips.p_value, discordant, len(d), error, int(units.max()) + 1)


def trainings_difference(
    a: Sequence[Sequence[float]],
    b: Sequence[Sequence[float]],
    clusters: Sequence[Hashable],
    settings: VerdictSettings | None = None,
) -> Difference:
    """As ``paired_difference``, of the means over several trainings: a column of 0/1 values for each training.

    The interval is at least as wide as the mean of the trainings' own, and Student's interval of the spread between
    them is added in quadrature. The trainings of two arms are paired in order; an arm without a training has one column
    for all. One training shows no spread.
    """
    settings = settings or VerdictSettings()
    count = max(len(a), len(b))
    single = [paired_difference(a[k % len(a)], b[k % len(b)], clusters, settings) for k in range(count)]
    if count == 1:
        return single[0]
    first, second = (np.mean(columns, axis=0).tolist() for columns in (a, b))
    mean = paired_difference(first, second, clusters, settings)
    lows, highs = [each.interval.low for each in single], [each.interval.high for each in single]
    widest = _wider(mean.interval, Interval(fmean(lows), fmean(highs)))
    return _with_spread(replace(mean, interval=widest), [each.mean for each in single], settings.confidence)


def _with_spread(difference: Difference, trainings: Sequence[float], confidence: float) -> Difference:
    """``difference``, the mean of ``trainings``, with the spread between them in its interval."""
    from scipy.stats import t

    half = float(t.ppf((1 + confidence) / 2, len(trainings) - 1)) * stdev(trainings) / math.sqrt(len(trainings))
    low = difference.mean - math.hypot(difference.mean - difference.interval.low, half)
    high = difference.mean + math.hypot(difference.interval.high - difference.mean, half)
    return replace(difference, interval=Interval(max(-1.0, low), min(1.0, high)))


def tango(wins: float, losses: float, n: float, confidence: float) -> Interval:
    """Tango's score interval of ``(wins - losses) / n`` for paired 0/1 values (Tango 1998, Stat. Med. 17:891).

    Without discordant pairs it is ``z² / (n + z²)`` to each side, as Wilson's for a share of zero.
    """
    return Interval(-_tango_upper(losses, wins, n, confidence), _tango_upper(wins, losses, n, confidence))


def _tango_upper(wins: float, losses: float, n: float, confidence: float) -> float:
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
    """Questions in all that detect a difference as large as the one seen, or as the margin where that is larger.

    Two-sided at ``1 - confidence`` with a power of 0.8, by the sample size of McNemar's test (Connor 1987):
    ``(z_a sqrt(s) + z_b sqrt(s - e²))² / e²`` for an effect ``e``, where ``s`` is the mean square of the paired
    differences: the share of discordant pairs when questions are independent, more when documents go together.
    At least one discordant pair is taken to have been seen.
    """
    settings = settings or VerdictSettings()
    return _sample_size(abs(difference.mean), _mean_square(difference), settings)


def questions_range(difference: Difference, settings: VerdictSettings | None = None) -> tuple[int, int]:
    """``questions_needed`` at both ends of what the effect and the mean square may be.

    The effect moves by its standard error, the mean square by Wilson's interval, each at a confidence of ``RANGE``: the
    truth lies inside in 7 to 9 of 10 simulated comparisons.
    """
    settings = settings or VerdictSettings()
    square, step = _mean_square(difference), _z(RANGE) * difference.standard_error
    shares = wilson(min(square, 1.0), difference.units or difference.n, RANGE)
    above_one = max(square, 1.0)
    fewest = _sample_size(abs(difference.mean) + step, shares.low * above_one, settings)
    return fewest, _sample_size(abs(difference.mean) - step, shares.high * above_one, settings)


def _mean_square(difference: Difference) -> float:
    return max(difference.n * difference.standard_error**2 + difference.mean**2, 1 / difference.n)


def _sample_size(effect: float, square: float, settings: VerdictSettings) -> int:
    effect = max(effect, settings.margin)
    return math.ceil(_needed(effect, max(square, effect**2), settings.confidence))


def _needed(effect: float, square: float, confidence: float) -> float:
    """Connor's number of questions for an effect and the mean square of the paired differences."""
    z_alpha, z_beta = _z(confidence), NormalDist().inv_cdf(POWER)
    return (z_alpha * math.sqrt(square) + z_beta * math.sqrt(square - effect**2)) ** 2 / effect**2


def detectable_difference(clusters: Sequence[Hashable]) -> float | None:
    """The smallest difference between two arms that questions of these documents show with a power of 0.8.

    Before anything is asked: where the arms part on 0.3 of the questions, and questions about one document correlate
    by 0.2. None where not even a difference on all of these would show.
    """
    confidence = VerdictSettings().confidence
    sizes = np.array(list(Counter(clusters).values()), dtype=np.float64)
    n = len(clusters) / (1 + (float((sizes**2).sum()) / max(len(clusters), 1) - 1) * _UNSEEN_CORRELATION)
    low, high = 0.0, _UNSEEN_DISCORDANT
    if not clusters or _needed(high, high, confidence) > n:
        return None
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if _needed(middle, _UNSEEN_DISCORDANT, confidence) <= n else (middle, high)
    return high


def halves(clusters: Sequence[Hashable]) -> NDArray[np.intp]:
    """0 or 1 for each question, so that what is chosen on one half can be measured on the other. Shape ``(n,)``.

    Whole documents go to either side, every second one in an order of chance that is always the same; questions do,
    where there are fewer than 8 documents.
    """
    names: Sequence[Hashable] = clusters if len(set(clusters)) >= FEWEST_CLUSTERS else range(len(clusters))
    order = sorted(dict.fromkeys(names), key=lambda name: draw(f"half {name}"))
    side = {name: number % 2 for number, name in enumerate(order)}
    return np.array([side[name] for name in names], dtype=np.intp)


def bootstrap(
    counts: Floats, statistic: Callable[[Floats], Floats], settings: VerdictSettings | None = None
) -> Interval:
    """The percentile interval of a statistic of summed counts when whole units are drawn with replacement (Efron 1979).

    ``counts`` holds a row for each unit; ``statistic`` gets as many rows of sums as are drawn and gives a value each.
    """
    settings = settings or VerdictSettings()
    units, rng = len(counts), np.random.default_rng(settings.seed)
    drawn = rng.multinomial(units, np.full(units, 1 / units), size=settings.draws) @ counts
    tail = (1 - settings.confidence) / 2
    low, high = np.quantile(statistic(drawn), [tail, 1 - tail])
    return Interval(float(low), float(high))


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
    """A number for each value: its document's, or its own with fewer than 8 effective documents. Shape ``(n,)``."""
    if len(clusters) != n:
        raise ValueError(f"{len(clusters)} clusters for {n} values")
    if effective_documents(clusters) < FEWEST_CLUSTERS:
        return np.arange(n)
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in clusters], dtype=np.intp)


@dataclass(frozen=True, slots=True)
class _Flips:
    """What flipping signs gives: the interval of the mean, None where it has no width, and the p-value of no effect."""

    interval: Interval | None
    p_value: float


def _flip_signs(x: Floats, units: NDArray[np.intp], settings: VerdictSettings) -> _Flips:
    """Interval and p-value of the mean of ``x`` from the sums of random subsets of units.

    A flipped total is twice the sum of a subset less the total, so the p-value is the share of subsets at least as far
    from half of the total; the interval is that of the subsets' means.
    """
    totals = np.stack([np.bincount(units, weights=x), np.bincount(units)], axis=1).astype(np.float64)
    sums, sizes = _subsets(totals, settings).T
    total = totals[:, 0].sum()
    extreme = int((np.abs(2 * sums - total) >= abs(total) - 1e-9).sum())
    drawn = len(totals) >= _log2(settings.draws)
    p_value = (extreme + drawn) / (len(sums) + drawn)
    means = np.sort(sums[sizes > 0] / sizes[sizes > 0])
    tail = math.floor((1 - settings.confidence) / 2 * (len(means) + 1))
    if len(totals) < FEWEST_CLUSTERS or not tail or means[-tail] - means[tail - 1] < 1e-9:
        return _Flips(None, p_value)
    return _Flips(Interval(float(means[tail - 1]), float(means[-tail])), p_value)


def _subsets(totals: Floats, settings: VerdictSettings) -> Floats:
    """Sum and size of subsets of units that hold each unit with chance 1/2: all of them, or as many as are drawn.

    Each comes with its complement, so that test and interval agree. Units with equal totals are interchangeable: where
    many are, only their number in each subset is drawn.
    """
    units, draws = len(totals), settings.draws
    if units < _log2(draws):
        return ((np.arange(2**units)[:, None] >> np.arange(units)) & 1) @ totals
    rng = np.random.default_rng(settings.seed)
    kinds, members = np.unique(totals.round(12), axis=0, return_counts=True)
    alike = 8 * len(kinds) < units
    block = max(1, _BLOCK // (len(kinds) if alike else units))
    found = []
    for start in range(0, draws, 2 * block):
        rows = min(block, -(-(draws - start) // 2))
        if alike:
            drawn = rng.binomial(members, 0.5, size=(rows, len(kinds))) @ kinds
        else:
            bits = np.unpackbits(rng.integers(0, 256, size=(rows, -(-units // 8)), dtype=np.uint8), axis=1, count=units)
            drawn = bits.astype(np.float64) @ totals
        found += [drawn, totals.sum(axis=0) - drawn]
    return np.concatenate(found)


def _log2(draws: int) -> float:
    """So many units have about as many subsets as are drawn."""
    return math.log2(draws) + 1


def _effective_questions(x: Floats, units: NDArray[np.intp]) -> float:
    """As many independent questions as say the same as these, which go together by document (Kish 1965).

    ``n / (1 + (m - 1) r)``, with the mean document size ``m`` that a question sees and the correlation ``r`` inside
    documents.
    """
    sizes = np.bincount(units).astype(np.float64)
    seen = float((sizes**2).sum()) / len(x)
    return len(x) / (1 + (seen - 1) * float(_correlation(x, units, sizes)))


def _correlation(x: Floats, units: NDArray[np.intp], sizes: Floats) -> float:
    """The correlation of values inside units, from 0 to 1, by one-way analysis of variance (Donner 1986)."""
    n, documents = len(x), len(sizes)
    if n == documents:
        return 0.0
    means = np.bincount(units, weights=x) / sizes
    between = float((sizes * (means - x.mean()) ** 2).sum()) / (documents - 1)
    within = float(((x - means[units]) ** 2).sum()) / (n - documents)
    typical = (n - (sizes**2).sum() / n) / (documents - 1)
    spread = between + (typical - 1) * within
    return min(1.0, max(0.0, (between - within) / spread)) if spread > 1e-12 else _UNSEEN_CORRELATION


def _unseen(mean: float, n: float, confidence: float) -> Interval:
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
