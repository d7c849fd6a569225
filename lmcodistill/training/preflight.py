"""What would make a run fail later, or be in vain, looked for before it begins.

No TensorFlow. `train` looks at all of it, and so does `--dry_run`.
"""

import pathlib
import tempfile

import numpy as np

from lmcodistill import errors
from lmcodistill.data import shards
from lmcodistill.settings import codistillation
from lmcodistill.storage import places
from lmcodistill.training import job as job_lib
from lmcodistill.training import sinks

# Of each end of a partition; an id that means nothing is in all of a wrong file.
_LOOKED_AT_TOKENS = 1 << 20


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
    _check_lessons(job)
    sinks.check(job.training.metrics_sink)
    for folder in (job.run_dir, job.shared_dir):
        if places.is_local(folder):
            _check_writable(pathlib.Path(str(folder)))
    _check_memory(job, inputs, processes)
    _check_shards(job, inputs)


def _check_lessons(job: job_lib.Job) -> None:
    steps, burn_in = job.training.num_train_steps, job.weight.burn_in_steps
    has_teachers = job.distillation.targets in codistillation.TEACHER_TARGETS
    if has_teachers and burn_in >= steps:
        raise errors.UsageError(
            f"BURN_IN_STEPS = {burn_in} and NUM_TRAIN_STEPS = {steps}: no update would "
            "have a teacher. Lower BURN_IN_STEPS, or train on the labels alone with "
            "--gin.TARGETS=none."
        )


def _check_writable(folder: pathlib.Path) -> None:
    """Writes and removes a file in the folder, or where it would be made."""
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise errors.UsageError(f"{folder} is a file; a folder was expected.")
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(b"0")


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
