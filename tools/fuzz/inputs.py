"""Inputs for `tools.fuzz`: small files from a grammar, then damaged.

A case is made from a seed and a number alone. The grammar builds WET, WARC, JSON
Lines and text files that are whole, plain or compressed, and knows which of their
pages must be kept. A mutation then damages the file from some byte on; the pages
that end before it must still come out.
"""

import bz2
import dataclasses
import gzip
import json
import lzma
from collections.abc import Sequence

from tools.fuzz import odd_pages
from tools.fuzz.pages import Page, Random, broken_record, record, sentences
from tools.fuzz.pages import pages as make_pages

# A thousand times smaller than what is in it.
_BOMB = gzip.compress(record("conversion", b"a" * (2 << 20), "bomb"), mtime=0)


@dataclasses.dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        name: A file name, which decides with the content how it is read.
        content: The file.
        must_keep: Addresses of the pages that must come out.
        is_whole: Whether nothing is damaged.
    """

    name: str
    content: bytes
    must_keep: frozenset[str] = frozenset()
    is_whole: bool = False


def _member(content: bytes, rng: Random) -> bytes:
    return gzip.compress(content, rng.choice((1, 1, 1, 6)), mtime=0)


def _archive(rng: Random) -> tuple[str, list[Page]]:
    """Returns a file name and the units that the file is made of."""
    pages = make_pages(rng)
    for number in range(rng.choice((0, 0, 1, 3))):
        odd = odd_pages.make(rng, number)
        pages.insert(rng.randrange(len(pages) + 1), odd)
    how = rng.randrange(8)
    if how == 0:
        return "a.warc.wet", pages
    if how == 1:
        # One member for all: no page is sure before the end of it.
        return "a.warc.gz", [Page(_member(b"".join(p.content for p in pages), rng))]
    return "a.warc.wet.gz", [Page(_member(p.content, rng), p.url) for p in pages]


def _with_broken_records(rng: Random, name: str, pages: list[Page]) -> list[Page]:
    """Puts broken records between whole ones; what is gzipped keeps the others."""
    is_gzip = name.endswith(".gz")
    for _ in range(rng.randrange(1, 3)):
        bad = broken_record(rng, rng.randrange(99)).content
        place = rng.randrange(len(pages) + 1)
        pages.insert(place, Page(_member(bad, rng) if is_gzip else bad))
        if not is_gzip:
            # A length that is too large may eat what follows.
            pages = [*pages[:place], *(Page(p.content) for p in pages[place:])]
    return pages


def _lines(rng: Random) -> tuple[str, bytes]:
    """Returns a JSON Lines or text file, compressed or not."""
    lines = [sentences(rng, 2).replace("\n", " ") for _ in range(rng.randrange(1, 30))]
    odd = (
        "{",
        '{"text": 5}',
        '{"text": "\\ud800"}',
        "[" * 3_000,
        '{"a":' * 900,
        "9" * 5_000,
        '{"text": "x", "url": ["\\u0000"]}',
        "\0\x1b[2J",
        "\ufeff" * 20,
        "NaN",
        '{"text": "' + "\\u001b" * 200 + '"}',
    )
    if rng.random() < 0.5:
        suffix = ".jsonl"
        lines = [json.dumps({"text": line, "url": "http://a"}) for line in lines]
    else:
        suffix = ".txt"
    if rng.random() < 0.5:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(odd))
    codec = rng.choice(("utf-8", "utf-8", "utf-8", "cp1252", "utf-16", "utf-32"))
    lines.insert(rng.randrange(len(lines) + 1), "Über die Brücke, für 5 €.")
    text = rng.choice(("\n", "\r\n")).join(lines)
    content = text.encode(codec, "replace")
    how = rng.choice(("", ".gz", ".bz2", ".xz"))
    if how == ".gz":
        content = gzip.compress(content, 1, mtime=0)
    elif how == ".bz2":
        content = bz2.compress(content, 1)
    elif how == ".xz":
        content = lzma.compress(content, preset=0)
    return f"a{suffix}{how}", content


def _damage(rng: Random, content: bytes, other: bytes) -> tuple[int, bytes]:
    """Returns where the damage begins, and the damaged file."""
    start = rng.randrange(len(content) + 1)
    span = rng.choice((1, 2, 10, 200, 5_000))
    before, after = content[:start], content[start:]
    how = rng.randrange(11)
    if how < 3 and after:
        flipped = bytearray(after)
        for _ in range(rng.choice((1, 1, 3, 20))):
            flipped[rng.randrange(min(span, len(flipped)))] ^= 1 << rng.randrange(8)
        return start, before + bytes(flipped)
    if how == 3:
        return start, before
    if how == 4:
        return start, before + after[span:]
    if how == 5:
        return start, before + before[-span:] + after
    if how == 6:
        cut = rng.randrange(len(other) + 1)
        return start, before + other[cut : cut + span] + after
    if how == 7:
        return start, before + other
    if how == 8:
        return start, before + b"\0" * span + after[rng.choice((0, span)) :]
    if how == 9:
        return start, before + rng.randbytes(span) + after
    return start, before + rng.choice(
        (b"\x1f\x8b\x08", b"WARC/1.0\r\n", b"\r\n")
    ) * 9 + after


def make(seed: int, number: int, real: Sequence[bytes]) -> Case:
    """Returns the case of this number.

    Args:
        seed: Of the run.
        number: Of the case.
        real: Files of the world to damage too; may be empty.
    """
    rng = Random(f"{seed}/{number}")
    kind = rng.randrange(20)
    if kind < 2 and real:
        whole = rng.choice(real)
        start = rng.randrange(max(1, len(whole) - 4_000)) if rng.random() < 0.3 else 0
        content = whole[start : start + 30_000]
        for _ in range(rng.randrange(1, 4)):
            content = _damage(rng, content, rng.choice(real)[:9_000])[1]
        return Case("a.warc.gz", content)
    if kind < 5:
        name, content = _lines(rng)
        if kind > 2:
            content = _damage(rng, content, rng.randbytes(400))[1]
        return Case(name, content)
    name, pages = _archive(rng)
    if rng.random() < 0.4:
        pages = _with_broken_records(rng, name, pages)
    if name.endswith(".gz") and rng.random() < 0.1:
        bomb = Page(_member(record("conversion", b"a" * (2 << 20), "bomb"), rng))
        pages.insert(rng.randrange(len(pages) + 1), bomb)
    content = b"".join(page.content for page in pages)
    stop = len(content)
    if is_damaged := rng.random() < 0.7:
        stop, content = _damage(rng, content, pages[0].content)
    if rng.random() < 0.02:
        return Case(name, rng.choice((gzip.compress, bz2.compress))(content))
    must_keep, end = set(), 0
    for page in pages:
        end += len(page.content)
        if end <= stop and page.url:
            must_keep.add(page.url)
    return Case(name, content, frozenset(must_keep), is_whole=not is_damaged)
