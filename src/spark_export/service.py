"""What serves exports once it is joined: it answers what a request may name, and makes the tables that it reads."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from spark_export.access import Keyring
from spark_export.admission.gate import Gate
from spark_export.delivery.rules import DeliverRules
from spark_export.errors import InvalidField, UnknownDataset
from spark_export.export import Clocks
from spark_export.metrics import Metrics
from spark_export.model import ExportRequest
from spark_export.observe import Observer
from spark_export.outward.addresses import AddressPolicy, AddressRefused
from spark_export.outward.callbacks import Signer
from spark_export.pipeline import Exporter
from spark_export.receipts import Receipts
from spark_export.settings import Settings
from spark_export.sources.base import Dataset, Table
from spark_export.sources.duckdb import Engine
from spark_export.sources.inline import InlineTable
from spark_export.sources.selection import Selection
from spark_export.sources.upload.duplex import DuplexTable
from spark_export.sources.upload.pipe import Pipe
from spark_export.sources.upload.table import BodyForm, UploadTable
from spark_export.text.encoder import name_some


@dataclass(frozen=True)
class Service:
    """Everything that serves exports, ready.

    Attributes:
        settings: it was made of.
        clocks: its time.
        datasets: what can be exported by name.
        keyring: who may ask; None where anyone may.
        exporter, gate, metrics, receipts, observer: see their classes.
        engine, readers: for tables made for one request.
        spool: folder for what is on its way, this process's own.
        deliveries: where files may be delivered.
        signer: of callbacks; None where none are sent.
        policy: where those may go.
    """

    settings: Settings
    clocks: Clocks
    datasets: Mapping[str, Dataset]
    keyring: Keyring | None
    exporter: Exporter
    gate: Gate
    metrics: Metrics
    receipts: Receipts
    observer: Observer
    engine: Engine
    readers: Executor
    spool: Path
    deliveries: DeliverRules
    signer: Signer | None
    policy: AddressPolicy

    def check_job(self, request: ExportRequest) -> None:
        """Refuse a job whose file or receipt would go where it may not.

        Raises:
            Forbidden: the file may not go there.
            InvalidField: no callbacks are sent.
        """
        self.check_delivery(request)
        if request.callback_url is not None:
            if self.signer is None:
                raise InvalidField("this service sends no callbacks: CALLBACK_SECRET is not set", field="callback_url")
            self._check_host(request.callback_url)

    def check_delivery(self, request: ExportRequest) -> None:
        """Refuse a job whose file would go where it may not.

        Raises:
            Forbidden: it would.
        """
        if request.deliver is not None:
            self.deliveries.check(request.deliver.url)

    def _check_host(self, url: str) -> None:
        """Refuse at once what would never be reached; what a name stands for is seen when it is connected to."""
        host = urlsplit(url).hostname or ""
        with suppress(ValueError):
            ipaddress.ip_address(host)
            try:
                self.policy.check(host)
            except AddressRefused as error:
                raise InvalidField(f"callback_url: {error.detail}", field="callback_url") from None

    def dataset(self, name: str) -> Dataset:
        """The dataset of that name.

        Raises:
            UnknownDataset: there is none.
        """
        try:
            return self.datasets[name]
        except KeyError:
            known = name_some(list(self.datasets))
            raise UnknownDataset(f"no dataset {name!r}; there are {known}", field="dataset") from None

    def table(self, request: ExportRequest, rows: memoryview | None) -> Table:
        """What the request takes its rows from: the JSON text of rows where there is one, else a dataset.

        Raises:
            UnknownDataset, InvalidField: there is none of that name, or its parameters do not fit.
        """
        if rows is None:
            return self.dataset(request.dataset or "").table(request.params)
        names = None if request.columns is None else tuple(column.name for column in request.columns)
        return InlineTable(rows, names, self.readers, self.engine)

    def upload(self, body: Path, form: BodyForm) -> Table:
        """The rows of a body in a file, which is in a folder of its own."""
        return UploadTable(body, form, self.readers, self.engine)

    def duplex(self, pipe: Pipe, form: BodyForm) -> Table:
        """The rows of a body that is on its way."""
        return DuplexTable(pipe, form, self.readers)

    async def schema(self, dataset: Dataset, visible: frozenset[str] | None = None) -> Any:
        """The dataset's columns: those of them that may be seen, all where None; with the parameters' defaults.

        Raises:
            ExportError: it cannot be opened.
        """
        # Any value will do to learn the columns' types.
        unknown = {parameter.name: None for parameter in dataset.parameters if parameter.required}
        async with dataset.table(unknown).open(Selection(limit=0, visible=visible)) as source:
            return source.schema
