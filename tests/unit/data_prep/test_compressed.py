import bz2
import functools
import gzip
import lzma

import pytest
from backports import zstd

from data_prep import counts as counts_lib
from data_prep.reading import archive_bytes, compressed, readers, text_lines
from lmcodistill.settings import prep

TEXT = b"\n".join(b"line %d" % i for i in range(50_000))
COMPRESS = (
    gzip.compress,
    bz2.compress,
    lzma.compress,
    # With a sum, as the program writes it; the library leaves it out.
    functools.partial(
        zstd.compress, options={zstd.CompressionParameter.checksum_flag: 1}
    ),
)


def read(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with compressed.open_bytes(path) as file:
        return file.read()


@pytest.mark.parametrize("compress", [bytes, *COMPRESS])
def test_bytes_come_out_as_they_went_in(tmp_path, compress):
    assert read(tmp_path, compress(TEXT)) == TEXT


@pytest.mark.parametrize("compress", COMPRESS)
def test_streams_in_a_row_are_one_text_and_padding_is_none(tmp_path, compress):
    content = compress(TEXT) + compress(b"") + compress(b"end") + b"\0" * 400

    assert read(tmp_path, content) == TEXT + b"end"


@pytest.mark.parametrize("compress", COMPRESS)
def test_cut_stream_is_an_end_of_file(tmp_path, compress):
    with pytest.raises(EOFError):
        read(tmp_path, compress(TEXT)[:-20])


@pytest.mark.parametrize("compress", COMPRESS)
def test_flipped_byte_is_damage(tmp_path, compress):
    content = bytearray(compress(TEXT))
    content[len(content) // 2] ^= 0xFF

    with pytest.raises(compressed.DAMAGE):
        read(tmp_path, bytes(content))


@pytest.mark.parametrize("compress", COMPRESS)
def test_bomb_is_left_after_its_budget(tmp_path, compress):
    path = tmp_path / "a.txt"
    path.write_bytes(compress((b"x" * 999 + b"\n") * 8_000))
    chosen, counts = prep.Prep(text_section_bytes=1 << 20), counts_lib.Counts()

    size = sum(
        len(document.text) + 1
        for document in readers.read_documents(
            readers.Source(path, "a", chosen, counts, lambda _: None)
        )
    )

    assert size <= 50 * path.stat().st_size + (4 << 20)
    assert counts.damaged == 1


def test_xz_that_asks_for_a_gigabyte_of_memory_is_damage(tmp_path):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]

    with pytest.raises(archive_bytes.DamageError, match="[Mm]emory"):
        read(tmp_path, lzma.compress(b"text", filters=filters))


def test_zstd_that_asks_for_a_gigabyte_of_memory_is_damage(tmp_path):
    options = {zstd.CompressionParameter.window_log: 30}
    packed = zstd.ZstdCompressor(options=options)
    # A frame without a content size keeps the window that was asked for.
    content = packed.compress(b"text" * 999) + packed.flush()

    with pytest.raises(archive_bytes.DamageError, match="[Mm]emory"):
        read(tmp_path, content)


def test_frame_that_zstd_skips_may_come_first(tmp_path):
    skipped = b"\x50\x2a\x4d\x18\x04\0\0\0none"

    assert read(tmp_path, skipped + zstd.compress(TEXT)) == TEXT


@pytest.mark.parametrize("inner", COMPRESS)
def test_file_that_is_compressed_twice_is_ignored_with_a_note(tmp_path, inner):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(inner(TEXT)))
    counts = counts_lib.Counts()

    found = list(
        readers.read_documents(
            readers.Source(path, "a", prep.Prep(), counts, lambda _: None)
        )
    )

    assert found == []
    assert "compressed twice" in counts.note


def test_archive_in_bzip2_is_ignored_with_a_note(tmp_path):
    path = tmp_path / "a.warc.bz2"
    path.write_bytes(bz2.compress(b"WARC/1.0\r\n\r\n"))
    counts = counts_lib.Counts()

    found = list(
        readers.read_documents(
            readers.Source(path, "a", prep.Prep(), counts, lambda _: None)
        )
    )

    assert found == []
    assert "recompress it with gzip" in counts.note


def test_progress_is_told_in_bytes_of_the_file(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(TEXT, 1))
    told = []

    list(text_lines.read(path, 1_000, counts_lib.Counts(), told.append))

    assert sum(told) == path.stat().st_size
