"""An Arrow stream (Arrow columnar format, IPC streaming format), which ends in its end-of-stream marker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from spark_export.errors import MalformedBody
from spark_export.sources.upload.bounded import check_names, empty, iter_pieces, plain_schema

END = b"\xff\xff\xff\xff\0\0\0\0"
CONTINUATION = b"\xff\xff\xff\xff"
FILE_MAGIC = b"ARROW1"


def iter_batches(path: Path) -> Iterator[Any]:
    """Record batches of one schema, the first of them empty.

    Raises:
        MalformedBody: with the byte near which it is no Arrow stream, or that it is cut off.
    """
    size = path.stat().st_size
    with pa.OSFile(str(path)) as file:
        begin = file.read(len(FILE_MAGIC))
        if begin == FILE_MAGIC:
            raise MalformedBody("byte 0: the body is an Arrow file; send an Arrow stream")
        if not begin.startswith(CONTINUATION):  # a length, to Arrow: it would ask for as much memory
            raise MalformedBody("byte 0: the body is no Arrow stream")
        file.seek(0)
        try:
            reader = pa.ipc.open_stream(file)
            check_names(reader.schema)
            schema = plain_schema(reader.schema)
            yield empty(schema)
            for batch in reader:
                yield from iter_pieces(batch, schema)
        except MemoryError:
            raise
        except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
            raise MalformedBody(f"the body is no Arrow stream, near byte {file.tell()} of {size}") from error
        if file.tell() != size:
            raise MalformedBody(f"the stream ends at byte {file.tell()}, and the body has {size}")
        file.seek(max(0, size - len(END)))
        if file.read(len(END)) != END:
            raise MalformedBody(f"the stream is cut off after byte {size}: it has no end-of-stream marker")
