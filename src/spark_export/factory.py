"""The one place where objects are joined."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pyarrow as pa

from spark_export.access import load_keyring
from spark_export.admission.bucket import Rate, RateLimiter
from spark_export.admission.gate import Gate
from spark_export.background import running
from spark_export.datasets import Threads, make_datasets
from spark_export.delivery.rules import DeliverRules
from spark_export.errors import Problems, SettingsError
from spark_export.export import Clocks
from spark_export.making import WriterFactory, load_pdf_parts
from spark_export.memory import MemoryBound, trim
from spark_export.metrics import Metrics
from spark_export.observe import LogObserver, Observer, Observers
from spark_export.outward.addresses import AddressPolicy
from spark_export.outward.callbacks import Signer
from spark_export.pipeline import Exporter
from spark_export.receipts import Receipts
from spark_export.service import Service
from spark_export.settings import Settings, variable_of
from spark_export.sources.catalog import DatasetsFile, read_datasets_file
from spark_export.sources.duckdb import Engine
from spark_export.sources.postgres.dataset import Databases
from spark_export.spool import open_spool

TRIM_AFTER_SECONDS = 1.0
TRIM_EVERY_SECONDS = 10.0
"""Idle for the one or busy for the other time, freed memory is given back: 400 MB stayed after 50 clients else."""

SPARE_READERS = 4
"""Threads beyond one a slot: a call that is being interrupted holds its thread a moment longer than its slot."""

STORE_THREADS = 32
"""Of calls to object stores and folders; one whose caller has left keeps its thread until it ends. Made when needed."""


@asynccontextmanager
async def open_service(
    settings: Settings, clocks: Clocks | None = None, log: Observer | None = None
) -> AsyncIterator[Service]:
    """A service; leaving the block ends its threads and its engine.

    Args:
        settings: it is made of.
        clocks: its time; the machine's unless given.
        log: told of every export beside metrics and receipts; a line each unless given.

    Raises:
        SettingsError: naming every setting and every part of a file that cannot be used.
    """
    async with open_usable_service(settings, clocks, log) as (service, problems):
        if problems:
            raise SettingsError(*problems)
        yield service


@asynccontextmanager
async def open_usable_service(
    settings: Settings, clocks: Clocks | None = None, log: Observer | None = None
) -> AsyncIterator[tuple[Service, tuple[str, ...]]]:
    """A service without what cannot be used, and what is wrong with that; to be looked at, not to be served."""
    clocks = clocks or Clocks(monotonic=time.monotonic, wall=time.time)
    problems = Problems()
    # Peak of 10,000,000 rows as CSV: 272 MB with malloc, 331 with Arrow's mimalloc, at the same speed.
    pa.set_memory_pool(pa.system_memory_pool())
    with ExitStack() as stack:
        readers = stack.enter_context(ThreadPoolExecutor(settings.max_concurrent + SPARE_READERS, "reader"))
        kernels = stack.enter_context(ThreadPoolExecutor(settings.kernel_threads, "kernel"))
        stores = stack.enter_context(ThreadPoolExecutor(STORE_THREADS, "store"))
        file = problems.instead(None, lambda: _read_datasets(settings.datasets))
        spool = stack.enter_context(open_spool(settings.spool_dir))
        engine = _make_engine(settings, file, spool, readers)
        stack.callback(engine.close)
        problems.instead(None, engine.attach)
        databases = Databases(settings.max_concurrent, settings.export_timeout_seconds)
        stack.callback(databases.close)
        threads = Threads(kernels, readers, stores)
        datasets = make_datasets(file or DatasetsFile(), engine, databases, threads, problems)
        memory = MemoryBound(settings.max_memory_bytes, clocks.monotonic)
        gate = Gate(
            settings.max_concurrent, settings.max_queue, settings.queue_timeout_seconds, clocks.monotonic, memory.holds
        )
        metrics = Metrics(gate, memory, clocks.monotonic, lambda: engine.queries)
        receipts = Receipts(settings.receipts_kept, settings.receipts_seconds, clocks.monotonic)
        observer = Observers([metrics, receipts, log or LogObserver()])
        make_writer = WriterFactory(kernels, clocks, load_pdf_parts(settings, problems))
        deliveries = problems.instead(DeliverRules(()), lambda: _load_deliveries(settings))
        signer = problems.instead(None, lambda: _load_signer(settings))
        known = {*datasets, *file.datasets} if file is not None else None
        keyring = problems.instead(None, lambda: load_keyring(settings.api_keys, settings.api_keys_file, known))
        service = Service(
            settings=settings,
            clocks=clocks,
            datasets=datasets,
            keyring=keyring,
            exporter=_make_exporter(settings, clocks, gate, make_writer, observer),
            gate=gate,
            metrics=metrics,
            receipts=receipts,
            observer=observer,
            engine=engine,
            readers=readers,
            spool=spool,
            deliveries=deliveries,
            signer=signer,
            policy=AddressPolicy(settings.callback_allow),
        )
        async with running(_trim_after_work(gate, readers)):
            yield service, problems.found


def _read_datasets(path: Path | None) -> DatasetsFile:
    return DatasetsFile() if path is None else read_datasets_file(path)


def _make_engine(settings: Settings, file: DatasetsFile | None, spool: Path, readers: Executor) -> Engine:
    return Engine(
        folder=settings.datasets.parent if settings.datasets is not None else None,
        databases=file.databases if file is not None else {},
        memory_bytes=settings.duckdb_memory_bytes,
        query_threads=settings.duckdb_threads,
        temp_folder=spool,
        threads=readers,
    )


def _make_exporter(
    settings: Settings, clocks: Clocks, gate: Gate, make_writer: WriterFactory, observer: Observer
) -> Exporter:
    return Exporter(
        limiter=RateLimiter(_rate_of(settings)),
        gate=gate,
        make_writer=make_writer,
        observer=observer,
        threads=make_writer.threads,
        max_rows=settings.max_rows,
        timeout_seconds=settings.export_timeout_seconds,
        clocks=clocks,
    )


def _load_deliveries(settings: Settings) -> DeliverRules:
    try:
        return DeliverRules(settings.deliver_allow)
    except ValueError as error:
        raise SettingsError(f"{variable_of('deliver_allow')}: {error}") from None


def _load_signer(settings: Settings) -> Signer | None:
    secret = settings.callback_secret
    name, text = "callback_secret", None if secret is None else secret.get_secret_value()
    try:
        if settings.callback_secret_file is not None:
            name, text = "callback_secret_file", settings.callback_secret_file.read_text(encoding="utf-8").strip()
        return None if text is None else Signer.from_text(text)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{variable_of(name)}: {error}") from None


def _rate_of(settings: Settings) -> Rate | None:
    if settings.rate_per_second is None:
        return None
    return Rate(settings.rate_per_second, settings.rate_burst)


async def _trim_after_work(gate: Gate, threads: Executor) -> None:
    """Give memory back soon after each time of work, and now and then in a long one."""
    while True:
        await gate.until_busy()
        with suppress(TimeoutError):
            async with asyncio.timeout(TRIM_EVERY_SECONDS):
                await gate.until_idle()
        await asyncio.sleep(TRIM_AFTER_SECONDS)
        await asyncio.get_running_loop().run_in_executor(threads, trim)
