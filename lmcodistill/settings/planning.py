"""The machines that `lmcodistill plan` predicts a run on: figures, no arithmetic.

Rates are those that a worker reaches, not those of a data sheet. Who does not know
them measures: `lmcodistill plan --measure`.
"""

import dataclasses

from lmcodistill.settings import checks


@dataclasses.dataclass(frozen=True)
class Machine(checks.Checked):
    """One worker: a process with its device, or with its share of the cores.

    Attributes:
        matrix_rate: Operations per second of large matrix products, in the type
            that the model computes in; an addition and a multiplication are two.
            0.0: not known.
        recurrent_rate: The same of the recurrence's products, `[B, H] @ [H, 4H]`
            with B streams of this worker; 0.0: `matrix_rate`.
        recurrent_step_seconds: What one token costs a layer, forward or backward,
            however small the layer is: launching its kernels.
        element_rate: Logits per second through the loss and back, products left
            out; 0.0: what `memory_bandwidth` allows.
        memory_bandwidth: Bytes per second of the optimizer's pass over the
            weights. 0.0: not known.
        step_overhead_seconds: What a step costs whatever its size.
        teacher_speedup: How many times faster a teacher's products are than the
            student's, where their type has fewer bits.
    """

    matrix_rate: float = checks.not_negative(0.0)
    recurrent_rate: float = checks.not_negative(0.0)
    recurrent_step_seconds: float = checks.not_negative(0.0)
    element_rate: float = checks.not_negative(0.0)
    memory_bandwidth: float = checks.not_negative(0.0)
    step_overhead_seconds: float = checks.not_negative(0.0)
    teacher_speedup: float = checks.positive(1.0)


@dataclasses.dataclass(frozen=True)
class Network(checks.Checked):
    """What connects the workers of a group.

    Attributes:
        bandwidth: Bytes per second that a worker sends while it receives as many.
            0.0: not known.
        latency_seconds: From one worker to the next.
    """

    bandwidth: float = checks.not_negative(0.0)
    latency_seconds: float = checks.not_negative(50e-6)


@dataclasses.dataclass(frozen=True)
class Storage(checks.Checked):
    """What the students exchange their exports over.

    Attributes:
        bandwidth: Bytes per second that one chief reads or writes. 0.0: not known.
        latency_seconds: Of opening one file.
    """

    bandwidth: float = checks.not_negative(0.0)
    latency_seconds: float = checks.not_negative(0.01)


# Every class here; config registers them with gin.
PLAN_SETTINGS = (Machine, Network, Storage)
