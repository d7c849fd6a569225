"""Which files a run reads, and what they are called in its outputs."""

import collections
import glob
import os
import pathlib
import stat
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from data_prep.reading import folders
from lmcodistill import errors


class Input(NamedTuple):
    """One input file.

    Attributes:
        path: Where it is, absolute: executors of Spark start in folders of their
            own.
        name: What ids, manifests and reports call it: independent of the folder
            that it happens to lie in, unique in the run.
        split: `train`, `validation` or `test` of a pre-tokenized text; None for
            text that prep splits itself.
    """

    path: pathlib.Path
    name: str
    split: str | None = None


class Found(NamedTuple):
    """What the patterns of a run led to.

    Attributes:
        files: The input files, by name.
        left_out: What was met and is not read, counted by why: see `folders`;
            `read_once` are second ways to a file.
    """

    files: tuple[Input, ...]
    left_out: dict[str, int]

    def notes(self) -> list[str]:
        """Returns a sentence about everything that is left out."""
        return [
            f"{count:,} {_LEFT_OUT[reason]}" for reason, count in self.left_out.items()
        ]


_LEFT_OUT = {
    folders.HIDDEN: "hidden file(s) or folder(s) were left out: their names begin "
    "with a dot. Give them as --input themselves to read them.",
    folders.NO_FILE: "thing(s) that are no files were left out: sockets, pipes or "
    "devices.",
    folders.LINKED_AGAIN: "linked folder(s) lead to one that is read already; each "
    "is read once.",
    "read_once": "file(s) were given twice, or reached in another way too; each is "
    "read once.",
}


def find(patterns: Sequence[str]) -> Found:
    """Returns the files that the patterns match, each once, sorted by name.

    A file is known again by where its path leads, and called by the path as given:
    caches link good names to files that are named for their content.

    Raises:
        UsageError: a pattern matches no file.
        DataError: a folder or a link cannot be read.
    """
    left_out: dict[str, set[pathlib.Path]] = collections.defaultdict(set)
    ways: dict[object, list[pathlib.Path]] = collections.defaultdict(list)
    for pattern in patterns:
        matches = _files_of(pattern, left_out)
        if not matches:
            raise errors.UsageError(
                f"--input {pattern!r} matches no file. Give existing files, folders "
                "or glob patterns; quote patterns so that the shell leaves them alone."
            )
        for path in matches:
            ways[_identity(path)].append(path)
    counts = {reason: len(paths) for reason, paths in sorted(left_out.items())}
    if repeated := sum(len(paths) - 1 for paths in ways.values()):
        counts["read_once"] = repeated
    names = _unique_names(sorted(min(paths, key=_rank) for paths in ways.values()))
    files = tuple(Input(path, name) for name, path in sorted(names.items()))
    return Found(files, counts)


def pretokenized(train: str, validation: str, test: str) -> tuple[Input, ...]:
    """Returns the files of a text that comes with its own splits.

    Raises:
        UsageError: a file is missing, or only some are given.
    """
    if not (train and validation):
        raise errors.UsageError(
            "Pre-tokenized text needs both --train_text and --validation_text "
            "(--test_text is optional); give the missing one."
        )
    sources = []
    for split, name in (("train", train), ("validation", validation), ("test", test)):
        if not name:
            continue
        path = pathlib.Path(name)
        if not path.is_file():
            raise errors.UsageError(
                f"--{split}_text {name!r} is not a file. Give an existing text file; "
                "gzip, bzip2, xz and zstd are read as they are."
            )
        name = _name(path.name)
        sources.append(Input(path.absolute(), f"{split}:{name}", split))
    return tuple(sources)


def _files_of(
    pattern: str, left_out: Mapping[str, set[pathlib.Path]]
) -> set[pathlib.Path]:
    # A file or a folder that is named may look like a pattern, or be hidden.
    matches = (
        [pattern] if os.path.exists(pattern) else glob.glob(pattern, recursive=True)
    )
    files: set[pathlib.Path] = set()
    for path in (pathlib.Path(match).absolute() for match in matches):
        mode = folders.mode_of(path)
        if stat.S_ISDIR(mode):
            files.update(folders.files_of(path, left_out))
        elif stat.S_ISREG(mode):
            files.add(path)
        else:
            left_out[folders.NO_FILE].add(path)
    return files


def _identity(path: pathlib.Path) -> object:
    """Returns what two ways to one file have in common: links of either kind."""
    status = path.stat()
    # Some file systems make numbers of files up, but count no second name then.
    if status.st_nlink > 1:
        return status.st_dev, status.st_ino
    return os.path.realpath(path)


def _rank(path: pathlib.Path) -> tuple[bool, bool, pathlib.Path]:
    """Orders ways to one file: an ending tells its kind, no link its place."""
    return not path.suffix, str(path) != os.path.realpath(path), path


def _unique_names(paths: Sequence[pathlib.Path]) -> dict[str, pathlib.Path]:
    """Returns paths by the shortest end of their path that no other one has."""
    names: dict[str, pathlib.Path] = {}
    left, length = list(paths), 1
    while left:
        ends = collections.Counter(path.parts[-length:] for path in left)
        unique = [path for path in left if ends[path.parts[-length:]] == 1]
        names.update({_name("/".join(path.parts[-length:])): path for path in unique})
        left = [path for path in left if ends[path.parts[-length:]] > 1]
        length += 1
    return names


def _name(end: str) -> str:
    r"""Returns a path as text that is safe to show, different for each.

    Control characters and bytes that are no UTF-8 become escapes such as `\x1b`,
    and a backslash becomes two.
    """
    return errors.printable(end.replace("\\", "\\\\"), kept="")
