"""A real Spark cluster on this machine: a Master and Workers, each a process.

What only a cluster shows: executors start in folders of their own, inherit
nothing from the driver, and can die alone. Needs `lmcodistill[spark]` and Java.

Example:
  python -m tests.support.spark_cluster --folder /tmp/spark --workers 2
"""

import argparse
import contextlib
import importlib.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

# Short lives: compiling well costs more than it gives.
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto"
_MASTER = re.compile(r"Starting Spark master at (spark://[\w.]+:\d+)")
_DEADLINE_SECONDS = 120.0


def why_not() -> str:
    """Returns why no cluster can run here; empty if one can."""
    for name in ("pyspark", "pyarrow", "pandas"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed; it comes with lmcodistill[spark]"
    home = os.environ.get("JAVA_HOME")
    if not shutil.which("java", path=f"{home}/bin" if home else None):
        return "there is no Java"
    return ""


class Cluster:
    """A cluster that lives as long as the `with` block.

    Attributes:
        url: What `--spark_master` takes.
    """

    def __init__(self, folder: pathlib.Path, num_workers: int = 2, cores: int = 1):
        self._folder, self._num_workers, self._cores = folder, num_workers, cores
        self._processes: list[subprocess.Popen[bytes]] = []
        self.url = ""

    def __enter__(self) -> "Cluster":
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            master = self._start("master.Master", "master", "--port", "0")
            self.url = self._wait_for(master, _MASTER)
            for i in range(self._num_workers):
                name = f"worker-{i}"
                log = self._start(
                    "worker.Worker",
                    name,
                    *("--cores", str(self._cores), "--memory", "1g"),
                    *("--work-dir", str(self._folder / name), self.url),
                )
                self._wait_for(log, re.compile("(Successfully registered)"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused: object) -> None:
        for process in self._processes:
            # With its executors, which are in its group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def executors(self) -> list[int]:
        """Returns the process ids of the executors' Java."""
        groups = {process.pid for process in self._processes}
        pids = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes()
                if (
                    b"CoarseGrainedExecutorBackend" in words
                    and os.getpgid(int(entry.name)) in groups
                ):
                    pids.append(int(entry.name))
        return sorted(pids)

    def _start(self, kind: str, name: str, *words: str) -> pathlib.Path:
        spec = importlib.util.find_spec("pyspark")
        assert spec is not None and spec.origin is not None
        home = pathlib.Path(spec.origin).parent
        # Nothing of ours: a worker on another machine would have none of it.
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "SPARK_HOME": str(home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_DAEMON_JAVA_OPTS": JAVA,
            "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false",
        }
        if "JAVA_HOME" in os.environ:
            environment["JAVA_HOME"] = os.environ["JAVA_HOME"]
        log = self._folder / f"{name}.log"
        with open(log, "wb") as file:
            process = subprocess.Popen(
                [
                    str(home / "bin" / "spark-class"),
                    f"org.apache.spark.deploy.{kind}",
                    *("--host", "127.0.0.1", "--webui-port", "0", *words),
                ],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self._folder,
                start_new_session=True,
            )
        self._processes.append(process)
        return log

    def _wait_for(self, log: pathlib.Path, pattern: re.Pattern[str]) -> str:
        give_up = time.monotonic() + _DEADLINE_SECONDS
        while not (match := pattern.search(log.read_text(errors="replace"))):
            if time.monotonic() > give_up or self._processes[-1].poll() is not None:
                raise RuntimeError(f"{log} ends without {pattern.pattern!r}.")
            time.sleep(0.05)
        return match.group(1)


def quick_environment(folder: pathlib.Path) -> dict[str, str]:
    """Returns the environment of a driver whose Spark starts fast and small.

    Args:
        folder: Where Spark's own settings may be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spark-defaults.conf").write_text(
        f"spark.executor.extraJavaOptions {JAVA}\n"
        f"spark.driver.extraJavaOptions {JAVA}\n"
        "spark.executor.memory 512m\n"
        "spark.driver.memory 512m\n"
        "spark.ui.enabled false\n"
        "spark.sql.codegen.wholeStage false\n"
    )
    return {
        **os.environ,
        "SPARK_CONF_DIR": str(folder),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


def main() -> None:
    """Runs a cluster until Ctrl-C."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", required=True, type=pathlib.Path)
    parser.add_argument("--workers", type=int, default=2)
    flags = parser.parse_args()
    if reason := why_not():
        raise SystemExit(f"No cluster can run here: {reason}.")
    with Cluster(flags.folder, flags.workers) as cluster:
        print(cluster.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
