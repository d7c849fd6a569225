"""The folder `.work` of an unfinished data folder, and what is written there.

Every stage writes its output and then a commit file with its counts. A stage whose
commit file is there is not run again, so a run that was killed goes on where it
stopped. All names come from counters, never from input.
"""

import contextlib
import dataclasses
import json
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from data_prep import lock
from lmcodistill.storage import files

# A commit file lists the languages and reasons of a file, or the shards of a split.
_SPLIT_NAME = re.compile(r"train-\d+-of-\d+|validation|test|guide|documents")
_MAX_COMMIT_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True)
class Part:
    """A slice of one input file's kept documents, small enough for memory.

    Attributes:
        file: Number of the input file.
        index: Number of the part inside it.
        documents: Number of documents.
    """

    file: int
    index: int
    documents: int

    @property
    def name(self) -> str:
        return f"{self.file:06d}-{self.index:05d}"


def _path_of_part(
    folder: str, ending: str
) -> Callable[["WorkFolder", Part], pathlib.Path]:
    return lambda self, part: self.root / folder / f"{part.name}.{ending}"


@dataclasses.dataclass(frozen=True)
class PartTask:
    """One part to work on; a stage adds what else its tasks know.

    Attributes:
        number: Number of the part in the run.
        part: The part.
        root: The work folder.
    """

    number: int
    part: Part
    root: pathlib.Path

    @property
    def folder(self) -> "WorkFolder":
        return WorkFolder(self.root)

    @property
    def size(self) -> int:
        return self.folder.documents(self.part).stat().st_size


@dataclasses.dataclass(frozen=True)
class WorkFolder:
    """Where each stage writes: path arithmetic, and the folders themselves."""

    root: pathlib.Path

    @property
    def plan(self) -> pathlib.Path:
        return self.root / "plan.json"

    @property
    def vocabulary_log(self) -> pathlib.Path:
        return self.root / "vocabulary" / "trainer.log"

    @property
    def vocabulary_model(self) -> pathlib.Path:
        return self.root / "vocabulary" / "vocabulary.model"

    @property
    def vocabulary_commit(self) -> pathlib.Path:
        return self.root / "vocabulary" / "done.json"

    def make(self) -> None:
        for name in ("kept", "duplicates", "vocabulary", "tokens", "shards"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Holds the folder's lock, which dies with its owner.

        Raises:
            UsageError: another process holds it.
        """
        return lock.held(
            self.root / "lock", "writing to", self.root.parent, "--output_dir"
        )

    def write_parts(self, parts: Sequence[Part]) -> None:
        """Writes the list of all parts, for tasks that look at every one."""
        rows = [[part.file, part.index, part.documents] for part in parts]
        files.write_text(self.root / "parts.json", json.dumps(rows))

    def read_parts(self) -> tuple[Part, ...]:
        """Returns all parts of the run, in order."""
        return tuple(
            Part(*row) for row in json.loads((self.root / "parts.json").read_bytes())
        )

    def forget_all_but_kept(self) -> None:
        """Removes what later stages left, so that they run again."""
        for name in ("duplicates", "vocabulary", "tokens", "shards"):
            shutil.rmtree(self.root / name, ignore_errors=True)
        self.make()
        # The folder has no manifest yet, so its shards belong to no one.
        for path in self.root.parent.iterdir():
            if path.is_dir() and _SPLIT_NAME.fullmatch(path.name):
                shutil.rmtree(path)

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def kept_commit(self, file: int) -> pathlib.Path:
        return self.root / "kept" / f"{file:06d}.json"

    def dropped(self, file: int) -> pathlib.Path:
        return self.root / "kept" / f"{file:06d}.dropped.jsonl"

    def shard_commit(self, split: str, index: int) -> pathlib.Path:
        return self.root / "shards" / f"{split}-{index:05d}.json"

    documents = _path_of_part("kept", "jsonl")
    sample = _path_of_part("vocabulary", "sample")
    sample_commit = _path_of_part("vocabulary", "json")
    tokens = _path_of_part("tokens", "tokens")
    index = _path_of_part("tokens", "index")
    tokens_commit = _path_of_part("tokens", "json")


def write_commit(path: pathlib.Path, value: dict[str, Any]) -> None:
    """Says that everything the commit file speaks of is written."""
    files.write_text(path, files.to_json(value))


def read_commit(path: pathlib.Path) -> dict[str, Any]:
    """Returns what a finished stage said.

    Raises:
        DataError: it did not finish.
    """
    return files.read_json(path, max_bytes=_MAX_COMMIT_BYTES)


def json_lines(path: pathlib.Path) -> Iterator[bytes]:
    """Yields the lines of one of our own files."""
    with open(path, "rb", buffering=1 << 20) as file:
        yield from file


def dump(value: Any) -> str:
    """Returns `value` as one line of JSON with sorted keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
