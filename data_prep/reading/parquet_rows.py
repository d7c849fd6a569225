"""Columns of a Parquet file, row by row, by pyarrow (the extra `parquet`)."""

import itertools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from data_prep import progress
from data_prep.reading import archive_bytes
from lmcodistill import errors

# Of the largest text that is read; a batch of them must fit into memory.
_BATCH_ROWS = 64


def read_rows(
    path: pathlib.Path, columns: Sequence[str], advance: progress.Advance
) -> Iterator[tuple[Any, ...]]:
    """Yields the values of `columns` in every row; None for no such column.

    Args:
        path: A Parquet file, compressed inside if at all.
        columns: Names of columns of the top level.
        advance: Called with the bytes of the file read since the last call.

    Raises:
        UsageError: pyarrow is not installed.
        DamageError: what follows cannot be read.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise errors.UsageError(
            f"{errors.printable(str(path), kept='')} is a Parquet file, and pyarrow, "
            "which reads them, is not installed. Install it with `pip install "
            "'lmcodistill[parquet]'`, or leave the file out of --input."
        ) from error
    size = path.stat().st_size
    left = archive_bytes.output_budget(size)
    try:
        schema = parquet.read_metadata(path).schema
        names = {schema.column(i).path for i in range(len(schema))}
        present = [
            n for n in columns if n in names and n in schema.to_arrow_schema().names
        ]
        # A value that is stored once may stand in every row: it stays one.
        file = parquet.ParquetFile(path, read_dictionary=present)
        num_groups = file.num_row_groups
        for group in range(num_groups):
            for row in _rows_of_group(file, group, size, columns, present):
                left -= 1 + sum(len(x) for x in row if isinstance(x, str))
                if left < 0:
                    raise archive_bytes.DamageError("it unpacks to too much")
                yield row
            advance(size * (group + 1) // num_groups - size * group // num_groups)
    except (pyarrow.ArrowException, OSError) as error:
        raise archive_bytes.DamageError(str(error)) from error


def _rows_of_group(
    file: Any, group: int, size: int, columns: Sequence[str], present: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    packed = file.metadata.row_group(group)
    if not present:
        yield from itertools.repeat((None,) * len(columns), packed.num_rows)
        return
    unpacked = sum(
        column.total_uncompressed_size
        for column in map(packed.column, range(packed.num_columns))
        if column.path_in_schema in present
    )
    if unpacked > archive_bytes.output_budget(size):
        raise archive_bytes.DamageError("a group of rows unpacks to too much")
    batches = file.iter_batches(
        _BATCH_ROWS, row_groups=[group], columns=present, use_threads=False
    )
    for batch in batches:
        values = {name: batch.column(name).to_pylist() for name in present}
        missing = [None] * batch.num_rows
        yield from zip(*(values.get(name, missing) for name in columns), strict=True)
