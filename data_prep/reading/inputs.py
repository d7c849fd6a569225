"""Which files a run reads, and what they are called in its outputs."""

import collections
import glob
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from lmcodistill import errors


class Input(NamedTuple):
    """One input file.

    Attributes:
        path: Where it is.
        name: What ids, manifests and reports call it: independent of the folder
            that it happens to lie in, unique in the run.
        split: `train`, `validation` or `test` of a pre-tokenized text; None for
            text that prep splits itself.
    """

    path: pathlib.Path
    name: str
    split: str | None = None


def find(patterns: Sequence[str]) -> list[Input]:
    """Returns the files that the patterns match, sorted by name.

    Raises:
        UsageError: a pattern matches no file.
    """
    paths: set[pathlib.Path] = set()
    for pattern in patterns:
        matches = _files_of(pattern)
        if not matches:
            raise errors.UsageError(
                f"--input {pattern!r} matches no file. Give existing files, folders "
                "or glob patterns; quote patterns so that the shell leaves them alone."
            )
        paths.update(matches)
    names = _unique_names(sorted(paths))
    return [Input(path, name) for name, path in sorted(names.items())]


def pretokenized(train: str, validation: str, test: str) -> list[Input]:
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
                "gzip, bzip2 and xz are read as they are."
            )
        name = _name(path.name)
        sources.append(Input(path.resolve(), f"{split}:{name}", split))
    return sources


def _files_of(pattern: str) -> list[pathlib.Path]:
    path = pathlib.Path(pattern)
    if path.is_file():
        return [path.resolve()]
    names = [pattern] if path.is_dir() else glob.glob(pattern, recursive=True)
    paths = []
    for match in map(pathlib.Path, names):
        inside = match.rglob("*") if match.is_dir() else [match]
        paths += [p.resolve() for p in inside if p.is_file()]
    return [p for p in paths if not p.name.startswith(".")]


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
