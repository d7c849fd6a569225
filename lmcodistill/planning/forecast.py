"""What one student's run will take, from its settings and from updates timed here."""

from typing import NamedTuple

from lmcodistill.model import cost
from lmcodistill.report import units
from lmcodistill.training import job as job_lib
from lmcodistill.training import trial as trial_lib


class Forecast(NamedTuple):
    """What one student's run will take.

    Attributes:
        text_tokens: Of the text that it learns from.
        readings: How often it reads that text.
        taught_steps: Its updates that may have soft targets.
        teacher_updates: How often newer exports take the place of its teachers, or of
            what it averages with, where all students keep one pace.
        published_bytes: Of all its exports; their number is `publications`.
        publications: Exports.
        read_bytes: Of all exports that it reads.
        seconds: Of all updates at the pace of those that were timed. Neither the sum
            over several workers is in it, nor validation, saving or the exchange.
    """

    text_tokens: int
    readings: float
    taught_steps: int
    teacher_updates: int
    publications: int
    published_bytes: int
    read_bytes: int
    seconds: float


def of(
    job: job_lib.Job, inputs: job_lib.Inputs, trial: trial_lib.TrialUpdates
) -> Forecast:
    """Returns the forecast of a student, given what updates took here."""
    steps = job.training.num_train_steps
    reading_steps = inputs.windows.windows_per_epoch
    taught_steps = 0
    if trial.taught_step_seconds is not None:
        taught_steps = max(0, steps - job.taught_from(reading_steps))
    seconds = (steps - taught_steps) * trial.step_seconds
    seconds += taught_steps * (trial.taught_step_seconds or 0.0)
    updates = sum(1 for _ in job.policy.update_steps(steps))
    publications = -(-steps // job.exchange.publish_every_steps)  # The last step's too.
    export_bytes = cost.export_bytes(
        inputs.model, inputs.data.manifest.vocab_size, job.exchange.export_dtype
    )
    read_at_once = job.policy.num_teachers
    if job.exchange.average_weights:
        read_at_once = job.num_students - 1
    return Forecast(
        text_tokens=inputs.text.num_tokens,
        readings=steps / reading_steps,
        taught_steps=taught_steps,
        teacher_updates=updates,
        publications=publications,
        published_bytes=publications * export_bytes,
        read_bytes=updates * read_at_once * export_bytes,
        seconds=seconds,
    )


def rows(
    job: job_lib.Job, trial: trial_lib.TrialUpdates, forecast: Forecast
) -> dict[str, str]:
    """Returns what people read of it, by name, each with what it rests on."""
    steps, students = job.training.num_train_steps, job.num_students
    taught = ""
    if trial.taught_step_seconds is not None:
        taught = f", {1e3 * trial.taught_step_seconds:,.1f} ms with soft targets"
    exports = forecast.published_bytes, forecast.read_bytes
    written, read = (units.size(students * count) for count in exports)
    devices = ", ".join(trial.devices)
    advice = ""
    if job.distillation.targets == "peers" and forecast.readings <= 1.0:
        # docs/reports/experiments.md
        advice = (
            "; on text that is read once only, a peer gained nothing where it was "
            "measured: `lmcodistill compare` says whether it does here"
        )
    return {
        "text": f"{forecast.text_tokens:,} tokens, read {forecast.readings:,.1f} "
        f"time(s){advice}",
        "device": f"{devices}; {trial.streams:,} streams of one worker",
        "cross entropy": f"{trial.cross_entropy:.4f} nats per token on the first "
        "window, before any update",
        "step": f"{1e3 * trial.step_seconds:,.1f} ms{taught}; each the fastest of "
        f"{trial_lib.TIMED_UPDATES} updates made here",
        "tracing": f"{trial.tracing_seconds:,.1f} s at every start, measured",
        "memory": f"{units.size(trial.peak_memory_bytes)} of one process at most, "
        "measured",
        "time": f"{units.duration(forecast.seconds)} for {steps:,} updates, "
        f"{forecast.taught_steps:,} with soft targets, at that pace; without "
        "validation, saving, waits and sums over workers",
        "teacher updates": f"{forecast.teacher_updates:,} of each student, if all keep "
        "one pace",
        "exchange": f"{forecast.publications:,} exports of each of {students} "
        f"student(s), {written} written and {read} read by all, counted from shapes",
    }
