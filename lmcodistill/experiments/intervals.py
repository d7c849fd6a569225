"""What a few repetitions can show: intervals, p values, and many at once.

Pure statistics. A value stands for a seed, or for the difference of two arms with one
seed; there are few, so everything is Student's and nothing is normal.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

LEVEL = 0.05  # Of tests; intervals hold 1 - LEVEL.

Key = TypeVar("Key")


class Interval(NamedTuple):
    """A mean with its 95 % interval.

    Attributes:
        mean: Of the values.
        low: Lower end; minus infinity where the values say nothing of the spread.
        high: Upper end.
        num_values: How many there were.
    """

    mean: float
    low: float
    high: float
    num_values: int

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0.0 or self.high < 0.0

    @property
    def is_bounded(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)

    def is_within(self, limit: float) -> bool:
        """Returns whether all of it is nearer to zero than `limit`."""
        return -limit < self.low and self.high < limit

    def to_json(self) -> dict[str, float | None]:
        # JSON has no word for what is not finite.
        return {k: v if math.isfinite(v) else None for k, v in self._asdict().items()}


def mean_interval(values: Sequence[float]) -> Interval:
    """Returns the mean of `values` and Student's interval around it.

    For differences between two arms, give the differences seed by seed: both
    arms' student 0 begins with the same weights and reads the same batches, so
    much of the spread between seeds cancels.
    """
    if not values:
        raise ValueError("No value.")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    half = t_quantile(len(values) - 1) * _standard_error(values)
    return Interval(mean, mean - half, mean + half, len(values))


def geometric_interval(values: Sequence[float]) -> Interval:
    """Returns the geometric mean of positive `values`, with its interval.

    For ratios: half as many and twice as many are equally far from as many.
    """
    logs = mean_interval([math.log(value) for value in values])
    return Interval(_exp(logs.mean), _exp(logs.low), _exp(logs.high), len(values))


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float]
) -> Interval:
    """Returns the ratio of two means, with Fieller's interval.

    The values go in pairs, seed by seed. The interval is what no t test of
    `numerator - ratio * denominator` rejects (Fieller 1954, Some problems in interval
    estimation): exact for normal values, however few, where a jackknife's is not. It
    is unbounded where the denominator's mean may be zero.
    """
    count = len(numerators)
    top, bottom = statistics.fmean(numerators), statistics.fmean(denominators)
    ratio = top / bottom if bottom else math.nan
    if count == 1:
        return Interval(ratio, -math.inf, math.inf, 1)
    t_squared = t_quantile(count - 1) ** 2 / count
    # Roots of a r^2 - 2 b r + c = 0; the interval lies between if a > 0.
    a = bottom**2 - t_squared * statistics.variance(denominators)
    b = top * bottom - t_squared * statistics.covariance(numerators, denominators)
    c = top**2 - t_squared * statistics.variance(numerators)
    if a <= 0.0:
        return Interval(ratio, -math.inf, math.inf, count)
    half = math.sqrt(max(b * b - a * c, 0.0)) / a
    return Interval(ratio, b / a - half, b / a + half, count)


def p_value(values: Sequence[float]) -> float:
    """Returns Student's two-sided p that the mean of `values` is zero by chance.

    1.0 for one value, which says nothing of chance.
    """
    if len(values) < 2 or not (mean := statistics.fmean(values)):
        return 1.0
    error = _standard_error(values)
    return t_probability(mean / error, len(values) - 1) if error else 0.0


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Returns p values that hold for all comparisons together.

    The smallest is multiplied by how many there are, the next by one fewer, and so
    on; none is smaller than the one before (Holm 1979, A simple sequentially rejective
    multiple test procedure). Where all below 0.05 are called differences, the
    probability of a single false one is at most 0.05, whatever the comparisons have to
    do with each other.
    """
    adjusted: dict[Key, float] = {}
    largest = 0.0
    for rank, key in enumerate(sorted(p_values, key=lambda k: p_values[k])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[key]))
        adjusted[key] = largest
    return adjusted


def t_probability(t: float, freedom: int) -> float:
    """Returns the probability of a Student's t at least this far from zero.

    A finite sum, because degrees of freedom are whole numbers (Abramowitz and Stegun
    1964, 26.7.3 and 26.7.4).
    """
    angle = math.atan2(abs(t), math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = freedom % 2
    term, total = (cosine, 0.0) if is_odd else (1.0, 0.0)
    for k in range(1 + is_odd, freedom, 2):
        total += term
        term *= cosine**2 * k / (k + 1)
    inside = 2.0 / math.pi * (angle + sine * total) if is_odd else sine * total
    return max(0.0, 1.0 - inside)


def t_quantile(freedom: int, level: float = LEVEL) -> float:
    """Returns what Student's t is beyond, either way, with probability `level`."""
    low, high = 0.0, 1.0
    while t_probability(high, freedom) > level:
        low, high = high, 2.0 * high
    while (middle := (low + high) / 2.0) not in (low, high):
        if t_probability(middle, freedom) > level:
            low = middle
        else:
            high = middle
    return high


def _standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values))


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
