"""A Parquet file, read a row group's pages at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from spark_export.errors import MalformedBody
from spark_export.sources.upload.bounded import ROWS_MOST, check_names, empty, iter_pieces, plain_schema

CELLS_MOST = 2**20
BUFFER_BYTES = 2**20
"""Read at once, of each column."""
STRING_BYTES_MOST = 16 * 2**20
CONTAINER_ITEMS_MOST = 2**20
"""Of the footer's metadata, which any file can claim."""


def iter_batches(path: Path) -> Iterator[Any]:
    """Record batches of one schema, the first of them empty.

    Raises:
        MalformedBody: with the row near which it is no Parquet.
    """
    rows = 0
    try:
        with parquet.ParquetFile(
            path,
            buffer_size=BUFFER_BYTES,
            pre_buffer=False,
            thrift_string_size_limit=STRING_BYTES_MOST,
            thrift_container_size_limit=CONTAINER_ITEMS_MOST,
            page_checksum_verification=True,
        ) as file:
            check_names(file.schema_arrow)
            schema = plain_schema(file.schema_arrow)
            yield empty(schema)
            most = max(1, min(ROWS_MOST, CELLS_MOST // len(schema)))
            for batch in file.iter_batches(most, use_threads=False):
                yield from iter_pieces(batch, schema)
                rows += len(batch)
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise MalformedBody(f"the body is no Parquet file, near row {rows + 1}") from error
