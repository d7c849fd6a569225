"""Quantized exports: their tensors, and what quantization costs the peers.

Every export is judged on a little of the student's own text. Where fewer bits lose
too much, that one is written in float32: peers wait for it, and training goes on.
"""

import dataclasses
import logging
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lmcodistill.exports import probe, reader
from lmcodistill.model import quantization

log = logging.getLogger("lmcodistill")


class Stored(NamedTuple):
    """What is written of an export.

    Attributes:
        dtype: How its matrices are stored, see `quantization.table`.
        tensors: By name.
        manifest: What its manifest says of the loss.
    """

    dtype: str
    tensors: Mapping[str, np.ndarray]
    manifest: dict[str, Any]


@dataclasses.dataclass
class Quantizer:
    """Quantizes the weights of exports.

    Attributes:
        dtype: `bfloat16` or `int8`.
        judge: Has the text.
        max_loss: By how much the cross entropy may rise, nats per token.
        refused: Steps whose export lost too much by it.
    """

    dtype: str
    judge: probe.Probe
    max_loss: float
    refused: set[int] = dataclasses.field(default_factory=set)

    def __call__(self, export: reader.Export) -> Stored:
        """Returns the tensors to write of an export; in any thread."""
        config = export.config
        tensors = quantization.quantized(
            config, export.vocab_size, export.weights, self.dtype
        )
        loss = self.judge.loss(
            export, quantization.dequantized(tensors, config.weight_dtype)
        )
        measured = {
            "dtype": self.dtype,
            "cross_entropy_loss": _number(loss.cross_entropy),
            "agreement": _number(loss.agreement),
        }
        is_small = loss.cross_entropy <= self.max_loss  # Not where it is NaN.
        if not is_small:
            self.refused.add(export.step)
        log.log(
            logging.INFO if is_small else logging.WARNING,
            "step=%d event=%s dtype=%s cross_entropy_loss=%.5f agreement=%.4f "
            "max_quantization_loss=%g refused=%d",
            export.step,
            "export_narrowed" if is_small else "export_written_in_full",
            self.dtype,
            *loss,
            self.max_loss,
            len(self.refused),
        )
        if is_small:
            return Stored(self.dtype, tensors, {"quantization": measured})
        return Stored("float32", export.weights, {"quantization": measured})


def _number(value: float) -> float | None:
    """Returns a value as JSON has it, which has no word for what is not finite."""
    return round(value, 6) if math.isfinite(value) else None
