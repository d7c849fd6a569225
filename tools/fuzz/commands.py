"""Types ten thousand odd command lines, every flag of every command among them.

Each goes through the program's main function, in a folder of its own, up to where
work would begin that takes longer than a moment: TensorFlow, processes, downloads.
Found is a traceback, a message of more than six lines, an exit code that is not the
documented one, an error that `--json` does not print as one object, a file outside
the folder, and what takes more than twenty seconds.

Examples:
  python -m tools.fuzz.commands --lines 10000 --seed 1
  python -m tools.fuzz.commands --deep --lines 1000
  python -m tools.fuzz.commands --replay 4711
"""

import argparse
import collections
import contextlib
import dataclasses
import importlib
import io
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

from lmcodistill import cli, errors
from tests.support import tiny_run
from tools.fuzz import command_lines

MAX_LINES = 6
_MAX_SECONDS = 20
_TOO_LONG = f"takes more than {_MAX_SECONDS} s"
_CODES = {
    0,
    *(kind.exit_code for kind in errors.LmcodistillError.__subclasses__()),
}
# Commands that TensorFlow works for, and what is before its work.
_COMPUTING = (
    *("evaluate", "generate", "score", "export", "churn", "plan", "report"),
    "check",
)
_COMPUTE = (("lmcodistill.tf_environment", "start"),)
# What begins other work that takes longer than a moment: module and name.
_WORK = (
    ("lmcodistill.supervision.supervisor", "Supervisor.run"),
    ("lmcodistill.supervision.lifeline", "stop_with_starter"),
    ("lmcodistill.experiments.schedule", "make_all"),
    ("lmcodistill.experiments.tuning", "Tuner.tune"),
    ("lmcodistill.quickstart.stages", "Stages.run"),
    ("data_prep.run.redeal", "redeal"),
    ("data_prep.downloading.crawls", "fetch"),
    ("data_prep.run.pipeline", "_Pipeline.run"),
    ("data_prep.engines.spark", "Spark.__init__"),
    ("lmcodistill.commands.status", "time"),  # Between two looks.
)


class BeginsError(Exception):
    """The command was taken, and would begin its work now."""


class HangsError(BaseException):
    """The command takes too long."""


@dataclasses.dataclass
class Found:
    """What the run came to.

    Attributes:
        lines: Lines typed.
        flags: Different flags among them.
        exit_codes: How many ended with which; `begins` for those whose work began.
        failures: Number, line, and what is wrong.
    """

    lines: int = 0
    flags: set[str] = dataclasses.field(default_factory=set)
    exit_codes: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    failures: list[dict[str, Any]] = dataclasses.field(default_factory=list)


class World:
    """A folder with data, an export and odd files, made once and never changed."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.data, self.run = root / "data", root / "run"
        self.text = root / "text.jsonl"

    def make(self) -> None:
        """Fills the folder."""
        rows = [{"id": f"{i}", "text": f"The {i}th of a few lines."} for i in range(99)]
        self.text.write_text("".join(json.dumps(row) + "\n" for row in rows))
        tiny_run.finish(
            *("prep", "--gin_file", "prep/none", "--input", self.text, "--output_dir"),
            *(self.data, "--num_workers=1", "--gin.NUM_PARTITIONS=2"),
            *("--gin.VOCAB_SIZE=290", "--gin.VALIDATION_FRACTION=0.1"),
            "--gin.GUIDE_FRACTION=0.1",
        )
        tiny_run.finish(
            *tiny_run.train_arguments(self.data, self.run, students=1, TARGETS="none")
        )

    @property
    def export(self) -> pathlib.Path:
        return next((self.run / "students/0/exports").glob("export-*"))

    def place(self, text: str, folder: pathlib.Path) -> str:
        """Returns a word of a line with what $W and its like stand for."""
        for name, path in (
            *(("$DATA", self.data), ("$RUN", self.run), ("$TEXT", self.text)),
            *(("$EXPORT", self.export), ("$W", folder)),
        ):
            text = text.replace(name, str(path))
        return text


def make_odd_files(folder: pathlib.Path) -> None:
    """Fills the folder of a trial."""
    folder.mkdir()
    (folder / "file").write_text("SEED = 1\n")
    (folder / "empty").touch()
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "folder").mkdir()
    (folder / "folder" / "a.txt").write_text("One. Two.\n")
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")


@contextlib.contextmanager
def stopped_before_work(deep: bool = False) -> Iterator[None]:
    """Makes commands stop where their work would begin; `deep` lets some do it."""
    with contextlib.ExitStack() as stack:
        for module, name in (*_WORK, *(() if deep else _COMPUTE)):
            owner = importlib.import_module(module)
            *parts, last = name.split(".")
            for part in parts:
                owner = getattr(owner, part)
            stack.callback(setattr, owner, last, getattr(owner, last))
            setattr(owner, last, _Begin())
        yield


class _Begin:
    """Stands for a function where work begins, or for a clock to wait by."""

    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise BeginsError

    def sleep(self, seconds: float) -> NoReturn:
        raise BeginsError


def _hang(*_: object) -> NoReturn:
    raise HangsError


@dataclasses.dataclass
class Outcome:
    """How a line ended: its code, None where work began, and what it said."""

    code: int | None
    out: str
    err: str
    fault: str = ""


def type_line(line: command_lines.Line, world: World, folder: pathlib.Path) -> Outcome:
    """Runs one line in a folder, and returns what came of it."""
    make_odd_files(folder)
    arguments = [world.place(word, folder) for word in line.arguments]
    out, err = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors_, write_through=True)
        for errors_ in ("strict", "backslashreplace")
    )
    streams = sys.stdin, sys.stdout, sys.stderr
    before = dict(os.environ), os.getcwd()
    os.environ.pop("TF_CONFIG", None)
    os.environ["HOME"] = str(folder / "folder")
    if line.tf_config is not None:
        os.environ["TF_CONFIG"] = line.tf_config
    os.chdir(folder)
    signal.signal(signal.SIGALRM, _hang)
    signal.alarm(_MAX_SECONDS)
    sys.stdin = io.TextIOWrapper(io.BytesIO(line.stdin), "utf-8")
    sys.stdout, sys.stderr = out, err
    code, fault = None, ""
    try:
        code = cli.main(arguments)
    except BeginsError:
        pass
    except HangsError:
        fault = _TOO_LONG
    except BaseException:
        fault = traceback.format_exc()[-1_500:]
    finally:
        signal.alarm(0)
        sys.stdin, sys.stdout, sys.stderr = streams
        os.chdir(before[1])
        os.environ.clear()
        os.environ.update(before[0])
    said = [s.buffer.getvalue().decode("utf-8", "replace") for s in (out, err)]
    return Outcome(code, said[0], said[1], fault)


def fault_of(line: command_lines.Line, outcome: Outcome) -> str:
    """Returns what is wrong with how a line ended; nothing if it is right."""
    if outcome.fault:
        return outcome.fault
    if "Traceback (most recent call last)" in outcome.err:
        return f"prints a traceback: {outcome.err[-1_500:]}"
    code = outcome.code
    if code is not None and code not in _CODES:
        return f"exit code {code}"
    if line.must_refuse and code != errors.UsageError.exit_code:
        return f"ends with {code}; 2 was expected: {outcome.err[-300:]}"
    if line.must_work and code not in (None, 0):
        return f"ends with {code}, and is a line that works: {outcome.err[-300:]}"
    if outcome.err.count("\n") > MAX_LINES:
        return f"says {outcome.err.count(chr(10))} lines: {outcome.err[:500]}"
    if code and not (outcome.err or outcome.out):
        return f"ends with {code} and says nothing"
    if code and line.arguments[-1] == "--json":
        try:
            said = json.loads(outcome.out.splitlines()[-1])
            if "error" in said and said["exit_code"] != code:
                return f"ends with {code}; --json says {said['exit_code']}"
        except (ValueError, IndexError):
            return f"--json printed {outcome.out[:200]!r}"
    return ""


def try_lines(
    seed: int, numbers: range, world: World, folder: pathlib.Path, deep: bool
) -> Found:
    """Types the lines of some numbers, one after the other."""
    grammar, found = command_lines.Grammar(), Found()
    folder.mkdir()
    outside = _names(folder)
    with stopped_before_work(deep):
        for number in numbers:
            line = grammar.make(seed, number)
            if deep and line.arguments[0] not in _COMPUTING:
                continue
            place = folder / f"{number}"
            outcome = type_line(line, world, place)
            if deep and outcome.fault == _TOO_LONG:
                outcome.fault = ""  # It works, and nobody waits for the end.
            fault = fault_of(line, outcome)
            shutil.rmtree(place, ignore_errors=True)
            if strange := _names(folder) - outside:
                fault = fault or f"left {sorted(strange)} outside its folder"
                outside |= strange
            found.lines += 1
            found.flags.add(line.flag)
            code = "begins" if outcome.code is None else str(outcome.code)
            found.exit_codes[code] += 1
            if fault:
                shown = [word[:200] for word in line.arguments]
                found.failures.append(
                    {"number": number, "line": shown, "what": fault}
                    | ({"TF_CONFIG": line.tf_config} if line.tf_config else {})
                )
    return found


def _names(folder: pathlib.Path) -> set[str]:
    beside = {n for n in os.listdir(folder.parent) if not n.startswith("worker-")}
    return set(os.listdir(folder)) | beside


def _work(
    seed: int,
    numbers: range,
    world: World,
    folder: pathlib.Path,
    answer: Any,
    deep: bool,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    answer.send(try_lines(seed, numbers, world, folder, deep))


def run(
    seed: int, lines: int, workers: int, root: pathlib.Path, deep: bool = False
) -> Found:
    """Types all lines, in some processes; a process that dies is a failure."""
    world = World(root)
    world.make()
    forking = multiprocessing.get_context("fork")
    started = []
    for worker in range(workers):
        ours, theirs = forking.Pipe(duplex=False)
        numbers = range(worker, lines, workers)
        folder = root / f"worker-{worker}"
        process = forking.Process(
            target=_work, args=(seed, numbers, world, folder, theirs, deep)
        )
        process.start()
        theirs.close()
        started.append((process, ours))
    total = Found()
    for process, answer in started:
        try:
            found = answer.recv()
        except EOFError:
            process.join()
            what = f"a process ended with {process.exitcode}"
            total.failures.append({"number": -1, "line": [], "what": what})
            continue
        process.join()
        total.lines += found.lines
        total.flags |= found.flags
        total.exit_codes += found.exit_codes
        total.failures += found.failures
    return total


def main() -> int:
    """Reads the flags, runs, tells; 1 if anything was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument(
        "--deep", action="store_true", help="only what TensorFlow does, to its end"
    )
    parser.add_argument("--replay", type=int, help="type the line of this number only")
    flags = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-commands-") as folder:
        root = pathlib.Path(folder)
        if flags.replay is not None:
            return _replay(flags.seed, flags.replay, root, flags.deep)
        found = run(flags.seed, flags.lines, flags.workers, root, flags.deep)
    summary = {
        "lines": found.lines,
        "flags": len(found.flags),
        "exit_codes": dict(sorted(found.exit_codes.items())),
        "failures": found.failures,
        "seconds": round(time.monotonic() - began, 1),
    }
    if flags.json:
        print(json.dumps(summary))
    else:
        for name, value in summary.items():
            print(f"{name:>12} {value}")
    return 1 if found.failures else 0


def _replay(seed: int, number: int, root: pathlib.Path, deep: bool) -> int:
    world = World(root)
    world.make()
    line = command_lines.Grammar().make(seed, number)
    with stopped_before_work(deep):
        outcome = type_line(line, world, root / "trial")
    print(line)
    print(outcome)
    print(fault_of(line, outcome) or "right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
