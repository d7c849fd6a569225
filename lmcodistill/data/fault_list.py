"""Faults of a data folder: whatever is not as its manifest says."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable

from lmcodistill.storage import places

MAX_FAULTS = 1_000


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something that is not what it should be; its fields are keys of JSON.

    Attributes:
        file: In the data folder; of an input file its name.
        what: What was looked at.
        found: What it is.
        expected: What it should be.
        offset: Where in the file, in bytes; None for the file as a whole.
    """

    file: str
    what: str
    found: str
    expected: str
    offset: int | None = None

    def __str__(self) -> str:
        offset = "" if self.offset is None else f" at byte {self.offset:,}"
        return (
            f"{self.file}{offset}: {self.what}: found {self.found}, expected "
            f"{self.expected}"
        )


class FaultList:
    """Faults, in the order in which they were found.

    Attributes:
        faults: The first `MAX_FAULTS`.
        num_faults: How many there are.
        advance: Called with the bytes that were read since the last call.
    """

    def __init__(self, advance: Callable[[int], None]) -> None:
        self.advance = advance
        self.faults: list[Fault] = []
        self.num_faults = 0

    def add(
        self,
        file: str,
        what: str,
        found: object,
        expected: object,
        offset: int | None = None,
    ) -> None:
        """Notes a fault; see `Fault`."""
        self.num_faults += 1
        if len(self.faults) < MAX_FAULTS:
            shown = _shown(found), _shown(expected)
            self.faults.append(Fault(file, what, *shown, offset))

    def compare(self, file: str, what: str, found: object, expected: object) -> bool:
        """Returns whether two values are equal; notes a fault if not."""
        if found != expected:
            self.add(file, what, found, expected)
        return found == expected

    def check_file(
        self,
        path: pathlib.Path,
        label: str,
        num_bytes: int,
        sha256: str | None,
        look: Callable[[bytes], None] = lambda _: None,
    ) -> bool:
        """Returns whether a file is what it should be.

        Args:
            path: The file.
            label: What it is called in faults.
            num_bytes: Its size.
            sha256: Its digest, in hexadecimal.
            look: Called with its bytes, 1 MiB at a time.
        """
        digest, size = hashlib.sha256(), 0
        try:
            for chunk in places.read_chunks(path, num_bytes):
                digest.update(chunk)
                look(chunk)
                size += len(chunk)
                self.advance(len(chunk))
        except places.SpecialFileError:
            self.add(label, "kind", "a link or a special file", "a regular file")
            return False
        except OSError as error:
            self.add(label, "file", error.strerror or error, f"{num_bytes:,} bytes")
            return False
        if size > num_bytes:
            self.add(label, "bytes", "more", num_bytes)
            return False
        is_whole = self.compare(label, "bytes", size, num_bytes)
        return self.compare(label, "SHA-256", digest.hexdigest(), sha256) and is_whole


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
