r"""Kills prep at random instants, and compares engines: the same bytes every time.

A small made crawl with copies, near copies and shared lines goes through every
stage. One process with all its children, the driver alone, or one worker is
killed with signal 9; the same command runs again until it is done. After each
kill every file under its final name must be whole, and no process may be left.

Examples:
  python -m tools.soak.prep --fast
  python -m tools.soak.prep --kills 100 --json
  python -m tools.soak.prep --engines --kills 100
"""

import argparse
import collections
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lmcodistill.quickstart import wet_writer
from tests.support import spark_cluster

ROOT = pathlib.Path(__file__).resolve().parents[2]

_FILES, _PAGES = 6, 60
_WORDS = (
    "river house doctor window letter garden winter morning captain silver road "
    "mountain bread paper music sister teacher bridge horse candle market forest "
    "people answer summer evening water stone village harbour"
)
_SHARED_LINE = "All of the pages of this old library are free to read and to copy."
_FLAGS = (
    "--gin.VOCAB_TYPE='bpe'",
    "--gin.VOCAB_SIZE=400",
    "--gin.VALIDATION_FRACTION=0.1",
    "--gin.GUIDE_FRACTION=0.1",
    "--gin.NUM_PARTITIONS=2",
    "--gin.SHARD_TOKENS=5000",
    "--gin.KEEP_DOCUMENTS=True",
    "--gin.DROPPED_SAMPLES=2",
    "--gin.NEAR_DUPLICATES=True",
    "--gin.LINE_GROUP_FILES=3",
)
_STAGE = re.compile(r"stage=(\w+) done=100%")
_VICTIMS = ("group", "driver", "worker")


@dataclasses.dataclass
class Findings:
    """What the kills came to.

    Attributes:
        kills: How many there were.
        folders: Data folders that were finished after kills.
        victims: Kills by what was killed.
        after: Kills by the last stage that had ended.
        faults: What was not as it must be.
    """

    kills: int = 0
    folders: int = 0
    victims: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    after: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    faults: list[str] = dataclasses.field(default_factory=list)


def main() -> None:
    """Reads the flags, breaks prep, prints what became of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--engines", action="store_true", help="compare five ways")
    parser.add_argument("--fast", action="store_true", help="five kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work_dir", type=pathlib.Path)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    with contextlib.ExitStack() as stack:
        work = flags.work_dir or pathlib.Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-prep-"))
        )
        work.mkdir(parents=True, exist_ok=True)
        crawl = work / "crawl"
        make_crawl(crawl, flags.seed)
        result = soak(crawl, work, flags)
    if flags.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name}: {value}")
    sys.exit(0 if result["held"] else 1)


def soak(
    crawl: pathlib.Path, work: pathlib.Path, flags: argparse.Namespace
) -> dict[str, Any]:
    """Returns the digests of all ways, and what the kills came to."""
    start = time.monotonic()
    expected, spent = work / "local_2", {}
    ways: dict[str, Callable[[pathlib.Path, pathlib.Path], None]] = {
        "local_2": functools.partial(run, flags=("--num_workers=2",))
    }
    if flags.engines:
        ways |= {
            "local_1": functools.partial(run, flags=("--num_workers=1",)),
            "spark_local_cluster": run_local_cluster,
            "spark_standalone_executor_killed": run_standalone,
        }
    digests = {}
    for name, way in ways.items():
        spent[name] = _measured(functools.partial(way, crawl, work / name))
        digests[name] = digest_of(work / name)
    findings = Findings()
    kills = 5 if flags.fast else flags.kills
    last = kill_often(
        crawl, work, expected, kills, spent["local_2"][0], flags.seed, findings
    )
    digests[f"local_killed_{findings.kills}_times"] = digest_of(last)
    return {
        "held": not findings.faults and len(set(digests.values())) == 1,
        "digests": digests,
        "wall_and_cpu_seconds": spent,
        **vars(findings),
        "seconds": round(time.monotonic() - start, 1),
    }


def _measured(action: Callable[[], None]) -> tuple[float, float]:
    """Returns wall-clock and CPU seconds of an action.

    Of its processes that were waited for: the Java of a Spark driver outlives the
    driver for a moment and is not counted.
    """
    start, before = time.monotonic(), os.times()
    action()
    after = os.times()
    cpu = after.children_user - before.children_user
    cpu += after.children_system - before.children_system
    return round(time.monotonic() - start, 1), round(cpu, 1)


def make_crawl(folder: pathlib.Path, seed: int) -> None:
    """Writes WET files; a tenth of the pages are copies, a tenth near copies."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    texts: list[list[str]] = []
    for i in range(_FILES):
        records = [wet_writer.info_record(f"{i}.warc.wet.gz", "software: soak\r\n")]
        for j in range(_PAGES):
            kind = rng.random()
            if texts and kind < 0.2:
                lines = list(rng.choice(texts))
                if kind < 0.1:
                    lines[rng.randrange(len(lines))] = _sentence(rng)
            else:
                lines = [_sentence(rng) for _ in range(rng.randrange(10, 40))]
                if kind > 0.8:
                    lines.append(_SHARED_LINE)
            texts.append(lines)
            url = f"http://example.org/{i}/{j}"
            records.append(wet_writer.text_record(url, "\n".join(lines).encode()))
        (folder / f"{i}.warc.wet.gz").write_bytes(b"".join(records))


def _sentence(rng: random.Random) -> str:
    words = rng.sample(_WORDS.split(), 6)
    return f"The {' and the '.join(words)} were all that we saw on that day."


def command(
    crawl: pathlib.Path, output: pathlib.Path, flags: Sequence[str]
) -> list[str]:
    """Returns the command line of prep."""
    where = (f"--input={crawl}", f"--output_dir={output}")
    return [sys.executable, "-m", "lmcodistill", "prep", *where, *_FLAGS, *flags]


def run(
    crawl: pathlib.Path,
    output: pathlib.Path,
    flags: Sequence[str],
    environment: dict[str, str] | None = None,
) -> None:
    """Runs prep undisturbed."""
    done = subprocess.run(
        command(crawl, output, flags),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{output.name} ended with {done.returncode}: {done.stderr}")


def run_local_cluster(crawl: pathlib.Path, output: pathlib.Path) -> None:
    """Runs prep on Spark's local-cluster."""
    environment = spark_cluster.quick_environment(output.with_suffix(".conf"))
    master = "--spark_master=local-cluster[2,1,1024]"
    run(crawl, output, ("--engine=spark", master), environment)


def run_standalone(crawl: pathlib.Path, output: pathlib.Path) -> None:
    """Runs prep on a Master and two Workers; one executor dies in its first stage."""
    environment = spark_cluster.quick_environment(output.with_suffix(".conf"))
    with spark_cluster.Cluster(output.with_suffix(".cluster")) as cluster:
        words = ("--engine=spark", f"--spark_master={cluster.url}")
        process = subprocess.Popen(
            command(crawl, output, words),
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        while process.poll() is None and not list(output.glob(".work/kept/*.json")):
            time.sleep(0.02)
        for pid in cluster.executors()[:1]:
            os.kill(pid, signal.SIGKILL)
        _, said = process.communicate()
        if process.returncode or "Lost executor" not in said:
            raise SystemExit(f"standalone ended with {process.returncode}: {said}")


def kill_often(
    crawl: pathlib.Path,
    work: pathlib.Path,
    expected: pathlib.Path,
    kills: int,
    seconds: float,
    seed: int,
    findings: Findings,
) -> pathlib.Path:
    """Kills runs until there were enough kills; returns the last data folder."""
    rng = random.Random(seed)
    whole = files_of(expected)
    while True:
        output = work / f"killed_{findings.folders:03d}"
        finished = False
        while not finished:
            log = work / "log"
            with open(log, "wb") as file:
                process = subprocess.Popen(
                    command(crawl, output, ["--num_workers=2"]),
                    cwd=ROOT,
                    stderr=file,
                    start_new_session=True,
                )
            if findings.kills < kills:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(rng.uniform(0.1, 0.9) * seconds)
            else:
                process.wait()
            if process.poll() is None:
                victim = rng.choice(_VICTIMS)
                kill(process, victim, rng)
                findings.kills += 1
                findings.victims[victim] += 1
                stages = _STAGE.findall(log.read_text(errors="replace"))
                findings.after[stages[-1] if stages else "nothing"] += 1
            elif process.returncode:
                said = log.read_text(errors="replace")
                findings.faults.append(f"ended with {process.returncode}: {said}")
                return output
            finished = process.returncode == 0
            findings.faults += orphans(process.pid)
            findings.faults += half_written(output, whole)
        findings.folders += 1
        files = files_of(output)
        for name in sorted(set(files) ^ set(whole)):
            findings.faults.append(f"{output.name}: litter or missing: {name}")
        if findings.kills >= kills or findings.faults:
            return output


def kill(process: subprocess.Popen[bytes], victim: str, rng: random.Random) -> None:
    """Kills a run, or the process of it, and waits for its end."""
    others = [pid for pid in session_of(process.pid) if pid != process.pid]
    if victim == "group":
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == "worker" and others:
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(others), signal.SIGKILL)
    else:
        process.kill()
    try:
        process.wait(120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise SystemExit("a run hung after its worker was killed") from None


def session_of(session: int) -> list[int]:
    """Returns the processes of a session that have not ended."""
    return [pid for pid, session_id in _sessions() if session_id == session]


def _sessions() -> Iterator[tuple[int, int]]:
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    yield int(entry.name), int(fields[3])


def orphans(session: int) -> list[str]:
    """Returns what outlived a run by more than ten seconds."""
    give_up = time.monotonic() + 10
    while pids := session_of(session):
        if time.monotonic() > give_up:
            return [f"process {pid} outlived its driver" for pid in pids]
        time.sleep(0.05)
    return []


def files_of(folder: pathlib.Path) -> dict[str, str]:
    """Returns the digest of every file, without the times in the report."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name == "report.html":
            continue
        content = path.read_bytes()
        if path.name == "report.json":
            report = json.loads(content)
            report.pop("timings")
            content = json.dumps(report, sort_keys=True).encode()
        digests[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    return digests


def digest_of(folder: pathlib.Path) -> str:
    """Returns one digest for a data folder."""
    return hashlib.sha256(json.dumps(files_of(folder)).encode()).hexdigest()[:16]


def half_written(output: pathlib.Path, whole: dict[str, str]) -> list[str]:
    """Returns the files under their final names that are not what they should be."""
    if not output.exists():
        return []
    faults = []
    for name, digest in files_of(output).items():
        path = pathlib.Path(name)
        is_final = path.parts[0] != ".work" and not path.name.startswith(".")
        if is_final and whole.get(name) != digest:
            faults.append(f"{output.name}/{name} is not whole")
    for record in output.glob(".work/shards/*.json"):
        split, _, _ = record.stem.rpartition("-")
        shard = output / split / json.loads(record.read_text())["file"]
        if not shard.exists():
            faults.append(f"{record.name} speaks of {shard.name}, which is not there")
    return faults


if __name__ == "__main__":
    main()
