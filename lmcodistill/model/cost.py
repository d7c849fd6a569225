"""What a training step costs: its matmuls and its bytes.

Pure arithmetic on a model's sizes, without TensorFlow; what is compared with it
(a benchmark's floor, a plan's prediction) measures elsewhere.
"""

import math
from collections.abc import Iterable

import numpy as np

from lmcodistill.model import contract, quantization, registry, weights
from lmcodistill.settings import model as settings


def flops(matmuls: Iterable[contract.Matmul]) -> int:
    """Returns additions and multiplications together."""
    return sum(matmul.flops for matmul in matmuls)


def forward(
    config: settings.ModelConfig, vocab_size: int, streams: int, window: int
) -> contract.Operations:
    """Returns the operations of one reading of a batch: all that a teacher costs.

    Args:
        config: The model.
        vocab_size: V.
        streams: B, streams of this replica.
        window: T.
    """
    return registry.family_of(config).forward(config, vocab_size, streams, window)


def step(
    config: settings.ModelConfig, vocab_size: int, streams: int, window: int
) -> list[contract.Matmul]:
    """Returns the matmuls of a student's update; arguments as `forward`.

    Each of the forward pass has two more for the gradients: with respect to its left
    operand, and with respect to its right one. In a recurrence the first are made step
    after step, and the second for the whole window at once.
    """
    matmuls = list(forward(config, vocab_size, streams, window).matmuls)
    for rows, inner, columns, times, is_sequential in tuple(matmuls):
        matmuls.append(contract.Matmul(rows, columns, inner, times, is_sequential))
        if is_sequential:
            rows, times = rows * times, 1
        matmuls.append(contract.Matmul(inner, rows, columns, times))
    return matmuls


def weight_bytes(config: settings.ModelConfig, vocab_size: int) -> int:
    """Returns the bytes of all weights as they are kept, summed and passed on."""
    itemsize = 8 if config.weight_dtype == "float64" else 4
    return weights.num_weights(config, vocab_size) * itemsize


def export_bytes(config: settings.ModelConfig, vocab_size: int, dtype: str) -> int:
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
