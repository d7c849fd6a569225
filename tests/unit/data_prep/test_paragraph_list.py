"""Lists of paragraphs: what is read, and what hostile ones cost."""

import bz2
import csv
import gzip
import io
import lzma
import tarfile
import tracemalloc

import pytest

from data_prep.rules import paragraph_list
from lmcodistill import errors
from tests.support import paragraph_lists

ROWS = [("a.warc.wet.gz", [0, 3, 4, 90]), ("b.warc.wet.gz", [7]), ("c", [])]


def csv_of(rows):
    file = io.StringIO(newline="")
    paragraph_lists.write(file, rows)
    return file.getvalue().encode()


def tar_of(*contents, **changes):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number, content in enumerate(contents):
            member = tarfile.TarInfo(f"{number}.csv")
            member.size = len(content)
            for name, value in changes.items():
                setattr(member, name, value)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def read(tmp_path, content):
    path = tmp_path / "list"
    path.write_bytes(content)
    rows = paragraph_list.read_rows(path, lambda _: None)
    return [(row.name, list(paragraph_list.decode(row))) for row in rows]


def test_numbers_are_written_as_distances_and_read_back():
    row = paragraph_list.Row("a", paragraph_lists.encode([2, 3, 10]), "")

    assert row.encoded == "2,1,7"
    assert list(paragraph_list.decode(row)) == [2, 3, 10]


FORMS = {
    "csv": csv_of(ROWS),
    "csv.gz": gzip.compress(csv_of(ROWS)),
    "csv.bz2": bz2.compress(csv_of(ROWS)),
    "csv.xz": lzma.compress(csv_of(ROWS)),
    "tar": tar_of(csv_of(ROWS)),
    "tar.bz2": bz2.compress(tar_of(csv_of(ROWS[:1]), csv_of(ROWS[1:]))),
    "tar.gz": gzip.compress(tar_of(csv_of(ROWS))),
    "no header": b'a.warc.wet.gz,"0,3,1,86"\nb.warc.wet.gz,7\nc,\n',
    "other header": b'file_name,x\na.warc.wet.gz,"0,3,1,86"\nb.warc.wet.gz,7\nc,\n',
    "spaces": b"a.warc.wet.gz,0 3 1 86\nb.warc.wet.gz,7\nc,\n",
    "brackets": b'a.warc.wet.gz,"[0, 3, 1, 86]"\nb.warc.wet.gz,[7]\nc,[]\n',
    "semicolons": b"a.warc.wet.gz,0;3;1;86\r\nb.warc.wet.gz,7\r\nc,\r\n",
    "no quotes": b"\xef\xbb\xbfa.warc.wet.gz,0,3,1,86\nb.warc.wet.gz,7\nc,\n\n",
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_every_form_of_a_list_says_the_same(tmp_path, content):
    assert read(tmp_path, content) == ROWS


def long_name_tar():
    """Returns a tar whose long-name record says that it has 8 GB."""
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 8 << 30
    return member.tobuf(tarfile.GNU_FORMAT) + bytes(10_240)


def sparse_tar():
    """Returns a tar with a sparse file of 8 GB of nothing."""
    member = tarfile.TarInfo("x.csv")
    member.type, member.size = tarfile.GNUTYPE_SPARSE, 0
    head = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    head[483:495] = b"77777777777\0"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + bytes(10_240)


def negative_size_tar():
    head = bytearray(tar_of(b"a,1\n"))
    head[124:136] = b"\xff" * 11 + b"\0"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head[:512])
    return bytes(head)


HOSTILE = {
    "negative": (b"a,5 -3\n", "no distance"),
    "zero": (b"a,5 0\n", "there already"),
    "fraction": (b"a,1.5\n", "no distance"),
    "underscore": (b"a,1_0\n", "no distance"),
    "Arabic digits": ("a,\u0661\n".encode(), "no distance"),
    "long number": (b"a," + b"9" * 1_000_000 + b"\n", "no distance"),
    "large number": (b"a,999999999999999\n", "none of any file"),
    "large sum": (b"a,900000000000 900000000000\n", "none of any file"),
    "words": (b"a,the quick fox\n", "no distance"),
    "one column": (b"just a line\n", "one column"),
    "open quote": (b'a,"1,2\nb,3\n', "CSV"),
    "quote inside": (b'a,"1"2\n', "CSV"),
    "not text": (bytes(range(256)) * 4, "one column|CSV|distance"),
    "html": (b"<html><body>Not found</body></html>\n", "one column"),
    "long line": (b"a," + b"1 " * (9 << 20), "has more than"),
    "long quoted field": (b'a,"' + (b"1 " * 5_000 + b"\n") * 2_000 + b'"\n', "CSV"),
    "cut bz2": (bz2.compress(csv_of(ROWS))[:-4], "damaged or cut"),
    "changed bz2": (bz2.compress(csv_of(ROWS) * 9)[:60] + bytes(40), "damaged or cut"),
    "cut tar": (tar_of(csv_of(ROWS) * 99)[:1_500], "damaged or cut"),
    "changed tar": (tar_of(b"a,1\n")[:512] + b"x" * 10_240, "tar|CSV|column"),
    "bomb": (bz2.compress((b"a," + b" " * (8 << 20) + b"\n") * 9), "unpacks to more"),
    "tar bomb": (bz2.compress(tar_of(bytes(20 << 20))), "has more than|unpacks"),
    "long name": (long_name_tar(), "damaged or cut"),
    "negative size": (negative_size_tar(), "bytes in it|no whole tar"),
}


@pytest.mark.parametrize(("content", "words"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_list_is_an_error_in_bounded_memory(tmp_path, content, words):
    tracemalloc.start()
    try:
        with pytest.raises(errors.DataError, match=words):
            read(tmp_path, content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 200 << 20


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../../../evil.csv"},
        {"name": "/etc/evil.csv"},
        {"name": "\x1b[2J.csv"},
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd", "size": 0},
        {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd", "size": 0},
        {"type": tarfile.CHRTYPE, "size": 0},
        {"type": tarfile.FIFOTYPE, "size": 0},
        {"type": tarfile.DIRTYPE, "size": 0},
    ],
)
def test_nothing_of_a_tar_is_written_or_followed(tmp_path, changes):
    content = tar_of(b"a,1\n", **changes)

    found = read(tmp_path, content)

    assert found == ([("a", [1])] if "type" not in changes else [])
    assert [path.name for path in tmp_path.rglob("*")] == ["list"]


def test_a_sparse_file_in_a_tar_is_not_unfolded(tmp_path):
    assert read(tmp_path, sparse_tar()) == []


def test_the_limit_of_the_csv_module_is_not_ours(tmp_path):
    ids = list(range(0, 400_000, 2))

    csv.field_size_limit(131_072)

    assert read(tmp_path, csv_of([("a", ids)])) == [("a", ids)]
