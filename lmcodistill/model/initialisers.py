"""Initial values of weights, float32; see `contract.WeightSpec`.

They are scaled in place: fresh pages for copies of large weights cost more than all
the drawing.
"""

from collections.abc import Callable

import numpy as np

Shape = tuple[int, ...]


def zeros(_: np.random.Generator, shape: Shape) -> np.ndarray:
    """Returns zeros, and draws nothing."""
    return np.zeros(shape, np.float32)


def ones(_: np.random.Generator, shape: Shape) -> np.ndarray:
    """Returns ones, and draws nothing."""
    return np.ones(shape, np.float32)


def uniform(half_width: float) -> Callable[[np.random.Generator, Shape], np.ndarray]:
    """Returns an initialiser that draws from [-half_width, half_width)."""

    def draw(generator: np.random.Generator, shape: Shape) -> np.ndarray:
        values = generator.random(shape, np.float32)
        values *= 2.0
        values -= 1.0
        values *= np.float32(half_width)
        return values

    return draw


def normal(deviation: float) -> Callable[[np.random.Generator, Shape], np.ndarray]:
    """Returns an initialiser that draws from a normal distribution around zero."""

    def draw(generator: np.random.Generator, shape: Shape) -> np.ndarray:
        values = generator.standard_normal(shape, np.float32)
        values *= np.float32(deviation)
        return values

    return draw


def glorot(scale: float, fan_in: int, fan_out: int) -> float:
    """Returns the half-width of Glorot and Bengio 2010, times `scale`."""
    return scale * (6.0 / (fan_in + fan_out)) ** 0.5
