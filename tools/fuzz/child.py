"""The part of `tools.fuzz` that may die: tries inputs, one after the other."""

import argparse
import dataclasses
import functools
import glob
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import time
import traceback
from typing import Any

from data_prep import work
from data_prep.rules import extract
from lmcodistill.data import report_checks
from lmcodistill.settings import filtering, prep
from tools.fuzz import giants as giants_lib
from tools.fuzz import inputs

MAX_CPU_SECONDS = 10
MAX_MEMORY_MB = 512
# One input in so many is tried twice.
_AGAIN_EVERY = 20
_MAX_REAL_BYTES = 1 << 20

_MILD = filtering.Rules()
_STRICT = filtering.Rules(
    lengths=filtering.LengthRules(apply_to="all", min_words=20),
    c4=filtering.C4Rules(apply_to="all"),
    gopher=filtering.GopherRules(apply_to="all", repetition=True),
    fineweb=filtering.FineWebRules(apply_to="all"),
    masking=filtering.Masking(True, True, True),
)
_NONE = filtering.Rules(
    language=filtering.LanguageRule(language=""),
    c4=filtering.C4Rules(apply_to="none"),
    gopher=filtering.GopherRules(apply_to="none"),
    masking=filtering.Masking(True, True, True),
)


class Violation(Exception):
    """Something that prep promises did not hold."""


def trials(count: int, *, giants: bool) -> list[str]:
    """Returns the names of the inputs of a run."""
    large = list(giants_lib.GIANTS) if giants else []
    return [*large, *map(str, range(count))]


@functools.cache
def _real_files(pattern: str) -> tuple[bytes, ...]:
    paths = sorted(map(pathlib.Path, glob.glob(pattern)))
    return tuple(path.read_bytes()[:_MAX_REAL_BYTES] for path in paths)


def make(seed: int, trial: str, real: str) -> inputs.Case:
    """Returns the input of this name."""
    if trial in giants_lib.GIANTS:
        name, content = giants_lib.GIANTS[trial]
        return inputs.Case(name, content())
    return inputs.make(seed, int(trial), _real_files(real))


def save(seed: int, trial: str, flags: argparse.Namespace) -> str:
    """Writes the input of a trial where it can be tried again; returns its path."""
    if not trial:
        return ""
    case = make(seed, trial, flags.real)
    folder = pathlib.Path(flags.failures)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{seed}-{trial}-{case.name}"
    path.write_bytes(case.content)
    return str(path)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run of the stage left."""

    counts: dict[str, Any]
    urls: frozenset[str]
    digest: str


def try_file(
    path: pathlib.Path,
    folder: pathlib.Path,
    rules: filtering.Rules,
    *,
    with_digest: bool = False,
    **settings: Any,
) -> Outcome:
    """Runs the real stage on a file and checks what holds for every file.

    Raises:
        Violation: it does not hold.
    """
    if folder.exists():
        shutil.rmtree(folder)
    place = work.WorkFolder(folder / "work")
    place.make()
    task = extract.ReadTask(
        file=0,
        path=path,
        source=path.name,
        root=place.root,
        settings=prep.Prep(dropped_samples=2, **settings),
        rules=rules,
    )
    sizes: list[int] = []
    extract.extract(task, sizes.append)
    if not task.commit_file.exists():
        raise Violation("no result was written")
    result = extract.read_result(place, 0)
    counts = result.counts
    if counts.read != counts.kept + counts.dropped.total():
        raise Violation(f"read {counts.read} != kept and dropped: {counts}")
    held = sum(counts.records[kind] for kind in report_checks.PAGE_RECORDS)
    if counts.records and counts.read != held:
        raise Violation(f"read {counts.read} of {held} records that may hold pages")
    if sum(sizes) != path.stat().st_size:
        raise Violation(
            f"{sum(sizes)} of {path.stat().st_size} bytes were told as read"
        )
    lines = [
        json.loads(line)
        for part in result.parts
        for line in work.json_lines(place.documents(part))
    ]
    if len(lines) != counts.kept:
        raise Violation(f"{len(lines)} documents are there, {counts.kept} are counted")
    if others := [p.name for p in folder.iterdir() if p.name != "work"]:
        raise Violation(f"files outside the work folder: {others}")
    digest = hashlib.sha256()
    for left in sorted(place.root.rglob("*")) if with_digest else []:
        if left.is_file():
            digest.update(left.name.encode() + left.read_bytes())
    urls = frozenset(line["url"] for line in lines)
    return Outcome(counts.to_json(), urls, digest.hexdigest())


class _Trials:
    """Tries inputs and keeps count."""

    def __init__(self, seed: int, folder: pathlib.Path, real: str, failures: str):
        self._seed, self._folder, self._real = seed, folder, real
        self._flags = argparse.Namespace(real=real, failures=failures)
        self._current = open(folder / "current", "w", buffering=1)  # noqa: SIM115
        self.counts: dict[str, Any] = {}

    def batch(self, names: list[str]) -> dict[str, Any]:
        """Tries the inputs of these names."""
        self.counts = {
            "trials": 0,
            "kept": 0,
            "damaged": 0,
            "checked_pages": 0,
            "slowest_s": 0.0,
            "slowest": "",
            "peak_mb": 0.0,
            "page_reader_peak_mb": 0.0,
            "failures": [],
        }
        for name in names:
            self._current.seek(0)
            self._current.write(f"{name:<60}\n")
            self._current.flush()
            case = make(self._seed, name, self._real)
            path = self._folder / case.name
            path.write_bytes(case.content)
            case = dataclasses.replace(case, content=b"")
            if name in giants_lib.GIANTS:
                # What it took to make it is not what it takes to read it.
                _forget_peak()
            start = time.monotonic()
            try:
                self._try(name, path, case)
            except Exception as error:
                fault = f"{type(error).__name__}: {error}"
                self._fail(name, fault, traceback.format_exc()[-1_500:])
            signal.setitimer(signal.ITIMER_PROF, 0)
            seconds = time.monotonic() - start
            if seconds > self.counts["slowest_s"]:
                self.counts["slowest_s"], self.counts["slowest"] = seconds, name
            self.counts["trials"] += 1
        self.counts["page_reader_peak_mb"] = _page_reader_peak()
        return self.counts

    def _try(self, name: str, path: pathlib.Path, case: inputs.Case) -> None:
        rng = random.Random(f"{self._seed}/{name}/rules")
        rules = rng.choice((_MILD, _MILD, _STRICT, _NONE))
        settings = {
            "text_documents": rng.choice(("sections", "lines", "files")),
            "html_main_content": rng.random() < 0.5,
        }
        is_again = rng.randrange(_AGAIN_EVERY) == 0
        attempt = functools.partial(
            try_file,
            path,
            self._folder / "out",
            rules,
            with_digest=is_again,
            **settings,
        )
        # Kills this process; the one that watches knows the signal.
        signal.setitimer(signal.ITIMER_PROF, MAX_CPU_SECONDS)
        outcome = attempt()
        if is_again:
            signal.setitimer(signal.ITIMER_PROF, MAX_CPU_SECONDS)
            again = attempt()
            if again != outcome:
                raise Violation(f"another outcome: {outcome.counts}, {again.counts}")
        counts = outcome.counts
        self.counts["kept"] += counts["kept"]
        self.counts["damaged"] += bool(counts["damaged"] or counts["truncated"])
        if rules is _MILD:
            if missing := case.must_keep - outcome.urls:
                raise Violation(f"missing: {sorted(missing)}; {counts}")
            self.counts["checked_pages"] += len(case.must_keep)
        peak = _peak_of("self")
        self.counts["peak_mb"] = max(self.counts["peak_mb"], peak)
        if peak > MAX_MEMORY_MB:
            self._fail(name, f"memory: {peak:.0f} MB", "")
            _forget_peak()

    def _fail(self, name: str, fault: str, trace: str) -> None:
        saved = save(self._seed, name, self._flags)
        failure = {"trial": name, "what": fault, "trace": trace, "saved": saved}
        self.counts["failures"].append(failure)


def _page_reader_peak() -> float:
    pid = os.getpid()
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return max(map(_peak_of, children), default=0.0)


def _peak_of(process: str) -> float:
    for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _forget_peak() -> None:
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def replay(path: pathlib.Path, folder: pathlib.Path) -> list[dict[str, Any]]:
    """Tries a saved file with every set of rules; raises what is raised."""
    copy = folder / path.name
    shutil.copy(path, copy)
    outcomes = []
    for rules in (_MILD, _STRICT, _NONE):
        start = time.monotonic()
        outcome = try_file(copy, folder / "out", rules)
        outcomes.append(
            {
                "seconds": round(time.monotonic() - start, 3),
                "peak_mb": _peak_of("self"),
                "page_reader_peak_mb": _page_reader_peak(),
                **outcome.counts,
            }
        )
    return outcomes


def main() -> None:
    """Answers batches on standard input until it is closed."""
    seed, folder, real, failures = sys.argv[1:]
    tried = _Trials(int(seed), pathlib.Path(folder), real, failures)
    for line in sys.stdin:
        print(json.dumps(tried.batch(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
