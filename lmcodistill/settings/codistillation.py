"""What a student learns from besides the labels, and how exports travel."""

import dataclasses

from lmcodistill.settings import checks

# Models give the first two, with logits; the next two are fixed distributions.
TEACHER_TARGETS = ("peers", "offline")
FIXED_TARGETS = ("uniform", "unigram")
TARGETS = ("none", *TEACHER_TARGETS, *FIXED_TARGETS)
LOSSES = ("cross_entropy", "kl", "reverse_kl", "logit_mse")
# Whose gradient is that of the labels' cross entropy, with the targets for labels.
MIXING_LOSSES = ("cross_entropy", "kl")
GATES = ("none", "right", "sure")
MODES = ("freshest", "scheduled")
TOPOLOGIES = ("all", "ring", "rotate")
# In the first the weights are as they are; the others are narrower.
EXPORT_DTYPES = ("float32", "bfloat16", "int8")
STATES_ON_SWAP = ("carry", "reset", "recompute")


@dataclasses.dataclass(frozen=True)
class Distillation(checks.Checked):
    """The soft targets and the loss psi of Algorithm 1 (arXiv:1804.03235).

    Attributes:
        targets: `peers`: the mean of the peers' predictions; `offline`: the
            mean of fixed exports (two-phase distillation); `uniform` and
            `unigram`: label smoothing with that distribution; `none`: labels
            alone.
        loss: psi. `cross_entropy` is the paper's; `kl` has the same gradient
            and subtracts the targets' entropy; `reverse_kl` is KL(student ||
            target); `logit_mse` needs teachers, and no temperature.
        temperature: Divides the logits of student and teachers alike inside
            psi; 1.0 is the paper's. Psi's gradient falls with its square, which
            nothing makes up for.
        final_temperature: What it moves to, linearly from the end of burn-in on;
            None: it stays. Jafari et al. (arXiv:2104.07163) cool in stages, and
            the teacher alone.
        temperature_end_step: Step at which it gets there.
        gate: At which positions psi counts: `none` closes none; `right`: where the
            teachers' most likely token is the label; `sure`: where their largest
            probability is at least `gate_confidence`. Wen et al. (arXiv:1911.07471)
            find that wrong and unsure predictions of a teacher harm, and correct
            the ones and sharpen the others; in Lu and Liu (arXiv:2605.23857) weak
            teachers help where the two losses are mixed properly. Differs from
            both: at a closed position the label alone counts.
        gate_confidence: See `gate`.
        offline_exports: For `offline`: paths of the exports that teach.
        measure_gradients_every_steps: Period of the angle between the gradients of
            the two terms, which changes nothing and costs about two updates; 0: never.
        teacher_compute_dtype: Type of the operands of the teachers' matrix products,
            whatever their peers train with; `auto`: `bfloat16` where the device
            multiplies it itself, else the peer's.
    """

    targets: str = checks.choice("peers", TARGETS)
    loss: str = checks.choice("cross_entropy", LOSSES)
    temperature: float = checks.positive(1.0)
    final_temperature: float | None = checks.limited(
        None, lambda x: x is None or x > 0.0, "None or a positive number"
    )
    temperature_end_step: int = checks.not_negative(0)
    gate: str = checks.choice("none", GATES)
    gate_confidence: float = checks.share(0.5)
    offline_exports: tuple[str, ...] = ()
    measure_gradients_every_steps: int = checks.not_negative(0, may_change=True)
    teacher_compute_dtype: str = checks.choice("auto", ("auto", "float32", "bfloat16"))

    def __post_init__(self) -> None:
        self._require(
            "targets",
            self.targets != "weights",
            "TARGETS = 'none' and AVERAGE_WEIGHTS = True, where nobody teaches",
        )
        super().__post_init__()
        self._require(
            "offline_exports",
            bool(self.offline_exports) == (self.targets == "offline"),
            "paths exactly when Distillation.targets = 'offline'",
        )
        self._require(
            "loss",
            self.loss != "logit_mse" or self.targets in TEACHER_TARGETS,
            f"another loss, because {self.targets!r} targets have no logits",
        )
        for field, none in (("temperature", 1.0), ("final_temperature", None)):
            self._require(
                field,
                getattr(self, field) == none or self.loss != "logit_mse",
                f"{none}, because `logit_mse` compares logits without a temperature",
            )
        self._require(
            "gate",
            self.gate == "none" or self.targets not in FIXED_TARGETS,
            f"'none', because {self.targets!r} targets know nothing of a position",
        )

    def temperature_at(self, step: int, burn_in_steps: int) -> float:
        """Returns the temperature for the update that moves `step` to `step + 1`.

        `burn_in_steps`, before which there is no psi, is `DistillationWeight`'s.
        """
        if self.final_temperature is None or step <= burn_in_steps:
            return self.temperature
        steps = self.temperature_end_step - burn_in_steps
        progress = min(1.0, (step - burn_in_steps) / steps)
        return self.temperature + (self.final_temperature - self.temperature) * progress


@dataclasses.dataclass(frozen=True)
class Exchange(checks.Checked):
    """How students publish their exports and read their peers'.

    Attributes:
        publish_every_steps: Period of a student's own exports.
        reload_every_steps: Period of looks at the peers' folders.
        mode: `freshest`: the newest committed export, whenever it came.
            `scheduled`: at step s exactly the export of step s - delay_steps
            (rounded down to a published one), waiting for it; reproducible.
        delay_steps: For `scheduled`: the staleness to keep at a reload.
        deadline_seconds: For `scheduled`: how long to wait for an export.
        topology: `all`: every peer teaches; `ring`: the next student only;
            `rotate`: one peer per reload, in turn, whose state never carries on from
            its last turn: with `recompute` it is read anew, else it is zero.
        average_weights: Whether at every reload the weights become the mean of all
            students' (local SGD), for comparison: nobody teaches. It needs a shared
            start and a scheduled exchange without delay.
        state_on_swap: What becomes of a teacher's carried state when its
            weights change: `carry` keeps it, `reset` zeroes it, `recompute`
            reads the last `recompute_windows` windows again with the new
            weights. The paper does not say. A teacher that is new in its place
            starts from zero, or is recomputed as well.
        recompute_windows: See `state_on_swap`.
        max_staleness_steps: A teacher further behind is let go, and the mean is
            of the rest; 0: any teacher is better than none.
        read_deadline_seconds: For `freshest`: after which a read that hangs is
            abandoned and the next look begins anew.
        max_teacher_cross_entropy: Exports that score worse on a little of the
            student's text are refused, in nats per token; None: one nat above a
            uniform guess among all tokens.
        export_dtype: How exports store matrices: `float32` as they are; `bfloat16`
            in half the bytes; `int8` in a quarter, whole numbers with a scale per
            output. Its readers compute with float32 again.
        max_quantization_loss: By how much a narrower type may raise the cross
            entropy of a little of the student's text, in nats per token; an export
            that loses more is written in float32.
        keep_exports: How many of a student's own exports stay; a `scheduled`
            exchange keeps as many as a peer may still ask for.
        keep_export_seconds: Younger ones stay as well: a peer on slow storage may
            still be reading them.
    """

    publish_every_steps: int = checks.positive(50)
    reload_every_steps: int = checks.positive(50)
    mode: str = checks.choice("freshest", MODES)
    delay_steps: int = checks.not_negative(0)
    deadline_seconds: float = checks.positive(600.0, may_change=True)
    topology: str = checks.choice("all", TOPOLOGIES)
    average_weights: bool = False
    state_on_swap: str = checks.choice("carry", STATES_ON_SWAP)
    recompute_windows: int = checks.positive(4)
    max_staleness_steps: int = checks.not_negative(0)
    read_deadline_seconds: float = checks.positive(600.0, may_change=True)
    max_teacher_cross_entropy: float | None = checks.limited(
        None,
        lambda bound: bound is None or bound > 0.0,
        "None or a positive number",
        may_change=True,
    )
    export_dtype: str = checks.choice("float32", EXPORT_DTYPES)
    max_quantization_loss: float = checks.not_negative(0.02)
    keep_exports: int = checks.positive(5, may_change=True)
    keep_export_seconds: float = checks.not_negative(60.0, may_change=True)
