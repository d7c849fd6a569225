"""From an input file to documents, whatever kind of file it is.

A reader yields documents and counts in the file's counts whatever is none. It
raises for no content: a damaged file costs a counter, and the complete records
before (and, in archives, behind) the damage are yielded.
"""

import io
import json
import pathlib
import re
from collections.abc import Callable, Iterator

from data_prep import counts as counts_lib
from data_prep import documents, progress
from data_prep.reading import archives, compressed, page_process
from lmcodistill.settings import prep

_ADVANCE_BYTES = 64 << 10
_LANGUAGE_TAG = re.compile("[a-z]{2,3}")
_TITLE = re.compile(r"= [^=].* =$")
_READ_KINDS = frozenset({"response", "conversion", "warcinfo"})
_IS_PART_OF = re.compile(rb"^isPartOf:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)

Advance = Callable[[int], None]


def read_documents(
    path: pathlib.Path,
    source: str,
    settings: prep.Prep,
    counts: counts_lib.Counts,
    advance: Advance,
) -> Iterator[documents.Document]:
    """Yields the documents of a file, cleaned.

    Args:
        path: The file.
        source: Its name in ids, manifests and reports.
        settings: What a document of a text file is, field names, size limits.
        counts: Counts whatever is not yielded.
        advance: Called with the bytes of the file read since the last call.
    """
    kind = kind_of(path)
    if kind == "warc":
        yield from _archive(path, source, settings, counts, advance)
    elif kind == "jsonl":
        yield from _json_lines(path, source, settings, counts, advance)
    elif kind == "text":
        yield from _plain_text(path, source, settings, counts, advance)
    else:
        counts.note = _NOTES[kind]
        advance(path.stat().st_size)


_NOTES = {
    "empty": "is empty",
    "arc": "is an ARC file, the old format; convert it with `warcio recompress`",
    "zstd": "is compressed with zstd, which is not read; recompress it with gzip",
    "nested": "is compressed twice; unpack it once",
    "packed_archive": "is an archive in bzip2 or xz; recompress it with gzip",
    "binary": "is neither text, JSON Lines, WARC nor WET; it was ignored",
}


def kind_of(path: pathlib.Path) -> str:
    """Returns `warc`, `jsonl` or `text`, or why it is none: see the notes.

    The content decides between archives and text, because crawl files come with
    many endings; the name decides between text and JSON Lines.
    """
    with open(path, "rb") as file:
        magic = file.read(compressed.MAGIC_BYTES)
    if not magic:
        return "empty"
    if magic.startswith(compressed.ZSTD_MAGIC):
        return "zstd"
    head = b""
    with compressed.open_bytes(path) as stream:
        try:
            head = stream.read(1024)
        except compressed.DAMAGE:
            # Let the reader of archives find what is left of a damaged one.
            if ".warc" in path.name:
                return "warc"
    is_packed = compressed.is_compressed(magic)
    if head.startswith(b"WARC/") and is_packed and magic[:1] != b"\x1f":
        return "packed_archive"
    if is_packed and compressed.is_compressed(head):
        return "nested"
    if head.startswith(b"WARC/") or ".warc" in path.name:
        return "warc"
    if head.startswith(b"filedesc:"):
        return "arc"
    if b"\0" in head:
        return "binary"
    suffixes = {".jsonl", ".ndjson", ".json"}
    return "jsonl" if suffixes & set(path.suffixes) else "text"


def read_lines(
    path: pathlib.Path, max_bytes: int, counts: counts_lib.Counts, advance: Advance
) -> Iterator[bytes]:
    """Yields the lines of a file without their ends, up to any damage.

    A line over `max_bytes` is dropped and counted.
    """
    told, unseen = 0, 0
    with compressed.Reader(path) as raw, io.BufferedReader(raw) as stream:
        try:
            while line := stream.readline(max_bytes + 1):
                unseen += len(line)
                if unseen > _ADVANCE_BYTES:
                    position, unseen = raw.position(), 0
                    advance(position - told)
                    told = position
                if len(line) > max_bytes and not line.endswith(b"\n"):
                    while line and not line.endswith(b"\n"):
                        line = stream.readline(1 << 20)
                    counts.drop("record_too_large")
                    continue
                yield line.rstrip(b"\r\n")
        except EOFError:
            counts.truncated = True
        except compressed.DAMAGE:
            counts.damaged += 1
    advance(max(0, path.stat().st_size - told))


def _archive(
    path: pathlib.Path,
    source: str,
    settings: prep.Prep,
    counts: counts_lib.Counts,
    advance: Advance,
) -> Iterator[documents.Document]:
    if path.stat().st_size == 0:
        return
    for record in archives.read_records(
        path,
        counts,
        max_record_bytes=settings.max_record_bytes,
        wanted=_READ_KINDS,
        advance=advance,
    ):
        headers = record.headers
        if headers["warc-type"].lower() == "warcinfo":
            if found := _IS_PART_OF.search(record.body):
                counts.crawl = progress.printable(found[1].decode("utf-8", "replace"))[
                    :80
                ]
            continue
        url = headers.get("warc-target-uri", "").strip("<> ")
        if headers["warc-type"].lower() == "conversion":
            text, reason = record.body.decode("utf-8", "replace"), None
        else:
            text, reason = page_process.extract_text(
                record.body,
                main_content=settings.html_main_content,
                max_bytes=settings.max_record_bytes,
            )
        if reason is not None:
            counts.drop(reason)
            continue
        name = headers.get("warc-record-id") or f"{url}#{record.number}"
        yield documents.Document(
            id=documents.make_id(source, name),
            text=documents.clean(text).strip("\n"),
            url=progress.printable(url),
            language=_first_language(headers),
            source=source,
            is_web=True,
        )
    if counts.records and not counts.read:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.records.items()))
        counts.note = f"has no page: its records are {kinds}"
        if counts.records["metadata"] and ".wat" in path.name:
            counts.note = (
                "is a WAT file (metadata of pages, no text) and was ignored; give "
                "the WET or WARC file of the same crawl"
            )


def _first_language(headers: dict[str, str]) -> str:
    tags = headers.get("warc-identified-content-language", "")
    first = tags.split(",")[0].strip().lower()
    return first if _LANGUAGE_TAG.fullmatch(first) else ""


def _json_lines(
    path: pathlib.Path,
    source: str,
    settings: prep.Prep,
    counts: counts_lib.Counts,
    advance: Advance,
) -> Iterator[documents.Document]:
    lines = read_lines(path, settings.max_record_bytes, counts, advance)
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            counts.drop("bad_json")
            continue
        text = value.get(settings.jsonl_text_field) if isinstance(value, dict) else None
        if not isinstance(text, str):
            counts.drop("no_text_field")
            continue
        url = value.get(settings.jsonl_url_field)
        yield documents.Document(
            id=documents.make_id(source, str(number)),
            text=documents.clean(text),
            url=progress.printable(url) if isinstance(url, str) else "",
            source=source,
        )


def _text_of(line: bytes) -> str:
    return line.decode("utf-8", "replace").removeprefix("\ufeff")


def _plain_text(
    path: pathlib.Path,
    source: str,
    settings: prep.Prep,
    counts: counts_lib.Counts,
    advance: Advance,
) -> Iterator[documents.Document]:
    raw = read_lines(path, settings.max_record_bytes, counts, advance)
    lines = map(_text_of, raw)
    if settings.text_documents == "sections":
        texts = sections(lines, settings.text_section_bytes)
    elif settings.text_documents == "lines":
        texts = (line for line in lines if line.strip())
    else:
        texts = _whole(lines, settings.max_record_bytes, counts)
    for number, text in enumerate(texts):
        yield documents.Document(
            id=documents.make_id(source, str(number)),
            text=documents.clean(text),
            source=source,
        )


def read_pretokenized(
    path: pathlib.Path,
    source: str,
    settings: prep.Prep,
    counts: counts_lib.Counts,
    advance: Advance,
) -> Iterator[documents.Document]:
    """Yields every line or every article of a text that comes tokenized.

    Nothing is dropped, blank lines included: a line end is a token that the
    literature counts.
    """
    raw = read_lines(path, settings.max_record_bytes, counts, advance)
    lines = (" ".join(_text_of(line).split()) for line in raw)
    as_articles = settings.pretokenized_documents == "articles"
    for number, text in enumerate(_articles(lines) if as_articles else lines):
        yield documents.Document(
            id=documents.make_id(source, str(number)),
            text=documents.clean(text),
            source=source,
        )


def _articles(lines: Iterator[str]) -> Iterator[str]:
    """Cuts WikiText before each `= Title =`, but not before `= = Section = =`."""
    article: list[str] = []
    for line in lines:
        if _TITLE.match(line) and any(article):
            yield "\n".join(article)
            article = []
        article.append(line)
    if article:
        yield "\n".join(article)


def sections(lines: Iterator[str], section_bytes: int) -> Iterator[str]:
    """Cuts text into sections of at least `section_bytes`, between paragraphs.

    A paragraph ends at a blank line; where none comes before twice the size, the
    section ends with its line. Blank lines around a section are left out.
    """
    section: list[str] = []
    size = 0
    for line in lines:
        section.append(line)
        size += 1 + (
            len(line) if line.isascii() else len(line.encode(errors="replace"))
        )
        if size < section_bytes:
            continue
        if not line.strip() or size >= 2 * section_bytes:
            if text := "\n".join(section).strip("\n"):
                yield text
            section, size = [], 0
    if text := "\n".join(section).strip("\n"):
        yield text


def _whole(
    lines: Iterator[str], max_bytes: int, counts: counts_lib.Counts
) -> Iterator[str]:
    whole: list[str] = []
    size = 0
    for line in lines:
        size += len(line) + 1
        if size <= max_bytes:
            whole.append(line)
    if size > max_bytes:
        counts.drop("record_too_large")
    elif whole:
        yield "\n".join(whole)
