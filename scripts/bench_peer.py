"""The peer that `scripts/bench csv` measures against: a FastAPI handler that writes with `csv.writer`.

What most teams write first: rows of a query, `csv.writer` into a buffer, a StreamingResponse.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator

import duckdb
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

FETCHED_ROWS = 10_000

app = FastAPI()


@app.get("/export")
def export() -> StreamingResponse:
    """Every row of the query in PEER_SQL."""
    return StreamingResponse(lines(os.environ["PEER_SQL"]), media_type="text/csv")


def lines(sql: str) -> Iterator[str]:
    """The query's rows as CSV, some thousand at a time."""
    result = duckdb.connect().execute(sql)
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([column[0] for column in result.description or ()])
    while rows := result.fetchmany(FETCHED_ROWS):
        writer.writerows(rows)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()
