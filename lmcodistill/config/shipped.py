"""The gin files that come with the program: where they are, what they are called.

Nothing here reads gin syntax; `lmcodistill configs` and the include rules ask
here for paths. A shipped file is named by its path below the shipped folder,
with or without `.gin`: `runs/quickstart`.
"""

import difflib
import functools
import pathlib

from lmcodistill import errors


@functools.cache
def root() -> pathlib.Path:
    """Returns the folder of the shipped files.

    A wheel carries them as `lmcodistill/configs`; a checkout, also when it is
    installed editable, has them in `gin/` beside the package.

    Raises:
        UsageError: neither is there.
    """
    package = pathlib.Path(__file__).resolve().parents[1]
    for folder in (package / "configs", package.parent / "gin"):
        if (folder / "defaults").is_dir():
            return folder
    raise errors.UsageError(
        f"Neither {package / 'configs'} nor {package.parent / 'gin'} holds the "
        "shipped gin files. Install lmcodistill again."
    )


def names() -> list[str]:
    """Returns the names of all shipped files, sorted, without `.gin`."""
    return sorted(
        str(path.relative_to(root()).with_suffix("").as_posix())
        for path in root().rglob("*.gin")
    )


def find(name: str) -> pathlib.Path | None:
    """Returns the shipped file called `name`, or None."""
    known = name.removesuffix(".gin")
    return root() / f"{known}.gin" if known in names() else None


def label(path: pathlib.Path) -> str:
    """Returns how messages call a file: a shipped one by its name."""
    if path.is_relative_to(root()):
        return path.relative_to(root()).as_posix()
    return str(path).replace("\n", r"\n")  # A line of its own would look like ours.


def description(path: pathlib.Path) -> str:
    """Returns the first sentence of a file's head comment."""
    words = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if not line.startswith("#") or not text:
            break
        words.append(text)
    sentence, _, _ = " ".join(words).partition(". ")
    return sentence.removesuffix(".") + "." if sentence else ""


def nearest(name: str) -> str:
    """Returns ` (did you mean NAME?)` for the shipped name nearest to `name`."""
    return did_you_mean(name.removesuffix(".gin"), names())


def did_you_mean(name: str, candidates: list[str]) -> str:
    """Returns ` (did you mean X?)`, or nothing when no candidate is near.

    Case is ignored, and so is the path before a last part that fits exactly.
    """
    by_key = {candidate.lower(): candidate for candidate in sorted(candidates)}
    near = difflib.get_close_matches(name.lower(), by_key, n=1, cutoff=0.6)
    last = name.lower().rpartition("/")[2]
    near += [key for key in by_key if key.rpartition("/")[2] == last]
    return f" (did you mean {by_key[near[0]]}?)" if near else ""
