"""What a training step costs: its matrix products and its bytes.

Pure arithmetic on a model's sizes, without TensorFlow; what is compared with it
(a benchmark's floor, a plan's prediction) measures elsewhere. Only matrix products
are counted: the rest of a step is linear in the same tensors.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from lmcodistill.model import quantization, weights
from lmcodistill.settings import model as model_settings


class Product(NamedTuple):
    """Matrix products of one shape, `[rows, inner] @ [inner, columns]`.

    Attributes:
        rows: Rows of the left operand.
        inner: The dimension that is summed over.
        columns: Columns of the right operand.
        times: How many of them a step makes.
        is_sequential: Whether each waits for the one before, as in a recurrence.
    """

    rows: int
    inner: int
    columns: int
    times: int = 1
    is_sequential: bool = False

    @property
    def operations(self) -> int:
        """Additions and multiplications of all of them."""
        return 2 * self.rows * self.inner * self.columns * self.times


def operations(products: Iterable[Product]) -> int:
    """Returns additions and multiplications together."""
    return sum(product.operations for product in products)


def forward(
    config: model_settings.LanguageModel, vocab_size: int, streams: int, window: int
) -> list[Product]:
    """Returns the products of one reading of a batch: all that a teacher costs.

    Args:
        config: The model.
        vocab_size: V.
        streams: B, streams of this replica.
        window: T.
    """
    hidden, positions = config.hidden_size, streams * window
    products = []
    for layer in range(config.num_layers):
        width = config.embedding_size if layer == 0 else hidden
        products.append(Product(positions, width, 4 * hidden))
        products.append(Product(streams, hidden, 4 * hidden, window, True))
    return [*products, Product(positions, hidden, vocab_size)]


def backward(
    config: model_settings.LanguageModel, vocab_size: int, streams: int, window: int
) -> list[Product]:
    """Returns the products of the gradients; arguments as `forward`.

    Each product of the forward pass has two: with respect to its left operand, in
    the recurrence step after step, and with respect to its right one, for the whole
    window at once.
    """
    products = []
    for rows, inner, columns, times, is_sequential in forward(
        config, vocab_size, streams, window
    ):
        products.append(Product(rows, columns, inner, times, is_sequential))
        products.append(Product(inner, rows * times, columns))
    return products


def step(
    config: model_settings.LanguageModel, vocab_size: int, streams: int, window: int
) -> list[Product]:
    """Returns the products of a student's update; arguments as `forward`."""
    sizes = (config, vocab_size, streams, window)
    return forward(*sizes) + backward(*sizes)


def weight_bytes(config: model_settings.LanguageModel, vocab_size: int) -> int:
    """Returns the bytes of all weights as they are kept, summed and passed on."""
    itemsize = 8 if config.weight_dtype == "float64" else 4
    return weights.num_weights(config, vocab_size) * itemsize


def export_bytes(
    config: model_settings.LanguageModel, vocab_size: int, dtype: str
) -> int:
    """Returns the bytes of an export's tensors, its matrices stored in `dtype`."""
    # NumPy knows bfloat16 because `quantization` imports ml_dtypes.
    return sum(
        math.prod(shape) * np.dtype(stored).itemsize
        for shape, stored in quantization.table(config, vocab_size, dtype).values()
    )


def update_bytes(num_bytes: int, num_slots: int) -> int:
    """Returns the bytes that clipping and one update of all weights move.

    The gradient is read for its norm; then weights, gradient and slots are read,
    and weights and slots are written.

    Args:
        num_bytes: Of the weights.
        num_slots: Numbers that the rule keeps beside every weight.
    """
    return (1 + (2 + num_slots) + (1 + num_slots)) * num_bytes
