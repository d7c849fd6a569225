"""A document: the unit that is kept or dropped, shuffled and held out."""

import dataclasses
import hashlib
from urllib import parse

import orjson


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """One text with where it came from.

    Attributes:
        id: 32 hexadecimal digits; decides shuffle, split and which of two equal
            documents stays.
        text: What is trained on.
        url: Address of the page, or empty.
        language: First language the source declares (ISO 639-3), or empty.
        source: Name of the input file.
        is_web: Whether it is a page of a crawl, which the web rules are for.
        number: Its position among the documents that were found in the file; known
            of those that are kept.
    """

    id: str
    text: str
    url: str = ""
    language: str = ""
    source: str = ""
    is_web: bool = False
    number: int = 0

    def to_json_line(self) -> bytes:
        """Returns one line of JSON Lines."""
        return orjson.dumps(self, option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_json(cls, line: bytes) -> "Document":
        """Builds a document from `to_json_line`'s line."""
        return cls(**orjson.loads(line))


def make_id(source: str, name: str) -> str:
    """Returns the id of the document called `name` inside the file `source`.

    Args:
        source: Name of the input file.
        name: Record id, address or position, unique in the file.
    """
    digest = hashlib.sha256(f"{source}\0{name}".encode(errors="replace"))
    return digest.hexdigest()[:32]


def host_of(url: str) -> str:
    """Returns the host of an address, in lower case; empty if it has none."""
    try:
        return (parse.urlsplit(url).hostname or "").rstrip(".")
    except ValueError:  # An address with unbalanced brackets, for one.
        return ""


def normalised(text: str) -> str:
    """Returns `text` in lower case with single spaces, for comparing."""
    return " ".join(text.split()).lower()
