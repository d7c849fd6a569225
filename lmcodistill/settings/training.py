"""How one student is trained: its batches, its optimizer, its periods."""

import dataclasses

from lmcodistill.settings import checks

OPTIMIZERS = ("adam", "adamw", "sgd", "adagrad")
ALL_REDUCE_DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Batches:
    """What a step reads.

    Attributes:
        global_batch_size: Streams of one student, all its workers together.
        window: Tokens per stream and step, T; gradients reach no further back.
        same_data: Whether every student reads partition 0 (the paper's
            control); otherwise student i reads partition i.
        reset_at_documents: Whether state is zero at the start of a document.
    """

    global_batch_size: int = 128
    window: int = 32
    same_data: bool = False
    reset_at_documents: bool = True

    def __post_init__(self) -> None:
        for name in ("global_batch_size", "window"):
            value = getattr(self, name)
            checks.require(value >= 1, f"Batches.{name}", value, "a positive number")


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """The update rule; the learning rate is a schedule of its own.

    Attributes:
        name: `adam`, `adamw`, `sgd` or `adagrad`.
        clip_norm: Largest global norm of the gradient; 0.0 never clips.
        all_reduce_dtype: Type in which gradients travel between the workers of a
            group and are added: `float32`, or `bfloat16` for half of the bytes.
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        epsilon: Added to the denominator by Adam and Adagrad.
        weight_decay: AdamW's decoupled decay, per unit of learning rate.
        momentum: SGD's.
        initial_accumulator: Adagrad's.
    """

    name: str = "adam"
    clip_norm: float = 1.0
    all_reduce_dtype: str = "float32"
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    initial_accumulator: float = 0.1

    def __post_init__(self) -> None:
        checks.require_choice("Optimizer.name", self.name, OPTIMIZERS)
        checks.require_choice(
            "Optimizer.all_reduce_dtype", self.all_reduce_dtype, ALL_REDUCE_DTYPES
        )
        checks.require(
            self.clip_norm >= 0.0, "Optimizer.clip_norm", self.clip_norm, "0 or more"
        )
        checks.require(
            self.weight_decay == 0.0 or self.name == "adamw",
            "Optimizer.weight_decay",
            self.weight_decay,
            "0.0, or Optimizer.name = 'adamw', the only rule that uses it",
        )
        checks.require(
            self.momentum == 0.0 or self.name == "sgd",
            "Optimizer.momentum",
            self.momentum,
            "0.0, or Optimizer.name = 'sgd', the only rule that uses it",
        )

    @property
    def num_slots(self) -> int:
        """How many numbers the rule keeps beside every weight."""
        velocities = 1 if self.momentum else 0
        return {"adam": 2, "adamw": 2, "sgd": velocities, "adagrad": 1}[self.name]


@dataclasses.dataclass(frozen=True)
class Training:
    """The length of a run and its periods, in steps.

    Attributes:
        num_train_steps: Optimizer updates in total.
        seed: Seed of the initial weights and of dropout; student i adds i.
        shared_start: Whether all students begin with student 0's weights.
        xla: Whether XLA compiles the forward and the backward pass: `on`, `off`,
            or `auto` for on with a GPU. It cost 1.2 times the wall time of
            oneDNN's products on a CPU, and four seconds more at the start.
        report_every_steps: Period of metrics and of the progress line.
        checkpoint_every_steps: Period of restart snapshots.
        keep_checkpoints: How many of them stay: the newest.
        keep_best_checkpoints: How many more stay: those of the lowest validation
            cross entropy, of steps that were evaluated.
        max_failed_saves: Checkpoints in a row that storage may refuse before the
            run ends.
        evaluate_every_steps: Period of the validation cross entropy; 0: never.
        evaluation_tokens: Validation tokens scored each time; 0: all.
        evaluation_lanes: Streams that the validation text is read in.
        max_skipped_updates: Updates in a row that may be skipped because they are
            not finite; one more, and training goes back to a checkpoint.
        max_rollbacks: How often it may do so before the run ends.
        rollback_rate_factor: Multiplies the learning rate from each rollback on.
    """

    num_train_steps: int = dataclasses.field(metadata=checks.MAY_CHANGE)
    seed: int = 0
    shared_start: bool = False
    xla: str = "auto"
    report_every_steps: int = dataclasses.field(default=100, metadata=checks.MAY_CHANGE)
    checkpoint_every_steps: int = dataclasses.field(
        default=1_000, metadata=checks.MAY_CHANGE
    )
    keep_checkpoints: int = dataclasses.field(default=2, metadata=checks.MAY_CHANGE)
    keep_best_checkpoints: int = dataclasses.field(
        default=1, metadata=checks.MAY_CHANGE
    )
    max_failed_saves: int = dataclasses.field(default=10, metadata=checks.MAY_CHANGE)
    evaluate_every_steps: int = dataclasses.field(
        default=1_000, metadata=checks.MAY_CHANGE
    )
    evaluation_tokens: int = dataclasses.field(default=0, metadata=checks.MAY_CHANGE)
    evaluation_lanes: int = dataclasses.field(default=32, metadata=checks.MAY_CHANGE)
    max_skipped_updates: int = dataclasses.field(default=10, metadata=checks.MAY_CHANGE)
    max_rollbacks: int = dataclasses.field(default=2, metadata=checks.MAY_CHANGE)
    rollback_rate_factor: float = 0.5

    def __post_init__(self) -> None:
        for name in (
            "num_train_steps",
            "report_every_steps",
            "checkpoint_every_steps",
            "keep_checkpoints",
            "evaluation_lanes",
        ):
            value = getattr(self, name)
            checks.require(value >= 1, f"Training.{name}", value, "a positive number")
        for name in (
            "keep_best_checkpoints",
            "max_failed_saves",
            "evaluate_every_steps",
            "evaluation_tokens",
            "max_skipped_updates",
            "max_rollbacks",
        ):
            value = getattr(self, name)
            checks.require(value >= 0, f"Training.{name}", value, "0 or more")
        checks.require_choice("Training.xla", self.xla, ("auto", "on", "off"))
        checks.require(
            0.0 < self.rollback_rate_factor <= 1.0,
            "Training.rollback_rate_factor",
            self.rollback_rate_factor,
            "above 0 and at most 1",
        )
        # TensorFlow's stateless seeds are 32 bits; each student takes a thousand.
        checks.require(
            0 <= self.seed < 1_000_000, "Training.seed", self.seed, "0 to 999,999"
        )
