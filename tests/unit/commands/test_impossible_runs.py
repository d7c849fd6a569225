"""Runs that cannot work: each is refused before it begins, with what to do."""

import json
import pathlib
import shutil
import socket

import numpy as np
import pytest

from lmcodistill import cli
from tests.support import small_data

SMALL = {
    "NUM_TRAIN_STEPS": 8,
    "GLOBAL_BATCH_SIZE": 4,
    "WINDOW": 8,
    "BURN_IN_STEPS": 2,
    "PUBLISH_EVERY_STEPS": 2,
    "RELOAD_EVERY_STEPS": 2,
    "LanguageModel.num_layers": 1,
    "LanguageModel.hidden_size": 4,
    "LanguageModel.embedding_size": 3,
}
OFFLINE = {"TARGETS": "offline"}
AUTO = {"WEIGHT_SCHEDULE": "auto"}
PRIVATE = "10.0.0.1:2222"
OTHER_WORDS = ("ten eleven twelve thirteen fourteen fifteen sixteen ab cd",) * 3


def make_data(folder: pathlib.Path, model: bytes = b"") -> pathlib.Path:
    ids = np.resize(np.arange(2, small_data.VOCAB_SIZE), 1_000)
    ids[-1] = small_data.END
    return small_data.write(folder, [[ids], [ids]], [ids[-300:]], model)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A data folder that nothing is wrong with."""
    return make_data(tmp_path_factory.mktemp("impossible") / "DATA")


@pytest.fixture
def dry_run(sound, tmp_path, monkeypatch, capsys):
    """Looks at a small run with changes; returns the exit code, out and err."""
    monkeypatch.delenv("TF_CONFIG", raising=False)

    def run(*arguments, data_dir=sound, run_dir=tmp_path / "RUN", **changes):
        settings = SMALL | {n.replace("__", "."): x for n, x in changes.items()}
        code = cli.main(
            [
                *("train", "--dry_run", f"--data_dir={data_dir}"),
                f"--run_dir={run_dir}",
                *(f"--gin.{name}={value}" for name, value in settings.items()),
                *map(str, arguments),
            ]
        )
        return code, *capsys.readouterr()

    return run


def test_the_run_that_is_changed_below_can_work(dry_run):
    code, out, err = dry_run()

    assert (code, err) == (0, "")
    assert "Everything that can be checked without training is in order." in out


# Settings or flags, the exit code, what was found, and what to do.
SETTINGS = {
    "no update": ({"NUM_TRAIN_STEPS": 0}, 2, "expected a positive", ""),
    "steps below zero": ({"NUM_TRAIN_STEPS": -5}, 2, "expected a positive", ""),
    "burn-in to the end": ({"BURN_IN_STEPS": 8}, 2, "no update", "Lower BURN_IN_STEPS"),
    "no export in time": ({"PUBLISH_EVERY_STEPS": 7}, 2, "no update", "Lower"),
    "delay beyond the end": (
        {"EXCHANGE_MODE": "scheduled", "DELAY_STEPS": 8},
        *(2, "DELAY_STEPS = 8: no update", "or DELAY_STEPS"),
    ),
    "first look too late": (
        {"BURN_IN_STEPS": 7, "PUBLISH_EVERY_STEPS": 8},
        2,
        "no",
        "",
    ),
    "more streams than text": (
        {"GLOBAL_BATCH_SIZE": 4_000},
        3,
        "4000 streams",
        "lower GLOBAL_BATCH_SIZE",
    ),
    "window longer than text": ({"WINDOW": 4_000}, 3, "windows of 4000", "or WINDOW"),
    "vocabulary of another size": (
        {"VOCAB_SIZE": 99},
        *(2, "VOCAB_SIZE = 99", "Leave VOCAB_SIZE out"),
    ),
    "one enormous layer": (
        {"LanguageModel__hidden_size": 200_000},
        *(2, "GiB, and this machine has", "Make the model smaller"),
    ),
    "eight huge layers": (
        {"LanguageModel__hidden_size": 40_000, "LanguageModel__num_layers": 8},
        *(2, "GiB, and this machine has", "Make the model smaller"),
    ),
    "offline without exports": (OFFLINE, 2, "offline_exports = ()", "expected paths"),
    "exports without offline": (
        {"OFFLINE_EXPORTS": "('x',)"},
        *(2, "offline_exports", "expected paths exactly when"),
    ),
    "offline export that is not there": (
        OFFLINE | {"OFFLINE_EXPORTS": "('/no/export',)"},
        *(4, "/no/export", "no committed export"),
    ),
    "averaging whenever exports come": (
        {"AVERAGE_WEIGHTS": True, "TARGETS": "none"},
        *(2, "AVERAGE_WEIGHTS = True", "EXCHANGE_MODE = 'scheduled'"),
    ),
    "measured weight without a guide": (AUTO, 2, "guide", "GUIDE_FRACTION"),
    "measured weight without teachers": (
        AUTO | {"TARGETS": "uniform"},
        *(2, "compares teachers with the student", "Use 'constant', or teachers"),
    ),
    "logits of what has none": (
        {"TARGETS": "uniform", "Distillation__loss": "logit_mse"},
        *(2, "have no logits", "expected another loss"),
    ),
    "temperature that ends before it begins": (
        {"Distillation__final_temperature": 2.0},
        *(2, "temperature_end_step = 0", "Give a later step"),
    ),
    "unknown topology": ({"TOPOLOGY": "star"}, 2, "'star'", "expected one of all"),
    "unknown export type": (
        {"Exchange__export_dtype": "int4"},
        *(2, "'int4'", "expected one of bfloat16"),
    ),
    "rate below zero": ({"LEARNING_RATE": -1.0}, 2, "base = -1.0", "expected"),
    "everything dropped": ({"DROPOUT": 1.0}, 2, "dropout = 1.0", "below 1"),
}
FLAGS = {
    "student without a peer": ("--students=1", 2, "--students=1", "Add --students=2"),
    "student without a partition": ("--students=3", 3, "2 training", "--partitions 3"),
    "batch that three cannot share": (
        "--workers_per_student=3",
        *(2, "GLOBAL_BATCH_SIZE = 4", "Choose a multiple of 3"),
    ),
    "nothing of the data": ("--data_dir=/no/data", 3, "/no/data", "prep --input"),
    "data on an object store": ("--data_dir=s3://b/d", 2, "s3://b/d", "copy"),
    "store of no known kind": ("--shared_dir=s4://b/r", 2, "s4://b/r", "give a folder"),
    "store without a bucket": ("--shared_dir=s3://", 2, "s3://", "s3://BUCKET"),
    "run where nobody can write": ("--run_dir=/proc/r", 2, "/proc: ", "another path"),
    "meeting where nobody can write": ("--shared_dir=/proc/r", 2, "/proc: ", "another"),
    "key that is not there": ("--export_key_file=/no/key", 2, "/no/key", "urandom"),
}


def refused(result, code, found, advice):
    assert result[:2] == (code, "")
    assert "Traceback" not in result[2]
    assert found in result[2]
    assert advice in result[2]


@pytest.mark.parametrize("run", SETTINGS)
def test_settings_that_cannot_work_are_refused(dry_run, run):
    changes, *expected = SETTINGS[run]

    refused(dry_run(**changes), *expected)


@pytest.mark.parametrize("run", FLAGS)
def test_flags_that_cannot_work_are_refused(dry_run, run):
    flag, *expected = FLAGS[run]

    refused(dry_run(flag), *expected)


def tf_config(workers, index=0, job="worker"):
    task = {"type": job, "index": index}
    return json.dumps({"cluster": {"worker": workers}, "task": task})


CLUSTERS = {
    "no JSON": ("{", 2, "is no JSON", "Expected"),
    "no cluster": ("{}", 2, "'cluster'", "Expected"),
    "index beyond the workers": (tf_config([PRIVATE], 1), 2, "index 1", "Expected"),
    "address twice": (tf_config([PRIVATE, PRIVATE]), 2, "twice", "Expected"),
    "port that is none": (tf_config(["a:99999"]), 2, "65,535", "Expected"),
    "task of a server": (tf_config([PRIVATE], job="ps"), 2, "'ps'", "Expected"),
    "batch that three cannot share": (
        tf_config([f"10.0.0.{k}:2222" for k in range(3)]),
        *(2, "TF_CONFIG's workers: 3", "Choose a multiple of 3"),
    ),
    "address of the internet": (
        tf_config(["8.8.8.8:0"]),
        *(2, "a public address", "--allow_public_addresses"),
    ),
}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_clusters_that_cannot_work_are_refused(dry_run, monkeypatch, cluster):
    text, *expected = CLUSTERS[cluster]
    monkeypatch.setenv("TF_CONFIG", text)

    refused(dry_run("--student=0"), *expected)


def test_number_of_workers_that_is_not_the_clusters_is_refused(dry_run, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config([PRIVATE]))

    refused(
        dry_run("--student=0", "--workers_per_student=2"),
        *(2, "--workers_per_student=2, and the cluster of TF_CONFIG has 1", "Leave"),
    )


def test_strategy_and_cluster_must_fit(dry_run, monkeypatch):
    servers = {"chief": ["10.0.0.1:1"], "worker": ["10.0.0.2:1"], "ps": ["10.0.0.3:1"]}
    task = {"type": "chief", "index": 0}
    asynchronous = ("--strategy=parameter_server", "--students=1", "--gin.TARGETS=none")

    monkeypatch.setenv("TF_CONFIG", tf_config([PRIVATE]))
    refused(dry_run("--student=0", *asynchronous), 2, "no parameter servers", "other")
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": servers, "task": task}))
    refused(dry_run("--student=0"), 2, "TF_CONFIG has parameter servers", "other")


def test_asynchronous_run_of_students_that_teach_is_refused(dry_run):
    refused(
        dry_run("--strategy=parameter_server"),
        *(2, "TARGETS = 'peers', --students=2", "Add --students=1"),
    )


def test_worker_of_no_student_and_taken_port_are_refused(dry_run, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("TF_CONFIG", tf_config([address]))

        refused(dry_run(), 2, "--student is None", "Give --student=0 to --student=1")
        refused(dry_run("--student=0"), 75, f"of {address}", "give another port")


def drop_validation(folder):
    next((folder / "validation").iterdir()).unlink()


def cut_a_shard(folder):
    shard = next((folder / "train-00001-of-00002").iterdir())
    shard.write_bytes(shard.read_bytes()[:-2])


def spoil_an_id(folder):
    shard = next((folder / "train-00001-of-00002").iterdir())
    shard.write_bytes(b"\xff\xff" + shard.read_bytes()[2:])


def replace_the_vocabulary(folder):
    model = small_data.vocabulary_model(OTHER_WORDS)
    (folder / "vocabulary.model").write_bytes(model)


def age_the_manifest(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["format_version"] = 99
    (folder / "manifest.json").write_text(json.dumps(manifest))


def break_the_manifest(folder):
    (folder / "manifest.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "found", "advice"),
    [
        (drop_validation, "has no bytes", "copy it again"),
        (cut_a_shard, "truncated", "copy it again"),
        (spoil_an_id, "hold the id 65535", "copy them again"),
        (replace_the_vocabulary, "fingerprint", "Restore the vocabulary"),
        (age_the_manifest, "format version 99", "Run `lmcodistill prep`"),
        (break_the_manifest, "manifest.json is not readable", "Restore it"),
    ],
)
def test_data_that_cannot_be_read_are_refused(
    dry_run, sound, tmp_path, spoil, found, advice
):
    folder = shutil.copytree(sound, tmp_path / "DATA")
    spoil(folder)

    refused(dry_run(data_dir=folder), 3, found, advice)


@pytest.mark.parametrize("below", ["", "below"])
@pytest.mark.parametrize("flag", ["run_dir", "shared_dir"])
def test_folder_that_is_a_file_is_refused(dry_run, tmp_path, flag, below):
    file = tmp_path / "file"
    file.touch()

    refused(
        dry_run(f"--{flag}={file / below}"), 2, f"{file} is a file", "another --run_dir"
    )


def test_teacher_of_another_vocabulary_is_refused(dry_run, run_dir, tmp_path):
    data = make_data(tmp_path / "DATA", small_data.vocabulary_model(OTHER_WORDS))
    export = run_dir / "students" / "0"

    result = dry_run(data_dir=data, TARGETS="offline", OFFLINE_EXPORTS=f"('{export}',)")

    refused(result, 4, "Their token ids mean different", "the same `lmcodistill prep`")


def test_another_configuration_than_the_run_began_with_is_refused(dry_run, tmp_path):
    _, out, _ = dry_run("--json")
    path = tmp_path / "RUN" / "students" / "1" / "config.gin"
    path.parent.mkdir(parents=True)
    path.write_text(json.loads(out)["config"])

    refused(dry_run(WINDOW=4), 2, "Batches.window: was 8, now 4", "another --run_dir")
