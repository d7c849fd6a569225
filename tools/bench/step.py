r"""Makes training steps of ours and prints one JSON line about them.

Our side of `python -m tools.bench train`, and its peer where two checkouts are
compared. It is the trainer's own student on a made-up text: reading, teachers,
objective, gradient, clipping, update. Teachers are drawn at random and never swapped.

Examples:
  python -m tools.bench step --teachers 1 --dtype bfloat16
  python -m tools.bench step --hidden_size 512 --gin.Optimizer.clip_norm=0.0
"""

import argparse
import collections
import dataclasses
import json
import pathlib
import resource
import statistics
import tempfile
import time
from typing import Any

import lmcodistill
from lmcodistill import errors
from lmcodistill.model import cost, weights
from lmcodistill.training import job as job_lib
from tools.bench import workload

# The trainer looks at an update's totals two steps later, and so does this.
_LAG = 2
_WINDOWS = 8


def main() -> None:
    """Reads the flags, makes the steps, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    paper = workload.SIZES["paper"]
    parser.add_argument("--family", choices=workload.FAMILIES, default="lstm")
    parser.add_argument("--vocab_size", type=int, default=paper.vocab_size)
    parser.add_argument("--embed_dim", type=int, default=paper.embedding_size)
    parser.add_argument("--hidden_size", type=int, default=paper.hidden_size)
    parser.add_argument("--num_layers", type=int, default=paper.num_layers)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--teachers", type=int, default=0)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--teacher_dtype",
        choices=("float32", "bfloat16"),
        help="what the teachers' exports compute in; else --dtype",
    )
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--no_floor", action="store_true", help="leave the floor out")
    flags, unknown = parser.parse_known_args()
    bindings = workload.split_gin(unknown, parser)
    with tempfile.TemporaryDirectory(prefix="lmcodistill-bench-") as folder:
        print(json.dumps(_measure(flags, bindings, pathlib.Path(folder))))


def _measure(flags, bindings: list[str], folder: pathlib.Path) -> dict[str, Any]:
    size = workload.Size(
        flags.vocab_size, flags.embed_dim, flags.hidden_size, flags.num_layers
    )
    num_tokens = flags.batch_size * (flags.window * _WINDOWS + 1)
    data_dir = workload.make_data(folder / "data", size.vocab_size, num_tokens)
    job = workload.make_job(
        data_dir,
        folder / "run",
        [
            *size.bindings(flags.family),
            f"COMPUTE_DTYPE='{flags.dtype}'",
            f"GLOBAL_BATCH_SIZE={flags.batch_size}",
            f"WINDOW={flags.window}",
            f"TARGETS='{'peers' if flags.teachers else 'none'}'",
            *bindings,
        ],
        num_students=1 + flags.teachers,
    )
    workload.start()
    student = _student(job, flags)
    wall, cpu = _steps(student, flags.warmup, flags.steps)
    # The floor's operands come after the peak was read.
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "system": f"lmcodistill {lmcodistill.__version__}",
        **vars(flags),
        "gin": bindings,
        "step_seconds": statistics.median(wall),
        "step_cpu_seconds": statistics.median(cpu),
        "tokens_per_second": job.tokens_per_step / statistics.median(wall),
        "peak_rss_mb": peak_mb,
        **_peak_on_accelerator(),
        "num_traces": student.num_traces,
        "floor": None if flags.no_floor else _floor(job, flags),
    }


def _student(job: job_lib.Job, flags) -> Any:
    """Builds the student in a group of this process alone, with its teachers."""
    from lmcodistill.exports import reader
    from lmcodistill.training import cluster
    from lmcodistill.training import student as student_lib

    inputs = job_lib.open_inputs(job)
    student = student_lib.Student(job, inputs, cluster.Group())
    config = dataclasses.replace(
        inputs.model, compute_dtype=flags.teacher_dtype or inputs.model.compute_dtype
    )
    student.teachers.swap(
        [
            reader.Export(
                source="drawn at random",
                student=index + 1,
                step=0,
                config=config,
                vocab_size=flags.vocab_size,
                vocabulary=inputs.data.manifest.vocabulary,
                reset_at_documents=job.batches.reset_at_documents,
                generation=1,
                weights=weights.initial(config, flags.vocab_size, index + 1),
            )
            for index in range(flags.teachers)
        ],
        step=0,
    )
    return student


def _steps(student, warmup: int, steps: int) -> tuple[list[float], list[float]]:
    """Returns time and CPU time of each step after the first few."""
    pending: collections.deque = collections.deque()
    wall, cpu, skipped = [], [], 0.0
    for number in range(warmup + steps):
        began = time.perf_counter(), time.process_time()
        pending.append(student.update(number)[0])
        if len(pending) > _LAG:
            skipped += float(pending.popleft().skipped)
        wall.append(time.perf_counter() - began[0])
        cpu.append(time.process_time() - began[1])
    if skipped + sum(float(totals.skipped) for totals in pending):
        raise errors.DivergedError(
            "Updates were skipped because they were not finite, and such steps cost "
            "less. Lower --gin.LEARNING_RATE."
        )
    return wall[warmup:], cpu[warmup:]


def _floor(job: job_lib.Job, flags) -> dict[str, Any]:
    from tools.bench import floor

    sizes = (flags.vocab_size, flags.batch_size, flags.window)
    ours = cost.step(job.model, *sizes)
    theirs = cost.forward(job.model, *sizes).matmuls
    their_dtype = flags.teacher_dtype or flags.dtype
    return floor.measure(
        [floor.Typed(flags.dtype, p) for p in ours]
        + [floor.Typed(their_dtype, p) for p in theirs] * flags.teachers
    )


def _peak_on_accelerator() -> dict[str, int]:
    """Returns its peak memory, where there is one."""
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return {}
    info = tf.config.experimental.get_memory_info("GPU:0")
    return {"peak_device_mb": info["peak"] >> 20}
