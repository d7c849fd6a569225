"""Numbers that depend on the step: learning rate and distillation weight.

Pure arithmetic. "At step s" means: for the update that moves s to s + 1.
"""

import dataclasses
import math
from collections.abc import Callable

from lmcodistill.settings import checks


def _cosine(rate: "LearningRate", since: int) -> float:
    progress = min(1.0, since / (rate.decay_end_step - rate.decay_start_step))
    half = 0.5 * (1.0 + math.cos(math.pi * progress))
    return rate.final + (rate.base - rate.final) * half


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
        decay_end_step: Step at which `cosine` reaches `final`.
        final: Lowest rate that any schedule decays to.
    """

    base: float = checks.positive(1e-3)
    schedule: str = checks.choice("constant", DECAYS)
    warmup_steps: int = 0
    decay_start_step: int = 0
    decay_every_steps: int = checks.positive(1)
    decay_factor: float = 0.5
    decay_end_step: int = 0
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

    Attributes:
        burn_in_steps: Steps trained on the labels alone. Teachers are not
            loaded before this step, because an untrained peer teaches noise.
        weight: Multiplier of the distillation term afterwards; the paper's is
            1.0. 0.0 turns it off without changing anything else in the run.
        ramp_steps: Steps over which the weight grows linearly from 0.0 once
            burn-in ends; 0 switches it on at once, as the paper does.
        schedule: `constant`, or `auto`: by how good the teachers are on the data's
            guide (`codistill/auto_weight.py`), at most `weight`. It needs teachers,
            a loss of probabilities (`cross_entropy` or `kl`) and temperature 1.0.
        auto_every_steps: For `auto`: steps between two measurements.
        auto_memory: For `auto`: share of the sums that stays at a measurement.
        auto_lanes: For `auto`: streams that the guide is read in, a window of each
            at a measurement. With one teacher that costs half of an update of as
            many streams: forward passes only.
    """

    burn_in_steps: int = checks.not_negative(0)
    weight: float = checks.not_negative(1.0)
    ramp_steps: int = checks.not_negative(0)
    schedule: str = checks.choice("constant", ("constant", "auto"))
    auto_every_steps: int = checks.positive(10)
    auto_memory: float = checks.limited(
        0.9, lambda x: 0.0 <= x < 1.0, "a share, below 1.0"
    )
    auto_lanes: int = checks.positive(16)

    @property
    def is_measured(self) -> bool:
        """Whether the weight follows what the teachers know."""
        return self.schedule == "auto"

    def at(self, step: int) -> float:
        """Returns the weight for the update that moves `step` to `step + 1`.

        For `auto` this is the most that it can be.
        """
        if step < self.burn_in_steps:
            return 0.0
        if self.ramp_steps == 0:
            return self.weight
        return self.weight * min(1.0, (step - self.burn_in_steps) / self.ramp_steps)
