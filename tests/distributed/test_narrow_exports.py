"""Two students teach each other with exports in int8, one process each."""

import json
import re

import pytest

from tests.support import tiny_run

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def run(finish, data_dir, tmp_path_factory):
    """Makes a finished run, exports scheduled."""

    def make(**changes):
        folder = tmp_path_factory.mktemp("narrow")
        changes = {"Exchange__export_dtype": "int8"} | changes
        finish(*tiny_run.train_arguments(data_dir, folder, **changes))
        return folder

    return make


@pytest.fixture(scope="module")
def run_dir(run):
    return run()


def manifests_of(run_dir, student):
    paths = run_dir.glob(f"students/{student}/exports/export-*/manifest.json")
    return [json.loads(path.read_text()) for path in sorted(paths)]


@pytest.mark.parametrize("student", [0, 1])
def test_exports_are_int8_and_teach(run_dir, student):
    manifests = manifests_of(run_dir, student)
    by_step = {r["step"]: r for r in tiny_run.reports_of(run_dir, student, "train")}

    assert [m["step"] for m in manifests] == [2, 4, 6, 8]
    assert {m["dtype"] for m in manifests} == {"int8"}
    assert all(m["quantization"]["cross_entropy_loss"] < 0.02 for m in manifests)
    assert by_step[6]["distillation_loss"] > 0.0
    assert by_step[8]["refused_exports"] == {}
    assert by_step[8]["exports_in_full"] == 0
    (teacher,) = by_step[8]["teachers"]
    assert (teacher["peer"], teacher["step"]) == (1 - student, 6)


def test_loss_is_said_in_the_log(run_dir):
    log = tiny_run.log_of(run_dir, 0)

    assert log.count("event=export_narrowed dtype=int8 cross_entropy_loss=") == 4


def test_the_same_run_ends_with_the_same_weights(run, run_dir):
    again = run()

    for student in (0, 1):
        assert tiny_run.weights_of(again, student) == tiny_run.weights_of(
            run_dir, student
        )


def test_exports_that_would_lose_too_much_are_in_full_and_teach_all_the_same(run):
    # No text is predicted better with coarser weights every time.
    folder = run(Exchange__max_quantization_loss=0.0)

    in_full = 0
    for student in (0, 1):
        reports = tiny_run.reports_of(folder, student, "train")
        versions = [m["format_version"] for m in manifests_of(folder, student)]
        # What the program counted at the end, of every export.
        log = tiny_run.log_of(folder, student)
        counts = re.findall(r"event=export_written_in_full .* refused=(\d+)", log)
        assert list(map(int, counts)) == list(range(1, versions.count(2) + 1))
        # The last export comes after the last report, and the one before it, which is
        # written in the background, may.
        told = reports[-1]["exports_in_full"]
        assert told in (versions[:-2].count(2), versions[:-1].count(2))
        assert reports[-1]["distillation_loss"] > 0.0
        in_full += versions.count(2)
    assert in_full > 0


def test_commands_read_them(finish, run_dir, data_dir):
    student = run_dir / "students/0"

    scored = finish(
        *("evaluate", "--json", "--data_dir", data_dir, "--export", student)
    )
    text = finish("generate", "--export", student, "--prompt", "A", "--tokens", 3)
    finish("export", "--export", student, "--output_dir", student / "serving")

    (result,) = json.loads(scored)["results"]
    assert 3.0 < result["cross_entropy"] < 6.5
    assert text.startswith("A")
    assert (student / "serving/saved_model.pb").is_file()
