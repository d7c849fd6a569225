"""What `launch` writes: read as Slurm, Kubernetes and Docker read it."""

import itertools
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml

import lmcodistill
from lmcodistill import cli, errors
from lmcodistill.commands import catalogue, command_flags, run_flags, train
from lmcodistill.commands import launch as command
from lmcodistill.launchers import cluster_run
from lmcodistill.supervision import tf_config
from lmcodistill.training import job as job_lib

GIN = ("--gin_file", "runs/paper_codistill", "--gin.NUM_TRAIN_STEPS=20")
STORED = ("--data_dir=/shared/data", "--run_dir=/shared/run")
POD = ("--image", "registry/lmcodistill:1", "--claim", "shared", *STORED)
# Each would do harm, or be another word, where it is not quoted.
NASTY = '/shared/it\'s "$(touch HARM)" $HOME `touch HARM` #; %x @{name} \\ é'
# podFailurePolicy is stable since the first; the other is the newest schema there is.
KUBERNETES = ("1.31", kubernetes_validate.latest_version())


@pytest.fixture
def launch(capsys):
    """Returns what `launch` prints."""

    def printed(*arguments):
        code = cli.main(["launch", *map(str, arguments)])
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out

    return printed


@pytest.fixture
def refused(capsys):
    """Returns with what words `launch` refuses its flags."""

    def message(*arguments):
        assert cli.main(["launch", *arguments]) == errors.UsageError.exit_code
        return capsys.readouterr().err

    return message


@pytest.fixture
def manifests(launch):
    """Returns the objects of the manifests by kind, in order."""

    def read(*flags):
        found = {}
        text = launch("kubernetes", *GIN, *flags, "--print")
        for document in yaml.safe_load_all(text):
            found.setdefault(document["kind"], []).append(document)
        return found

    return read


def shell(script: str, **variables: str) -> subprocess.CompletedProcess:
    """Runs a script with few variables, as a node would."""
    return subprocess.run(
        ["bash", "-c", script],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
    )


def findings_of(linter: str, path: pathlib.Path) -> str:
    """Returns what a linter, installed beside Python, finds wrong with a file."""
    program = pathlib.Path(sys.executable).with_name(linter)
    return subprocess.run([program, path], capture_output=True, text=True).stdout


def words_of_train(script: str, **variables: str) -> list[str]:
    """Returns what a batch script calls `train` with, word by word."""
    folders = script[script.index("DATA=") : script.index("\n# A port")]
    words = script[script.index("train=(") : script.index("\n)") + 2]
    done = shell(f"{folders}\n{words}\nprintf '%s\\0' \"${{train[@]}}\"", **variables)
    return done.stdout.split("\0")[:-1]


def flags_of_train(words: list[str]):
    """Returns the flags of `train` as it reads them itself."""
    flag_values = catalogue.flags_of(train)
    rewritten = cli._rewritten(words[2:], train)
    assert flag_values(["train", *rewritten]) == ["train"]
    return flag_values


@pytest.mark.parametrize(
    "options",
    [(), STORED, ("--time_limit=1-12:00:00", "--gpus_per_worker=2")],
    ids=["asked", "named", "resources"],
)
def test_batch_script_is_sound_to_shellcheck(launch, tmp_path, options):
    path = tmp_path / "script.sh"
    path.write_text(launch("slurm", *GIN, *options, "--print"))

    assert findings_of("shellcheck", path) == ""


def test_batch_script_asks_slurm_for_what_the_flags_say(launch):
    script = launch(
        *("slurm", *GIN, "--students=3", "--workers_per_student=4", "--print"),
        *("--cpus_per_worker=8", "--gpus_per_worker=2", "--memory_gib_per_worker=64"),
        *("--time_limit=1-12:00:00", "--name=books"),
    )

    asked = re.findall(r"^#SBATCH (.*)", script, re.MULTILINE)
    assert set(" ".join(asked).split()) == {
        *("--job-name=books", "--array=0-2", "--nodes=4", "--ntasks-per-node=1"),
        *("--cpus-per-task=8", "--gpus-per-node=2", "--mem=64G", "--time=2160:00"),
        *("--output=%x-%A_%a.log", "--open-mode=append"),
        *("--requeue", "--signal=TERM@180"),
    }


def test_no_word_of_the_flags_is_read_by_the_shell(launch, tmp_path):
    own = tmp_path / NASTY.rpartition("/")[2]
    own.write_text("NUM_TRAIN_STEPS = 20\n")
    script = launch(
        *("slurm", "--print", f"--gin_file={own}", "--gin.EXCHANGE_MODE=freshest"),
        *(f"--data_dir={NASTY}", f"--run_dir={NASTY}/run", f"--shared_dir={NASTY}"),
        *("--max_restarts=3", f"--export_key_file={NASTY}/key"),
    )

    flag_values = flags_of_train(words_of_train(script, SLURM_ARRAY_TASK_ID="1"))

    assert flag_values.gin_file == [str(own)]
    assert flag_values.gin_bindings == ["EXCHANGE_MODE=freshest"]
    assert (flag_values.student, flag_values.students) == (1, 2)
    nasty = pathlib.Path(NASTY)
    assert flag_values.data_dir == flag_values.shared_dir == nasty
    assert flag_values.run_dir == nasty / "run"
    assert flag_values.max_restarts == 3
    assert flag_values.export_key_file == nasty / "key"


def test_names_of_files_mean_the_same_in_any_folder(launch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("own.gin").write_text("NUM_TRAIN_STEPS = 20\n")
    script = launch(
        *("slurm", "--print", "--gin_file=own.gin", "--gin_file=models/tiny"),
        *("--data_dir=data", "--shared_dir=s3://bucket/run", "--export_key_file=key"),
    )

    words = words_of_train(script, SLURM_ARRAY_TASK_ID="0", RUN="/elsewhere")

    flag_values = flags_of_train(words)
    assert flag_values.gin_file == [str(tmp_path / "own.gin"), "models/tiny"]
    assert flag_values.data_dir == tmp_path / "data"
    assert flag_values.run_dir == pathlib.Path("/elsewhere")
    assert str(flag_values.shared_dir) == "s3://bucket/run"
    assert flag_values.export_key_file == tmp_path / "key"


def test_every_flag_of_a_run_reaches_train():
    flag_values = command_flags.CommandFlags()
    define = command_flags.Definer(flag_values)
    run_flags.define_flags(define)
    run_flags.define_supervision(define)

    # What the text itself says, and what is handed on.
    said = {"data_dir", "run_dir", "shared_dir", "students", "workers_per_student"}
    assert set(flag_values) == said | set(command.GIVEN_ON)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, "Start it with: sbatch FILE"),
        ({"SLURM_ARRAY_TASK_ID": "0"}, "Set it to the data folder: DATA=FOLDER"),
        (
            {"SLURM_ARRAY_TASK_ID": "0", "DATA": "", "RUN": "/run"},
            "Set it to the data folder: DATA=FOLDER",
        ),
        (
            {"SLURM_ARRAY_TASK_ID": "0", "DATA": "/data"},
            "Set it to the folder of the run: RUN=FOLDER",
        ),
    ],
)
def test_script_without_what_it_needs_says_so_and_starts_nothing(
    launch, variables, says
):
    done = shell(launch("slurm", *GIN, "--print"), **variables)

    assert done.returncode not in (0, *cluster_run.AGAIN)
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--students=5", "--workers_per_student=8", "--time_limit=12:00:00"),
        ("--gpus_per_worker=1", "--cpus_per_worker=4", "--memory_gib_per_worker=16"),
    ],
    ids=["plain", "limited", "resources"],
)
def test_manifests_are_valid_by_the_published_schemas(manifests, version, flags):
    found = manifests(*POD, *flags)

    assert list(found) == ["ConfigMap", "Service", "NetworkPolicy", "Job"]
    for document in itertools.chain(*found.values()):
        kubernetes_validate.validate(document, version, strict=True)


def test_schemas_refuse_what_is_not_in_them(manifests):
    job = manifests(*POD)["Job"][0]
    job["spec"]["podFailurePolicies"] = job["spec"].pop("podFailurePolicy")

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, KUBERNETES[0], strict=True)


def test_a_job_fails_with_a_mistake_and_goes_on_after_a_loss(manifests):
    jobs = manifests(*POD)["Job"]

    assert [job["metadata"]["name"] for job in jobs] == ["codistill-0", "codistill-1"]
    for job in jobs:
        pod = job["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        # Kubernetes takes a policy only of pods that are not started again in place.
        assert pod["restartPolicy"] == "Never"
        rules = job["spec"]["podFailurePolicy"]["rules"]
        by_codes = [rule["onExitCodes"] for rule in rules if "onExitCodes" in rule]
        assert {rule["containerName"] for rule in by_codes} == {container["name"]}
        actions = {code: "Count" for code in range(1, 256)}
        for rule in rules[::-1]:  # The first rule that fits counts.
            for code in rule.get("onExitCodes", {}).get("values", ()):
                actions[code] = rule["action"]
        fatal = {code for code, action in actions.items() if action == "FailJob"}
        again = {code for code, action in actions.items() if action == "Ignore"}
        assert (fatal, again) == ({2, 3, 4, 5}, {75, 143})


def test_pods_of_a_student_find_each_other_and_nobody_else(manifests, monkeypatch):
    found = manifests(*POD, "--workers_per_student=2")

    for student in (0, 1):
        service, policy, job = (
            found[kind][student] for kind in ("Service", "NetworkPolicy", "Job")
        )
        pod = job["spec"]["template"]
        labels = pod["metadata"]["labels"]
        assert labels["lmcodistill/student"] == str(student)
        assert service["spec"]["selector"] == labels
        assert service["spec"]["clusterIP"] == "None"
        assert pod["spec"]["subdomain"] == service["metadata"]["name"]
        assert policy["spec"]["podSelector"]["matchLabels"] == labels
        ((peers,),) = [rule["from"] for rule in policy["spec"]["ingress"]]
        assert peers == {"podSelector": {"matchLabels": labels}}
        index, config = pod["spec"]["containers"][0]["env"]
        assert index["name"] == "JOB_COMPLETION_INDEX"
        name = job["metadata"]["name"]
        monkeypatch.setenv(
            "TF_CONFIG", config["value"].replace("$(JOB_COMPLETION_INDEX)", "1")
        )
        task = tf_config.own_task()
        assert task.index == 1
        assert task.addresses == (f"{name}-0.{name}:2222", f"{name}-1.{name}:2222")


def test_pods_get_the_configuration_and_the_flags_as_they_were_given(
    manifests, tmp_path
):
    folder = '/shared/it\'s $(HOME) "$$" é'
    found = manifests(
        *(*POD, f"--data_dir={folder}", "--shared_dir=s3://bucket/run"),
        *("--gin.LEARNING_RATE=0.25", "--hang_seconds=60"),
    )

    (config_map,) = found["ConfigMap"]
    config = tmp_path / "config.gin"
    config.write_text(config_map["data"]["config.gin"])
    assert (
        job_lib.load([str(config)], []).refused_changes(
            job_lib.load([GIN[1]], ["NUM_TRAIN_STEPS=20", "LEARNING_RATE=0.25"]).text
        )
        == []
    )
    container = found["Job"][1]["spec"]["template"]["spec"]["containers"][0]
    words = [word.replace("$$", "$") for word in container["command"]]
    flag_values = flags_of_train(words)
    assert (flag_values.student, str(flag_values.data_dir)) == (1, folder)
    assert str(flag_values.shared_dir) == "s3://bucket/run"
    assert flag_values.hang_seconds == 60.0
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    assert flag_values.gin_file == [f"{mounts['config']}/config.gin"]
    assert mounts["storage"] == "/shared"


@pytest.mark.parametrize("gpus", [0, 1])
def test_dockerfile_is_sound_and_takes_this_version(launch, tmp_path, gpus):
    path = tmp_path / "Dockerfile"
    path.write_text(launch("docker", f"--gpus_per_worker={gpus}", "--print"))

    assert findings_of("hadolint", path) == ""
    assert f"COPY lmcodistill-{lmcodistill.__version__}-py3" in path.read_text()
    assert ("and-cuda" in path.read_text()) == bool(gpus)


def test_every_place_of_every_template_is_filled(launch):
    texts = [launch("slurm", *GIN, "--print"), launch("docker", "--print")]
    texts.append(launch("kubernetes", *GIN, *POD, "--print"))

    assert [re.findall(r"@\{\w+\}", text) for text in texts] == [[], [], []]


def written_commands(text: str) -> list[list[str]]:
    """Returns the `launch` commands of a text, without what follows a `>`."""
    found = re.findall(r"^ *lmcodistill (launch .*?)$", text.replace("\\\n", " "), re.M)
    return [shlex.split(line.partition(">")[0]) for line in found]


def test_commands_of_the_guide_and_of_help_work_as_they_stand(tmp_path, monkeypatch):
    root = pathlib.Path(__file__).resolve().parents[3]
    monkeypatch.chdir(tmp_path)
    guide = written_commands((root / "docs/guide/clusters.md").read_text())
    help_ = written_commands(command.__doc__)

    assert (len(guide), len(help_)) == (3, 3)
    for words in guide + help_:
        (tmp_path / "Dockerfile").unlink(missing_ok=True)
        assert cli.main(words) == 0, words


@pytest.mark.parametrize(
    ("target", "flags", "start"),
    [
        ("slurm", GIN, "sbatch {}"),
        ("kubernetes", (*GIN, *POD), "kubectl apply -f {}"),
        ("docker", (), "docker build --tag lmcodistill --file {} dist"),
    ],
)
def test_what_to_do_is_said_and_a_file_is_written_once(
    launch, refused, tmp_path, target, flags, start
):
    folder = f"--output_dir={tmp_path}/new folder"

    advice = launch(target, *flags)
    said = launch(target, *flags, folder)

    (path,) = (tmp_path / "new folder").iterdir()
    assert "--print" in advice and start.format(path.name) in advice
    assert f"Wrote {path}" in said and start.format(f"'{path}'") in said
    assert path.read_text() == launch(target, *flags, "--print")
    answer = json.loads(launch(target, *flags, "--json"))
    assert answer == {"file": path.name, "text": path.read_text()}
    assert "exists and is not overwritten" in refused(target, *flags, folder)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "found no target, expected one of slurm, kubernetes, docker"),
        (["slrum"], "did you mean slurm?"),
        (["slurm", "kubernetes"], "expected one of"),
        (["slurm", *GIN, "--image=x"], "--image is for kubernetes"),
        (["slurm", "--gin.NUM_TRAIN_STEP=20"], "did you mean NUM_TRAIN_STEPS?"),
        (
            ["slurm", *GIN, "--workers_per_student=3"],
            "GLOBAL_BATCH_SIZE = 16384 cannot be shared by --workers_per_student=3",
        ),
        (["slurm", *GIN, "--students=1"], "needs at least two students"),
        (["slurm", *GIN, "--time_limit=12h"], "such as 12:00:00 or 2-00:00:00"),
        (["slurm", *GIN, "--time_limit=0:05:00"], "Give more than 6 minutes"),
        (["slurm", *GIN, "--name=My run"], "--name=My run cannot name a job"),
        (["slurm", *GIN, "--name=" + "x" * 41], "at most 40 small letters"),
        (["slurm", *GIN, "--data_dir=/a\n#SBATCH"], "cannot be printed"),
        (["slurm", *GIN, "--output_dir=/dev/null"], "cannot be written"),
        (["kubernetes", *GIN, "--claim=x", *STORED], "--image= names no image"),
        (["kubernetes", *GIN, *POD, "--claim=A b"], "names no PersistentVolumeClaim"),
        (["kubernetes", *GIN, *POD, "--mount_dir=/"], "is no place for storage"),
        (["kubernetes", *GIN, *POD, "--mount_dir=shared"], "is no place for storage"),
        (["kubernetes", *GIN, *POD, "--run_dir=/run"], "is not on the storage"),
        (
            ["kubernetes", *GIN, *POD, "--data_dir=/shared/../etc"],
            "--data_dir=/etc is not on the storage",
        ),
        (["kubernetes", *GIN, *POD, "--shared_dir=/x"], "--shared_dir=/x is not on"),
        (
            ["kubernetes", *GIN, "--image=x", "--claim=x"],
            "--data_dir= is not on the storage",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_do(refused, arguments, says):
    assert says in refused(*arguments)
