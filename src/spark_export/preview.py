"""The first rows of a dataset as JSON, for a page that shows them before they are exported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa

from spark_export.model import ExportRequest
from spark_export.pieces import Sample
from spark_export.text import Encoder, Style
from spark_export.text.times import TimeStyle

EXACT_INTEGER = 2**53
"""Integers from here on are texts: a browser's numbers cannot hold them."""

Value = str | int | float | bool | None


def preview_json(request: ExportRequest, schema: Any, sample: Sample) -> bytes:
    """The document.

    Args:
        request: of a dataset; its columns and time zone hold.
        schema: of the rows.
        sample: the rows.

    Raises:
        InvalidField: a column's options do not fit it.
    """
    encoder = Encoder(schema, request.columns, Style(TimeStyle(request.timezone)))
    types = [str(schema.field(column.name).type) for column in encoder.columns]
    columns = [
        {"name": column.name, "label": column.label, "type": type_}
        for column, type_ in zip(encoder.columns, types, strict=True)
    ]
    rows = [row for batch in sample.batches for row in _iter_rows(encoder, batch)]
    return msgspec.json.encode({"name": request.dataset, "columns": columns, "rows": rows, "more": sample.more})


def _iter_rows(encoder: Encoder, batch: Any) -> Iterator[tuple[Value, ...]]:
    texts = encoder.encode(batch)
    types = [batch.schema.field(column.name).type for column in encoder.columns]
    columns = [[_value(text, type_) for text in each.to_pylist()] for each, type_ in zip(texts, types, strict=True)]
    return zip(*columns, strict=True)


def _value(text: str | None, type_: Any) -> Value:
    """A JSON value where one holds what the text says, else the text."""
    if text is None:
        return None
    if pa.types.is_boolean(type_):
        return text == "true"
    try:
        if pa.types.is_integer(type_):
            return number if abs(number := int(text)) < EXACT_INTEGER else text
        if pa.types.is_floating(type_):
            return number_ if abs(number_ := float(text)) < float("inf") else text
    except ValueError:  # of a format of its own: `1,234`
        return text
    return text
