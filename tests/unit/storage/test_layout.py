"""Where things live: names that scripts rely on."""

from lmcodistill.storage import layout, places


def test_names_of_the_data_folder(tmp_path):
    data = layout.DataLayout(tmp_path)

    assert data.manifest == tmp_path / "manifest.json"
    assert data.vocabulary == tmp_path / "vocabulary.model"
    assert data.train_name(1, 2) == "train-00001-of-00002"
    assert data.shard_name(3) == "shard-00003.tokens"


def test_names_of_a_student(tmp_path):
    student = layout.RunLayout(tmp_path).student(1)

    assert student.exports == tmp_path / "students" / "1" / "exports"
    assert student.checkpoints == tmp_path / "students" / "1" / "checkpoints"
    assert student.metrics == tmp_path / "students" / "1" / "metrics.jsonl"
    assert student.log(0).name == "log.txt"
    assert student.log(2).name == "log-worker-2.txt"


def test_what_peers_and_successors_read_is_in_the_shared_place(tmp_path):
    shared = places.place("memory://bucket/run/")

    student = layout.RunLayout(tmp_path, shared).student(1)

    assert str(student.exports) == "memory://bucket/run/students/1/exports"
    assert str(student.checkpoints) == "memory://bucket/run/students/1/checkpoints"
    assert str(student.leases) == "memory://bucket/run/students/1/leases"
    assert student.metrics == tmp_path / "students" / "1" / "metrics.jsonl"
    assert student.progress.parent == student.events.parent == student.root


def test_shared_place_is_the_run_unless_said_otherwise(tmp_path):
    student = layout.RunLayout(tmp_path).student(0)

    assert student.shared == student.root
    assert student.leases == tmp_path / "students" / "0" / "leases"


def test_students_are_the_folders_with_numbers_in_order(tmp_path):
    for name in ("10", "2", "0", "notes"):
        (tmp_path / "students" / name).mkdir(parents=True)

    assert layout.RunLayout(tmp_path).students() == [0, 2, 10]
    assert layout.RunLayout(tmp_path / "elsewhere").students() == []
