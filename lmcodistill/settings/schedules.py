"""Numbers that depend on the step: learning rate and distillation weight.

Pure arithmetic. "At step s" means: for the update that moves s to s + 1.
"""

import dataclasses
import math
from collections.abc import Callable

from lmcodistill.settings import checks

_LENGTH = "Training.num_train_steps"


def _half_cosine(progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _cosine(rate: "LearningRate", since: int) -> float:
    progress = min(1.0, since / (rate.decay_end_step - rate.decay_start_step))
    return rate.final + (rate.base - rate.final) * _half_cosine(progress)


def _exponential(rate: "LearningRate", since: int) -> float:
    return rate.base * rate.decay_factor ** (since / rate.decay_every_steps)


def _step(rate: "LearningRate", since: int) -> float:
    return rate.base * rate.decay_factor ** (1 + since // rate.decay_every_steps)


# From a schedule's name to the rate so many steps after the decay's beginning.
DECAYS: dict[str, Callable[["LearningRate", int], float]] = {
    "constant": lambda rate, since: rate.base,
    "cosine": _cosine,
    "exponential": _exponential,
    "step": _step,
}
# From a schedule's name to how much of the fall is still to come, from 1.0 to 0.0,
# after a share of its steps.
FALLS: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: 1.0 - progress,
    "cosine": _half_cosine,
}


@dataclasses.dataclass(frozen=True)
class LearningRate(checks.Checked):
    """The optimizer's step size.

    Attributes:
        base: The rate that warm-up reaches and decay starts from.
        schedule: `constant`; `cosine` down to `final` at `decay_end_step`;
            `exponential`: times `decay_factor` per `decay_every_steps`,
            continuously; `step`: the same, in jumps.
        warmup_steps: Updates over which the rate grows linearly to `base`.
        decay_start_step: First step that `exponential` and `cosine` decay
            from; at this step `step` makes its first jump.
        decay_every_steps: See `schedule`.
        decay_factor: See `schedule`.
        decay_end_step: Step at which `cosine` reaches `final`. Where that is the end
            of training, a run may go on with a later end: at once at the rate of the
            longer schedule.
        final: Lowest rate that any schedule decays to.
    """

    base: float = checks.positive(1e-3)
    schedule: str = checks.choice("constant", DECAYS)
    warmup_steps: int = 0
    decay_start_step: int = 0
    decay_every_steps: int = checks.positive(1)
    decay_factor: float = 0.5
    decay_end_step: int = dataclasses.field(default=0, metadata={"follows": _LENGTH})
    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(
            "decay_end_step",
            self.schedule != "cosine" or self.decay_end_step > self.decay_start_step,
            f"more than decay_start_step ({self.decay_start_step})",
        )

    def at(self, step: int) -> float:
        """Returns the rate for the update that moves `step` to `step + 1`."""
        if step < self.warmup_steps:
            return self.base * (step + 1) / self.warmup_steps
        since = step - self.decay_start_step
        decayed = self.base if since < 0 else DECAYS[self.schedule](self, since)
        return max(self.final, decayed)


@dataclasses.dataclass(frozen=True)
class DistillationWeight(checks.Checked):
    """How strongly the student follows its soft targets at each step.

    It may rise (`ramp_steps`), stay, and fall (`schedule`): all three make a
    trapezoid; where rise and fall overlap, they multiply. Sodhani et al.
    (arXiv:2010.02838) have a weight of alpha^k in their algorithm. In the
    pre-training of Peng et al. (arXiv:2410.16215) one that falls linearly gained
    4.1 %, the best constant one 3.6 %, one that rises 1.1 %, and a trapezoid beside
    a learning rate of that shape 8.0 %.

    Attributes:
        burn_in_steps: Steps trained on the labels alone. Teachers are not
            loaded before this step, because an untrained peer teaches noise.
        weight: Multiplier of the distillation term afterwards; the paper's is
            1.0. 0.0 turns it off without changing anything else in the run.
        ramp_steps: Steps over which the weight grows linearly from 0.0 once
            burn-in ends; 0 switches it on at once, as the paper does.
        schedule: `constant`; `linear` and `cosine`: down to `final`; or `auto`: by
            how good the teachers are on the data's guide, at most `weight`
            (`codistill/auto_weight.py`); of peers, `auto_after_readings` of the text.
            It needs teachers, a loss of probabilities (`cross_entropy` or `kl`),
            temperature 1.0 and no gate.
        fall_start_step: Last step of the whole weight, for `linear` and `cosine`; 0:
            the end of burn-in.
        fall_end_step: Step at which these reach `final`, where they stay; a gin file
            may say `%NUM_TRAIN_STEPS`.
        final: What they fall to.
        mix: Whether the objective is divided by 1 + w, whatever the targets are:
            then labels and soft targets count 1 / (1 + w) and w / (1 + w), half
            and half for w = 1.0. To Adam, and to AdamW, whose decay is decoupled,
            only the ratio matters, where w changes slowly against the memory of
            `beta2` and nothing is clipped. SGD's updates become smaller, and so do
            Adagrad's, against its `initial_accumulator`; clipping acts later.
        auto_after_readings: For `auto` with peers: how often the text is read on the
            labels alone first, burn-in included. While a text is new, its labels teach
            more than a peer that is no better (docs/reports/experiments.md).
        auto_every_steps: For `auto`: steps between two measurements.
        auto_memory: For `auto`: share of the sums that stays at a measurement.
        auto_lanes: For `auto`: streams that the guide is read in, a window of each
            at a measurement. With one teacher that costs half of an update of as
            many streams: forward passes only.
    """

    burn_in_steps: int = checks.not_negative(0)
    weight: float = checks.not_negative(1.0)
    ramp_steps: int = checks.not_negative(0)
    schedule: str = checks.choice("constant", ("constant", *FALLS, "auto"))
    fall_start_step: int = checks.not_negative(0)
    fall_end_step: int = checks.not_negative(0, follows=_LENGTH)
    final: float = checks.not_negative(0.0)
    mix: bool = False
    auto_after_readings: int = checks.not_negative(1)
    auto_every_steps: int = checks.positive(10)
    auto_memory: float = checks.limited(
        0.9, lambda x: 0.0 <= x < 1.0, "a share, below 1.0"
    )
    auto_lanes: int = checks.positive(16)

    def __post_init__(self) -> None:
        super().__post_init__()
        falls = self.schedule in FALLS
        self._require(
            "fall_end_step",
            not falls or self.fall_end_step > self._fall_start,
            f"a step after the fall's beginning ({self._fall_start}), because the "
            f"schedule is {self.schedule!r}",
        )
        self._require(
            "final",
            not falls or self.final <= self.weight,
            f"at most the weight that it falls from ({self.weight})",
        )

    @property
    def _fall_start(self) -> int:
        return self.fall_start_step or self.burn_in_steps

    @property
    def is_measured(self) -> bool:
        """Whether the weight follows what the teachers know."""
        return self.schedule == "auto"

    def first_step(self, windows_per_epoch: int, *, with_peers: bool) -> int:
        """Returns the first step that may have soft targets.

        Args:
            windows_per_epoch: Steps in which the text is read once.
            with_peers: Whether they are of peers that train beside the student.
        """
        if not (self.is_measured and with_peers):
            return self.burn_in_steps
        return max(self.burn_in_steps, self.auto_after_readings * windows_per_epoch)

    def at(self, step: int) -> float:
        """Returns the weight for the update that moves `step` to `step + 1`.

        For `auto` this is the most that it can be.
        """
        if step < self.burn_in_steps:
            return 0.0
        weight = self._fallen(step)
        if self.ramp_steps == 0:
            return weight
        return weight * min(1.0, (step - self.burn_in_steps) / self.ramp_steps)

    def _fallen(self, step: int) -> float:
        """Returns the weight as if it had not risen."""
        if self.schedule not in FALLS or step <= self._fall_start:
            return self.weight
        steps = self.fall_end_step - self._fall_start
        progress = min(1.0, (step - self._fall_start) / steps)
        left = FALLS[self.schedule](progress)
        return self.final + (self.weight - self.final) * left
