"""Files of rows: Parquet, CSV, JSON lines and Arrow, each read a few thousand rows at a time.

Arrow's own scanner decodes a whole row group ahead: 1,000,000 rows of one group took 160 MB and the first came after
290 ms, against 64 MB and 32 ms read by columns' pages as here, in the same time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from spark_export.sources.stores import File

BATCH_ROWS = 16_384
BUFFER_BYTES = 32 * 2**20
"""Of what is read of a Parquet file at once. A store's latency asks for large requests, several at a time: 1,000,000
rows in row groups of 122,880 took 1.6 s from S3 so, and 5 s column by column."""
LEAST_BUFFER_BYTES, MOST_BUFFER_BYTES = 64 * 2**10, 4 * 2**20
"""Of one column where a row group is larger than that: the same rows in one row group were read in 20 requests and
0.7 s with 4 MiB, in 48 and 1.5 s with 1 MiB, in 209 and 5.9 s with 256 KiB."""
BLOCK_BYTES = 2**20
"""Of CSV and JSON text that is parsed at once: no row may be longer. Types of JSON are those of the first."""

FileFormat = Literal["parquet", "csv", "json", "arrow"]


@dataclass(frozen=True)
class Kind:
    """How files are written.

    Attributes:
        file_format: parquet, csv, json (an object a line) or arrow (file or stream).
        delimiter: of CSV.
    """

    file_format: FileFormat
    delimiter: str = ","

    def inspect(self, filesystem: Any, file: File) -> tuple[Any, int | None]:
        """A file's schema, and how many rows it has where that is written in it.

        Raises:
            ValueError: two columns have one name.
        """
        if self._is_nothing(file):
            return pa.schema([]), 0
        inspect = {"parquet": _inspect_parquet, "csv": self._inspect_csv, "json": _inspect_json, "arrow": _inspect_ipc}
        schema, rows = inspect[self.file_format](filesystem, file.path)
        if len(set(schema.names)) < len(schema.names):
            raise ValueError(f"{file.path}: two columns have one name")
        return schema.remove_metadata(), rows

    def iter_batches(
        self, filesystem: Any, file: File, schema: Any, columns: Sequence[str], kept: Any = None
    ) -> Iterator[Any]:
        """A file's rows.

        Args:
            filesystem: of the file.
            file: to read.
            schema: of all columns, as they are wanted; a text is read as the type that it asks for.
            columns: to read, all of which the file has; of JSON every key is read, wherever it first comes.
            kept: an expression; parts of the file in which it holds for no row may be left out. None for none.

        Raises:
            OSError: the file cannot be read to its end.
            pyarrow.ArrowException: it is not what its format says.
        """
        if self._is_nothing(file):
            return iter(())
        if self.file_format == "parquet":
            return _iter_parquet(filesystem, file.path, columns, kept)
        if self.file_format == "arrow":
            return _iter_ipc(filesystem, file.path, columns)
        if self.file_format == "csv":
            return _sliced(self._iter_csv(filesystem, file, schema, columns))
        return _sliced(_iter_json(filesystem, file, schema))

    def _is_nothing(self, file: File) -> bool:
        """Whether it is a text without a byte: no rows, and no columns."""
        return file.size_bytes == 0 and self.file_format in {"csv", "json"}

    def _inspect_csv(self, filesystem: Any, path: str) -> tuple[Any, None]:
        """Every column is text: what came in comes out."""
        with _open_text(filesystem, path) as stream, closing(self._open_csv(stream)) as reader:
            return pa.schema([(name, pa.string()) for name in reader.schema.names]), None

    def _iter_csv(self, filesystem: Any, file: File, schema: Any, columns: Sequence[str]) -> Iterator[Any]:
        types = {field.name: field.type for field in schema}
        with (
            _open_whole_text(filesystem, file) as stream,
            closing(self._open_csv(stream, column_types=types, include_columns=columns)) as reader,
        ):
            yield from reader

    def _open_csv(self, stream: Any, **conversion: Any) -> Any:
        from pyarrow import csv

        return csv.open_csv(
            stream,
            read_options=csv.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
            # An empty field is null, as it is where this service writes it; one in quotes is an empty text.
            convert_options=csv.ConvertOptions(
                null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False, **conversion
            ),
        )


@contextmanager
def _open_text(filesystem: Any, path: str) -> Iterator[Any]:
    """A stream of the file's bytes, decompressed where its name says `.gz`, `.zst` and the like."""
    with filesystem.open_input_stream(path, compression="detect", buffer_size=MOST_BUFFER_BYTES) as stream:
        yield stream


@contextmanager
def _open_whole_text(filesystem: Any, file: File) -> Iterator[Any]:
    """The same, of a file that is read to its end: the size it was listed with.

    Raises:
        OSError: on leaving, where fewer bytes came. Text that is cut off between two lines looks whole else.
    """
    codec = _codec_of(file.path)
    with filesystem.open_input_file(file.path) as source, pa.BufferedInputStream(source, MOST_BUFFER_BYTES) as stream:
        yield stream if codec is None else pa.CompressedInputStream(stream, codec)
        if source.tell() < file.size_bytes:
            raise OSError(f"{file.path}: {source.tell()} bytes came of {file.size_bytes}")


def _codec_of(path: str) -> str | None:
    """What the file's name says that it is compressed by."""
    try:
        return str(pa.Codec.detect(path).name)
    except TypeError:  # it finds none, and asks itself for that
        return None


def _inspect_parquet(filesystem: Any, path: str) -> tuple[Any, int]:
    from pyarrow import parquet

    with filesystem.open_input_file(path) as source, parquet.ParquetFile(source) as file:
        return file.schema_arrow, file.metadata.num_rows


def _iter_parquet(filesystem: Any, path: str, columns: Sequence[str], kept: Any) -> Iterator[Any]:
    from pyarrow import parquet

    buffer_bytes = max(LEAST_BUFFER_BYTES, min(MOST_BUFFER_BYTES, BUFFER_BYTES // max(1, len(columns))))
    with filesystem.open_input_file(path) as source:
        metadata = parquet.ParquetFile(source).metadata
        at_once = parquet.ParquetFile(source, metadata=metadata, pre_buffer=True)
        by_pages = parquet.ParquetFile(source, metadata=metadata, pre_buffer=False, buffer_size=buffer_bytes)
        row_groups = range(metadata.num_row_groups) if kept is None else _row_groups(filesystem, path, kept)
        sizes = {place: _size_bytes(metadata.row_group(place), columns) for place in row_groups}
        for portion in _portions(sizes):
            file = at_once if sum(map(sizes.__getitem__, portion)) <= BUFFER_BYTES else by_pages
            yield from file.iter_batches(BATCH_ROWS, row_groups=portion, columns=list(columns))


def _row_groups(filesystem: Any, path: str, kept: Any) -> list[int]:
    """The row groups in which the expression may hold for a row."""
    from pyarrow import dataset

    fragment = dataset.ParquetFileFormat().make_fragment(path, filesystem)
    return [each.id for each in fragment.subset(filter=kept).row_groups]


def _size_bytes(row_group: Any, columns: Sequence[str]) -> int:
    """What the columns take in the file."""
    chunks = map(row_group.column, range(row_group.num_columns))
    return sum(chunk.total_compressed_size for chunk in chunks if chunk.path_in_schema.partition(".")[0] in columns)


def _portions(sizes: Mapping[int, int]) -> Iterator[list[int]]:
    """Row groups that are read together: the first alone, so that a row is there soon, then as many as have room."""
    portion: list[int] = []
    room = 0
    for place, size in sizes.items():
        if portion and size > room:
            yield portion
            portion, room = [], BUFFER_BYTES
        portion.append(place)
        room -= size
    if portion:
        yield portion


def _inspect_json(filesystem: Any, path: str) -> tuple[Any, None]:
    with _open_text(filesystem, path) as stream, closing(_open_json(stream)) as reader:
        return pa.schema([field.with_type(_untimed(field.type)) for field in reader.schema]), None


def _iter_json(filesystem: Any, file: File, schema: Any) -> Iterator[Any]:
    # A key that is not in the schema would be left out in silence else.
    parsing = {"explicit_schema": schema, "unexpected_field_behavior": "error"}
    with _open_whole_text(filesystem, file) as stream, closing(_open_json(stream, **parsing)) as reader:
        yield from reader


def _open_json(stream: Any, **parsing: Any) -> Any:
    from pyarrow import json

    read_options = json.ReadOptions(block_size=BLOCK_BYTES)
    return json.open_json(stream, read_options=read_options, parse_options=json.ParseOptions(**parsing))


def _untimed(type_: Any) -> Any:
    """The type with texts where Arrow's reader takes them for times: they come out as they came in."""
    if pa.types.is_timestamp(type_):
        return pa.string()
    if pa.types.is_list(type_):
        return pa.list_(_untimed(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_untimed(field.type)) for field in type_])
    return type_


def _inspect_ipc(filesystem: Any, path: str) -> tuple[Any, None]:
    with filesystem.open_input_file(path) as source:
        return _open_ipc(source)[0], None


def _iter_ipc(filesystem: Any, path: str, columns: Sequence[str]) -> Iterator[Any]:
    with filesystem.open_input_file(path) as source:
        batches = _open_ipc(source)[1]
        yield from _sliced(batch.select(list(columns)) for batch in batches)


def _open_ipc(source: Any) -> tuple[Any, Iterator[Any]]:
    """Of an Arrow file, which begins with its magic, or a stream."""
    magic = source.read(6)
    source.seek(0)
    if magic == b"ARROW1":
        file = pa.ipc.open_file(source)
        return file.schema, (file.get_batch(place) for place in range(file.num_record_batches))
    stream = pa.ipc.open_stream(source)
    return stream.schema, iter(stream)


def _sliced(batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        for start in range(0, len(batch), BATCH_ROWS):
            yield batch.slice(start, BATCH_ROWS)


def aligned(batch: Any, schema: Any, constants: Mapping[str, Any]) -> Any:
    """The batch in the schema: constants beside what it has, nulls for what it has not.

    Raises:
        pyarrow.ArrowInvalid: a value cannot be had in the type asked for.
    """
    rows = len(batch)
    return pa.RecordBatch.from_arrays([_column(batch, field, constants, rows) for field in schema], schema=schema)


def _column(batch: Any, field: Any, constants: Mapping[str, Any], rows: int) -> Any:
    if field.name in constants:
        return pa.repeat(pa.scalar(constants[field.name], field.type), rows)
    if field.name not in batch.schema.names:
        return pa.nulls(rows, field.type)
    column = batch.column(field.name)
    return column if column.type == field.type else column.cast(field.type)
