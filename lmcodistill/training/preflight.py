"""What would make a run fail later, or be in vain, looked for before it begins.

No TensorFlow. `train` and `--dry_run` look at what `check` finds, in a second; the
other two functions, which read and write as much as there is, are for
`lmcodistill check`.
"""

import pathlib
import tempfile
import uuid
from collections.abc import Callable

import numpy as np

from lmcodistill import errors
from lmcodistill.data import fault_list, shard_checks, shards
from lmcodistill.settings import codistillation
from lmcodistill.storage import files, places
from lmcodistill.training import job as job_lib
from lmcodistill.training import sinks

# Of each end of a partition; an id that means nothing is in all of a wrong file.
_LOOKED_AT_TOKENS = 1 << 20
_MAX_FAULTS = 3  # That a refusal names.


def check(job: job_lib.Job, inputs: job_lib.Inputs, processes: int) -> None:
    """Refuses a run that cannot end well.

    Args:
        job: One student's.
        inputs: What it reads.
        processes: That run on this machine, of all students.

    Raises:
        UsageError: no update would have a teacher, a folder is none, the machine's
            memory does not hold the weights, or a library is missing.
        DataError: held-out shards are missing, or ids mean no piece.
        OSError: a folder cannot be written to.
    """
    check_lessons(job, inputs)
    sinks.check(job.training.metrics_sink)
    for folder in (job.run_dir, job.shared_dir):
        if places.is_local(folder):
            _check_writable(folder)
    _check_memory(job, inputs, processes)
    _check_shards(job, inputs)


def check_lessons(job: job_lib.Job, inputs: job_lib.Inputs) -> None:
    """Refuses a run that is to have teachers, and no update of it would have one.

    Raises:
        UsageError: that is so; says why.
    """
    _check_teacher_updates(job)
    _check_second_reading(job, inputs)


def _check_teacher_updates(job: job_lib.Job) -> None:
    steps, burn_in = job.training.num_train_steps, job.weight.burn_in_steps
    has_teachers = job.distillation.targets in codistillation.TEACHER_TARGETS
    if not has_teachers or next(job.policy.update_steps(steps), None) is not None:
        return
    names = "BURN_IN_STEPS"
    cause = f"BURN_IN_STEPS = {burn_in} and NUM_TRAIN_STEPS = {steps}"
    if burn_in < steps:
        names += ", PUBLISH_EVERY_STEPS, RELOAD_EVERY_STEPS or DELAY_STEPS"
        exchange = job.exchange
        cause += (
            f", PUBLISH_EVERY_STEPS = {exchange.publish_every_steps}, "
            f"RELOAD_EVERY_STEPS = {exchange.reload_every_steps}, "
            f"DELAY_STEPS = {exchange.delay_steps}"
        )
    raise errors.UsageError(
        f"{cause}: no update would have a teacher. Lower {names}, or train on the "
        "labels alone with --gin.TARGETS=none."
    )


def _check_second_reading(job: job_lib.Job, inputs: job_lib.Inputs) -> None:
    steps, first = job.training.num_train_steps, job.weight.burn_in_steps
    start = job.taught_from(inputs.windows.windows_per_epoch)
    if first < steps <= start:
        raise errors.UsageError(
            f"WEIGHT_SCHEDULE = 'auto' teaches from step {start:,} on, when the text "
            f"was read {job.weight.auto_after_readings} time(s), because peers gained "
            f"nothing on text that is new; NUM_TRAIN_STEPS = {steps:,} ends before. "
            "Train for longer, or from burn-in on with "
            "--gin.DistillationWeight.auto_after_readings=0 or "
            "--gin.WEIGHT_SCHEDULE=constant; `lmcodistill compare` says which pays."
        )


def _check_writable(folder: pathlib.Path) -> None:
    """Writes and removes a file in the folder, or where it would be made."""
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise errors.UsageError(
            f"{folder} is a file; a folder was expected. Give another --run_dir or "
            "--shared_dir."
        )
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"0")
    except OSError as error:
        error.filename = str(folder)  # Not a file that nobody knows of.
        raise


def _check_memory(job: job_lib.Job, inputs: job_lib.Inputs, processes: int) -> None:
    needed = processes * job_lib.state_bytes(job, inputs)
    memory = memory_bytes()
    if needed > memory:
        raise errors.UsageError(
            f"The weights of {processes} process(es), with gradients, slots and "
            f"teachers, take {needed / 2**30:,.1f} GiB, and this machine has "
            f"{memory / 2**30:,.1f}. Make the model smaller, or start fewer processes "
            "here."
        )


def check_peak_memory(peak_bytes: int, processes: int) -> None:
    """Refuses what a process was seen to take, where so many are to run here.

    Raises:
        UsageError: this machine has less.
    """
    memory = memory_bytes()
    if processes * peak_bytes > memory:
        raise errors.UsageError(
            f"An update took {peak_bytes / 2**30:,.1f} GiB of memory; {processes} "
            f"process(es) are to run here, and this machine has "
            f"{memory / 2**30:,.1f}. Raise MICRO_BATCHES, lower GLOBAL_BATCH_SIZE or "
            "WINDOW, make the model smaller, or start fewer processes here."
        )


def memory_bytes() -> int:
    """Returns the memory that this process may use with all others."""
    pages = pathlib.Path("/proc/meminfo").read_text().splitlines()
    [total] = [line.split()[1] for line in pages if line.startswith("MemTotal:")]
    limit = pathlib.Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return min(int(total) << 10, int(text) if text.isdecimal() else 1 << 62)


def _check_shards(job: job_lib.Job, inputs: job_lib.Inputs) -> None:
    """Looks at the ends of the text, and at the validation text's files."""
    texts = [inputs.text]
    if job.training.evaluate_every_steps:
        texts.append(inputs.data.tokens_of(inputs.data.held_out_split("validation")))
    for text in texts:
        length = min(_LOOKED_AT_TOKENS, text.num_tokens)
        for start in {0, text.num_tokens - length}:
            largest = int(np.max(text.read(start, length), initial=0))
            _refuse_unknown_id(largest, inputs.data)


def _refuse_unknown_id(largest: int, data: shards.ShardSet) -> None:
    if largest >= data.manifest.vocab_size:
        raise errors.DataError(
            f"The shards hold the id {largest}, and the vocabulary has "
            f"{data.manifest.vocab_size} pieces: they were changed, or are another "
            "prep's. `lmcodistill inspect --verify` says which; copy them again."
        )


def probe_object_store(folder: places.Place) -> None:
    """Writes and removes an object where students meet; of local folders see `check`.

    Raises:
        DataError: the store refuses, or does not answer.
    """
    if places.is_local(folder):
        return
    probe = folder / f".probe-{uuid.uuid4().hex}"
    try:
        files.write_text(probe, "0")
        places.remove_file(probe)
    except OSError as error:
        raise errors.DataError(
            f"Nothing can be written to {folder} ({error}). Give the right to write "
            "there, or another --shared_dir."
        ) from error


def read_shards(
    data: shards.ShardSet, advance: Callable[[int], None] = lambda _: None
) -> None:
    """Reads every shard: its size, its digest, its tokens and where documents end.

    Args:
        data: The data folder.
        advance: Called with the bytes that were read since the last call.

    Raises:
        DataError: a shard is not as the manifest says.
    """
    faults = fault_list.FaultList(advance)
    for split in data.manifest.splits:
        for shard in split.shards:
            path = data.path_of(split, shard)
            shard_checks.check_tokens(path, shard, data.manifest, None, faults)
    if faults.num_faults:
        shown = "\n".join(f"  {fault}" for fault in faults.faults[:_MAX_FAULTS])
        raise errors.DataError(
            f"The data folder has {faults.num_faults:,} fault(s):\n{shown}\n"
            "Copy these files again; `lmcodistill inspect --verify` shows all."
        )
