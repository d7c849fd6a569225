"""Metrics and the heartbeat as another process reads them."""

import json

from lmcodistill.storage import files, progress_file


def test_reports_come_back_in_order(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [{"kind": "train", "step": 1}, {"kind": "train", "step": 2}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert files.read_json_lines(path) == lines


def test_half_written_last_line_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "cross_ent')

    assert files.read_json_lines(path) == [{"step": 1}]


def test_line_cut_within_a_character_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes('{"step": 1}\n{"text": "ü'.encode()[:-1])

    assert files.read_json_lines(path) == [{"step": 1}]


def test_half_written_line_between_others_is_left_out(tmp_path):
    # Killed while writing, then started again.
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step"\n{"step": 2}\n')

    assert files.read_json_lines(path) == [{"step": 1}, {"step": 2}]


def test_no_file_has_no_reports(tmp_path):
    assert files.read_json_lines(tmp_path / "metrics.jsonl") == []
    assert progress_file.read(tmp_path / "progress.json") is None


def test_heartbeat_tells_the_latest_step(tmp_path):
    path = tmp_path / "progress.json"
    heartbeat = progress_file.Heartbeat(path, num_train_steps=100, num_students=2)

    heartbeat.beat(20, force=True)
    heartbeat.beat(30, force=True)

    progress = progress_file.read(path)
    assert (progress["step"], progress["num_train_steps"]) == (30, 100)
    assert progress["steps_per_second"] > 0.0
    assert list(tmp_path.iterdir()) == [path]


def test_heartbeat_is_written_once_a_second_at_most(tmp_path):
    path = tmp_path / "progress.json"
    heartbeat = progress_file.Heartbeat(path, num_train_steps=100, num_students=2)

    heartbeat.beat(1, force=True)
    heartbeat.beat(2)

    assert progress_file.read(path)["step"] == 1


def test_phase_is_told_at_once_and_keeps_the_step_of_an_earlier_start(tmp_path):
    path = tmp_path / "progress.json"
    before = progress_file.Heartbeat(path, num_train_steps=100, num_students=2)
    before.beat(30, force=True)
    heartbeat = progress_file.Heartbeat(path, num_train_steps=100, num_students=2)

    heartbeat.enter(progress_file.Phase.IMPORTING)
    importing = progress_file.read(path)
    heartbeat.enter(progress_file.Phase.WAITING, "step 40 of student 1")
    waiting = progress_file.read(path)
    heartbeat.restored(20)
    heartbeat.beat(21, force=True)

    assert (importing["phase"], importing["step"]) == ("importing TensorFlow", 30)
    assert waiting["waiting_for"] == "step 40 of student 1"
    last = progress_file.read(path)
    assert (last["phase"], last["waiting_for"]) == ("training", None)
    assert (last["restored_step"], last["step"]) == (20, 21)


def test_progress_that_is_half_written_counts_as_none(tmp_path):
    (tmp_path / "progress.json").write_text('{"step": 1')

    assert progress_file.read(tmp_path / "progress.json") is None
