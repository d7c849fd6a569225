"""How one student is trained: its batches, its optimizer, its periods."""

import dataclasses

from lmcodistill.settings import checks

METRICS_SINKS = ("none", "mlflow", "wandb")
OPTIMIZERS = ("adam", "adamw", "sgd", "adagrad")


@dataclasses.dataclass(frozen=True)
class Batches(checks.Checked):
    """What a step reads.

    Attributes:
        global_batch_size: Streams of one student, all its workers together.
        micro_batches: Passes in which a worker goes through its streams, one after
            the other; activations take that much less memory, and the update is the
            same.
        window: Tokens per stream and step, T; gradients reach no further back.
        same_data: Whether every student reads partition 0 (the paper's control); the
            same as `pooled_partitions` = 1.
        pooled_partitions: How many partitions, from 0 on, every student reads, one
            after the other as one text; 0: student i reads partition i alone.
        order_seed: Where in its text a student begins to read; 0: at its start.
            Otherwise at a position that the seed draws, and round: what is before it
            comes after the end. So every stream, and every batch, is another, and
            an epoch reads what it did.
        own_order: Whether student i adds i to that seed.
        reset_at_documents: Whether state is zero at the start of a document.
    """

    global_batch_size: int = checks.positive(128)
    micro_batches: int = checks.positive(1, may_change=True)
    window: int = checks.positive(32)
    same_data: bool = False
    pooled_partitions: int = checks.not_negative(0)
    order_seed: int = checks.not_negative(0)
    own_order: bool = False
    reset_at_documents: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(
            "pooled_partitions",
            not (self.same_data and self.pooled_partitions),
            "0 beside SAME_DATA = True, which means 1",
        )

    def partitions_of(self, student: int) -> range:
        """Returns the partitions that a student reads as one text, in this order."""
        pooled = 1 if self.same_data else self.pooled_partitions
        return range(pooled) if pooled else range(student, student + 1)

    def order_seed_of(self, student: int) -> int:
        """Returns the seed that says where in its text a student begins."""
        return self.order_seed + (student if self.own_order else 0)


@dataclasses.dataclass(frozen=True)
class Optimizer(checks.Checked):
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

    name: str = checks.choice("adam", OPTIMIZERS)
    clip_norm: float = checks.not_negative(1.0)
    all_reduce_dtype: str = checks.choice("float32", ("float32", "bfloat16"))
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    initial_accumulator: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, rule in (("weight_decay", "adamw"), ("momentum", "sgd")):
            self._require(
                field,
                getattr(self, field) == 0.0 or self.name == rule,
                f"0.0, or Optimizer.name = {rule!r}, the only rule that uses it",
            )

    @property
    def num_slots(self) -> int:
        """How many numbers the rule keeps beside every weight."""
        velocities = 1 if self.momentum else 0
        return {"adam": 2, "adamw": 2, "sgd": velocities, "adagrad": 1}[self.name]


@dataclasses.dataclass(frozen=True)
class Training(checks.Checked):
    """The length of a run and its periods, in steps.

    Attributes:
        num_train_steps: Optimizer updates in total. Schedules that end with training
            follow it.
        stop_at_step: Step at which this start ends, as if it were the last: it is
            reported, evaluated, saved and published. A later start goes on from there,
            as the same run. 0: none before `num_train_steps`.
        seed: Seed of the initial weights and of dropout; student i adds i.
        shared_start: Whether all students begin with student 0's weights.
        average_decay: Of the exponential mean of the weights over the updates, which
            is evaluated and exported in their place; about the last
            1 / (1 - `average_decay`) updates count. 0.0: there is none.
        xla: Whether XLA compiles the forward and the backward pass: `on`, `off`,
            or `auto` for on with a GPU. It cost 1.2 times the wall time of
            oneDNN's products on a CPU, and four seconds more at the start.
        recompute: Whether the backward pass computes each layer again instead of
            keeping what it needs of it: less memory, a third more operations, and the
            same update.
        report_every_steps: Period of metrics and of the progress line.
        metrics_sink: Where reports are sent besides `metrics.jsonl`: `none`, `mlflow`
            or `wandb`, whose libraries are extras.
        checkpoint_every_steps: Period of restart snapshots.
        keep_checkpoints: How many of them stay: the newest.
        keep_best_checkpoints: How many more stay: those of the lowest validation
            cross entropy, of steps that were evaluated.
        max_failed_saves: Checkpoints in a row that storage may refuse before the
            run ends.
        evaluate_every_steps: Period of the validation cross entropy; 0: never.
        evaluation_first_token: Where the validation text that is scored begins.
        evaluation_tokens: Validation tokens scored each time; 0: all from there on.
        evaluate_teachers: Whether the teachers are scored on the same tokens, how far
            the student's predictions are from theirs, and the mean of all of them.
            That costs about two evaluations more per teacher.
        evaluation_lanes: Streams that the validation text is read in.
        max_skipped_updates: Updates in a row that may be skipped because they are
            not finite; one more, and training goes back to a checkpoint.
        max_rollbacks: How often it may do so before the run ends.
        rollback_rate_factor: Multiplies the learning rate from each rollback on.
    """

    num_train_steps: int = checks.positive(dataclasses.MISSING, may_change=True)
    stop_at_step: int = checks.not_negative(0, may_change=True)
    # TensorFlow's stateless seeds are 32 bits; each student takes a thousand.
    seed: int = checks.limited(0, lambda seed: 0 <= seed < 1_000_000, "0 to 999,999")
    shared_start: bool = False
    average_decay: float = checks.limited(
        0.0, lambda decay: 0.0 <= decay < 1.0, "0 or more and below 1"
    )
    xla: str = checks.choice("auto", ("auto", "on", "off"))
    recompute: bool = dataclasses.field(default=False, metadata={"may_change": True})
    report_every_steps: int = checks.positive(100, may_change=True)
    metrics_sink: str = checks.choice("none", METRICS_SINKS, may_change=True)
    checkpoint_every_steps: int = checks.positive(1_000, may_change=True)
    keep_checkpoints: int = checks.positive(2, may_change=True)
    keep_best_checkpoints: int = checks.not_negative(1, may_change=True)
    max_failed_saves: int = checks.not_negative(10, may_change=True)
    evaluate_every_steps: int = checks.not_negative(1_000, may_change=True)
    evaluation_first_token: int = checks.not_negative(0, may_change=True)
    evaluation_tokens: int = checks.not_negative(0, may_change=True)
    evaluate_teachers: bool = dataclasses.field(
        default=False, metadata={"may_change": True}
    )
    evaluation_lanes: int = checks.positive(32, may_change=True)
    max_skipped_updates: int = checks.not_negative(10, may_change=True)
    max_rollbacks: int = checks.not_negative(2, may_change=True)
    rollback_rate_factor: float = checks.limited(
        0.5, lambda factor: 0.0 < factor <= 1.0, "above 0 and at most 1"
    )

    @property
    def last_step(self) -> int:
        """The step at which this start ends."""
        return min(self.stop_at_step or self.num_train_steps, self.num_train_steps)
