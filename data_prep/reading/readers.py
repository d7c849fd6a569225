"""From an input file of any kind to documents; the tables at the end have the readers.

A reader yields documents and counts everything else. It never raises because of
a file's content: damage is counted, and the complete records before it (in
archives, also behind it) are yielded.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from data_prep import counts as counts_lib
from data_prep import documents, progress
from data_prep.reading import (
    archive_bytes,
    archives,
    file_kinds,
    html_pages,
    http_messages,
    json_values,
    page_process,
    parquet_rows,
    text_lines,
)
from lmcodistill import errors
from lmcodistill.data import text_forms
from lmcodistill.settings import prep

_LANGUAGE_TAG = re.compile("[a-z]{2,3}")
_TITLE = re.compile(r"= [^=].* =$")
_READ_KINDS = frozenset({"response", "resource", "conversion", "warcinfo"})
_IS_PART_OF = re.compile(rb"^isPartOf:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Source:
    """An input file that is being read.

    Attributes:
        path: Where it is.
        name: What ids, manifests and reports call it.
        settings: What a document of a text file is, field names, size limits.
        counts: Counts what is not yielded.
        advance: Called with the bytes of the file read since the last call.
    """

    path: pathlib.Path
    name: str
    settings: prep.Prep
    counts: counts_lib.Counts
    advance: progress.Advance

    def document(self, name: str, text: str, **fields: Any) -> documents.Document:
        """Returns a document, cleaned; `name` tells it from others of the file."""
        return documents.Document(
            id=documents.make_id(self.name, name),
            text=text_forms.clean(text),
            source=self.name,
            **fields,
        )

    def lines(self) -> Iterator[bytes]:
        return text_lines.read(
            self.path, self.settings.max_record_bytes, self.counts, self.advance
        )

    def text_lines(self) -> Iterator[str]:
        return text_lines.decode(self.lines(), self.counts)


def read_documents(source: Source) -> Iterator[documents.Document]:
    """Yields the documents of a file, cleaned."""
    kind = file_kinds.kind_of(source.path)
    if kind in NOTES:
        source.counts.note = NOTES[kind]
        source.advance(source.path.stat().st_size)
        return
    yield from READERS[kind](source)


def read_pretokenized(source: Source) -> Iterator[documents.Document]:
    """Yields every line or every article of a text that comes tokenized.

    Nothing is dropped, blank lines included: a line end is a token that the
    literature counts.
    """
    lines = (" ".join(line.split()) for line in source.text_lines())
    cut = PRETOKENIZED_CUTTERS[source.settings.pretokenized_documents]
    for number, text in enumerate(cut(lines)):
        yield source.document(str(number), text)


# Why nothing is read of a file, by its kind.
NOTES = {
    "empty": "is empty",
    "arc": "is an ARC file, the old format; convert it with `warcio recompress`",
    "nested": "is compressed twice; unpack it once",
    "packed_archive": "is an archive in bzip2, xz or zstd; recompress it with gzip",
    "packed_parquet": "is a Parquet file that was compressed as a whole; unpack it",
    "zip": "is an archive of files; unpack it and give what is in it",
    "tar": "is an archive of files; unpack it and give what is in it",
    "document": "is a PDF, PostScript or RTF document; convert it to text",
    "binary": "is neither text, JSON, Parquet, WARC nor WET; it was ignored",
}


def _archive(source: Source) -> Iterator[documents.Document]:
    counts, settings = source.counts, source.settings
    if source.path.stat().st_size == 0:
        return
    for record in archives.read_records(
        source.path,
        counts,
        max_record_bytes=settings.max_record_bytes,
        kinds=_READ_KINDS,
        advance=source.advance,
    ):
        headers = record.headers
        kind = headers["warc-type"].lower()
        if kind == "warcinfo":
            if declared := _IS_PART_OF.search(record.body):
                crawl = declared[1].decode("utf-8", "replace")
                counts.crawl = errors.printable(crawl, kept="")[:80]
            continue
        url = headers.get("warc-target-uri", "").strip("<> ")
        text, reason = _page_of(record, url, settings)
        if reason is not None:
            counts.drop(reason)
            continue
        yield source.document(
            headers.get("warc-record-id") or f"{url}#{record.number}",
            text.strip("\r\n"),
            url=errors.printable(url, kept=""),
            language=_first_language(headers),
            is_web=True,
        )
    if counts.records and not counts.read:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.records.items()))
        counts.note = f"has no page: its records are {kinds}"
        if counts.records["metadata"] and ".wat" in source.path.name:
            counts.note = (
                "is a WAT file (metadata of pages, no text) and was ignored; give "
                "the WET or WARC file of the same crawl"
            )


def _page_of(
    record: archives.Record, url: str, settings: prep.Prep
) -> html_pages.PageText:
    """Returns the text of a record that may hold a page, or why it has none."""
    headers, kind = record.headers, record.headers["warc-type"].lower()
    if "warc-segment-number" in headers:
        return html_pages.PageText("", "segmented")
    if kind == "resource" and url.startswith("metadata:"):
        # Arguments and logs, as wget keeps them.
        return html_pages.PageText("", "crawler_log")
    content_type = headers.get("warc-identified-payload-type", "")
    if kind != "response":
        content_type = headers.get("content-type", "") or content_type
    if kind == "conversion":
        content_type = content_type or html_pages.PLAIN_TYPE
    media_type = http_messages.media_type([content_type])
    if kind != "response" and media_type.name == html_pages.PLAIN_TYPE:
        is_utf_8 = media_type.charset.lower() in ("", "utf-8", "utf8")
        if is_utf_8 and (text := html_pages.plain_utf_8(record.body)) is not None:
            return html_pages.PageText(text, None)
    return page_process.extract_text(
        record.body,
        content_type,
        is_http=kind == "response",
        main_content=settings.html_main_content,
        max_bytes=settings.max_record_bytes,
    )


def _first_language(headers: dict[str, str]) -> str:
    tags = headers.get("warc-identified-content-language", "")
    first = tags.split(",")[0].strip().lower()
    return first if _LANGUAGE_TAG.fullmatch(first) else ""


def _json_lines(source: Source) -> Iterator[documents.Document]:
    for number, line in enumerate(source.text_lines()):
        if line.strip():
            yield from _json_document(source, number, line)


def _json_file(source: Source) -> Iterator[documents.Document]:
    """Yields the documents of an array, or of objects of several lines."""
    values = text_lines.decode(_json_values(source), source.counts)
    for number, value in enumerate(values):
        yield from _json_document(source, number, value)


def _json_values(source: Source) -> Iterator[bytes]:
    counts, max_bytes = source.counts, source.settings.max_record_bytes
    chunks = text_lines.chunks(source.path, counts, source.advance)
    try:
        for value in json_values.split(chunks, max_bytes):
            if value is None:
                counts.drop("record_too_large")
            else:
                yield value
    except EOFError:
        counts.truncated = not counts.damaged


def _json_document(
    source: Source, number: int, encoded: str
) -> Iterator[documents.Document]:
    """Yields the document of a JSON value, or counts why there is none."""
    try:
        value = json.loads(encoded)
    except (ValueError, RecursionError):
        source.counts.drop("bad_json")
        return
    fields = value if isinstance(value, dict) else {}
    yield from _document_of_fields(
        source,
        number,
        fields.get(source.settings.jsonl_text_field),
        fields.get(source.settings.jsonl_url_field),
    )


def _document_of_fields(
    source: Source, number: int, text: object, url: object
) -> Iterator[documents.Document]:
    if not isinstance(text, str):
        source.counts.drop("no_text_field")
        return
    url = errors.printable(url, kept="") if isinstance(url, str) else ""
    yield source.document(str(number), text, url=url)


def _parquet(source: Source) -> Iterator[documents.Document]:
    settings, counts = source.settings, source.counts
    columns = (settings.jsonl_text_field, settings.jsonl_url_field)
    rows = parquet_rows.read_rows(source.path, columns, source.advance)
    try:
        for number, (text, url) in enumerate(rows):
            is_text = isinstance(text, str)
            if is_text and len(text.encode()) > settings.max_record_bytes:
                counts.drop("record_too_large")
            else:
                yield from _document_of_fields(source, number, text, url)
    except archive_bytes.DamageError:
        counts.damaged += 1


def _plain_text(source: Source) -> Iterator[documents.Document]:
    cut = TEXT_CUTTERS[source.settings.text_documents]
    source.counts.is_one_text = source.settings.text_documents != "files"
    for number, text in enumerate(cut(source)):
        yield source.document(str(number), text)


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


def _whole_file(source: Source) -> Iterator[str]:
    whole: list[str] = []
    size, max_bytes = 0, source.settings.max_record_bytes
    for line in source.text_lines():
        size += len(line) + 1
        if size <= max_bytes:
            whole.append(line)
    if size > max_bytes:
        source.counts.drop("record_too_large")
    elif whole:
        yield "\n".join(whole)


READERS: dict[str, Callable[[Source], Iterator[documents.Document]]] = {
    "warc": _archive,
    "jsonl": _json_lines,
    "json": _json_file,
    "parquet": _parquet,
    "text": _plain_text,
}
# What `Prep.text_documents` and `Prep.pretokenized_documents` name.
TEXT_CUTTERS: dict[str, Callable[[Source], Iterator[str]]] = {
    "sections": lambda source: sections(
        source.text_lines(), source.settings.text_section_bytes
    ),
    "lines": lambda source: filter(str.strip, source.text_lines()),
    "files": _whole_file,
}
PRETOKENIZED_CUTTERS: dict[str, Callable[[Iterator[str]], Iterator[str]]] = {
    "lines": iter,
    "articles": _articles,
}
