"""Crawls by name: which of their files to read, and getting them here.

A crawl publishes a list of the paths of its files. Those with the lowest SHA-256
of their path are read: the choice is spread over the whole crawl, is the same on
every machine, and a larger number of files keeps those of a smaller one.
"""

import gzip
import hashlib
import pathlib
import re
import zlib
from collections.abc import Callable, Sequence

import lmcodistill
from data_prep import progress
from data_prep.downloading import downloads, rate_limiter, transfer
from lmcodistill import errors
from lmcodistill.settings import crawls

# Every part begins with a letter or a digit: no dot-dot, nothing hidden, nothing
# absolute, nothing empty.
_PATH = re.compile(
    r"(?:[A-Za-z0-9][A-Za-z0-9._=+-]{0,200}/){0,12}[A-Za-z0-9][A-Za-z0-9._=+-]{0,200}"
)
_ENDINGS = {"wet": (".warc.wet.gz", ".wet.gz"), "warc": (".warc.gz",)}
_MAX_LIST_BYTES = 128 << 20


def fetch(
    request: crawls.CrawlRequest, display: progress.Display
) -> list[pathlib.Path]:
    """Downloads the files that `request` names and returns where they are.

    Raises:
        UsageError: the request asks for more than there is.
        DataError: a list is damaged, or the server does not give a file.
    """
    policy = transfer.DownloadPolicy(
        user_agent=f"lmcodistill/{lmcodistill.__version__} ({request.contact})",
        parallel=request.downloads,
    )
    limiter = rate_limiter.RateLimiter(request.requests_per_second)
    folder = request.download_dir.absolute()

    def get(paths: Sequence[str]) -> None:
        base = request.mirror.rstrip("/")
        files = [transfer.RemoteFile(f"{base}/{path}", folder / path) for path in paths]
        downloads.download(files, folder, policy, limiter, display)

    if request.paths_file:
        chosen = _from_file(request)
    else:
        chosen = _from_lists(request, folder, get)
    chosen = list(dict.fromkeys(chosen))
    display.say(f"{len(chosen):,} file(s) of {request.mirror} in {folder}")
    get(chosen)
    return [folder / path for path in chosen]


def read_paths(path: pathlib.Path) -> list[str]:
    """Returns the paths that a list names, in its order.

    Raises:
        DataError: the list is missing, damaged, or names what is no path.
    """
    paths = []
    try:
        for number, line in enumerate(_lines(path), 1):
            text = line.strip().decode("ascii", "backslashreplace")
            if not text:
                continue
            if not _PATH.fullmatch(text) or len(text) > 1_000:
                raise errors.DataError(
                    f"{path}, line {number}: {text[:100]!r} is no path of a crawl's "
                    "file, such as crawl-data/CC-MAIN-2024-22/segments/.../wet/"
                    "CC-MAIN-....warc.wet.gz. Correct the line."
                )
            if not text.endswith(".gz"):
                raise errors.DataError(
                    f"{path}, line {number}: {text[:100]!r} does not end in .gz; "
                    "WET and WARC files do. Correct the line."
                )
            paths.append(text)
    except OSError as error:
        raise errors.DataError(f"{path} cannot be read: {error.strerror}.") from error
    if not paths:
        raise errors.DataError(
            f"{path} lists no path at all. Give one with a path a line."
        )
    return paths


def choose(paths: Sequence[str], count: int, whose: str = "the list has") -> list[str]:
    """Returns `count` of the paths; see the module's text.

    Raises:
        UsageError: there are fewer.
    """
    if count > len(paths):
        raise errors.UsageError(
            f"{count:,} files were asked for; {whose} {len(paths):,}. Ask for fewer."
        )
    ranked = sorted(paths, key=lambda path: hashlib.sha256(path.encode()).digest())
    return ranked[:count]


def _from_file(request: crawls.CrawlRequest) -> list[str]:
    """Returns the paths of --paths_file: all, or some of each kind."""
    listed = read_paths(pathlib.Path(request.paths_file))
    if not any(request.counts.values()):
        return listed
    chosen = []
    for kind, count in request.counts.items():
        of_kind = [path for path in listed if path.endswith(_ENDINGS[kind])]
        chosen += choose(of_kind, count, f"--paths_file has {kind.upper()}")
    return chosen


def _from_lists(
    request: crawls.CrawlRequest,
    folder: pathlib.Path,
    get: Callable[[Sequence[str]], None],
) -> list[str]:
    """Downloads the lists of the crawls and chooses paths from each."""
    lists = {
        (crawl, kind): f"crawl-data/{crawl}/{kind}.paths.gz"
        for crawl in dict.fromkeys(request.crawls)
        for kind, count in request.counts.items()
        if count
    }
    get(list(lists.values()))
    chosen = []
    for (crawl, kind), path in lists.items():
        listed = read_paths(folder / path)
        strange = [p for p in listed if not p.startswith(f"crawl-data/{crawl}/")]
        if strange:
            raise errors.DataError(
                f"{folder / path} lists {strange[0]!r}, which is no path of {crawl}. "
                "Remove it, check --mirror and try again."
            )
        chosen += choose(listed, request.counts[kind], f"{crawl} has {kind.upper()}")
    return chosen


def _lines(path: pathlib.Path) -> list[bytes]:
    """Returns the lines of a list, compressed or not, of bounded size."""
    with open(path, "rb") as raw:
        is_gzip = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file = gzip.GzipFile(fileobj=raw) if is_gzip else raw
        try:
            content = file.read(_MAX_LIST_BYTES + 1)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise errors.DataError(
                f"{path} is a damaged gzip file: {error}. Remove it and try again."
            ) from error
    if len(content) > _MAX_LIST_BYTES:
        raise errors.DataError(
            f"{path} is too large for a list of paths, of which a crawl has about "
            "100,000. Check --mirror and --paths_file."
        )
    return content.splitlines()
