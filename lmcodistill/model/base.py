"""What the models of all families share: their variables."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from lmcodistill.model import contract
from lmcodistill.settings import model as settings


def _is_sent_to_workers() -> bool:
    """Returns whether new variables go from the chief to other workers of a group.

    TensorFlow's broadcast has no bfloat16.
    """
    resolver = tf.distribute.get_strategy().cluster_resolver
    if resolver is None:
        return False
    return len(resolver.cluster_spec().as_dict().get("worker", ())) > 1


class BaseModel(tf.Module):
    """The variables of a `contract.Model`; families add the arithmetic.

    Attributes:
        compute_dtype: Type of the operands of matmuls.
        is_trained: Whether gradients will be asked for.
        recompute: Whether the backward pass computes layers again, for memory.
    """

    def __init__(
        self,
        config: settings.ModelConfig,
        vocab_size: int,
        specs: Iterable[contract.WeightSpec],
        weights: Mapping[str, np.ndarray],
        *,
        trainable: bool,
        recompute: bool = False,
    ):
        """Makes the variables; arguments as `contract.Family.build`."""
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.is_trained, self.recompute = trainable, recompute
        self.compute_dtype = tf.as_dtype(config.compute_dtype)
        self.dtype = tf.as_dtype(config.weight_dtype)
        variables, is_sent = {}, _is_sent_to_workers()
        for name, _, _, summed_axis in specs:
            # What nothing updates may as well be kept in the type that it is multiplied
            # in: a teacher's matrices are cast once per swap and not in every step.
            is_cast_once = summed_axis is not None and not trainable and not is_sent
            value = tf.cast(
                weights[name], self.compute_dtype if is_cast_once else self.dtype
            )
            variables[name] = tf.Variable(value, name=name, trainable=trainable)
        self.weights = variables

    def layer(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the function of a layer as this model runs it.

        Args:
            compute: From tensors to a flat tuple of tensors. Gradients go to its
                arguments, and to nothing else that it uses.

        Recomputed, nothing of it is kept but its arguments until the backward pass
        reaches it (Chen et al. 2016, arXiv:1604.06174, with every layer a segment).
        """
        return tf.recompute_grad(compute) if self.recompute else compute
