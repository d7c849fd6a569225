"""Writes the English text that every Python carries as a genuine WET file.

The documentation topics of `help()` and the docstrings of the standard library,
one record per topic and per module, as Common Crawl would have fetched them. No
module is imported but the one that holds the topics: docstrings are read from
the source. The same Python always gives the same bytes; another version has
other documentation, so its corpus is another.

Example:
  python -m tools.quickstart.corpus --output corpus.warc.wet.gz
"""

import argparse
import ast
import pathlib
import platform
import sysconfig
from collections.abc import Iterator
from pydoc_data import topics
from typing import NamedTuple

from lmcodistill.storage import files
from tests.support import wet_writer

SITE = "https://docs.python.org/3/"
# A module whose docstrings say less is no document.
_MIN_CHARACTERS = 300
# Third parties' modules, and tests, whose docstrings are notes between developers.
_LEFT_OUT = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
)
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


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
    size = sum(len(page.text.encode(errors="replace")) for page in documents)
    print(f"{flags.output}: {len(documents):,} documents, {size:,} bytes of text")


def pages() -> Iterator[Page]:
    """Yields the topics, then the modules, each in the order of their names."""
    for name, text in sorted(topics.topics.items()):
        yield Page(f"{SITE}reference/{name}.html", as_fetched(text))
    library = pathlib.Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).with_suffix("").parts
        # A virtual environment or a distribution may keep more beside the library.
        if _LEFT_OUT & set(parts) or "pydoc_data" in parts:
            continue
        name = ".".join(parts).removesuffix(".__init__")
        text = as_fetched(docstrings(name, path.read_bytes()))
        if len(text) >= _MIN_CHARACTERS:
            yield Page(f"{SITE}library/{name}.html", text)


def as_fetched(text: str) -> str:
    """Returns the text without indentation and rules, as a browser would copy it."""
    lines = (" ".join(line.split()) for line in text.strip().splitlines())
    return "\n".join(x for x in lines if not x or any(map(str.isalnum, x)))


def docstrings(name: str, source: bytes) -> str:
    """Returns what a module says of itself, of its classes and its functions."""
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError):  # A template with the ending of a module.
        return ""
    return "\n\n".join(_docstrings(name, module))


def _docstrings(name: str, node: _Documented) -> Iterator[str]:
    if text := ast.get_docstring(node):
        yield f"{name}\n\n{text}" if isinstance(node, ast.Module) else f"{name}: {text}"
    for child in node.body:
        if isinstance(child, _Documented):
            inner = isinstance(node, ast.Module)
            yield from _docstrings(
                child.name if inner else f"{name}.{child.name}", child
            )


def wet_file(documents: list[Page], name: str) -> bytes:
    """Returns the bytes of a WET file: one gzip member per record."""
    version = platform.python_version()
    about = f"software: tools.quickstart.corpus\r\npython: {version}\r\n"
    records = [
        # A docstring may hold half of a surrogate pair.
        wet_writer.text_record(page.url, page.text.encode(errors="replace"))
        for page in documents
    ]
    return b"".join([wet_writer.info_record(name, about), *records])


if __name__ == "__main__":
    main()
