"""Writes the English text that every Python carries as a genuine WET file.

The documentation topics of `help()`, which are the language reference: one record
per topic, as Common Crawl would have fetched it. The same Python always gives the
same bytes; another version has another text. It is small, so that a model reads it
many times in minutes: that is where a second model on the same text pays.

Example:
  python -m lmcodistill.quickstart.corpus --output corpus.warc.wet.gz
"""

import argparse
import pathlib
import platform
from collections.abc import Iterator
from pydoc_data import topics
from typing import NamedTuple

from lmcodistill.quickstart import wet_writer
from lmcodistill.storage import files

SITE = "https://docs.python.org/3/"


class Page(NamedTuple):
    """One document.

    Attributes:
        url: Where it would be found.
        text: Its text.
    """

    url: str
    text: str


def main() -> None:
    """Reads the flags and writes the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, type=pathlib.Path)
    flags = parser.parse_args()
    flags.output.parent.mkdir(parents=True, exist_ok=True)
    documents = list(pages())
    files.write_bytes(flags.output, wet_file(documents, flags.output.name))
    size = sum(len(page.text.encode()) for page in documents)
    print(f"{flags.output}: {len(documents):,} documents, {size:,} bytes of text")


def pages() -> Iterator[Page]:
    """Yields the topics in the order of their names."""
    for name, text in sorted(topics.topics.items()):
        yield Page(f"{SITE}reference/{name}.html", as_fetched(text))


def as_fetched(text: str) -> str:
    """Returns the text without indentation and rules, as a browser would copy it."""
    lines = (" ".join(line.split()) for line in text.strip().splitlines())
    return "\n".join(x for x in lines if not x or any(map(str.isalnum, x)))


def wet_file(documents: list[Page], name: str) -> bytes:
    """Returns the bytes of a WET file: one gzip member per record."""
    version = platform.python_version()
    about = f"software: lmcodistill.quickstart.corpus\r\npython: {version}\r\n"
    records = [
        wet_writer.text_record(page.url, page.text.encode()) for page in documents
    ]
    return b"".join([wet_writer.info_record(name, about), *records])


if __name__ == "__main__":
    main()
