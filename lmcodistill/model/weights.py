"""The weights of any model: specifications, shapes, initial values.

NumPy only, so that what a run will need can be said without TensorFlow.
"""

import itertools
import math

import numpy as np

from lmcodistill import errors
from lmcodistill.model import contract, registry
from lmcodistill.settings import model as settings

# Beyond this there is no language model of our time.
MAX_TENSORS = 1 << 12


def specs(
    config: settings.ModelConfig, vocab_size: int
) -> dict[str, contract.WeightSpec]:
    """Returns the specification of every weight, by name.

    Raises:
        UsageError: there are too many.
    """
    every = registry.family_of(config).weight_specs(config, vocab_size)
    first = list(itertools.islice(every, MAX_TENSORS + 1))
    if len(first) > MAX_TENSORS:
        raise errors.UsageError(
            f"{type(config).__name__} asks for more than {MAX_TENSORS:,} weight "
            "tensors. Give it fewer layers."
        )
    return {spec.name: spec for spec in first}


def shapes(config: settings.ModelConfig, vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every weight, by the name it has in snapshots."""
    return {name: spec.shape for name, spec in specs(config, vocab_size).items()}


def num_weights(config: settings.ModelConfig, vocab_size: int) -> int:
    """Returns how many numbers the model's weights are."""
    return sum(math.prod(shape) for shape in shapes(config, vocab_size).values())


def initial(
    config: settings.ModelConfig, vocab_size: int, seed: int
) -> dict[str, np.ndarray]:
    """Returns new float32 weights; the same for the same arguments, anywhere."""
    return {
        name: spec.initialiser(
            np.random.Generator(np.random.PCG64([seed, index])), spec.shape
        )
        for index, (name, spec) in enumerate(specs(config, vocab_size).items())
    }
