"""Masking against a table: precision and recall, printed and held."""

import collections
import pathlib
import re
from typing import NamedTuple

import pytest

from data_prep.rules import masking
from lmcodistill.settings import filtering

TABLE = pathlib.Path(__file__).with_name("masking_rows.txt")
ALL = filtering.Masking(emails=True, ip_addresses=True, phone_numbers=True)
STAND_INS = {
    "email": masking.EMAIL,
    "ip4": masking.IPV4,
    "ip6": masking.IPV6,
    "phone": masking.PHONE,
}
_MARKED = re.compile("⟦(.*?)⟧")


class Row(NamedTuple):
    kind: str
    text: str
    masked: str
    is_known: bool


def rows():
    found = []
    for line in TABLE.read_text(encoding="utf-8").split("\n"):
        if not line or line.startswith("# "):
            continue
        rest = line.removeprefix("known ")
        kind, _, marked = rest.partition(" ")
        masked = _MARKED.sub(STAND_INS.get(kind, ""), marked)
        text = _MARKED.sub(r"\1", marked)
        found.append(Row(kind, text, masked, rest != line))
    return found


def test_table_has_enough_rows_and_every_text_once():
    texts = [row.text for row in rows()]

    assert len(texts) >= 300
    assert len(set(texts)) == len(texts)
    assert {row.kind for row in rows()} == {*STAND_INS, "none"}


@pytest.mark.parametrize("row", [r for r in rows() if not r.is_known], ids=str)
def test_row_is_masked_whole_or_left_alone(row):
    masked, counts = masking.mask(row.text, ALL)

    assert masked == row.masked
    assert bool(counts) == (row.kind != "none")
    # Masked text stays as it is.
    assert masking.mask(masked, ALL)[0] == masked


def test_precision_and_recall_of_the_table(capsys):
    """Of rows: right is what is masked whole with nothing besides."""
    right, changed, wanted = (collections.Counter() for _ in range(3))
    for row in rows():
        masked = masking.mask(row.text, ALL)[0]
        right[row.kind] += masked == row.masked and masked != row.text
        changed[row.kind] += masked != row.text
        wanted[row.kind] += row.kind != "none"
    total, changed_rows = right.total(), changed.total()
    with capsys.disabled():
        print(f"\n{len(rows())} rows: precision {total}/{changed_rows}", end="")
        print(f", recall {total}/{wanted.total()}")
        for kind in STAND_INS:
            print(f"  {kind}: recall {right[kind]}/{wanted[kind]}")

    assert total / changed_rows >= 0.98
    assert total / wanted.total() >= 0.95


def test_rows_that_are_known_to_be_wrong_still_are():
    for row in rows():
        if row.is_known:
            assert masking.mask(row.text, ALL)[0] != row.masked, row.text
