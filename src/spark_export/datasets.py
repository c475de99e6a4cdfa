"""The datasets that can be exported by name: the built-in one, and those of the datasets file by their engines."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial

from spark_export.errors import Problems, SettingsError
from spark_export.sources.base import Dataset
from spark_export.sources.catalog import DatasetsFile, DuckdbConfig
from spark_export.sources.duckdb import Engine, SqlDataset
from spark_export.sources.synthetic import TradesDataset


def make_datasets(file: DatasetsFile, engine: Engine, kernels: Executor, problems: Problems) -> dict[str, Dataset]:
    """The built-in dataset and those of the file that can be used; the file may name its own `trades`.

    Trades are computed, never waited for, so they are made where batches are formatted: with as many threads more as
    there are slots, a refusal waited half as long again for the interpreter.
    """
    datasets: dict[str, Dataset] = {"trades": TradesDataset(kernels, engine)}
    for name, config in file.datasets.items():
        made = problems.instead(None, partial(_make_sql_dataset, name, config, engine))
        if made is not None:
            datasets[name] = made
    return datasets


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
    declared = {parameter.name for parameter in parameters}
    if used != declared:
        where = f"datasets.{name}.params"
        undeclared = [f"{where}.{odd}: is in the sql but not declared" for odd in sorted(used - declared)]
        unused = [f"{where}.{odd}: is declared but not in the sql" for odd in sorted(declared - used)]
        raise SettingsError(*undeclared, *unused)
    return SqlDataset(name, config.description, parameters, config.sql, config.database, engine)
