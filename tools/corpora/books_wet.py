r"""Makes a WET file, as Common Crawl writes them, out of tar files of books.

A test bed and benchmark input of any size without a crawl: each book is cut
between paragraphs into documents of about 5 kB, one gzip member per record,
after a warcinfo record. The same books always give the same bytes. Other editions
of them are as much text again, and no near copies: the similarity of the sets of
five words in a row is 0.05, of some editions 0.24.

Examples:
  python -m tools.corpora.books_wet --books 'books/*.tar.xz' --output books.warc.wet.gz
  python -m tools.corpora.books_wet --books 'books/*.tar.xz' --edition 1 \
    --output books-1.warc.wet.gz
"""

import argparse
import glob
import itertools
import pathlib
import re
import tarfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from data_prep.reading import readers
from lmcodistill.quickstart import wet_writer
from lmcodistill.storage import files

# Short words, which rules and people know a language by, stay.
_LONG_WORD = re.compile(r"[A-Za-z]{5,}")
_VOWELS = "aeiou"
_EDITIONS = tuple(map("".join, itertools.permutations(_VOWELS)))
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
    parser.add_argument(
        "--edition",
        type=int,
        default=0,
        choices=range(len(_EDITIONS)),
        metavar="N",
        help=f"0: the books as they are; to {len(_EDITIONS) - 1}: with other vowels",
    )
    flags = parser.parse_args()
    paths = sorted(glob.glob(flags.books))
    if not paths:
        parser.error(f"--books {flags.books!r} matches no file")
    documents, size = 0, 0
    with files.writing(flags.output) as file:
        file.write(wet_writer.info_record(flags.output.name, _ABOUT))
        for book in read_books(paths):
            lines = iter(edition(book.text, flags.edition).split("\n"))
            sections = readers.sections(lines, flags.document_bytes)
            for number, section in enumerate(sections):
                body = section.encode()
                url = _url(book.name, flags.edition, number)
                file.write(wet_writer.text_record(url, body))
                documents, size = documents + 1, size + len(body)
            if flags.max_bytes and size >= flags.max_bytes:
                break
    print(f"{flags.output}: {documents:,} documents, {size:,} bytes of text")


def edition(text: str, number: int) -> str:
    """Returns `text` with the vowels of its longer words exchanged for others."""
    if not number:
        return text
    table = str.maketrans(_VOWELS, _EDITIONS[number])
    return _LONG_WORD.sub(lambda word: word[0].translate(table), text)


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


def _url(book: str, edition: int, number: int) -> str:
    path = re.sub(r"[^A-Za-z0-9./_-]", "-", book)
    folder = f"edition-{edition}/" if edition else ""
    return f"https://books.example.org/{folder}{path}#{number}"


if __name__ == "__main__":
    main()
