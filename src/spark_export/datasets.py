"""The datasets that can be exported by name: the built-in one, and those of the datasets file by their engines."""

from __future__ import annotations

import os
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from spark_export.errors import Problems, SettingsError
from spark_export.sources.arrow import ArrowDataset
from spark_export.sources.base import Dataset
from spark_export.sources.catalog import (
    AnyDataset,
    ArrowConfig,
    DatasetConfig,
    DatasetsFile,
    DuckdbConfig,
    PostgresConfig,
)
from spark_export.sources.duckdb import Engine, SqlDataset
from spark_export.sources.files import Kind
from spark_export.sources.postgres.dataset import Databases, PostgresDataset
from spark_export.sources.postgres.template import Template
from spark_export.sources.stores import Store
from spark_export.sources.synthetic import TradesDataset


@dataclass(frozen=True)
class Threads:
    """Where datasets work.

    Attributes:
        kernels: that compute, and never wait.
        readers: that wait for batches.
        stores: that stores' calls run in.
    """

    kernels: Executor
    readers: Executor
    stores: Executor


def make_datasets(
    file: DatasetsFile, engine: Engine, databases: Databases, threads: Threads, problems: Problems
) -> dict[str, Dataset]:
    """The built-in dataset and those of the file that can be used; the file may name its own `trades`.

    Trades are computed, never waited for, so they are made where batches are formatted: with as many threads more as
    there are slots, a refusal waited half as long again for the interpreter.
    """
    datasets: dict[str, Dataset] = {"trades": TradesDataset(threads.kernels, engine)}
    for name, config in file.datasets.items():
        made = problems.instead(None, partial(_make_dataset, name, config, engine, databases, threads))
        if made is not None:
            datasets[name] = made
    return datasets


def _make_dataset(name: str, config: AnyDataset, engine: Engine, databases: Databases, threads: Threads) -> Dataset:
    match config:
        case ArrowConfig():
            return _make_arrow_dataset(name, config, engine, threads)
        case PostgresConfig():
            return _make_postgres_dataset(name, config, databases)
        case DuckdbConfig():
            return _make_sql_dataset(name, config, engine)


def _make_arrow_dataset(name: str, config: ArrowConfig, engine: Engine, threads: Threads) -> Dataset:
    """A dataset of files; nothing is looked for before its first export."""
    return ArrowDataset(
        name=name,
        description=config.description,
        store=Store(config.path, config.region, config.endpoint, config.anonymous),
        kind=Kind(config.format, config.delimiter),
        hive=config.partitioning == "hive",
        types=config.types,
        engine=engine,
        readers=threads.readers,
        threads=threads.stores,
    )


def _make_sql_dataset(name: str, config: DuckdbConfig, engine: Engine) -> Dataset:
    """A dataset that the embedded engine runs.

    Raises:
        SettingsError: its SQL is not one SELECT statement, or its parameters are not those in the SQL.
    """
    parameters = config.parameters()
    try:
        used = engine.parameters_of(config.sql)
    except ValueError as error:
        raise SettingsError(f"datasets.{name}.sql: {error}") from None
    _check_parameters(name, config, used)
    return SqlDataset(name, config.description, parameters, config.sql, config.database, engine)


def _make_postgres_dataset(name: str, config: PostgresConfig, databases: Databases) -> Dataset:
    """A dataset that a PostgreSQL server runs; nothing is asked of the server before the first export.

    Raises:
        SettingsError: no connection string, or one that is none; the SQL or its parameters are not right.
    """
    text = os.environ.get(config.dsn_env, "").strip()
    if not text:
        raise SettingsError(f"datasets.{name}.dsn_env: the variable {config.dsn_env} holds no connection string")
    try:
        pool = databases.pool(text)
    except ValueError as error:
        raise SettingsError(f"datasets.{name}.dsn_env: the variable {config.dsn_env} {error}") from None
    try:
        template = Template.parse(config.sql)
    except ValueError as error:
        raise SettingsError(f"datasets.{name}.sql: {error}") from None
    _check_parameters(name, config, frozenset(template.names))
    return PostgresDataset(
        name, config.description, config.parameters(), template, config.timeout_seconds, pool, databases
    )


def _check_parameters(name: str, config: DatasetConfig, used: AbstractSet[str]) -> None:
    """Refuse parameters that are in the SQL or declared, but not both.

    Raises:
        SettingsError: naming each.
    """
    declared = {parameter.name for parameter in config.parameters()}
    if used != declared:
        where = f"datasets.{name}.params"
        undeclared = [f"{where}.{odd}: is in the sql but not declared" for odd in sorted(used - declared)]
        unused = [f"{where}.{odd}: is declared but not in the sql" for odd in sorted(declared - used)]
        raise SettingsError(*undeclared, *unused)
