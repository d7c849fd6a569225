"""What is looked for before a run begins, because it would end badly or be in vain."""

import dataclasses
import shutil

import numpy as np
import pytest

from lmcodistill import errors
from lmcodistill.data import shards
from lmcodistill.settings import codistillation, schedules
from lmcodistill.storage import places
from lmcodistill.training import job as job_lib
from lmcodistill.training import preflight
from tests.support import small_data


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


def test_measured_weight_of_text_that_is_read_once_is_refused(a_job):
    short = schedules.DistillationWeight(schedule="auto", auto_lanes=3)
    reading = job_lib.open_inputs(a_job(weight=short)).windows.windows_per_epoch

    def job(steps, **weight):
        training = dataclasses.replace(a_job().training, num_train_steps=steps)
        return a_job(weight=dataclasses.replace(short, **weight), training=training)

    with pytest.raises(errors.UsageError, match=f"from step {reading} on"):
        check(job(reading))
    check(job(reading + 1))
    check(job(reading, auto_after_readings=0))


def test_folder_that_is_a_file_is_refused(a_job, tmp_path):
    file = tmp_path / "file"
    file.touch()

    for run_dir in (file, file / "run"):
        with pytest.raises(errors.UsageError, match="file is a file"):
            check(a_job(run_dir=run_dir))


def test_run_whose_peers_publish_too_late_is_refused(a_job):
    late = codistillation.Exchange(publish_every_steps=9, reload_every_steps=2)

    # Reads at 2, 4, 6 and 8, and the first export is of step 9.
    with pytest.raises(errors.UsageError, match="PUBLISH_EVERY_STEPS = 9"):
        check(a_job(exchange=late))


def test_every_token_of_every_shard_is_read(tmp_path):
    ids = np.resize([5, 4, 3, small_data.END], 80)
    copy = small_data.write(tmp_path / "data", [[ids], [ids]], [ids])
    data, read = shards.ShardSet(copy), []

    preflight.read_shards(data, read.append)
    assert sum(read) == data.num_bytes

    for name in ("train-00001-of-00002", "validation"):
        [shard] = (copy / name).glob("*.tokens")
        content = bytearray(shard.read_bytes())
        content[len(content) // 4 * 2] ^= 1
        shard.write_bytes(content)
    with pytest.raises(errors.DataError) as caught:
        preflight.read_shards(data)
    assert "train-00001-of-00002/shard-00000.tokens: SHA-256" in str(caught.value)
    assert "validation/shard-00000.tokens: SHA-256" in str(caught.value)


def test_measured_memory_of_all_processes_must_be_there(monkeypatch):
    monkeypatch.setattr(preflight, "memory_bytes", lambda: 10 << 30)

    preflight.check_peak_memory(5 << 30, processes=2)
    with pytest.raises(errors.UsageError, match=r"took 5.0 GiB .* has 10.0"):
        preflight.check_peak_memory(5 << 30, processes=3)


def test_object_store_is_written_to_and_left_as_it_was(object_store):
    folder = places.place(object_store.new_place())

    preflight.probe_object_store(folder)

    assert places.names_in(folder) == []
    with pytest.raises(errors.DataError, match="Nothing can be written to"):
        preflight.probe_object_store(places.place("s3://no-such-bucket/run"))


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
