"""Scenarios of shared storage, and of the processes that use it.

Light processes that publish, read and race for leases without any model, so that
a kill costs milliseconds.
"""

import collections
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
from collections.abc import Callable, Iterator
from typing import Any

from lmcodistill import errors
from lmcodistill.codistill import policies, prefetch
from lmcodistill.storage import (
    exclusive,
    faults,
    places,
    publication,
)
from lmcodistill.supervision import lease
from tools.soak.harness import Setup, Survival
from tools.soak.scenarios import storage_children as children

_POINTS = ("written", "before_rename", "before_marker", "after_marker")
_READERS = 4
_RACERS = 6

# Spoils a disk for a while; the number is how many pages of it stay free.
_Disturbance = Callable[[pathlib.Path, int], contextlib.AbstractContextManager[None]]


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


def removal_while_read(setup: Setup) -> Survival:
    """One writer publishes and removes; four readers never get half a snapshot.

    `trials` are seconds; a trial that is counted is one read. It survives where it
    gives a whole snapshot, or says that its owner removed it meanwhile.
    """
    outcomes: collections.Counter[str] = collections.Counter()
    with _folder() as folder, contextlib.ExitStack() as stack:
        writer = stack.enter_context(_child("writer", folder, setup.seed))
        readers = [
            stack.enter_context(_child("reader", folder, "export", setup.trials))
            for _ in range(_READERS)
        ]
        for reader in readers:
            try:
                outcomes.update(_hear(reader))
            except RuntimeError:
                outcomes["crashed"] += 1
        outcomes["crashed"] += writer.poll() is not None
    held = outcomes["whole"] + outcomes["missing_file"]
    notes = {"outcomes": dict(outcomes), "seconds": setup.trials}
    return Survival(outcomes.total(), held, notes=notes)


def kill_publisher(setup: Setup) -> Survival:
    """A student that does nothing but publish is killed, and goes on.

    Half of the kills are at points of the protocol, half at random instants. A
    trial survives where all that is visible is whole, no checkpoint is lost that
    was once reported, and a sweep leaves nothing else.
    """
    rng, row, reported = setup.rng, Survival(), 0
    with _folder() as root, contextlib.ExitStack() as stack:
        nursery = stack.enter_context(_child("nursery"))
        reader = stack.enter_context(_child("reader", root / "exports", "export", 1e9))
        for number in range(setup.trials):
            fault = ""
            if number % 2:
                prefix = rng.choice(("ckpt", "export"))
                fault = f"{prefix}.{rng.choice(_POINTS)}@{rng.randint(1, 4)}:kill"
            began = time.monotonic()
            _tell(nursery, json.dumps([str(root), fault]))
            hello = _hear(nursery)
            reported, lost = max(reported, hello["step"]), reported - hello["step"]
            if not fault:
                time.sleep(rng.uniform(0.0, 0.1))
                os.kill(hello["pid"], 9)
            while (said := _hear(nursery)) != "ended":
                row.recovered(time.monotonic() - began)
                reported, began = said["done"], time.monotonic()
            problem = _state_of(root)
            row.note(lost <= 0 and not problem, kill=number, lost=lost, problem=problem)
        if reader.poll() is not None:  # It read half of something, and crashed.
            row.survived = 0
    row.notes["steps"] = reported
    return row


def _state_of(root: pathlib.Path) -> str:
    """Returns what is wrong with a student's folder after a kill; empty if nothing."""
    for prefix, folder in (("ckpt", "checkpoints"), ("export", "exports")):
        snapshots = publication.committed(root / folder, prefix)
        for snapshot in snapshots:
            if (outcome := children.read(snapshot)) != "whole":
                return f"{snapshot.path.name} is {outcome}"
        publication.sweep(root / folder)
        if len(places.names_in(root / folder)) != len(snapshots):
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


def full_disk_publishing(setup: Setup) -> Survival:
    """The disk is full to the last few kilobytes; later there is room again."""
    return _publishing_on(_full, setup)


def read_only_disk(setup: Setup) -> Survival:
    """Storage becomes read-only, and writable again."""
    return _publishing_on(_read_only, setup)


def _publishing_on(disturb: _Disturbance, setup: Setup) -> Survival:
    """Publishes on a disk that takes nothing for a while.

    A trial survives where the failed publication is an OSError that leaves nothing,
    what was there is whole, the lease is still held, and the next try succeeds.
    """
    rng, row = setup.rng, Survival()
    with _folder() as root, _small_disk(root) as is_mounted:
        held_lease = lease.Lease.acquire(root / "leases")
        owner = held_lease.ownership(None)
        row.notes["how"] = "a small tmpfs" if is_mounted else "faults"
        for step in range(1, setup.trials + 1):
            before = sorted(places.names_in(root / "exports"))
            fault = f"export.{rng.choice(_POINTS[:3])}@1:fail"
            pages = rng.randrange(children.pages_of((held_lease.generation, step)))
            with disturb(root, pages) if is_mounted else _fault(fault):
                failed = not _publishes(root, step, owner)
                after = sorted(places.names_in(root / "exports"))
                held_lease.check()
            row.note(
                failed
                and before == after
                and _publishes(root, step, owner)
                and not _state_of(root)
            )
            publication.keep_newest(root / "exports", "export", children.KEPT)
    return row


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
def _read_only(root: pathlib.Path, pages: int) -> Iterator[None]:
    """Makes a disk read-only, however much room it has."""

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


def late_listings(setup: Setup) -> Survival:
    """Listings are late: they hide what is there and show what is gone.

    Each entry is as it was up to five looks ago; only what this process changes
    itself it sees at once, as on NFS. A trial is one look of a student at its peer.
    It survives where what is taken is whole and no older than what is held, and
    where a second chief finds the lease held.
    """
    rng, row = setup.rng, Survival(notes={"taken": 0, "went_backwards": 0})
    newest: tuple[int, int] | None = None
    with _folder() as root, _late_listings(rng) as current:
        exports, step, generation = root / "exports", 0, 1
        held_lease = lease.Lease.acquire(root / "leases")
        prefetcher = prefetch.Prefetcher(
            lambda request, snapshot: (snapshot.version, children.read(snapshot)),
            lambda peer: exports,
            deadline_seconds=60.0,
        )
        for _ in range(setup.trials):
            with current():
                if rng.random() < 0.1:
                    held_lease.renew()
                    generation, step = held_lease.generation, max(step - 3, 0)
                step += 1
                owner = publication.Owner(generation, held_lease.check)
                children.publish(exports, "export", step, owner)
                publication.keep_newest(exports, "export", children.KEPT)
            prefetcher.begin([policies.Request(1, held=newest)])
            while not prefetcher.is_done:
                time.sleep(0.0005)
            good = True
            for version, outcome in prefetcher.take().values():
                row.notes["taken"] += outcome == "whole"
                row.notes["went_backwards"] += newest is not None and version <= newest
                good = outcome in ("whole", "missing_file")
                newest = version if outcome == "whole" else newest
            good &= not row.notes["went_backwards"]
            row.note(good and _is_refused(root / "leases"))
    return row


def _is_refused(leases: pathlib.Path) -> bool:
    try:
        lease.Lease.acquire(leases)
    except errors.GroupLostError:
        return True
    return False


@contextlib.contextmanager
def _late_listings(rng: random.Random) -> Iterator[Any]:
    """Makes every listing late, but within the context that is given."""
    true_names, true_create = places.names_in, exclusive.create
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
        return [n for n in sorted(everything) if n in rng.choice(past)]

    def create(target: places.Place, content: bytes) -> bool:
        seen.pop(target.parent, None)  # Its own change makes a client look again.
        return true_create(target, content)

    @contextlib.contextmanager
    def current() -> Iterator[None]:
        state["is_current"] = True
        yield
        state["is_current"] = False

    places.names_in, exclusive.create = names_in, create
    try:
        yield current
    finally:
        places.names_in, exclusive.create = true_names, true_create


def race_for_student(setup: Setup) -> Survival:
    """Six processes race for a folder that is new, or whose owner is dead.

    A trial survives where exactly one owns it, and the others were refused within
    five seconds, naming the owner's machine, process and age.
    """
    rng, row, longest = setup.rng, Survival(), 0.0
    row.notes["double_owners"] = 0
    with _folder() as root, contextlib.ExitStack() as stack:
        racers = [stack.enter_context(_child("racer")) for _ in range(_RACERS)]
        for trial in range(setup.trials):
            leases = root / str(trial)
            if trial % 2:
                lease.Lease.acquire(leases).release()
            for racer in rng.sample(racers, len(racers)):
                time.sleep(rng.choice((0.0, 0.0, 0.001, 0.005)))
                _tell(racer, str(leases))
            answers = [_hear(racer) for racer in racers]
            owners = [
                r.pid for r, (said, _) in zip(racers, answers, strict=True) if not said
            ]
            named = f"process {owners[0]} on {socket.gethostname()}" if owners else "?"
            refusals = [said for said, _ in answers if said]
            longest = max(longest, *(seconds for _, seconds in answers))
            row.notes["double_owners"] += len(owners) > 1
            row.note(
                len(owners) == 1
                and all(named in said and " s" in said for said in refusals)
                and longest < 5.0,
                answers=answers,
            )
    row.notes["longest_answer_s"] = round(longest, 3)
    return row
