"""A family of another package, a GRU, does all that the LSTM does.

No line of the program names it: it is installed, and `MODEL_FAMILY` chooses it.
"""

import json
import pathlib
import shutil

import pytest

from tests.support import tiny_run

pytestmark = pytest.mark.distributed
# Steps before the restart, and steps in all.
HALF, WHOLE = 5, 10


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> dict[str, str]:
    """The environment in which the GRU's package is installed."""
    site = tmp_path_factory.mktemp("site")
    package = site / "lmcodistill_gru-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Name: lmcodistill-gru\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        "[lmcodistill.families]\ngru = tests.support.gru.family:FAMILY\n"
    )
    return {"PYTHONPATH": f"{tiny_run.ROOT}:{site}"}


@pytest.fixture(scope="module")
def call(finish, installed):
    """Runs a command to its end where the GRU is installed."""
    return lambda *arguments: finish(*arguments, **installed)


def of_gru(**changes: object) -> list[str]:
    """Returns the bindings of a tiny run of the GRU."""
    return tiny_run.bindings_of("gru", {"Gru.width": 12}, **changes)


@pytest.fixture(scope="module")
def train(call, data_dir):
    """Trains two students of two workers each, their exports in int8."""

    def run(folder: pathlib.Path) -> None:
        call(
            *("train", "--data_dir", data_dir, "--run_dir", folder),
            *("--students", 2, "--workers_per_student", 2),
            *of_gru(
                NUM_TRAIN_STEPS=WHOLE,
                CHECKPOINT_EVERY_STEPS=HALF,
                EVALUATE_EVERY_STEPS=WHOLE,
                Exchange__export_dtype="int8",
            ),
        )

    return run


@pytest.fixture(scope="module")
def run_dir(train, tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("gru")
    train(folder)
    return folder


@pytest.fixture(scope="module")
def mixed(installed, data_dir, tmp_path_factory) -> pathlib.Path:
    """A run whose student 0 is a GRU and whose student 1 is an LSTM."""
    folder = tmp_path_factory.mktemp("mixed")
    never = {"EVALUATE_EVERY_STEPS": 0}
    students = [of_gru(**never), tiny_run.bindings(**never)]
    tiny_run.train_apart(data_dir, folder, students, **installed)
    return folder


def manifests_of(folder: pathlib.Path, student: int) -> list[dict]:
    paths = folder.glob(f"students/{student}/exports/export-*/manifest.json")
    return [json.loads(path.read_text()) for path in sorted(paths)]


@pytest.mark.parametrize("student", [0, 1])
def test_students_teach_each_other(run_dir, student):
    reports = tiny_run.reports_of(run_dir, student, "train")

    (teacher,) = reports[-1]["teachers"]
    assert teacher["peer"] == 1 - student
    assert reports[-1]["distillation_loss"] > 0.0
    assert reports[-1]["refused_exports"] == {}
    assert reports[-1]["cross_entropy"] < reports[0]["cross_entropy"]


def test_workers_of_a_student_agree(run_dir):
    for student in (0, 1):
        assert tiny_run.weights_of(run_dir, student, 0) == tiny_run.weights_of(
            run_dir, student, 1
        )


def test_half_and_a_restart_and_half_equal_the_whole(train, run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path, dirs_exist_ok=True)
    # As if all had died after half of the steps.
    for snapshot in tmp_path.glob("students/*/*/*-i1"):
        if int(snapshot.name.split("-")[1]) > HALF:
            shutil.rmtree(snapshot)
    train(tmp_path)

    for student in (0, 1):
        assert f"step={HALF} event=restored" in tiny_run.log_of(tmp_path, student)
        assert tiny_run.weights_of(tmp_path, student) == tiny_run.weights_of(
            run_dir, student
        )


def test_exports_name_their_family_and_lose_little_by_int8(run_dir):
    for student in (0, 1):
        for manifest in manifests_of(run_dir, student):
            assert manifest["model_family"] == "gru"
            assert manifest["model"]["width"] == 12
            assert manifest["dtype"] == "int8"
            assert manifest["quantization"]["cross_entropy_loss"] <= 0.02
            assert manifest["tensors"]["cell/input:scale"]["shape"] == [1, 36]
            assert manifest["tensors"]["embedding:scale"]["shape"] == [400, 1]


def test_families_teach_each_other(mixed):
    for student in (0, 1):
        last = tiny_run.reports_of(mixed, student, "train")[-1]

        assert [teacher["peer"] for teacher in last["teachers"]] == [1 - student]
        assert last["distillation_loss"] > 0.0
        assert last["refused_exports"] == {}
    families = [manifests_of(mixed, k)[-1].get("model_family") for k in (0, 1)]
    assert families == ["gru", None]
    checkpoints = sorted(mixed.glob("students/1/checkpoints/ckpt-*/manifest.json"))
    (teacher,) = json.loads(checkpoints[-1].read_text())["teachers"]
    assert (teacher["model_family"], teacher["model"]["width"]) == ("gru", 12)


def test_served_scores_are_those_of_evaluate(call, run_dir, data_dir, tmp_path):
    import tensorflow as tf
    import tensorflow_text  # noqa: F401, registers the tokenizer's operations

    from lmcodistill.data import shards

    student = run_dir / "students/0"
    # In one stream no document is cut.
    evaluated = call(
        *("evaluate", "--data_dir", data_dir, "--export", student),
        *("--lanes", 1, "--window", 256, "--json"),
    )
    call("export", "--export", student, "--output_dir", tmp_path / "serving")
    served = tf.saved_model.load(str(tmp_path / "serving"))
    (result,) = json.loads(evaluated)["results"]
    data = shards.ShardSet(data_dir)
    split = data.tokens_of(data.held_out_split("validation"))
    documents = [[]]
    for token in split.read(0, split.num_tokens).tolist():
        if token == data.manifest.end_id:
            documents.append([])
        else:
            documents[-1].append(token)
    texts = [data.vocabulary.decode(ids) for ids in documents[:-1]]

    nats = tokens = 0
    for text in texts:
        scores = served.signatures["score"](texts=tf.constant([text]))
        nats += float(scores["cross_entropy"][0])
        tokens += int(scores["num_tokens"][0])

    assert tokens == result["tokens"]
    assert nats / tokens == pytest.approx(result["cross_entropy"], rel=1e-5)


def test_text_is_generated(call, run_dir):
    text = call(
        *("generate", "--export", run_dir / "students/1"),
        *("--prompt", "A class", "--tokens", 5),
    )

    assert text.startswith("A class")


def test_it_is_planned(call):
    out = call(
        *("plan", "--json", *of_gru(), "--gin.Gru.vocab_size=400"),
        *("--gin.Machine.matrix_rate=1e9", "--gin.Machine.memory_bandwidth=1e9"),
        *("--gin.Network.bandwidth=1e9", "--gin.Storage.bandwidth=1e9"),
    )

    plan = json.loads(out)
    assert plan["model"]["width"] == 12
    # 400 x 12 and 400; 12 x 36 twice and 36: four bytes each.
    exchange = plan["exchanges"]["all"]
    assert exchange["published_bytes"] == 4 * (400 * 13 + 36 * 25)


def test_dry_run_knows_its_size_and_its_settings(call, data_dir, tmp_path):
    out = call(
        *("train", "--data_dir", data_dir, "--run_dir", tmp_path / "run"),
        *("--dry_run", *of_gru()),
    )

    assert "Gru.width = 12" in out
    assert "LanguageModel." not in out
    assert f"weights: {400 * 13 + 36 * 25}" in out


def test_settings_of_the_other_family_are_refused(start, installed, data_dir, tmp_path):
    process = start(
        *("train", "--data_dir", data_dir, "--run_dir", tmp_path / "run"),
        *("--dry_run", *of_gru(), "--gin.LanguageModel.hidden_size=8"),
        **installed,
    )

    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "this command does not read LanguageModel" in err
