"""Text files that are not UTF-8 are read as what they are, and counted."""

import gzip
import json

import pytest

from data_prep import counts as counts_lib
from data_prep.reading import readers
from lmcodistill.settings import prep

ENGLISH = "The old house stands at the river, and nobody lives there any more.\n"
GERMAN = "Über die große Brücke führt der Weg zum Fluß hinunter, schön und kühl.\n"


def read(tmp_path, content, name="a.txt"):
    path = tmp_path / name
    path.write_bytes(content)
    counts = counts_lib.Counts()
    settings = prep.Prep(text_documents="lines")
    source = readers.Source(path, path.name, settings, counts, lambda _: None)
    return [d.text for d in readers.read_documents(source)], counts


@pytest.mark.parametrize(
    ("line", "codec", "name"),
    [
        (GERMAN, "latin-1", "windows-1252"),
        (GERMAN.replace("schön", "“schön”"), "cp1252", "windows-1252"),
        ("Старый дом стоит у реки, и никто в нём больше не живёт.\n", *["cp1251"] * 2),
        ("Старый дом стоит у реки, и никто в нём больше не живёт.\n", *["koi8-r"] * 2),
        ("古い家が川のそばに立っていて、もう誰も住んでいません。\n", *["cp932"] * 2),
        ("古い家が川のそばに立っていて、もう誰も住んでいません。\n", *["euc_jp"] * 2),
        (
            "古い家が川のそばに立っていて、もう誰も住んでいません。\n",
            *["iso2022_jp"] * 2,
        ),
        ("老房子在河边，已经没有人住在那里了。\n", *["gbk"] * 2),
        ("오래된 집이 강가에 서 있고 이제 아무도 살지 않는다.\n", *["cp949"] * 2),
    ],
)
def test_lines_are_read_as_what_they_look_like(tmp_path, line, codec, name):
    found, counts = read(tmp_path, (ENGLISH * 3 + line * 5 + ENGLISH).encode(codec))

    assert found == (ENGLISH * 3 + line * 5 + ENGLISH).splitlines()
    names = {
        "cp1251": "windows-1251",
        "koi8-r": "koi8-u",
        "cp932": "shift_jis",
        "euc_jp": "euc-jp",
        "iso2022_jp": "iso-2022-jp",
        "gbk": "gb18030",
        "cp949": "euc-kr",
    }
    assert set(counts.encodings) == {names.get(name, name)}
    assert counts.encodings.total() >= 5
    assert counts.replaced == 0


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_wide_text_with_a_mark_is_no_binary(tmp_path, codec, wrap):
    text = (GERMAN + "𝔘nd so weiter\r\n") * 3_000
    mark = "\ufeff" if codec.endswith("be") else ""

    found, counts = read(tmp_path, wrap((mark + text).encode(codec)))

    assert found == text.splitlines()
    assert counts.encodings.total() == 6_000


def test_utf_8_is_counted_nowhere(tmp_path):
    _, counts = read(tmp_path, ("\ufeff" + GERMAN * 9).encode())

    assert not counts.encodings and not counts.replaced


def test_bad_bytes_in_utf_8_are_replaced_and_counted_and_change_nothing_else(tmp_path):
    content = (GERMAN * 9).encode()
    place = content.index(b"Weg")

    found, counts = read(tmp_path, content[:place] + b"\xff" + content[place:])

    assert found[0] == GERMAN.strip().replace("Weg", "\ufffdWeg")
    assert found[1:] == [GERMAN.strip()] * 8
    assert counts.replaced == 1 and not counts.encodings


def test_lines_of_two_encodings_in_one_file_are_both_read(tmp_path):
    content = (GERMAN * 20).encode() + (GERMAN * 5).encode("cp1252")

    found, counts = read(tmp_path, content)

    assert found == [GERMAN.strip()] * 25
    assert counts.encodings == {"windows-1252": 5}


def test_encoding_holds_for_lines_that_come_much_later(tmp_path):
    content = GERMAN.encode("cp1252") + (ENGLISH * 9_000).encode()

    found, counts = read(tmp_path, content + GERMAN.encode("cp1252"))

    assert found[0] == found[-1] == GERMAN.strip()
    assert counts.encodings == {"windows-1252": 2}


def test_json_lines_are_read_the_same_way(tmp_path):
    line = json.dumps({"text": GERMAN}, ensure_ascii=False) + "\n"

    found, counts = read(tmp_path, (line * 3).encode("cp1252"), "a.jsonl")

    assert found == [GERMAN] * 3
    assert counts.encodings == {"windows-1252": 3}
    assert not counts.dropped
