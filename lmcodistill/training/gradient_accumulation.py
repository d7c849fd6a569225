"""One gradient from several passes, each over a part of a replica's streams.

A pass holds the activations of its part alone, so that memory falls with their
number, at the same update: the objective is a sum over streams. A part draws its
dropout as a replica of its size would, so one replica of two parts computes what two
replicas of one part do.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Of (inputs, states) to (what is summed over streams, the new states).
Compute = Callable[[Any, Any], tuple[Any, Any]]


def accumulated(compute: Compute, count: int, zeros: Callable[[], Any]) -> Compute:
    """Returns a function like `compute` that goes through the streams in parts.

    Args:
        compute: Takes `replica_gradients.BatchInputs` and a nest of `[rows, ...]`
            states; `dropout_seed` is of the first part, and each has the next.
        count: How many parts; divides the rows.
        zeros: Returns the first result of `compute`, all zeros.
    """
    if count == 1:
        return compute

    def passes(inputs: Any, states: Any) -> tuple[Any, Any]:
        rows, window = inputs.tokens.shape
        size = rows // count

        def split(leaf: tf.Tensor) -> tf.Tensor:
            return tf.reshape(leaf, [count, size, *leaf.shape[1:]])

        # [T * rows], time-major, to [count, T * size].
        targets = tf.reshape(inputs.targets, [window, count, size])
        targets = tf.reshape(tf.transpose(targets, [1, 0, 2]), [count, -1])
        tokens, is_start = split(inputs.tokens), split(inputs.is_start)
        parts = tf.nest.map_structure(split, states)
        flat = tf.nest.flatten(states)

        def one(index: tf.Tensor, sums: Any, done: list[tf.TensorArray]) -> Any:
            of_part = inputs._replace(
                tokens=tokens[index],
                targets=targets[index],
                is_start=is_start[index],
                dropout_seed=inputs.dropout_seed + [0, index],
            )
            values, new = compute(
                of_part, tf.nest.map_structure(lambda x: x[index], parts)
            )
            sums = tf.nest.map_structure(tf.add, sums, values)
            new = tf.nest.flatten(new)
            done = [a.write(index, x) for a, x in zip(done, new, strict=True)]
            return index + 1, sums, done

        arrays = [
            tf.TensorArray(x.dtype, count, element_shape=[size, *x.shape[1:]])
            for x in flat
        ]
        # One after the other: side by side they would hold what one pass holds.
        _, sums, done = tf.while_loop(
            lambda index, *_: index < count,
            one,
            (tf.constant(0), zeros(), arrays),
            parallel_iterations=1,
            maximum_iterations=count,
        )
        joined = [
            tf.reshape(a.stack(), x.shape) for a, x in zip(done, flat, strict=True)
        ]
        return sums, tf.nest.pack_sequence_as(states, joined)

    return passes
