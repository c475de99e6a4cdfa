"""What Arrow's own readers read, in pieces of bounded size, checked, in types that need no look elsewhere.

Runs in the process that `isolated` starts; so it imports next to nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from spark_export.errors import BodyTooLarge, MalformedBody

ROWS_MOST = 16_384
BYTES_MOST = 4 * 2**20


def check_names(schema: Any) -> None:
    """Refuse two columns of one name.

    Raises:
        MalformedBody: there are.
    """
    if not len(schema):
        raise MalformedBody("the body has no column")
    name, times = Counter(schema.names).most_common(1)[0]
    if times > 1:
        raise MalformedBody(f"{times} columns are named {name!r}")


def plain_schema(schema: Any) -> Any:
    """The columns of a schema, each of the type that it has in a piece."""
    return pa.schema([(field.name, _plain_type(field.type)) for field in schema])


def empty(schema: Any) -> Any:
    """A batch without rows."""
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def iter_pieces(batch: Any, schema: Any) -> Iterator[Any]:
    """A batch in pieces.

    Raises:
        pa.ArrowInvalid: its buffers do not fit one another; nothing that uses it would be safe.
    """
    batch.validate(full=True)
    for start in range(0, len(batch), ROWS_MOST):
        rows = batch.slice(start, ROWS_MOST)
        arrays = [_plain(array, field.type) for array, field in zip(rows.columns, schema, strict=True)]
        plain = pa.RecordBatch.from_arrays(arrays, schema=schema)
        step = max(1, len(plain) * BYTES_MOST // max(plain.nbytes, 1))
        yield from (plain.slice(place, step) for place in range(0, len(plain), step))


def _plain_type(type_: Any) -> Any:
    if pa.types.is_dictionary(type_):
        return _plain_type(type_.value_type)
    if pa.types.is_run_end_encoded(type_):
        return _plain_type(type_.value_type)
    if pa.types.is_string_view(type_):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(type_) else type_


def _plain(array: Any, type_: Any) -> Any:
    return array if array.type == type_ else array.cast(type_)


class Size:
    """What came out so far.

    Args:
        most_bytes: that may; None for any number.
    """

    def __init__(self, most_bytes: int | None) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self.rows = 0

    def add(self, piece: Any) -> None:
        """One more piece.

        Raises:
            BodyTooLarge: it is one too many.
        """
        self.rows += len(piece)
        self._bytes += max(piece.nbytes, len(piece))
        if self._most_bytes is not None and self._bytes > self._most_bytes:
            detail = f"the rows take more than the {self._most_bytes} bytes that MAX_UPLOAD_BYTES allows"
            raise BodyTooLarge(detail, field="MAX_UPLOAD_BYTES")
