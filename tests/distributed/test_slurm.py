"""A real Slurm runs the batch script that `launch` writes."""

import dataclasses
import pathlib
import sys

import pytest

from lmcodistill import errors
from tests.support import slurm_cluster, tiny_run

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(
        bool(slurm_cluster.why_not()),
        reason=f"No Slurm can run here: {slurm_cluster.why_not()}.",
    ),
]

# Slow enough to be hit on the way, and a log beside the run.
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
        return self.folder / "run"

    def script(self, *flags: object, **knobs: object) -> pathlib.Path:
        """Returns the script that `launch` writes; it asks for both folders."""
        tiny_run.finish(
            *("launch", "slurm", *tiny_run.bindings(**knobs), *flags),
            *("--output_dir", self.folder),
        )
        return self.folder / "lmcodistill.sbatch"

    def submit(
        self, script: pathlib.Path, **environment: str
    ) -> slurm_cluster.SlurmJob:
        program = f"{pathlib.Path(sys.executable).parent}"
        path = tiny_run.environment()["PATH"]
        return self.slurm.submit(
            script,
            f"--output={self.folder}/log-%a.txt",
            **{"PATH": f"{program}:{path}", "PYTHONPATH": str(tiny_run.ROOT)},
            **{"DATA": str(self.data_dir), "RUN": str(self.run_dir), **environment},
        )

    def log(self, student: int) -> str:
        return (self.folder / f"log-{student}.txt").read_text()


@pytest.fixture
def submitter(slurm, data_dir, tmp_path):
    return Submitter(slurm, data_dir, tmp_path)


def test_each_node_trains_a_student_and_a_preempted_one_is_queued_again_and_resumes(
    submitter,
):
    # A delay that lets the other student go on while one waits in the queue.
    script = submitter.script(NUM_TRAIN_STEPS=60, EXCHANGE_MODE="freshest")
    job = submitter.submit(script, **SLOW)
    run_dir = submitter.run_dir
    assert tiny_run.wait_until(lambda: tiny_run.step_of(run_dir, 0) >= 6)
    nodes = {job.shows(student)["NodeList"] for student in (0, 1)}

    job.signal(0, "TERM")
    ends = [job.wait(student, "COMPLETED") for student in (0, 1)]

    assert nodes == {"127.0.0.1", "127.0.0.2"}
    assert [end["Restarts"] for end in ends] == ["1", "0"]
    assert "Stopped on request after saving" in submitter.log(0)
    starts = tiny_run.journal_of(
        run_dir / "students/0/supervisor-worker-0.jsonl", "started"
    )
    assert len(starts) == 2
    steps = [report["step"] for report in tiny_run.reports_of(run_dir, 0, "train")]
    assert steps == sorted(set(steps))  # Nothing was trained twice.
    assert steps[-1] == 60
    assert tiny_run.step_of(run_dir, 1) == 60
