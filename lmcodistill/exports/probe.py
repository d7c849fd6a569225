"""The last look at a fresh export: its loss on a little of the student's text.

A manifest, digests and finite values say that an export is whole, not that it is
a language model. A teacher that predicts worse than a guess among all tokens
would undo what its student has learnt.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.data import windows as windows_lib
from lmcodistill.exports import reader
from lmcodistill.model import output_head

# Nats per token above a uniform guess. A student is never so bad: untrained ones
# are at 0.00 to 0.09, noise of width 1 at 12 and more (2026-11-22).
SLACK = 1.0
# Wide and short, because time is what a recurrent model's steps cost.
_STREAMS, _TOKENS = 16, 8


class Loss(NamedTuple):
    """What an export loses by other weights.

    Attributes:
        cross_entropy: By how much it rises, nats per token.
        agreement: Share of the positions whose most likely token stays the same.
    """

    cross_entropy: float
    agreement: float


@dataclasses.dataclass(frozen=True)
class Probe:
    """Judges exports by a probe batch.

    Attributes:
        tokens: [B, T] int32.
        targets: [B, T] int32, the token after each.
        is_start: [B, T] bool, True where the state is zeroed before.
        max_cross_entropy: The bound, nats per token; None takes a uniform guess and
            `SLACK`.
    """

    tokens: np.ndarray
    targets: np.ndarray
    is_start: np.ndarray
    max_cross_entropy: float | None

    def cross_entropy(self, export: reader.Export) -> float:
        """Returns nats per token of the batch; from any thread, outside a scope."""
        return self._predict(export)[0]

    def loss(self, export: reader.Export, weights: Mapping[str, np.ndarray]) -> Loss:
        """Returns what an export loses by other weights; as `cross_entropy`."""
        before, tokens = self._predict(export)
        changed = dataclasses.replace(export, weights=dict(weights))
        after, tokens_after = self._predict(changed)
        return Loss(after - before, float(np.mean(tokens_after == tokens)))

    def _predict(self, export: reader.Export) -> tuple[float, np.ndarray]:
        """Returns nats per token, and the most likely token of every position.

        Step by step, without a `tf.function`: nothing is traced and nothing is
        kept. On the host, where there is room for another model.
        """
        with tf.device("CPU:0"):
            model = export.build()
            state = model.initial_state(len(self.tokens))
            hidden, _ = model(self.tokens, self.is_start, state)
            logits = output_head.logits_of(model.output_head(hidden))
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                np.transpose(self.targets).reshape(-1), logits
            )
            mean = float(np.mean(losses.numpy(), dtype=np.float64))
            return mean, tf.argmax(logits, -1).numpy()

    def check(self, export: reader.Export) -> None:
        """Refuses an export that predicts worse than the bound.

        Raises:
            SnapshotError: it does.
        """
        bound = self.max_cross_entropy
        if bound is None:
            bound = math.log(export.vocab_size) + SLACK
        loss = self.cross_entropy(export)
        if not loss <= bound:  # NaN as well.
            raise errors.SnapshotError(
                f"{export.source} has a cross entropy of {loss:.2f} nats per token on "
                f"the probe batch; at most {bound:.2f} was expected. Its student "
                "diverged, or its weights are no language model's. Raise "
                "Exchange.max_teacher_cross_entropy if it is right after all.",
                reason="probe",
            )


def of_text(
    windows: windows_lib.TrainingWindows,
    num_streams: int,
    max_cross_entropy: float | None,
) -> Probe:
    """Returns the probe of a student's text: the first tokens of some streams.

    Args:
        windows: The text.
        num_streams: Streams that it is read in.
        max_cross_entropy: See `Probe`.
    """
    window = windows.at(0, 0, min(_STREAMS, num_streams))
    return Probe(
        window.inputs[:, :_TOKENS],
        window.targets[:, :_TOKENS],
        window.is_start[:, :_TOKENS],
        max_cross_entropy,
    )
