"""The contract of a model family: all that the rest of the program knows of one.

A family is a folder with a `Family`, and a line of `registry`. What it gives
without a model, for plans, manifests and `--dry_run`, needs no TensorFlow; only
`Family.build` may import it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from lmcodistill import errors
from lmcodistill.settings import model as settings

if TYPE_CHECKING:
    import tensorflow as tf

    from lmcodistill.model import output_head as output_head_lib

# Any nest of floating tensors [rows, ...], as `tf.nest` walks it.
State = Any


class WeightSpec(NamedTuple):
    """One weight of a model.

    Attributes:
        name: In checkpoints and exports; parts are joined by a slash.
        shape: Its shape.
        initialiser: From a generator and the shape to float32 values; see
            `initialisers`.
        summed_axis: The axis that a matmul sums over, whose numbers share a scale
            where the weight is quantized; None: it is never quantized, nor
            multiplied in a narrower type.
    """

    name: str
    shape: tuple[int, ...]
    initialiser: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    summed_axis: int | None = None


class Matmul(NamedTuple):
    """Matrix products of one shape, `[rows, inner] @ [inner, columns]`.

    Attributes:
        rows: Rows of the left operand.
        inner: The dimension that is summed over.
        columns: Columns of the right operand.
        times: How many of them there are.
        is_sequential: Whether each waits for the one before, as in a recurrence.
    """

    rows: int
    inner: int
    columns: int
    times: int = 1
    is_sequential: bool = False

    @property
    def flops(self) -> int:
        """Additions and multiplications of all of them."""
        return 2 * self.rows * self.inner * self.columns * self.times


class Operations(NamedTuple):
    """What a forward pass over one batch computes.

    Attributes:
        matmuls: Its matrix products, the output head's included.
        activations: How many values its layers compute besides, logits left out.
        kept: How many values a gradient needs afterwards, logits left out.
        carried: How many values the state has that the next window begins with.
        kept_recomputed: As `kept`, at most, where the backward pass computes each
            layer again; None: the family cannot.
    """

    matmuls: list[Matmul]
    activations: int
    kept: int
    carried: int
    kept_recomputed: int | None = None

    def kept_by(self, recompute: bool) -> int:
        """Returns `kept_recomputed` or `kept`.

        Raises:
            UsageError: the family cannot compute its layers again.
        """
        if not recompute:
            return self.kept
        if self.kept_recomputed is None:
            raise errors.UsageError(
                "Training.recompute = True, which this MODEL_FAMILY has not. Raise "
                "MICRO_BATCHES instead: activations then take that much less memory."
            )
        return self.kept_recomputed


class Model(Protocol):
    """A model with its variables; a `tf.Module`, most simply a `base.BaseModel`.

    Attributes:
        config: What it was built from.
        vocab_size: V.
        dtype: Type of trained weights, hidden states and carried state.
        weights: Its variables, named and shaped as the specifications say. They are
            read at every call, by `tf.convert_to_tensor`: an export's graph has
            quantized ones in their place.
    """

    config: settings.ModelConfig
    vocab_size: int
    dtype: tf.DType
    weights: dict[str, tf.Variable]

    def initial_state(self, rows: int) -> State:
        """Returns the state before the first token: tensors [rows, ...]."""

    def __call__(
        self,
        tokens: tf.Tensor,
        is_start: tf.Tensor,
        state: State,
        dropout_seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, State]:
        """Reads a window.

        Args:
            tokens: [B, T] int32; B and T may be known only when it runs.
            is_start: [B, T] bool, True where the model forgets everything before
                the token is read.
            state: The state carried into the window; no gradient leaves the
                window through it.
            dropout_seed: [2] int32; None switches dropout off.

        Returns:
            [T, B, H] hidden states, time-major, and the state to carry on, of the
            same nest, shapes and types.
        """

    def output_head(self, hidden: tf.Tensor) -> output_head_lib.OutputHead:
        """Returns what makes logits of hidden states.

        Args:
            hidden: [T, B, H]; becomes [N, H], time-major.
        """


@dataclasses.dataclass(frozen=True)
class Family:
    """A model family. Each function takes a `config` of the family's class.

    Attributes:
        config: The class of its configurations: a frozen dataclass whose fields are
            bool, int, float, str, or one of these or None. It raises UsageError for
            values that cannot work.
        weight_specs: From a configuration and V to all weights, one by one: an
            iterator, because an untrusted configuration may ask for millions.
        forward: From a configuration, V, B and T to the operations of a forward
            pass, all that a teacher costs.
        smallest: From a configuration to one of the same operations with the
            least sizes: such a model costs what launching its operations costs.
        build: From a configuration, V, the values of all weights by name, and
            `trainable`, False for a teacher, to a model. Inside a strategy's scope
            its variables are mirrored. A family whose operations have
            `kept_recomputed` takes `recompute` as well.
    """

    config: type[settings.ModelConfig]
    weight_specs: Callable[[Any, int], Iterator[WeightSpec]]
    forward: Callable[[Any, int, int, int], Operations]
    smallest: Callable[[Any], settings.ModelConfig]
    build: Callable[..., Model]
