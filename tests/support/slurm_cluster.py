"""A real Slurm on this machine: two nodes, each a `slurmd` of its own.

All that it writes is in one folder, its ports are its own, and it shares nothing
with a Slurm that the machine may belong to. Needs root, and slurmctld, slurmd,
slurm-client and munge of Debian. The nodes are called by addresses of loopback,
which TensorFlow finds.
"""

import contextlib
import dataclasses
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable

from tests.support import tiny_run

NODES = 2
_MUNGE_FILES = ("key", "pid", "log", "seed")
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol")
_DEADLINE_SECONDS = 60.0
# States that a job never leaves by itself.
_OVER = ("CANCELLED", "COMPLETED", "FAILED", "NODE_FAIL", "TIMEOUT")
_CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job that is queued again waits for as long as its credential holds.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
# A job gets whole nodes, so two students are on two.
SelectType=select/linear
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
PropagateResourceLimits=NONE
NodeName=127.0.0.[1-{nodes}] NodeHostname={host} Port=[{ports[1]}-{ports[2]}] CPUs=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime=120 State=UP
PartitionName=urgent Nodes=ALL PriorityTier=2 State=UP
"""


def why_not() -> str:
    """Returns why no Slurm can run here; empty if one can."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        return (
            f"there is no {missing[0]}; apt-get install slurmctld slurmd slurm-client "
            "munge"
        )
    return "" if os.geteuid() == 0 else "slurmd and munged need root here"


class SlurmCluster:
    """A cluster that lives as long as the `with` block, with all its jobs."""

    def __init__(self) -> None:
        # A name that is short enough for a socket.
        self._temporary = tempfile.TemporaryDirectory(prefix="slurm-")
        self._folder = pathlib.Path(self._temporary.name)
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SLURM_")},
            "SLURM_CONF": str(self._folder / "slurm.conf"),
        }
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "SlurmCluster":
        try:
            self._configure()
            self._start_munge()
            self._start("slurmctld", "-D")
            for number in range(1, NODES + 1):
                self._start("slurmd", "-D", "-N", f"127.0.0.{number}")
            self._await(lambda: self._states() == ["idle"], "nodes that are idle")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused: object) -> None:
        # Where the controller never came up, there are no jobs.
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            self.run("scancel", "--user", "root")
            tiny_run.wait_until(lambda: not self.run("squeue", "-h"), 30.0)
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
        # Also what has left its parent, as each step of a job does.
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for daemon in self._daemons:
            daemon.wait()
        self._temporary.cleanup()

    def submit(
        self, script: pathlib.Path, *options: str, **environment: str
    ) -> "SlurmJob":
        """Submits a script, with the environment of this process and more."""
        answer = self.run("sbatch", "--parsable", *options, str(script), **environment)
        return SlurmJob(self, int(answer))

    def run(self, *command: str, **environment: str) -> str:
        """Returns what one of Slurm's programs prints; it must succeed."""
        done = subprocess.run(
            command,
            env=self._environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeError(f"{command} failed: {done.stderr}")
        return done.stdout.strip()

    def _states(self) -> list[str]:
        try:
            return sorted(set(self.run("sinfo", "-h", "-N", "-o%T").split()))
        except RuntimeError:  # The controller does not listen yet.
            return []

    def _configure(self) -> None:
        self._folder.chmod(0o755)  # munged wants others to reach its socket.
        (self._folder / "state").mkdir()
        text = _CONFIG.format(
            host=socket.gethostname(),
            folder=self._folder,
            nodes=NODES,
            ports=_free_ports(1 + NODES),
        )
        (self._folder / "slurm.conf").write_text(text)
        version = re.search(r"\d+", self.run("slurmd", "-V"))
        plugin = "disabled" if version and int(version[0]) >= 23 else "cgroup/v1"
        (self._folder / "cgroup.conf").write_text(f"CgroupPlugin={plugin}\n")

    def _start_munge(self) -> None:
        key = self._folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = [f"--{kind}-file={self._folder}/munge.{kind}" for kind in _MUNGE_FILES]
        at = self._folder / "munge.socket"
        self._start("munged", "--foreground", f"--socket={at}", *files)
        self._await(at.is_socket, "munged")

    def _start(self, *command: str) -> None:
        with open(self._folder / f"{len(self._daemons)}-{command[0]}.log", "wb") as log:
            self._daemons.append(
                subprocess.Popen(
                    command,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def _await(self, condition: Callable[[], object], what: str) -> None:
        def is_settled() -> bool:
            ended = any(daemon.poll() is not None for daemon in self._daemons)
            return ended or bool(condition())

        tiny_run.wait_until(is_settled, _DEADLINE_SECONDS)
        if not condition():
            logs = [path.read_text() for path in sorted(self._folder.glob("*.log"))]
            raise RuntimeError(f"Slurm has no {what}:\n" + "\n".join(logs))

    def _processes(self) -> list[int]:
        """Returns the processes that were given this cluster's configuration."""
        mark = f"SLURM_CONF={self._folder}/slurm.conf\0".encode()
        pids = []
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    pids.append(int(entry.name))
        return pids


@dataclasses.dataclass(frozen=True)
class SlurmJob:
    """An array of jobs, one element per student.

    Attributes:
        cluster: Where it is.
        number: Of the array.
    """

    cluster: SlurmCluster
    number: int

    def shows(self, student: int) -> dict[str, str]:
        """Returns what Slurm knows of one element: JobState, Restarts and so on."""
        text = self.cluster.run(
            "scontrol", "show", "job", "--oneliner", f"{self.number}_{student}"
        )
        return dict(word.partition("=")[::2] for word in text.split())

    def wait(self, student: int, state: str, seconds: float = 240.0) -> dict[str, str]:
        """Waits until an element is in a state; returns what Slurm knows then."""
        over = {state, *_OVER}
        tiny_run.wait_until(lambda: self.shows(student)["JobState"] in over, seconds)
        found = self.shows(student)
        assert found["JobState"] == state, found
        return found

    def signal(self, student: int, name: str) -> None:
        """Sends a signal to the steps of an element, as Slurm does by itself."""
        self.cluster.run("scancel", f"--signal={name}", f"{self.number}_{student}")

    def cancel(self) -> None:
        """Ends all elements, as a person does."""
        self.cluster.run("scancel", str(self.number))


def _free_ports(count: int) -> list[int]:
    """Returns ports of which the last ones follow each other, all free just now."""
    while True:
        with contextlib.ExitStack() as stack:
            first = random.randrange(12_000, 19_000)
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("", port))
            except OSError:
                continue
            return list(range(first, first + count))
