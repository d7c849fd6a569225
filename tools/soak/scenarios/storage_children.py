"""Processes that `storage` starts, watches and kills.

    Arguments: KIND ARGUMENT...

Every file of a snapshot here says in each of its lines whose it is, so that bytes
of two snapshots can never pass for one.
"""

import json
import os
import pathlib
import random
import sys
import time

from lmcodistill import errors
from lmcodistill.storage import faults, places, publication, scratch
from lmcodistill.supervision import lease

NUM_FILES = 4
KEPT = 2


def say(value: object) -> None:
    """Prints one line for the parent."""
    print(json.dumps(value), flush=True)


def content(version: tuple[int, int], index: int) -> bytes:
    """Returns what a file of a snapshot holds; the sizes differ."""
    line = f"{version[0]} {version[1]} {index}\n".encode()
    return line * (1 + (version[1] * 7919 + index * 104_729) % 2_000)


def pages_of(version: tuple[int, int]) -> int:
    """Returns how many pages of 4,096 bytes a snapshot needs at least."""
    sizes = [len(content(version, index)) for index in range(NUM_FILES)]
    return sum(-(-size // 4096) for size in sizes) + 2  # Manifest and commit file.


def publish(
    folder: places.Place, prefix: str, step: int, owner: publication.Owner
) -> None:
    """Publishes a snapshot whose files say whose they are."""

    def write(path: pathlib.Path) -> None:
        for index in range(NUM_FILES):
            parent = path / ("below" if index % 2 else ".")
            parent.mkdir(exist_ok=True)
            (parent / f"{index}").write_bytes(content((owner.generation, step), index))

    publication.publish(folder, prefix, step, write, {}, owner)


def read(snapshot: publication.Snapshot) -> str:
    """Reads a snapshot as a peer does.

    Returns:
        `whole`, the reason of its refusal, or `mixed` where it was taken for whole
        and is not.
    """
    with scratch.folder() as local:
        try:
            manifest = snapshot.manifest()
            publication.verify(snapshot, manifest, "", local)
        except errors.SnapshotError as refusal:
            return refusal.reason
        for index in range(NUM_FILES):
            if (local / f"{index}").read_bytes() != content(snapshot.version, index):
                return "mixed"
    return "whole"


def reader(folder: str, prefix: str, seconds: str) -> None:
    """Reads all that is visible, again and again, and counts."""
    outcomes: dict[str, int] = {}
    give_up = time.monotonic() + float(seconds)
    while time.monotonic() < give_up and os.getppid() != 1:
        for snapshot in publication.committed(places.place(folder), prefix):
            outcome = read(snapshot)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
        time.sleep(0.002)
    say(outcomes)


def writer(folder: str, seed: str) -> None:
    """Publishes and removes, life after life, until it is killed."""
    lot = random.Random(int(seed))
    where, step = places.place(folder), 0
    for generation in range(1, 1_000_000):
        owner = publication.Owner(generation, lambda: None)
        step = max(step - lot.randrange(3), 0)  # From an older checkpoint.
        for _ in range(lot.randrange(1, 20)):
            step += 1
            publish(where, "export", step, owner)
            publication.keep_newest(where, "export", KEPT)
        if lot.random() < 0.1:
            time.sleep(0.02)


def racer() -> None:
    """Tries to become the owner of every folder that it is told."""
    for line in sys.stdin:
        began = time.monotonic()
        try:
            lease.Lease.acquire(places.place(line.strip()))
            said = ""
        except errors.GroupLostError as error:
            said = str(error)
        say([said, time.monotonic() - began])


def nursery() -> None:
    """Forks a student for every line `FOLDER FAULT`, so that a kill costs little."""
    for line in sys.stdin:
        folder, fault = json.loads(line)
        child = os.fork()
        if child == 0:
            os.environ[faults.VARIABLE] = fault
            student(places.place(folder))
        os.waitpid(child, 0)
        say("ended")


def student(folder: places.Place) -> None:
    """Goes on from its newest checkpoint, and publishes as fast as it can."""
    held_lease = lease.Lease.acquire(folder / "leases")
    kinds = {"ckpt": folder / "checkpoints", "export": folder / "exports"}
    for where in kinds.values():
        publication.sweep(where)
    checkpoints = publication.committed(kinds["ckpt"], "ckpt")
    step = checkpoints[-1].step if checkpoints else 0
    say({"pid": os.getpid(), "step": step})
    while True:
        step += 1
        for prefix, where in kinds.items():
            publish(where, prefix, step, held_lease.ownership(None))
            publication.keep_newest(where, prefix, KEPT)
        say({"done": step})


if __name__ == "__main__":
    KINDS = {f.__name__: f for f in (reader, writer, racer, nursery)}
    KINDS[sys.argv[1]](*sys.argv[2:])
