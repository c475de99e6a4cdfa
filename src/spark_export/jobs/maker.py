"""Makes the file of a job, once: an export as every other is, with a sink in the place of a client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from spark_export.export import Export, Plan
from spark_export.jobs.receipt import outcome_of
from spark_export.jobs.record import Order
from spark_export.jobs.register import Live
from spark_export.observe import Observer
from spark_export.outcome import Outcome
from spark_export.pipeline import Exporter
from spark_export.receipts import Receipts
from spark_export.writers.base import Chunk


class Sink(Protocol):
    """Takes the chunks of a file.

    Attributes:
        object_tag: entity tag of the object, once it is whole; None where it is no object.
    """

    object_tag: str | None

    async def write(self, chunk: Chunk) -> None:
        """Take the whole chunk.

        Raises:
            SinkError: it cannot be taken.
        """
        ...


OpenSink = Callable[[Order, Export], AbstractAsyncContextManager[Sink]]
"""Where the file of an order goes; it is there when the block ends well, else not at all."""
OpenBody = Callable[[Order], AbstractAsyncContextManager[Path | None]]
"""The body of an order, in a folder of its own; None where it has none."""


@dataclass(frozen=True)
class Maker:
    """Makes files.

    Attributes:
        read_order: all that was asked for, by id.
        open_body, open_sink: what they are made of, and where they go.
        make_plan: the export of an order and its body.
        exporter: makes it.
        receipts, observer: told of the end.
        now: seconds since the epoch.
    """

    read_order: Callable[[str], Awaitable[Order]]
    open_body: OpenBody
    open_sink: OpenSink
    make_plan: Callable[[Order, Path | None], Plan]
    exporter: Exporter
    receipts: Receipts
    observer: Observer
    now: Callable[[], float]

    async def make(self, live: Live) -> None:
        """Make the file; what came of it is the job's outcome, unless it did not come as far as an export.

        Raises:
            ExportError: as of `Exporter.open`, and of the sink.
        """
        order = await self.read_order(live.record.export_id)
        async with self.open_body(order) as body:
            plan = self.make_plan(order, body)
            try:
                async with self.exporter.open(plan, admitted=True) as export:
                    live.progress = export.progress
                    async with self.open_sink(order, export) as sink:
                        async for chunk in export.body:
                            await sink.write(chunk)
                    live.record = replace(live.record, media_type=export.media_type, object_tag=sink.object_tag)
            finally:
                # At once: other exports' outcomes may displace it.
                live.outcome = self.receipts.take(order.export_id)

    def tell(self, order: Order, error: BaseException) -> Outcome:
        """The outcome of a job that did not come as far as an export, told to whoever watches."""
        outcome = outcome_of(order, error, self.now())
        self.observer.finished(outcome)
        self.receipts.take(order.export_id)
        return outcome
