"""What the models of all families share: their variables."""

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from lmcodistill.model import contract
from lmcodistill.settings import model as settings


class BaseModel(tf.Module):
    """The variables of a `contract.Model`; families add the arithmetic.

    Attributes:
        compute_dtype: Type of the operands of matmuls.
        is_trained: Whether gradients will be asked for.
    """

    def __init__(
        self,
        config: settings.ModelConfig,
        vocab_size: int,
        specs: Iterable[contract.WeightSpec],
        weights: Mapping[str, np.ndarray],
        *,
        trainable: bool,
    ):
        """Makes the variables; inside a strategy's scope they are mirrored.

        Args:
            config: What to build.
            vocab_size: V.
            specs: The weights' specifications.
            weights: Values of all weights by name.
            trainable: False for a teacher.
        """
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.is_trained = trainable
        self.compute_dtype = tf.as_dtype(config.compute_dtype)
        self.dtype = tf.as_dtype(config.weight_dtype)
        self.weights = {
            spec.name: self._variable(spec, weights[spec.name]) for spec in specs
        }

    def _variable(self, spec: contract.WeightSpec, value: np.ndarray) -> tf.Variable:
        # What nothing updates may as well be kept in the type that it is multiplied
        # in: a teacher's matrices are cast once per swap and not in every step.
        is_cast_once = spec.summed_axis is not None and not self.is_trained
        dtype = self.compute_dtype if is_cast_once else self.dtype
        return tf.Variable(
            tf.cast(value, dtype), name=spec.name, trainable=self.is_trained
        )
