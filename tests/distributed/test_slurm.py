"""A real Slurm runs the batch script that `launch` writes."""

import dataclasses
import os
import pathlib
import sys

import pytest

from tests.support import slurm_cluster, tiny_run

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(
        bool(slurm_cluster.why_not()),
        reason=f"No Slurm can run here: {slurm_cluster.why_not()}.",
    ),
]

# Slow enough to be hit on the way.
SLOW = {"LMCODISTILL_FAULT": "update@1+:sleep=0.2"}


@pytest.fixture(scope="module")
def slurm():
    """Two nodes, on which the program is found."""
    with slurm_cluster.SlurmCluster() as cluster:
        yield cluster


@dataclasses.dataclass(frozen=True)
class Submitter:
    """Writes the script of a tiny run and submits it."""

    slurm: slurm_cluster.SlurmCluster
    data_dir: pathlib.Path
    folder: pathlib.Path

    @property
    def run_dir(self) -> pathlib.Path:
        # No shell may read this.
        return self.folder / "it's $HOME"

    def script(self, *flags: object, **knobs: object) -> pathlib.Path:
        """Returns the script that `launch` writes; it asks for the data."""
        tiny_run.finish(
            *("launch", "slurm", *tiny_run.bindings(**knobs), *flags),
            *("--run_dir", self.run_dir, "--output_dir", self.folder),
        )
        return self.folder / "lmcodistill.sbatch"

    def submit(
        self, script: pathlib.Path, *options: str, **more: str
    ) -> slurm_cluster.SlurmJob:
        programs = pathlib.Path(sys.executable).parent
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(tiny_run.ROOT),
            "DATA": str(self.data_dir),
        }
        log = f"--output={self.folder}/log-%a.txt"
        return self.slurm.submit(script, log, *options, **environment | more)

    def log(self, student: int = 0) -> str:
        return (self.folder / f"log-{student}.txt").read_text()

    def starts(self, student: int, worker: int) -> int:
        """Returns how often a worker was started."""
        layout = tiny_run.student_of(self.run_dir, student)
        return len(tiny_run.journal_of(layout.supervisor(worker), "started"))


@pytest.fixture
def submitter(slurm, data_dir, tmp_path):
    return Submitter(slurm, data_dir, tmp_path)


def edit(script: pathlib.Path, old: str, new: str) -> None:
    text = script.read_text()
    assert text.count(old) == 1
    script.write_text(text.replace(old, new))


def test_each_node_trains_a_student_and_one_that_is_stopped_is_queued_again_and_resumes(
    submitter,
):
    script = submitter.script(NUM_TRAIN_STEPS=60, EXCHANGE_MODE="freshest")
    job, run_dir = submitter.submit(script, **SLOW), submitter.run_dir
    assert tiny_run.wait_until(lambda: tiny_run.step_of(run_dir, 0) >= 6)
    nodes = {job.shows(student)["NodeList"] for student in (0, 1)}

    job.signal(0, "TERM")
    ends = [job.wait(student, "COMPLETED") for student in (0, 1)]

    assert nodes == {"127.0.0.1", "127.0.0.2"}
    assert [end["Restarts"] for end in ends] == ["1", "0"]
    assert "Stopped on request after saving" in submitter.log(0)
    assert [submitter.starts(student, 0) for student in (0, 1)] == [2, 1]
    for student in (0, 1):
        reports = tiny_run.reports_of(run_dir, student, "train")
        steps = [report["step"] for report in reports]
        assert steps == sorted(set(steps))  # Nothing was trained twice.
        assert steps[-1] == 60


def test_the_nodes_of_a_student_are_its_workers_and_yield_to_an_urgent_job_as_one(
    slurm, submitter
):
    script = submitter.script(
        *("--students=1", "--workers_per_student=2"),
        **{"NUM_TRAIN_STEPS": 40, "TARGETS": "none", "EVALUATE_EVERY_STEPS": 0},
    )
    job, run_dir = submitter.submit(script, **SLOW), submitter.run_dir
    assert tiny_run.wait_until(lambda: tiny_run.step_of(run_dir, 0) >= 6)

    slurm.run("sbatch", "--partition=urgent", "--output=/dev/null", "--wrap=true")
    end = job.wait(0, "COMPLETED")

    assert end["Restarts"] == "1"
    assert "Stopped on request after saving" in submitter.log()
    assert [submitter.starts(0, worker) for worker in (0, 1)] == [2, 2]
    assert tiny_run.step_of(run_dir, 0) == 40
    assert tiny_run.weights_of(run_dir, 0, 0) == tiny_run.weights_of(run_dir, 0, 1)


@pytest.mark.slow
def test_a_student_saves_before_its_time_is_up_and_is_queued_again(submitter):
    script = submitter.script("--students=1", NUM_TRAIN_STEPS=200, TARGETS="none")

    # The script's own three minutes are too long for a test.
    job = submitter.submit(script, "--time=1", "--signal=TERM@20", **SLOW)
    end = job.wait(0, "COMPLETED", seconds=400.0)

    assert end["Restarts"] == str(submitter.starts(0, 0) - 1) != "0"
    assert "Stopped on request after saving" in submitter.log()
    assert tiny_run.step_of(submitter.run_dir, 0) == 200


def test_a_wrong_flag_is_not_queued_again(submitter):
    script = submitter.script()
    edit(script, "--students=2", "--studnets=2")

    job = submitter.submit(script)

    for student in (0, 1):
        end = job.wait(student, "FAILED")
        assert (end["ExitCode"], end["Restarts"]) == ("2:0", "0")
        assert "there is no flag --studnets" in submitter.log(student)


def test_data_that_are_not_named_or_not_there_are_not_queued_again(submitter):
    script = submitter.script("--students=1", TARGETS="none")

    for data_dir, code, says in (
        ("", "1:0", "Set it to the data folder: DATA=FOLDER sbatch FILE"),
        (str(submitter.folder), "3:0", str(submitter.folder)),
    ):
        end = submitter.submit(script, DATA=data_dir).wait(0, "FAILED")

        assert (end["ExitCode"], end["Restarts"]) == (code, "0")
        assert says in submitter.log()


def test_a_mistake_on_one_node_wins_over_the_others_that_wait_for_it(submitter):
    script = submitter.script(
        *("--students=1", "--workers_per_student=2"),
        *("--max_restarts=0", "--start_deadline_seconds=10"),
        TARGETS="none",
    )
    edit(script, "  shift\n", '  shift; ((SLURM_NODEID)) && set -- "$@" --wrong\n')

    end = submitter.submit(script).wait(0, "FAILED")

    assert (end["ExitCode"], end["Restarts"]) == ("2:0", "0")
    assert "there is no flag --wrong" in submitter.log()
    assert "Exited with exit code 75" in submitter.log()
    assert submitter.starts(0, 0) == 1


def test_a_cancelled_run_saves_and_is_not_queued_again(submitter):
    script = submitter.script(NUM_TRAIN_STEPS=100_000, EXCHANGE_MODE="freshest")
    job, run_dir = submitter.submit(script, **SLOW), submitter.run_dir
    assert tiny_run.wait_until(lambda: tiny_run.step_of(run_dir, 1) >= 6)

    job.cancel()

    for student in (0, 1):
        assert job.wait(student, "CANCELLED")["Restarts"] == "0"
        assert tiny_run.wait_until(
            lambda k=student: "Stopped on request after saving" in submitter.log(k)
        )
    assert tiny_run.wait_until(lambda: tiny_run.processes_of(run_dir) == [])
