"""Who may write in a student's folder: leases, and the fence they make.

Each start of a student's chief is a *generation* with a number of its own: the
file `lease-<number>.json`, which only one process can create. The highest number
owns the folder. Its owner rewrites its file every two seconds; whoever wants the
folder takes it over when the owner is known to be dead or its file has not
changed for `EXPIRY_SECONDS` on the watcher's own clock. Clocks of two machines
are never compared. An owner that slept through this finds the higher number
before it makes anything visible, and ends.
"""

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from lmcodistill import errors
from lmcodistill.storage import exclusive, faults, files, places, publication
from lmcodistill.supervision import process_state

BEAT_SECONDS = 2.0
EXPIRY_SECONDS = 30.0
_KEPT = 3  # Leases that stay to be looked at; the highest must.
_RELEASE_SECONDS = 5.0  # A process that ends does not wait for ever for storage.
_NAME = re.compile(r"lease-(\d{6,9})\.json")
# A lease, or what is left of one that was being written.
_REMAINS = re.compile(r"\.?lease-(\d{6,9})\.json(\..+)?")
_MAX_BYTES = 4_096

log = logging.getLogger("lmcodistill")


@dataclasses.dataclass(frozen=True)
class Holder:
    """What a lease says of its owner.

    Attributes:
        generation: The lease's number.
        host: Its name, for people.
        pid: Process id there.
        process: Names the very process on the very boot of the machine; two
            processes that cannot see each other have different first halves.
        beat: Counts up while it lives.
        age_seconds: Since it took the lease, by its own clock.
        released: Whether it ended in good order.
    """

    generation: int
    host: str = "?"
    pid: int = 0
    process: tuple[str, str] = ("", "")
    beat: int = 0
    age_seconds: float = 0.0
    released: bool = False

    def is_alive(self) -> bool | None:
        """Returns whether it lives; None where that cannot be seen from here."""
        if self.released:
            return False
        if not self.is_here:
            return None
        which = self.process[1]
        return _running(which.partition(" ")[0]) == which

    @property
    def is_here(self) -> bool:
        """Whether it is, or was, on this machine, where its processes can be seen."""
        return self.process[0] == _here()

    def __str__(self) -> str:
        return (
            f"process {self.pid} on {self.host}, incarnation {self.generation}, for "
            f"{self.age_seconds:.0f} s"
        )


def _here() -> str:
    """Names this boot of this machine and the processes that can be seen on it."""
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # No Linux: nobody can be seen, only watched.
        return uuid.uuid4().hex


def _running(pid: str) -> str:
    """Returns a running process's id and when it began; empty if there is none."""
    name, state = process_state.name_and_state(pid)
    return "" if state in ("Z", "X") else name


class Lease:
    """The right to write in a student's folder, held by this process.

    Attributes:
        generation: Its number; higher ones came later.
    """

    def __init__(self, folder: places.Place, generation: int):
        """Wraps a lease that this process has just created; see `acquire`."""
        self.generation = generation
        self._folder = folder
        self._began = time.monotonic()
        self._beat = 0
        self._ended = threading.Event()
        self._lock = threading.Lock()

    @classmethod
    def acquire(cls, folder: places.Place, take_over: bool = False) -> "Lease":
        """Takes the folder, waiting for a dead owner's lease to expire if need be.

        With `take_over` it is taken from a living owner as well.

        Raises:
            GroupLostError: another process holds it.
            OSError: storage failed.
        """
        places.make_folder(folder)
        holder = newest(folder) if take_over else refuse_held(folder)
        lease = cls(folder, holder.generation + 1 if holder else 1)
        lease._create(lease.generation)
        return lease

    def _create(self, generation: int) -> None:
        """Creates a lease that must be nobody's yet, and is the highest."""
        path = _path(self._folder, generation)
        if (
            not exclusive.create(path, self._text(generation))
            # Numbers far below the highest are free again.
            or _highest(self._folder) > generation
        ):
            raise errors.GroupLostError(
                f"Another process took {self._folder} at the same moment: "
                f"{newest(self._folder)}. Only one may train this student."
            )
        self.generation = generation
        with contextlib.suppress(OSError):  # What stays is small, and goes next time.
            for name in places.names_in(self._folder):
                match = _REMAINS.fullmatch(name)
                is_half = match and not _NAME.fullmatch(name)
                if match and int(match[1]) <= generation - (1 if is_half else _KEPT):
                    places.remove_file(self._folder / name)

    def _text(self, generation: int, released: bool = False) -> bytes:
        fields = {
            "incarnation": generation,  # The file's own word for it.
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process": (_here(), _running("self")),
            "beat": self._beat,
            "age_seconds": round(time.monotonic() - self._began, 1),
            "released": released,
        }
        return json.dumps(fields).encode()

    def ownership(self, key: bytes | None) -> publication.Owner:
        """Returns the right to publish as this generation, signed with a key."""
        return publication.Owner(self.generation, self.check, key)

    def keep(self, when_lost: Callable[[errors.GroupLostError], Any]) -> None:
        """Keeps the lease alive in a thread, which calls `when_lost` in the end."""

        def beat() -> None:
            is_written = True
            while not self._ended.wait(BEAT_SECONDS):
                try:
                    is_written = self._beat_once(is_written)
                    self.check()
                except errors.GroupLostError as error:
                    when_lost(error)
                    return
                except OSError:
                    continue  # Nobody knows; the next beat may.

        threading.Thread(target=beat, daemon=True, name="lease").start()

    def _beat_once(self, was_written: bool) -> bool:
        """Writes the lease again; says once when that begins or ceases to fail."""
        try:
            self._write()
        except OSError as error:
            if was_written:
                log.warning("event=lease_not_renewed reason=%s", error)
            return False
        if not was_written:
            log.warning("event=lease_renewed")
        return True

    def _write(self, released: bool = False) -> None:
        with self._lock:
            if self._ended.is_set() and not released:
                return
            faults.point("lease.beat")
            self._beat += 1
            files.write_bytes(
                _path(self._folder, self.generation),
                self._text(self.generation, released),
                durable=False,
            )

    def check(self) -> None:
        """Does nothing while this process owns the folder.

        Raises:
            GroupLostError: another process took over.
            OSError: storage failed, so nobody knows.
        """
        if _highest(self._folder) > self.generation:
            raise errors.GroupLostError(
                f"This process held {self._folder} as incarnation {self.generation} "
                f"and was taken for dead; it is held now by {newest(self._folder)}. "
                "Nothing was written since."
            )

    def renew(self) -> None:
        """Begins the next generation, still of this process.

        Raises:
            GroupLostError: another process took over.
        """
        with self._lock:
            self._create(self.generation + 1)

    def release(self) -> None:
        """Gives the folder up in good order; the next owner need not wait."""

        def say_so() -> None:
            try:
                if _highest(self._folder) == self.generation:
                    self._write(released=True)
            except OSError as error:
                log.warning("event=lease_not_released reason=%s", error)

        self._ended.set()
        last = threading.Thread(target=say_so, daemon=True, name="release")
        last.start()
        last.join(_RELEASE_SECONDS)


def refuse_held(folder: places.Place, wait: bool = True) -> Holder | None:
    """Returns what the highest lease says, if its owner is dead.

    With `wait`, the lease of an owner that cannot be seen from here is watched, which
    takes up to `EXPIRY_SECONDS`; otherwise that owner counts as dead.

    Raises:
        GroupLostError: the owner lives.
        OSError: storage failed.
    """
    holder = newest(folder)
    if holder is None:
        return None
    alive, newer = holder.is_alive(), None
    if alive is None and wait:
        log.warning("event=waiting_for_lease holder=%s", holder)
        newer = _next_beat(folder, holder)
        alive = newer is not None and not newer.released
    if alive:
        raise errors.GroupLostError(
            f"{folder} is held by {newer or holder}. Only one process may train this "
            "student: stop that one, or give another --run_dir. If you know that it is "
            "dead, add --take_over."
        )
    return holder


def _next_beat(folder: places.Place, holder: Holder) -> Holder | None:
    """Returns what a lease says when it changes; None if it never does."""
    give_up = time.monotonic() + EXPIRY_SECONDS
    while time.monotonic() < give_up:
        time.sleep(BEAT_SECONDS / 4)
        seen = newest(folder)
        if seen is not None and seen != holder:
            return seen
    return None


def newest_file(folder: places.Place) -> places.Place | None:
    """Returns the highest lease of a folder, if there is one.

    Raises:
        OSError: storage failed.
    """
    number = _highest(folder)
    return _path(folder, number) if number else None


def newest(folder: places.Place) -> Holder | None:
    """Returns what the highest lease of a folder says, if there is one.

    Raises:
        OSError: storage failed.
    """
    number = _highest(folder)
    if number == 0:
        return None
    try:
        fields = files.read_json(_path(folder, number), _MAX_BYTES)
        return Holder(
            number,
            str(fields["host"]),
            int(fields["pid"]),
            (str(fields["process"][0]), str(fields["process"][1])),
            int(fields["beat"]),
            float(fields["age_seconds"]),
            fields["released"] is True,
        )
    except (errors.DataError, LookupError, TypeError, ValueError):
        return Holder(number)  # Damaged: whether it is alive, its next beats tell.


def _highest(folder: places.Place) -> int:
    matches = [_NAME.fullmatch(name) for name in places.names_in(folder)]
    return max((int(match[1]) for match in matches if match), default=0)


def _path(folder: places.Place, generation: int) -> places.Place:
    return folder / f"lease-{generation:06d}.json"
