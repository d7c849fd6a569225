"""Breaks shared storage, and the processes that use it; for `tools.soak`.

Light processes that publish, read and race for leases without any model, so that
a kill costs milliseconds. Each function returns one row of the list: `trials`,
`survived` and what else was counted.
"""

import contextlib
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from lmcodistill import errors
from lmcodistill.codistill import policies, prefetch
from lmcodistill.storage import (
    faults,
    places,
    publication,
)
from lmcodistill.supervision import lease
from tools.soak.scenarios import storage_children as children

_POINTS = ("written", "before_rename", "before_marker", "after_marker")
_READERS = 4
_RACERS = 6


@contextlib.contextmanager
def _folder() -> Iterator[pathlib.Path]:
    # A kill takes nothing from the page cache, so memory shows the same as a disk,
    # and forcing files to it costs nothing: more of the protocol is in a second.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="lmcodistill-soak-", dir=memory) as folder:
        yield pathlib.Path(folder)


@contextlib.contextmanager
def _child(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Starts a process of the children's module; kills it afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", children.__name__, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _hear(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("A process of the soak ended by itself.")
    return json.loads(line)


def r13(seed: int, seconds: float) -> dict[str, Any]:
    """One writer publishes and removes; four readers never get half a snapshot.

    A trial is one read. It survives where it gives a whole snapshot, or says that
    its owner removed it meanwhile.
    """
    found: dict[str, int] = {}
    crashes = 0
    with _folder() as folder, contextlib.ExitStack() as stack:
        writer = stack.enter_context(_child("writer", folder, seed))
        readers = [
            stack.enter_context(_child("reader", folder, "export", seconds))
            for _ in range(_READERS)
        ]
        for reader in readers:
            try:
                for outcome, count in _hear(reader).items():
                    found[outcome] = found.get(outcome, 0) + count
            except RuntimeError:
                crashes += 1
        crashes += writer.poll() is not None
    whole, removed = found.get("whole", 0), found.get("missing_file", 0)
    trials = sum(found.values()) + crashes
    return {
        "row": "R13",
        "trials": trials,
        "survived": whole + removed,
        "whole": whole,
        "removed_meanwhile": removed,
        "crashes": crashes,
        "seconds": seconds,
    }


def r2_r3_light(seed: int, kills: int) -> dict[str, Any]:
    """A student that does nothing but publish is killed, and goes on.

    Half of the kills are at points of the protocol, half at random instants. A
    trial survives where all that is visible is whole, no checkpoint is lost that
    was once reported, and a sweep leaves nothing else.
    """
    lot, survived, failures = random.Random(seed), 0, []
    longest, reported = 0.0, 0
    with _folder() as root, contextlib.ExitStack() as stack:
        nursery = stack.enter_context(_child("nursery"))
        reader = stack.enter_context(_child("reader", root / "exports", "export", 1e9))
        for kill in range(kills):
            fault = ""
            if kill % 2:
                prefix = lot.choice(("ckpt", "export"))
                fault = f"{prefix}.{lot.choice(_POINTS)}@{lot.randint(1, 4)}:kill"
            began = time.monotonic()
            _tell(nursery, json.dumps([str(root), fault]))
            hello = _hear(nursery)
            reported, lost = max(reported, hello["step"]), reported - hello["step"]
            if not fault:
                time.sleep(lot.uniform(0.0, 0.1))
                os.kill(hello["pid"], 9)
            while (said := _hear(nursery)) != "ended":
                longest = max(longest, time.monotonic() - began)
                reported, began = said["done"], time.monotonic()
            problem = _state_of(root)
            if lost > 0 or problem:
                failures.append({"kill": kill, "lost": lost, "problem": problem})
            else:
                survived += 1
        partly_read = reader.poll() is not None
    return {
        "row": "R2 R3",
        "trials": kills,
        "survived": 0 if partly_read else survived,
        "steps": reported,
        "longest_recovery_s": round(longest, 3),
        "failures": failures[:5],
    }


def _state_of(root: pathlib.Path) -> str:
    """Returns what is wrong with a student's folder after a kill; empty if nothing."""
    for prefix, folder in (("ckpt", "checkpoints"), ("export", "exports")):
        found = publication.committed(root / folder, prefix)
        for snapshot in found:
            if (outcome := children.read(snapshot)) != "whole":
                return f"{snapshot.path.name} is {outcome}"
        publication.sweep(root / folder)
        if len(places.names_in(root / folder)) != len(found):
            return f"{folder} has litter: {places.names_in(root / folder)}"
    return ""


@contextlib.contextmanager
def _small_disk(folder: pathlib.Path) -> Iterator[bool]:
    """Mounts four megabytes; gives False where this user may not."""
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def r15_publication(seed: int, trials: int) -> dict[str, Any]:
    """The disk is full to the last few kilobytes; later there is room again.

    A trial survives where the failed publication is an OSError that leaves nothing,
    what was there is whole, the lease is still held, and the next try succeeds.
    """
    lot, survived, refused = random.Random(seed), 0, 0
    with _folder() as root, _small_disk(root) as is_mounted:
        own = lease.Lease.acquire(root / "leases")
        owner = own.ownership(None)
        for step in range(1, trials + 1):
            before = sorted(places.names_in(root / "exports"))
            fault = f"export.{lot.choice(_POINTS[:3])}@1:fail"
            pages = lot.randrange(children.pages_of((own.generation, step)))
            with _full(root, pages) if is_mounted else _fault(fault):
                failed = not _publishes(root, step, owner)
                after = sorted(places.names_in(root / "exports"))
                own.check()
            refused += failed
            survived += (
                failed
                and before == after
                and _publishes(root, step, owner)
                and not _state_of(root)
            )
            publication.keep_newest(root / "exports", "export", children.KEPT)
    return {
        "row": "R15",
        "trials": trials,
        "survived": survived,
        "refused": refused,
        "how": "a full tmpfs" if is_mounted else "faults",
    }


def r16(seed: int, trials: int) -> dict[str, Any]:
    """Storage becomes read-only, and writable again."""
    lot, survived = random.Random(seed), 0
    with _folder() as root, _small_disk(root) as is_mounted:
        own = lease.Lease.acquire(root / "leases")
        owner = own.ownership(None)
        for step in range(1, trials + 1):
            fault = f"export.{lot.choice(_POINTS[:3])}@1:fail"
            with _read_only(root) if is_mounted else _fault(fault):
                failed = not _publishes(root, step, owner)
                own.check()
                whole = not _state_of(root)
            survived += failed and whole and _publishes(root, step, owner)
            publication.keep_newest(root / "exports", "export", children.KEPT)
    how = "a tmpfs mounted again" if is_mounted else "faults"
    return {"row": "R16", "trials": trials, "survived": survived, "how": how}


def _publishes(root: pathlib.Path, step: int, owner: publication.Owner) -> bool:
    try:
        children.publish(root / "exports", "export", step, owner)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _full(root: pathlib.Path, pages: int) -> Iterator[None]:
    """Fills a disk but for some pages of 4,096 bytes."""
    usage = os.statvfs(root)
    filler = root / "filler"
    filler.write_bytes(b"x" * (usage.f_bavail * usage.f_bsize - 4096 * pages))
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def _read_only(root: pathlib.Path) -> Iterator[None]:
    def mount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(root)], check=True)

    mount("ro")
    try:
        yield
    finally:
        mount("rw")


@contextlib.contextmanager
def _fault(fault: str) -> Iterator[None]:
    faults.forget()
    os.environ[faults.VARIABLE] = fault
    try:
        yield
    finally:
        del os.environ[faults.VARIABLE]


def r19(seed: int, trials: int) -> dict[str, Any]:
    """Listings are late: they hide what is there and show what is gone.

    Each entry is as it was up to five looks ago; only what this process changes
    itself it sees at once, as on NFS. A trial is one look of a pupil. It survives
    where what it takes is whole and no older than what it holds, and where a second
    chief finds the lease held.
    """
    lot, survived, backwards, taken = random.Random(seed), 0, 0, 0
    held: tuple[int, int] | None = None
    with _folder() as root, _late_listings(lot) as current:
        exports, step, generation = root / "exports", 0, 1
        own = lease.Lease.acquire(root / "leases")
        prefetcher = prefetch.Prefetcher(
            lambda request, snapshot: (snapshot.version, children.read(snapshot)),
            lambda peer: exports,
            deadline_seconds=60.0,
        )
        for _ in range(trials):
            with current():
                if lot.random() < 0.1:
                    own.renew()
                    generation, step = own.generation, max(step - 3, 0)
                step += 1
                owner = publication.Owner(generation, own.check)
                children.publish(exports, "export", step, owner)
                publication.keep_newest(exports, "export", children.KEPT)
            prefetcher.begin([policies.Request(1, held=held)])
            while not prefetcher.is_done:
                time.sleep(0.0005)
            good = True
            for version, outcome in prefetcher.take().values():
                taken += outcome == "whole"
                backwards += held is not None and version <= held
                good = outcome in ("whole", "missing_file")
                held = version if outcome == "whole" else held
            survived += good and not backwards and _is_refused(root / "leases")
    return {
        "row": "R19",
        "trials": trials,
        "survived": survived,
        "taken": taken,
        "went_backwards": backwards,
    }


def _is_refused(leases: pathlib.Path) -> bool:
    try:
        lease.Lease.acquire(leases)
    except errors.GroupLostError:
        return True
    return False


@contextlib.contextmanager
def _late_listings(lot: random.Random) -> Iterator[Any]:
    """Makes every listing late, but within the context that is given."""
    true_names, true_create = places.names_in, places.create
    seen: dict[places.Place, list[set[str]]] = {}
    state = {"is_current": False}

    def names_in(folder: places.Place) -> list[str]:
        now = set(true_names(folder))
        past = seen.setdefault(folder, [])
        past.append(now)
        del past[:-5]
        if state["is_current"]:
            return sorted(now)
        everything = set().union(*past)
        return [n for n in sorted(everything) if n in lot.choice(past)]

    def create(target: places.Place, content: bytes) -> bool:
        seen.pop(target.parent, None)  # Its own change makes a client look again.
        return true_create(target, content)

    @contextlib.contextmanager
    def current() -> Iterator[None]:
        state["is_current"] = True
        yield
        state["is_current"] = False

    places.names_in, places.create = names_in, create
    try:
        yield current
    finally:
        places.names_in, places.create = true_names, true_create


def r20(seed: int, trials: int) -> dict[str, Any]:
    """Six processes race for a folder that is new, or whose owner is dead.

    A trial survives where exactly one owns it, and the others were refused within
    five seconds, naming the owner's machine, process and age.
    """
    lot, survived, longest, doubles = random.Random(seed), 0, 0.0, 0
    with _folder() as root, contextlib.ExitStack() as stack:
        racers = [stack.enter_context(_child("racer")) for _ in range(_RACERS)]
        for trial in range(trials):
            leases = root / str(trial)
            if trial % 2:
                lease.Lease.acquire(leases).release()
            for racer in lot.sample(racers, len(racers)):
                time.sleep(lot.choice((0.0, 0.0, 0.001, 0.005)))
                _tell(racer, str(leases))
            answers = [_hear(racer) for racer in racers]
            owners = [
                r.pid for r, (said, _) in zip(racers, answers, strict=True) if not said
            ]
            named = f"process {owners[0]} on {socket.gethostname()}" if owners else "?"
            refusals = [said for said, _ in answers if said]
            longest = max(longest, *(seconds for _, seconds in answers))
            doubles += len(owners) > 1
            survived += (
                len(owners) == 1
                and all(named in said and " s" in said for said in refusals)
                and longest < 5.0
            )
    return {
        "row": "R20",
        "trials": trials,
        "survived": survived,
        "double_owners": doubles,
        "longest_answer_s": round(longest, 3),
    }
