"""Makes a WET file, as Common Crawl writes them, out of tar files of books.

A test bed and benchmark input of any size without a crawl: each book is cut
between paragraphs into documents of about 5 kB, one gzip member per record,
after a warcinfo record. The same books always give the same bytes.

Example:
  python -m tools.corpora.books_wet --books 'books/*.tar.xz' --output books.warc.wet.gz
"""

import argparse
import glob
import pathlib
import re
import tarfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from data_prep.reading import readers
from lmcodistill.quickstart import wet_writer
from lmcodistill.storage import files

_ABOUT = "isPartOf: books\r\ndescription: public-domain books as pages\r\n"


class Book(NamedTuple):
    """One book of a tar file."""

    name: str
    text: str


def main() -> None:
    """Reads the flags and writes the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--books", required=True, help="pattern of tar files")
    parser.add_argument("--output", required=True, type=pathlib.Path)
    parser.add_argument("--document_bytes", type=int, default=5_000)
    parser.add_argument("--max_bytes", type=int, default=0, help="of text; 0: all")
    flags = parser.parse_args()
    paths = sorted(glob.glob(flags.books))
    if not paths:
        parser.error(f"--books {flags.books!r} matches no file")
    documents, size = 0, 0
    with files.writing(flags.output) as file:
        file.write(wet_writer.info_record(flags.output.name, _ABOUT))
        for book in read_books(paths):
            lines = iter(book.text.split("\n"))
            sections = readers.sections(lines, flags.document_bytes)
            for number, section in enumerate(sections):
                body = section.encode()
                file.write(wet_writer.text_record(_url(book.name, number), body))
                documents, size = documents + 1, size + len(body)
            if flags.max_bytes and size >= flags.max_bytes:
                break
    print(f"{flags.output}: {documents:,} documents, {size:,} bytes of text")


def read_books(paths: Sequence[str]) -> Iterator[Book]:
    """Yields the text files of tar files, in the order of their names."""
    for path in paths:
        with tarfile.open(path) as tar:
            members = sorted(
                (member for member in tar.getmembers() if member.isfile()),
                key=lambda member: member.name,
            )
            for member in members:
                content = tar.extractfile(member)
                if content is not None:
                    text = content.read().decode("utf-8", "replace")
                    yield Book(member.name, text.replace("\r\n", "\n"))


def _url(book: str, number: int) -> str:
    path = re.sub(r"[^A-Za-z0-9./_-]", "-", book)
    return f"https://books.example.org/{path}#{number}"


if __name__ == "__main__":
    main()
