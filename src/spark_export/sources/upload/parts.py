"""Batches in a file of our own, written once and read as often as need be, in the types that all of them ask for.

Whatever a body is, its rows go through here before the first is handed on: its last line may decide a type, or be
broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from spark_export.errors import InvalidField
from spark_export.model import MOST_COLUMNS
from spark_export.sources.jsonrows import Joined

BATCH_ROWS = 16_384
BATCH_CELLS = 2**20
"""Of a batch that is read: a column that a part lacks takes room all the same."""
OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
"""Three times smaller at a tenth more time (CSV of 200 MB: 253 MB in 0.98 s, 78 MB in 1.08 s)."""


@dataclass(frozen=True)
class Parts:
    """Rows in a file.

    Attributes:
        path: of the file: Arrow streams one after the other, each of another schema.
        schema: of all rows.
        rows: how many.
    """

    path: Path
    schema: Any
    rows: int

    def batches(self) -> Iterator[Any]:
        """The rows as batches of the schema."""
        step = max(1, min(BATCH_ROWS, BATCH_CELLS // max(1, len(self.schema))))
        with pa.OSFile(str(self.path)) as file:
            while file.tell() < file.size():
                for part in pa.ipc.open_stream(file):
                    for start in range(0, len(part), step):
                        yield _in_schema(part.slice(start, step), self.schema)


def write_parts(batches: Iterable[Any], path: Path) -> Parts:
    """The batches in a file; columns of one name are joined to one type.

    Raises:
        InvalidField: there are more columns than a file may have.
    """
    joined, rows = Joined(), 0
    with _PartsFile(path) as file:
        for batch in batches:
            joined.add(dict(zip(batch.schema.names, batch.columns, strict=True)))
            if len(joined.names) > MOST_COLUMNS:
                raise InvalidField(f"the rows have more than {MOST_COLUMNS} columns", field="body")
            rows += len(batch)
            file.write(batch)
    return Parts(path, joined.schema(), rows)


class _PartsFile:
    """Batches of any schema, one after the other."""

    def __init__(self, path: Path) -> None:
        self._file = pa.OSFile(str(path), "wb")
        self._schema: Any = None
        self._stream: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_stream()
        self._file.close()

    def write(self, batch: Any) -> None:
        if batch.schema != self._schema:
            self._end_stream()
            self._schema = batch.schema
            self._stream = pa.ipc.new_stream(self._file, batch.schema, options=OPTIONS)
        self._stream.write_batch(batch)

    def _end_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()


def _in_schema(part: Any, schema: Any) -> Any:
    if part.schema == schema:
        return part
    return Joined.batch(dict(zip(part.schema.names, part.columns, strict=True)), len(part), schema)
