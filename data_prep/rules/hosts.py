"""Pages that are left out by their host: block lists of any length.

Hosts are kept as sorted 64-bit hashes, eight bytes each, so that a list of four
million costs 32 MB in every worker. That a host on no list is taken for another
one has a chance of one in 10^12 per page and list of that length.
"""

import functools
import pathlib
from collections.abc import Iterator

import numpy as np

from data_prep import documents, words
from data_prep.reading import compressed
from lmcodistill import errors
from lmcodistill.settings import filtering
from lmcodistill.storage import files


def drop_reason(url: str, rules: filtering.UrlRules) -> str | None:
    """Returns `blocked_url` if the page's host, or one above it, is on the list.

    Args:
        url: The page's address; empty for what is no page.
        rules: Which list; it may be none.

    Raises:
        DataError: the list cannot be read.
    """
    if not url or not rules.blocked_hosts:
        return None
    listed, labels = _load(rules.blocked_hosts), documents.host_of(url).split(".")
    # Of `a.b.c`, `b.c` and `c`.
    names = (".".join(labels[i:]) for i in range(len(labels)))
    keys = np.fromiter(map(_key, names), np.uint64)
    places = np.minimum(np.searchsorted(listed, keys), len(listed) - 1)
    return "blocked_url" if np.any(listed[places] == keys) else None


def digest_of(blocked_hosts: str) -> str:
    """Returns the SHA-256 of a block list's file, empty without one.

    Raises:
        DataError: it cannot be read.
    """
    if not blocked_hosts:
        return ""
    try:
        return files.sha256_of(pathlib.Path(blocked_hosts))
    except OSError as error:
        raise _unreadable(blocked_hosts, error.strerror) from error


@functools.lru_cache(maxsize=1)
def _load(blocked_hosts: str) -> np.ndarray:
    try:
        keys = np.fromiter(map(_key, _read(pathlib.Path(blocked_hosts))), np.uint64)
    except (OSError, *compressed.DAMAGE) as error:
        raise _unreadable(blocked_hosts, error) from error
    if not len(keys):
        raise _unreadable(blocked_hosts, "it names no host")
    return np.unique(keys)


def _read(path: pathlib.Path) -> Iterator[str]:
    with compressed.open_bytes(path) as file:
        for line in file:
            names = line.decode("utf-8-sig", "replace").partition("#")[0].split()
            if names:
                host = names[-1].lower().removeprefix("*").strip(".")
                if host:
                    yield host


def _key(host: str) -> int:
    return words.hash64(host.encode(errors="replace"))


def _unreadable(path: str, why: object) -> errors.DataError:
    return errors.DataError(
        f"BLOCKED_HOSTS = {path!r} cannot be read: {why}. Give a file of hosts, one a "
        "line, plain or compressed, or '' to block nothing."
    )
