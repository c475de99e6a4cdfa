"""Joins the jobs of a service; what they are made by is the service's own."""

from __future__ import annotations

import asyncio
import mmap
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from spark_export.access import Caller
from spark_export.background import running
from spark_export.errors import Forbidden, SettingsError
from spark_export.export import Plan
from spark_export.jobs.database import Database
from spark_export.jobs.files import JobFiles
from spark_export.jobs.folder import DATABASE, open_folder
from spark_export.jobs.jobs import Jobs
from spark_export.jobs.keeper import Keeper
from spark_export.jobs.maker import Maker
from spark_export.jobs.record import Order
from spark_export.jobs.register import Register
from spark_export.jobs.room import Room
from spark_export.jobs.runner import Runner
from spark_export.jobs.sinks import Sinks
from spark_export.jobs.store import JobStore
from spark_export.jobs.table import SCHEMA, VERSION
from spark_export.jobs.teller import Teller
from spark_export.service import Service
from spark_export.settings import variable_of
from spark_export.sources.base import Table
from spark_export.spool import open_request_folder, storing_rows


@asynccontextmanager
async def open_jobs(service: Service) -> AsyncIterator[Jobs]:
    """The jobs of a service, those of its last run with them; leaving the block puts back those that run.

    Raises:
        SettingsError: their folder cannot be used.
    """
    settings = service.settings
    with ExitStack() as stack:
        folder = stack.enter_context(open_folder(settings.spool_dir, settings.port))
        database = _open_database(folder)
        stack.callback(database.close)
        register = Register(database, service.clocks.wall)
        room = Room(settings.spool_max_bytes, lambda caller: store.give_way(caller))  # noqa: PLW0108 - made of this
        files = JobFiles(folder, room)
        store = JobStore(register, files, settings.job_ttl_seconds)
        keeper = Keeper(store, settings.receipts_seconds, settings.receipts_kept)
        maker = Maker(
            read_order=register.order,
            open_body=lambda order: _open_body(service, files, order),
            open_sink=Sinks(files).open,
            make_plan=lambda order, body: plan_of(service, order, body),
            exporter=service.exporter,
            receipts=service.receipts,
            observer=service.observer,
            now=service.clocks.wall,
        )
        runner = Runner(store, maker, service.gate)
        await store.load()
        await runner.take_up()
        teller = Teller(register, service.signer, service.policy, service.metrics.called_back)
        jobs = Jobs(store, runner, service.receipts, service.gate, settings.max_jobs)
        service.metrics.show_jobs(lambda: jobs.waiting, lambda: jobs.running, lambda: room.used_bytes)
        async with runner.running(), running(keeper.run(), teller.run()):
            yield jobs


def _open_database(folder: Path) -> Database:
    try:
        return Database(folder / DATABASE, SCHEMA, VERSION)
    except sqlite3.Error as error:
        raise SettingsError(f"{variable_of('spool_dir')}: {folder / DATABASE}: {error}") from None


@asynccontextmanager
async def _open_body(service: Service, files: JobFiles, order: Order) -> AsyncIterator[Path | None]:
    """The body of an order, in a folder where its reader may write beside it."""
    if not order.has_body:
        yield None
        return
    async with open_request_folder(service.spool) as folder:
        body = folder / order.export_id
        with storing_rows():
            await asyncio.to_thread(os.link, files.body(order.export_id), body)
        yield body


def plan_of(service: Service, order: Order, body: Path | None) -> Plan:
    """The export of an order.

    Args:
        service: makes it.
        order: what is asked for.
        body: file of its rows, in a folder of its own.

    Raises:
        Forbidden: its caller may no longer export that, or its file no longer go there.
    """
    service.check_delivery(order.request)
    caller = _caller_of(service, order)
    if order.request.dataset is not None:
        caller.check(order.request.dataset)
    tables: list[Table] = []

    def table() -> Table:
        """The same whenever it is asked for: what is read of a body is read once."""
        if not tables:
            tables.append(_table_of(service, order, body))
        return tables[0]

    return Plan(
        export_id=order.export_id,
        request_id=order.request_id,
        caller=caller,
        request=order.request,
        file_format=order.file_format,
        table=table,
        untyped=order.form is not None and order.form.kind == "csv",
    )


def _caller_of(service: Service, order: Order) -> Caller:
    """Who asked, with the bounds of today."""
    if service.keyring is None:
        return Caller(order.caller, order.address)
    caller = service.keyring.named(order.caller, order.address)
    if caller is None:
        raise Forbidden("the key that this was asked for with is gone", field="Authorization")
    return caller


def _table_of(service: Service, order: Order, body: Path | None) -> Table:
    if body is None:
        return service.table(order.request, None)
    if order.form is not None:
        return service.upload(body, order.form)
    with body.open("rb") as file:
        rows = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return service.table(order.request, rows)
