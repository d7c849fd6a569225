"""Looks for hostile files by coverage, with atheris (`pip install atheris`).

`tools.fuzz` makes files from a grammar; this grows them from what new code they
reach in the readers, which a grammar does not think of. The first byte of an input
says how it is wrapped: as it is, in one gzip member, or in one for each record.

Example:
  python -m tools.fuzz.guided corpus/ -max_total_time=600 -rss_limit_mb=1024
"""

import gzip
import pathlib
import random
import re
import sys
import tempfile

import atheris

from lmcodistill.settings import prep
from tools.fuzz import pages as pages_lib

with atheris.instrument_imports(include=["data_prep"]):
    from data_prep import counts as counts_lib
    from data_prep.reading import archive_bytes, archives, compressed, readers

_NAMES = ("a.warc", "a.warc.gz", "a.warc.wet.gz", "a.jsonl", "a.txt", "a.txt.gz")
_RECORD = re.compile(rb"(?=WARC/1)")
_SETTINGS = prep.Prep(max_record_bytes=1 << 16)
_FOLDER = pathlib.Path(tempfile.mkdtemp())


def wrap(data: bytes) -> tuple[str, bytes]:
    """Returns the name and the content of the file that an input stands for."""
    how, content = data[0], data[1:]
    name = _NAMES[how % len(_NAMES)]
    if how & 0x40:
        content = gzip.compress(content, 1, mtime=0)
    elif how & 0x80:
        parts = _RECORD.split(content)
        content = b"".join(gzip.compress(part, 1, mtime=0) for part in parts if part)
    return name, content


def try_one(data: bytes) -> None:
    """Reads one input; atheris reports what it raises, and what takes too long."""
    if not data:
        return
    name, content = wrap(data)
    path = _FOLDER / name
    path.write_bytes(content)
    counts, kept = counts_lib.Counts(), 0
    sizes: list[int] = []
    for document in readers.read_documents(
        readers.Source(path, name, _SETTINGS, counts, sizes.append)
    ):
        counts.keep(len(document.text), document.language)
        kept += 1
    assert counts.read == counts.kept + counts.dropped.total()
    assert counts.kept == kept
    assert sum(sizes) == len(content), (sum(sizes), len(content))
    assert sum(len(kind) < 20 for kind in counts.records) == len(counts.records)


def main() -> None:
    """Starts atheris, from a few files of the grammar if the corpus is empty."""
    folders = [pathlib.Path(name) for name in sys.argv[1:] if not name.startswith("-")]
    for folder in folders[:1]:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(40):
            rng = random.Random(number)
            pages = pages_lib.pages(rng)[:3]
            broken = pages_lib.broken_record(rng, number)
            content = b"".join(page.content[:4_000] for page in [*pages, broken])
            seed = bytes([rng.randrange(256)]) + content
            (folder / f"grammar-{number}").write_bytes(seed)
    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    assert archive_bytes and archives and compressed  # Instrumented above.
    main()
