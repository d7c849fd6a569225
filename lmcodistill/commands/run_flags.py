"""Flags of a whole run, for `train` and for what starts it on a cluster."""

from lmcodistill import errors
from lmcodistill.commands import command_flags, export_flags
from lmcodistill.settings import training
from lmcodistill.supervision import process_group

_DEFAULTS = process_group.Limits()
# As TensorFlow calls them: synchronous and asynchronous SGD.
STRATEGIES = ("multi_worker_mirrored", "parameter_server")


def define_flags(define: command_flags.Definer) -> None:
    """Defines where data and run are, and how many processes there are."""
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


def define_worker_flags(define: command_flags.Definer) -> None:
    """Defines how workers work together, whose this one is, what it goes on with."""
    define.heading("Workers")
    define.enum(
        "strategy",
        STRATEGIES[0],
        list(STRATEGIES),
        "How a student's workers work together: all on every update, or each on "
        "updates of its own, which it makes on weights that parameter servers keep: "
        "asynchronous SGD, for --students=1 without teachers.",
    )
    define.integer(
        "parameter_servers",
        1,
        "Processes that keep the weights, with --strategy=parameter_server.",
        1,
        command_flags.MOST_PROCESSES,
    )
    define.integer(
        "student", None, "With TF_CONFIG: which student this worker trains.", 0
    )
    define.heading("To go on with a run")
    define.bool(
        "accept_changed_config",
        False,
        "Go on with a run although its configuration was another.",
    )


def define_supervision(define: command_flags.Definer) -> None:
    """Defines when a student is started again, and where its ports may be."""
    define.heading("Supervision")
    define.integer(
        "max_restarts",
        _DEFAULTS.max_restarts,
        "How often in a row a student is started again without getting any further "
        "than before; 0: never, and the first failure ends the run.",
        0,
    )
    define.float(
        "start_deadline_seconds",
        _DEFAULTS.start_deadline_seconds,
        "How long a student's workers may take to find each other. Then the missing "
        "ones are named, and all are started again.",
        1.0,
    )
    define.float(
        "hang_seconds",
        1800.0,
        "How long a step may take. Then the worker says where each of its threads "
        "is, and its student is started again; 0: for ever.",
        0.0,
    )
    define.float(
        "frozen_seconds",
        _DEFAULTS.frozen_seconds,
        "How long a worker may give no sign of life, of which it gives one a second. "
        "Then it is killed, and its student is started again.",
        1.0,
    )
    define.bool(
        "log",
        False,
        "Show what the workers write, each line with its student and worker. With "
        "TF_CONFIG it is shown in any case.",
    )
    define.bool(
        "allow_public_addresses",
        False,
        "Let TF_CONFIG have addresses of the internet. TensorFlow's ports have no "
        "password: only behind a firewall.",
    )


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
