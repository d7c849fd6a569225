r"""Makes a list of paragraphs as the codistillation paper published one.

Chooses, of WET files, the paragraphs of pages in one language that have so many
words, and writes the list that `lmcodistill prep --paragraph_ids` reads. Equal
files give equal bytes.

Examples:
  python -m tools.corpora.paragraph_list --min_words 20 a.warc.wet.gz b.warc.wet.gz \
    --output paragraphs.tar.bz2
"""

import argparse
import io
import pathlib
import tarfile
from collections.abc import Callable, Sequence

from data_prep import counts as counts_lib
from data_prep import documents
from data_prep.reading import readers
from data_prep.rules import paragraph_ids
from lmcodistill.settings import paragraphs, prep
from tests.support import paragraph_lists

Rule = Callable[[documents.Document, str], bool]


def is_long(min_words: int, language: str = "eng") -> Rule:
    """Returns the rule for paragraphs of `min_words` in pages of a language."""
    return lambda page, text: (
        page.language == language and len(text.split()) >= min_words
    )


def numbers_of(
    path: pathlib.Path, rule: Rule, settings: paragraphs.ParagraphList
) -> list[int]:
    """Returns the numbers of the paragraphs of a WET file that a rule chooses."""
    split = paragraph_ids.SPLITTERS[settings.paragraphs]
    numbers, number = [], settings.first_id
    for page in readers.read_documents(
        readers.Source(
            path, path.name, prep.Prep(), counts_lib.Counts(), lambda _: None
        )
    ):
        for text in split(page.text):
            if rule(page, text):
                numbers.append(number)
            number += 1
    return numbers


def write(
    output: pathlib.Path,
    paths: Sequence[pathlib.Path],
    rule: Rule,
    settings: paragraphs.ParagraphList,
) -> None:
    """Writes a tar.bz2 with one CSV file, as the published list is."""
    text = io.StringIO(newline="")
    rows = ((path.name, numbers_of(path, rule, settings)) for path in paths)
    paragraph_lists.write(text, rows)
    content = text.getvalue().encode()
    member = tarfile.TarInfo("paragraphs-00000-of-00001.csv")
    member.size = len(content)
    with tarfile.open(output, "w:bz2") as tar:
        tar.addfile(member, io.BytesIO(content))


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wet", nargs="+", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--min_words", type=int, default=20)
    parser.add_argument("--language", default="eng", help="ISO 639-3")
    parser.add_argument("--first_id", type=int, default=0)
    parser.add_argument(
        "--paragraphs", choices=paragraphs.PARAGRAPHS, default="non_blank_lines"
    )
    chosen = parser.parse_args()
    settings = paragraphs.ParagraphList(
        first_id=chosen.first_id, paragraphs=chosen.paragraphs
    )
    write(
        chosen.output, chosen.wet, is_long(chosen.min_words, chosen.language), settings
    )


if __name__ == "__main__":
    main()
