"""What is looked for before a run begins, because it would end badly or be in vain."""

import dataclasses
import shutil

import numpy as np
import pytest

from lmcodistill import errors
from lmcodistill.settings import codistillation, schedules
from lmcodistill.training import job as job_lib
from lmcodistill.training import preflight


def check(job, processes=1):
    preflight.check(job, job_lib.open_inputs(job), processes)


def test_sound_run_is_let_pass_and_nothing_is_left_of_the_look(a_job, tmp_path):
    job = a_job(run_dir=tmp_path / "new" / "run")

    check(job)

    assert list(tmp_path.iterdir()) == []


def test_run_without_a_single_lesson_is_refused(a_job):
    steps = a_job().training.num_train_steps
    late = schedules.DistillationWeight(burn_in_steps=steps)

    with pytest.raises(errors.UsageError, match="no update would have a teacher"):
        check(a_job(weight=late))
    alone = codistillation.Distillation(targets="none")
    check(a_job(weight=late, distillation=alone))


def test_folder_that_is_a_file_is_refused(a_job, tmp_path):
    file = tmp_path / "file"
    file.touch()

    for run_dir in (file, file / "run"):
        with pytest.raises(errors.UsageError, match="file is a file"):
            check(a_job(run_dir=run_dir))


def test_model_larger_than_the_machine_is_refused(a_job, monkeypatch):
    job = a_job()
    needed = job_lib.state_bytes(job, job_lib.open_inputs(job))

    monkeypatch.setattr(preflight, "memory_bytes", lambda: 4 * needed)

    check(job, processes=4)
    with pytest.raises(errors.UsageError, match="this machine has"):
        check(job, processes=5)


def test_memory_is_that_of_the_machine():
    assert 1 << 28 < preflight.memory_bytes() < 1 << 50


def test_ids_that_mean_nothing_and_missing_held_out_files_are_refused(
    a_job, data_dir, tmp_path
):
    copy = tmp_path / "data"
    shutil.copytree(data_dir, copy)
    job = dataclasses.replace(a_job(), data_dir=copy)
    [shard] = (copy / "train-00000-of-00002").glob("*.tokens")
    tokens = np.fromfile(shard, "<u2")

    for position in (0, -1):
        spoilt = tokens.copy()
        spoilt[position] = 999
        shard.write_bytes(spoilt.tobytes())
        with pytest.raises(errors.DataError, match="hold the id 999"):
            check(job)
    shard.write_bytes(tokens.tobytes())
    check(job)
    for path in (copy / "validation").glob("*.tokens"):
        path.unlink()
    with pytest.raises(errors.DataError, match="validation"):
        check(job)
