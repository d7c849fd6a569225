"""How long one step takes, part by part.

A synchronous step is a chain: its parts add up. All workers of a group do the same
at the same time; what one of them takes is what the step takes. Slow workers are
not modelled.
"""

from collections.abc import Iterable
from typing import NamedTuple

from lmcodistill.model import contract, cost
from lmcodistill.settings import model as model_settings
from lmcodistill.settings import planning as settings
from lmcodistill.settings import training as training_settings

# Moved for one logit between the projection's matmul and its gradient's: about a
# dozen reads and writes of four bytes (model/objective.py).
LOGIT_BYTES = 48


class Work(NamedTuple):
    """What one worker does in one step.

    Attributes:
        config: The model, the student's and the teachers'.
        optimizer: The update rule.
        vocab_size: V.
        streams: B, of this worker.
        window: T.
        teachers: K, how many teach; 0: labels alone.
        is_averaged: Whether a mean of the weights is kept.
    """

    config: model_settings.ModelConfig
    optimizer: training_settings.Optimizer
    vocab_size: int
    streams: int
    window: int
    teachers: int = 0
    is_averaged: bool = False

    @property
    def sizes(self) -> tuple[model_settings.ModelConfig, int, int, int]:
        """The arguments of the counts in `model/cost.py`."""
        return self.config, self.vocab_size, self.streams, self.window

    @property
    def weight_bytes(self) -> int:
        """Of one copy of the weights."""
        return cost.weight_bytes(self.config, self.vocab_size)

    @property
    def logits(self) -> int:
        """How many a model computes."""
        return self.streams * self.window * self.vocab_size


class Parts(NamedTuple):
    """Seconds of one step; the names are those of the tables and of the JSON.

    Attributes:
        products: The student's large matmuls, forward and backward.
        recurrence: Its sequential matmuls, and launching what goes with them.
        elements: Computing each logit and each activation.
        optimizer: Clipping and the update.
        all_reduce: Adding the gradients up over the group.
        teachers: All of theirs: matmuls, recurrence, elements, soft loss.
        exchange: Copying weights out for peers and swapping theirs in, per step.
        overhead: What a step costs whatever its size.
    """

    products: float
    recurrence: float
    elements: float
    optimizer: float
    all_reduce: float
    teachers: float
    exchange: float
    overhead: float

    @property
    def total(self) -> float:
        """Seconds of the step."""
        return sum(self)

    @property
    def bound_by(self) -> str:
        """The name of the longest part."""
        return max(zip(self, self._fields, strict=True))[1]


def parts(
    work: Work, machine: settings.Machine, network: settings.Network, workers: int
) -> Parts:
    """Returns the seconds of one step, without what the exchange adds.

    Args:
        work: Of one worker.
        machine: Of each worker; its two unknown figures must be known.
        network: Between the workers of the group.
        workers: W, workers of the group.
    """
    step = cost.step(*work.sizes)
    activations = cost.forward(*work.sizes).activations
    is_halved = work.optimizer.all_reduce_dtype == "bfloat16"
    gradient_bytes = work.weight_bytes // (2 if is_halved else 1)
    # A mean is read and written like a slot.
    num_slots = work.optimizer.num_slots + work.is_averaged
    return Parts(
        products=_large(step, machine.matrix_rate),
        recurrence=_recurrence(step, machine, 1.0),
        elements=(work.logits + 2 * activations) / element_rate(machine),
        optimizer=cost.update_bytes(work.weight_bytes, num_slots)
        / machine.memory_bandwidth,
        all_reduce=ring_all_reduce(gradient_bytes, workers, network),
        teachers=_teachers(work, machine),
        exchange=0.0,
        overhead=machine.step_overhead_seconds,
    )


def ring_all_reduce(num_bytes: int, workers: int, network: settings.Network) -> float:
    """Returns the seconds of adding up one tensor over a ring of workers.

    Each worker sends n - 1 of n shares twice, once while the sums are made and once
    while they are passed on (Patarasuk and Yuan 2009); each share waits for the one
    before. That it overlaps with nothing is cautious: gradients travel in packs,
    the projection's while those of the layers below are being made.
    """
    if workers == 1:
        return 0.0
    sent = 2.0 * (workers - 1) / workers * num_bytes
    return sent / network.bandwidth + 2 * (workers - 1) * network.latency_seconds


def element_rate(machine: settings.Machine) -> float:
    """Returns logits per second, measured or from the memory's bandwidth."""
    return machine.element_rate or machine.memory_bandwidth / LOGIT_BYTES


def _large(matmuls: Iterable[contract.Matmul], rate: float) -> float:
    return cost.flops(m for m in matmuls if not m.is_sequential) / rate


def _recurrence(
    matmuls: Iterable[contract.Matmul], machine: settings.Machine, speedup: float
) -> float:
    sequential = [m for m in matmuls if m.is_sequential]
    rate = (machine.recurrent_rate or machine.matrix_rate) * speedup
    launches = sum(m.times for m in sequential)
    return cost.flops(sequential) / rate + launches * machine.recurrent_step_seconds


def _teachers(work: Work, machine: settings.Machine) -> float:
    """Returns what K teachers add: their reading, and the student's soft loss."""
    if not work.teachers:
        return 0.0
    speedup = machine.teacher_speedup
    forward = cost.forward(*work.sizes)
    one = (
        _large(forward.matmuls, machine.matrix_rate * speedup)
        + _recurrence(forward.matmuls, machine, speedup)
        + (work.logits + forward.activations) / element_rate(machine)
    )
    return work.teachers * one + work.logits / element_rate(machine)
