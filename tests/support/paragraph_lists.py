"""Writes lists of paragraphs as `data_prep.rules.paragraph_list` reads them."""

import csv
from collections.abc import Iterable
from typing import IO

from data_prep.rules import paragraph_list


def encode(ids: Iterable[int]) -> str:
    """Returns ascending numbers as distances."""
    deltas, last = [], 0
    for number in ids:
        deltas.append(number - last)
        last = number
    return ",".join(map(str, deltas))


def write(file: IO[str], rows: Iterable[tuple[str, Iterable[int]]]) -> None:
    """Writes a CSV file of such a list.

    Args:
        file: Opened with `newline=""`.
        rows: Names of files with the ascending numbers of their paragraphs.
    """
    writer = csv.writer(file)
    writer.writerow(paragraph_list.COLUMNS)
    for name, ids in rows:
        writer.writerow([name, encode(ids)])
