"""Datasets that PostgreSQL runs, and the servers they are on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from spark_export.daemons import Daemons
from spark_export.sources.base import BlockingCalls, Source, Table
from spark_export.sources.parameters import Parameter, bind
from spark_export.sources.postgres import dsn
from spark_export.sources.postgres.pool import Pool
from spark_export.sources.postgres.query import Bound, Query
from spark_export.sources.postgres.template import Template
from spark_export.sources.selection import Selection

PATIENCE_SECONDS = 0.8
"""For a server that was told to give up. One that does not answer at all keeps its thread and its connection, and with
them its place in the pool, until it does; nobody waits for it."""


class Databases:
    """The servers of all datasets, each with a pool of connections.

    Args:
        max_concurrent: exports at once, and connections kept a server. Twice as many may be open: an export that is
            to be cut at a cap counts its rows on a second one.
        timeout_seconds: of a query, None for the server's own.
        threads: where blocking calls run.
    """

    def __init__(self, max_concurrent: int, timeout_seconds: float | None, threads: Executor | None = None) -> None:
        self._max_concurrent = max_concurrent
        self._threads = threads or Daemons("database")
        self._timeout_seconds = timeout_seconds
        self._pools: dict[str, Pool] = {}

    def close(self) -> None:
        """End the connections."""
        for pool in self._pools.values():
            pool.close()

    def pool(self, text: str) -> Pool:
        """The pool of a connection string; no connection is made.

        Raises:
            ValueError: it is none.
        """
        if text not in self._pools:
            self._pools[text] = Pool(dsn.complete(text), 2 * self._max_concurrent, self._max_concurrent)
        return self._pools[text]

    @asynccontextmanager
    async def open(self, pool: Pool, bound: Bound, selection: Selection) -> AsyncIterator[Source]:
        """The selected rows of a statement."""
        query = Query(pool, bound, selection)
        calls = BlockingCalls(self._threads, query.interrupt)
        try:
            schema, batches = await calls.run(query.open)
            yield AheadSource(schema, batches, calls)
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await calls.close(query.close)

    def timeout_of(self, seconds: float | None) -> float | None:
        """The shorter one of a dataset's timeout and that of all exports."""
        known = [each for each in (seconds, self._timeout_seconds) if each is not None]
        return min(known, default=None)


class AheadSource:
    """A source that reads its next batch while the one before is formatted: the server works meanwhile.

    Args:
        schema: of the batches.
        batches: pulled one at a time, in threads.
        calls: how.
    """

    total_rows: int | None = None

    def __init__(self, schema: Any, batches: Iterator[Any], calls: BlockingCalls) -> None:
        self.schema = schema
        self._batches = batches
        self._calls = calls

    async def batches(self) -> AsyncGenerator[Any, None]:
        """The batches."""
        ahead = self._read()
        try:
            while (batch := await ahead) is not None:
                ahead = self._read()
                yield batch
        finally:
            ahead.cancel()  # whoever opened the source ends the call behind it

    def _read(self) -> asyncio.Task[Any]:
        return asyncio.create_task(self._calls.run(lambda: next(self._batches, None)))


@dataclass(frozen=True)
class PostgresDataset:
    """A dataset of the datasets file that PostgreSQL runs.

    Attributes:
        template: one SELECT statement.
        timeout_seconds: of its query, None for no other than that of all exports.
    """

    name: str
    description: str
    parameters: Sequence[Parameter]
    template: Template
    timeout_seconds: float | None
    pool: Pool
    databases: Databases

    def table(self, params: Mapping[str, Any]) -> Table:
        """The statement with these values."""
        types = {parameter.name: parameter.type for parameter in self.parameters}
        timeout_seconds = self.databases.timeout_of(self.timeout_seconds)
        return _PostgresTable(self, Bound(self.template, types, bind(self.parameters, params), timeout_seconds))


@dataclass(frozen=True)
class _PostgresTable:
    dataset: PostgresDataset
    bound: Bound

    def open(self, selection: Selection) -> AbstractAsyncContextManager[Source]:
        return self.dataset.databases.open(self.dataset.pool, self.bound, selection)
