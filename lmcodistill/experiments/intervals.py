"""What a few seeds can say about a difference."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

# Student's t, two-sided 95 %, by degrees of freedom from 1 on; beyond, normal.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


class Interval(NamedTuple):
    """A mean with its 95 % interval.

    Attributes:
        mean: Of the values.
        low: Lower end; minus infinity where one value says nothing of the spread.
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
    freedom = len(values) - 1
    quantile = _T[freedom - 1] if freedom <= len(_T) else 1.96
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half, len(values))
