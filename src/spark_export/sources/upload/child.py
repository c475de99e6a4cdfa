"""Reads an Arrow stream or a Parquet file in a process of its own.

    python -P -m spark_export.sources.upload.child KIND BODY PARTS MOST_BYTES

Writes the rows to PARTS, and a JSON object to standard output: how many they are, or what is wrong. A crafted file can
make Arrow's readers crash, or ask for any memory: then this process ends, which has a limit of its own, and no other.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from spark_export.errors import BodyTooLarge, RequestError
from spark_export.sources.upload import arrow
from spark_export.sources.upload.bounded import Size

MEMORY_BYTES = 512 * 2**20
"""Of the process beyond what it maps of files."""


def main(arguments: Sequence[str]) -> None:
    """Read the body."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    pa.set_memory_pool(pa.system_memory_pool())
    kind, body, parts, most_bytes = arguments
    print(json.dumps(_read(_reader(kind)(Path(body)), Path(parts), int(most_bytes) or None)))  # noqa: T201


def _reader(kind: str) -> Callable[[Path], Iterator[Any]]:
    if kind == "arrow":
        return arrow.iter_batches
    from spark_export.sources.upload import parquet  # 50 ms that an Arrow stream does not need

    return parquet.iter_batches


def _read(batches: Iterator[Any], parts: Path, most_bytes: int | None) -> dict[str, Any]:
    try:
        return {"rows": _write(batches, parts, most_bytes)}
    except RequestError as error:
        return {"large": isinstance(error, BodyTooLarge), "detail": error.detail, "field": error.field}
    except MemoryError:
        detail = f"reading the body takes more than {MEMORY_BYTES} bytes of memory; make its batches or pages smaller"
        return {"large": True, "detail": detail, "field": "body"}


def _write(batches: Iterator[Any], parts: Path, most_bytes: int | None) -> int:
    size, options = Size(most_bytes), pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    first = next(batches)
    with pa.OSFile(str(parts), "wb") as file, pa.ipc.new_stream(file, first.schema, options=options) as stream:
        for batch in batches:
            size.add(batch)
            stream.write_batch(batch)
    return size.rows


if __name__ == "__main__":
    main(sys.argv[1:])
