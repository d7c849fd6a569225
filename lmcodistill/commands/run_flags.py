"""Flags of a whole run, for `train` and for what starts it on a cluster."""

from lmcodistill import errors
from lmcodistill.commands import command_flags, export_flags, supervision
from lmcodistill.settings import training


def define_flags(define: command_flags.Definer) -> None:
    """Defines where data and run are, how many processes there are, and their care."""
    define.path(
        "data_dir",
        "The data folder that `lmcodistill prep` made.",
        command_flags.COPY_IT,
    )
    define.path(
        "run_dir",
        "The run's folder: configuration, metrics, logs.",
        "Logs grow there, which objects cannot; --shared_dir takes URLs, for exports "
        "and checkpoints.",
    )
    define.place(
        "shared_dir",
        "Where students meet: exports, checkpoints and leases. A folder or the URL of "
        "an object store that all students reach; --run_dir if not given.",
    )
    export_flags.define_key(define)
    define.integer(
        "students", 2, "Students in the run.", 1, command_flags.MOST_PROCESSES
    )
    define.integer(
        "workers_per_student",
        1,
        "Processes of each student.",
        1,
        command_flags.MOST_PROCESSES,
    )
    supervision.define_flags(define)


def check_shared(
    batches: training.Batches, workers: int, source: str = "--workers_per_student="
) -> None:
    """Refuses a batch that a student's workers cannot share evenly.

    `source` says what gave their number.

    Raises:
        UsageError: one worker would get more than another.
    """
    parts = workers * batches.micro_batches
    if batches.global_batch_size % parts:
        passes = batches.micro_batches
        raise errors.UsageError(
            f"GLOBAL_BATCH_SIZE = {batches.global_batch_size} cannot be shared by "
            f"{source}{workers}{f' and MICRO_BATCHES = {passes}' if passes > 1 else ''}"
            f". Choose a multiple of {parts}."
        )
