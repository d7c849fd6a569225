"""What one student is asked to do, and whether that can work at all.

No TensorFlow: the launcher and `--dry_run` check a job before anything heavy
starts, the worker checks it again on its own machine.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from lmcodistill import errors
from lmcodistill.codistill import fixed_targets, policies
from lmcodistill.config import loading
from lmcodistill.data import shards
from lmcodistill.data import windows as windows_lib
from lmcodistill.exports import lookup
from lmcodistill.model import cost, registry, weights
from lmcodistill.settings import classes, codistillation, model, schedules, training
from lmcodistill.storage import layout as layouts
from lmcodistill.storage import places, publication

SETTINGS = classes.TRAIN  # What gin sets of a job, by field.


def load(
    gin_files: Sequence[str], bindings: Sequence[str], more: Sequence[type] = ()
) -> loading.Config:
    """Returns the `SETTINGS` of a run, and `more`; raises as `loading.load`."""
    return loading.load(
        gin_files,
        bindings,
        (*SETTINGS.values(), *more),
        "defaults/train.gin",
        registry.configs(),
    )


def settings(loaded: loading.Config) -> dict[str, Any]:
    """Returns the fields of a job that gin sets."""
    return {field: loaded.get(cls) for field, cls in SETTINGS.items()}


@dataclasses.dataclass(frozen=True)
class Job:
    """One student of a run.

    Attributes:
        data_dir: What `lmcodistill prep` made.
        run_dir: The run's folder.
        shared_dir: Where exports, checkpoints and leases are, on storage that all
            students reach; often `run_dir`.
        student: Index of this student.
        num_students: Students in the run, N.
        model: Its `vocab_size` may still be None.
        batches: What a step reads.
        optimizer: The update rule.
        training: Length and periods.
        learning_rate: By step.
        weight: Of the distillation term, by step.
        distillation: The soft targets and psi.
        exchange: How exports travel.
        config_text: The whole configuration as a gin file.
        key: Signs checkpoints and exports; None signs nothing.
        asynchronous_workers: How many workers make updates of their own, each on
            streams of its own; 0: workers make every update together.
    """

    data_dir: pathlib.Path
    run_dir: pathlib.Path
    shared_dir: places.Place
    student: int
    num_students: int
    model: model.ModelConfig
    batches: training.Batches
    optimizer: training.Optimizer
    training: training.Training
    learning_rate: schedules.LearningRate
    weight: schedules.DistillationWeight
    distillation: codistillation.Distillation
    exchange: codistillation.Exchange
    config_text: str
    key: bytes | None = dataclasses.field(default=None, repr=False)
    asynchronous_workers: int = 0

    @property
    def layout(self) -> layouts.StudentLayout:
        """Where this student writes."""
        return self.peer_layout(self.student)

    def peer_layout(self, peer: int) -> layouts.StudentLayout:
        """Where another student writes."""
        return layouts.RunLayout(self.run_dir, self.shared_dir).student(peer)

    @property
    def policy(self) -> policies.Policy:
        """Its part in the exchange."""
        return policies.of(
            self.student,
            self.num_students,
            self.distillation,
            self.exchange,
            self.weight.burn_in_steps,
        )

    @property
    def is_guided(self) -> bool:
        """Whether the distillation weight is measured, on the guide."""
        teaches = self.distillation.targets in codistillation.TEACHER_TARGETS
        return self.weight.is_measured and teaches

    def taught_from(self, windows_per_epoch: int) -> int:
        """Returns the first step with soft targets, for so many steps a reading."""
        with_peers = self.distillation.targets == "peers"
        return self.weight.first_step(windows_per_epoch, with_peers=with_peers)

    @property
    def num_streams(self) -> int:
        """Streams that the text is read in."""
        return self.batches.global_batch_size * (self.asynchronous_workers or 1)

    @property
    def tokens_per_step(self) -> int:
        """Positions of the global batch, `B * T`."""
        return self.batches.global_batch_size * self.batches.window


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The data of a job, opened and found to fit.

    Attributes:
        data: The data folder.
        windows: The student's training windows.
        model: The model's settings with the vocabulary's size filled in.
        text: The text that the student learns from.
        guide: The guide's windows, for a job that is guided.
    """

    data: shards.ShardSet
    windows: windows_lib.TrainingWindows
    model: model.ModelConfig
    text: shards.SplitTokens
    guide: windows_lib.TrainingWindows | None


def open_inputs(job: Job) -> Inputs:
    """Opens what the job reads.

    Raises:
        DataError: the data folder, its partitions or their length does not fit.
        UsageError: the model's vocabulary size is another than the data's, or the
            weight is measured and there is no guide for it.
    """
    data = shards.ShardSet(job.data_dir)
    config = with_vocabulary(job.model, data.manifest.vocab_size, job.data_dir)
    data.held_out_split("validation")
    partitions = job.batches.partitions_of(job.student)
    text = data.tokens_of(*map(data.train_split, partitions))
    return Inputs(
        data,
        windows_lib.TrainingWindows(
            text,
            global_batch_size=job.num_streams,
            window=job.batches.window,
            end_id=data.manifest.end_id,
            reset_at_documents=job.batches.reset_at_documents,
            order_seed=job.batches.order_seed_of(job.student),
        ),
        config,
        text,
        _guide(job, data) if job.is_guided else None,
    )


def _guide(job: Job, data: shards.ShardSet) -> windows_lib.TrainingWindows:
    """Returns the windows of the guide; raises as `open_inputs`."""
    split = data.manifest.held_out.get("guide")
    streams, window = job.weight.auto_lanes, job.batches.window
    least = streams * (window + 1)
    if split is None or split.tokens < least:
        found = "has none" if split is None else f"has one of {split.tokens:,} tokens"
        raise errors.UsageError(
            "WEIGHT_SCHEDULE = 'auto' measures the teachers on the guide, a split "
            f"that no student learns from, and {job.data_dir} {found}; "
            f"{streams} streams of {window} tokens need at least {least:,}, and 5,000 "
            "are better. Run `lmcodistill prep` again with a higher GUIDE_FRACTION, "
            "or choose another WEIGHT_SCHEDULE."
        )
    return windows_lib.TrainingWindows(
        data.tokens_of(split),
        global_batch_size=streams,
        window=window,
        end_id=data.manifest.end_id,
        reset_at_documents=job.batches.reset_at_documents,
    )


def with_vocabulary(
    config: model.ModelConfig, size: int, data_dir: pathlib.Path
) -> model.ModelConfig:
    """Returns the model's settings with the size of the data's vocabulary.

    Raises:
        UsageError: they name another size.
    """
    if config.vocab_size not in (None, size):
        raise errors.UsageError(
            f"VOCAB_SIZE = {config.vocab_size}, but the vocabulary of "
            f"{data_dir} has {size} pieces. Leave VOCAB_SIZE out to take the "
            "data's, or run prep with the size you want."
        )
    return dataclasses.replace(config, vocab_size=size)


def check_vocabulary(job: Job, inputs: Inputs) -> None:
    """Refuses to go on from a checkpoint whose token ids mean other pieces.

    Raises:
        DataError: a checkpoint belongs to other data.
    """
    expected = inputs.data.manifest.vocabulary
    folder = job.layout.checkpoints
    for snapshot in publication.committed(folder, layouts.CHECKPOINT, job.key):
        # A damaged one is not the one that training goes on from.
        with contextlib.suppress(errors.SnapshotError):
            trained_with = str(snapshot.manifest().get("vocabulary"))
            if trained_with != expected:
                raise errors.DataError(
                    f"{snapshot.path} was trained with vocabulary {trained_with[:12]}; "
                    f"{job.data_dir} has {expected[:12]}: the token ids mean other "
                    "pieces. Give the data it was trained on, or another --run_dir."
                )


def check_offline_teachers(job: Job, data: shards.ShardSet) -> None:
    """Refuses exports that could not teach: everything but how they predict.

    Raises:
        SnapshotError: one is damaged, or its token ids mean other pieces.
    """
    expected = data.manifest.vocabulary
    for path in job.distillation.offline_exports:
        snapshot = lookup.find(path, job.key)
        described = snapshot.manifest()
        trained_with = str(described.get("vocabulary"))
        if trained_with != expected:
            raise errors.SnapshotError(
                f"{snapshot.path}, of OFFLINE_EXPORTS, was trained with vocabulary "
                f"{trained_with[:12]}; {job.data_dir} has {expected[:12]}. Their token "
                "ids mean different pieces. Give exports of the same `lmcodistill "
                "prep`.",
                reason="vocabulary",
            )
        publication.verify(snapshot, described)


def check_peers(job: Job) -> None:
    """Refuses a run whose students could not teach each other.

    Raises:
        UsageError: there is no peer, or no such student.
    """
    if not 0 <= job.student < job.num_students:
        raise errors.UsageError(
            f"--student={job.student} does not exist: --students={job.num_students} "
            f"have the indices 0 to {job.num_students - 1}."
        )
    if job.asynchronous_workers:
        _check_asynchronous(job)
    averages = job.exchange.average_weights
    source = f"TARGETS = {job.distillation.targets!r}"
    if averages:
        source = "AVERAGE_WEIGHTS = True"
    if job.policy.reads_peers and job.num_students == 1:
        raise errors.UsageError(
            f"{source} needs at least two students and "
            "--students=1. Add --students=2, or train on the labels alone with "
            "--gin.TARGETS=none."
        )
    if averages and not (
        job.training.shared_start
        and job.distillation.targets not in codistillation.TEACHER_TARGETS
        and policies.MODES[job.exchange.mode].is_waited_for
        and job.exchange.delay_steps == 0
        and job.exchange.publish_every_steps == job.exchange.reload_every_steps
    ):
        raise errors.UsageError(
            "AVERAGE_WEIGHTS = True averages weights, which means something only "
            "between students of one start at one step. Set Training.shared_start = "
            "True, TARGETS = 'none', EXCHANGE_MODE = 'scheduled', DELAY_STEPS = 0 and "
            "PUBLISH_EVERY_STEPS = RELOAD_EVERY_STEPS."
        )
    if averages and job.training.average_decay:
        raise errors.UsageError(
            f"AVERAGE_WEIGHTS = True and AVERAGE_DECAY = {job.training.average_decay}: "
            "what students exchange is either the weights or their mean over the "
            "updates, and a mean of means would set training back. Leave one out."
        )
    end, burn_in = job.distillation.temperature_end_step, job.weight.burn_in_steps
    if job.distillation.final_temperature is not None and end <= burn_in:
        raise errors.UsageError(
            f"Distillation.temperature_end_step = {end}, but the temperature moves "
            f"from the end of burn-in on, and BURN_IN_STEPS is {burn_in}. Give a "
            "later step, or leave Distillation.final_temperature out."
        )
    if job.weight.is_measured:
        _check_measured(job, source)


def _check_asynchronous(job: Job) -> None:
    """Refuses to train asynchronously what is more than one model on labels.

    Raises:
        UsageError: it is.
    """
    targets, students = job.distillation.targets, job.num_students
    if targets != "none" or students != 1 or job.exchange.average_weights:
        raise errors.UsageError(
            f"--strategy=parameter_server with TARGETS = {targets!r}, "
            f"--students={students} and AVERAGE_WEIGHTS = "
            f"{job.exchange.average_weights} cannot work: it trains one student on "
            "the labels alone, the baseline of codistillation. Add --students=1 "
            "--gin.TARGETS=none, and leave AVERAGE_WEIGHTS out; or give "
            "--strategy=multi_worker_mirrored."
        )


def _check_measured(job: Job, source: str) -> None:
    """Refuses to measure a weight where the formula means nothing.

    Raises:
        UsageError: the weight mixes no predictions; `source` is who teaches.
    """
    distillation = job.distillation
    has_no_teachers = distillation.targets in fixed_targets.DISTRIBUTIONS
    if job.exchange.average_weights or has_no_teachers:
        raise errors.UsageError(
            f"WEIGHT_SCHEDULE = 'auto' compares teachers with the student, and "
            f"{source} has none. Use 'constant', or teachers."
        )
    is_mixed = {
        "loss": distillation.loss in codistillation.MIXING_LOSSES,
        "temperature": distillation.temperature == 1.0,
        "final_temperature": distillation.final_temperature in (None, 1.0),
        "gate": distillation.gate == "none",
    }
    for field, mixes in is_mixed.items():
        if not mixes:
            raise errors.UsageError(
                f"WEIGHT_SCHEDULE = 'auto' with Distillation.{field} = "
                f"{getattr(distillation, field)!r} cannot work: it measures how labels "
                "and predictions should be mixed, and that is what the loss does only "
                f"with {' or '.join(codistillation.MIXING_LOSSES)}, at temperature 1.0 "
                "and at every position. Use those, or another WEIGHT_SCHEDULE."
            )


def summary(job: Job, inputs: Inputs, workers_per_student: int) -> dict[str, object]:
    """Returns what `--dry_run` prints: sizes, lengths and an estimate of memory."""
    teachers = job.policy.num_teachers
    epoch = inputs.windows.windows_per_epoch
    operations = cost.forward(
        inputs.model,
        inputs.data.manifest.vocab_size,
        -(-job.batches.global_batch_size // workers_per_student),
        job.batches.window,
    )
    kept = operations.kept_by(job.training.recompute) / job.batches.micro_batches
    return {
        "student": job.student,
        "students": job.num_students,
        "workers_per_student": workers_per_student,
        "weights": _num_weights(inputs),
        "vocab_size": inputs.data.manifest.vocab_size,
        "partition_tokens": inputs.text.num_tokens,
        "tokens_per_step": job.tokens_per_step,
        "steps_per_epoch": epoch,
        "epochs": round(job.training.num_train_steps / epoch, 3),
        "teachers": teachers,
        "state_mb_per_process": round(state_bytes(job, inputs) / 2**20),
        "carried_mb_per_process": round(
            4 * operations.carried * (1 + teachers) / 2**20
        ),
        "activation_mb_per_process": round(4 * kept / 2**20),
    }


def state_bytes(job: Job, inputs: Inputs) -> int:
    """Returns what a process holds for the whole run, in bytes: no activations."""
    # Weights, gradient, slots, means.
    copies = 2 + job.optimizer.num_slots + bool(job.training.average_decay)
    return 4 * _num_weights(inputs) * (copies + job.policy.num_teachers)


def _num_weights(inputs: Inputs) -> int:
    return weights.num_weights(inputs.model, inputs.data.manifest.vocab_size)
