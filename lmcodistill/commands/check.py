r"""Try everything that a run needs, before it begins; nothing is trained or kept.

Takes the flags of `train`. First what `train --dry_run` looks at, in a second:
every setting, folders to write to, the data folder, checkpoints to go on from,
offline teachers, TF_CONFIG, and memory against this machine's. Then, in the
time that it takes to read the data and to start TensorFlow:

- all shards are read: sizes, digests and every token;
- the first updates of one student are compiled and made, with and without
  teachers, on the windows that training begins with;
- from those follow how long the run will be, how often teachers are updated,
  and how many bytes the students exchange.

The exit codes are those of `train`: 0, or 2: a flag or a setting; 3: data; 4:
an export or a checkpoint; 5: the first update is not finite; 75: a port is
taken.

Examples:
  lmcodistill check --gin_file runs/quickstart --data_dir DATA --run_dir RUN
  lmcodistill check --gin_file runs/paper_baseline --students 1 \
    --data_dir DATA --run_dir RUN --json
"""

import dataclasses
import json
import os
import sys

from absl import flags

from lmcodistill import tf_environment
from lmcodistill.commands import command_flags, progress_lines, run_flags


def define_flags(define: command_flags.Definer) -> None:
    """Defines where data and run are, and how many processes there are."""
    run_flags.define_flags(define)
    define.require("data_dir", "run_dir")
    run_flags.define_supervision(define)
    run_flags.define_worker_flags(define)


def run(flag_values: flags.FlagValues) -> None:
    """Checks, and says what it found; see the module's text."""
    # A mistake among the flags is found without all of this.
    from lmcodistill.commands import run_checks
    from lmcodistill.supervision import launcher, tf_config
    from lmcodistill.training import job as job_lib
    from lmcodistill.training import preflight

    planned = run_checks.PlannedRun(flag_values)
    summaries, job = planned.check(), planned.own_jobs[0]
    workers, processes = planned.workers_per_student, planned.processes
    inputs = job_lib.open_inputs(job)
    preflight.probe_object_store(job.shared_dir)
    num_bytes = inputs.data.num_bytes
    progress = progress_lines.ProgressLines("reading shards", num_bytes, "MB", 1e6)
    preflight.read_shards(inputs.data, progress.advance)
    print("Making the first updates...", file=sys.stderr)
    if not tf_config.is_set():
        threads = launcher.threads_of_each(processes)
        os.environ.update(tf_environment.of_threads(threads))
    os.environ.pop(tf_config.VARIABLE, None)  # The other workers are not there yet.
    tf_environment.start()
    from lmcodistill.planning import forecast
    from lmcodistill.training import trial as trial_lib

    if job.asynchronous_workers:  # Each makes whole updates of its own.
        job, workers = dataclasses.replace(job, asynchronous_workers=0), 1
    trial = trial_lib.run(job, workers)
    preflight.check_peak_memory(trial.peak_memory_bytes, processes)
    expected = forecast.of(job, inputs, trial)
    if flag_values.json:
        found = {
            "students": summaries,
            "config": planned.config_text,
            "shard_bytes": num_bytes,
            "trial": trial._asdict(),
            "forecast": expected._asdict(),
        }
        print(json.dumps(found))
        return
    for name, text in forecast.rows(job, trial, expected).items():
        print(f"{name + ':':<17}{text}")
    print("\nEverything that can be checked before a run is in order.")
