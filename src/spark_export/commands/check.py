"""`spark-export check`: what `serve` would start with, looked at as a whole; every problem is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import uvloop

from spark_export.commands.process import set_up
from spark_export.errors import ExportError
from spark_export.factory import open_usable_service
from spark_export.service import Service
from spark_export.settings import Settings, load_usable_settings
from spark_export.sources.base import Dataset

FAILED = 1


def check(given: Mapping[str, Any]) -> int:
    """Print a line a dataset and a line a problem; the exit status, 1 where there is a problem.

    Raises:
        SettingsError: the settings cannot be used, not even with defaults in place of what is wrong.
    """
    settings, problems = load_usable_settings(**given)
    set_up(settings)
    return uvloop.run(_check(settings, problems))


async def _check(settings: Settings, problems: tuple[str, ...]) -> int:
    async with open_usable_service(settings) as (service, more):
        found = [(False, problem) for problem in (*problems, *more)]
        found += [await _look(service, dataset) for dataset in service.datasets.values()]
    for is_well, line in found:
        print(f"{'ok' if is_well else 'wrong':5} {line}")  # noqa: T201 - its purpose
    return 0 if all(is_well for is_well, _ in found) else FAILED


async def _look(service: Service, dataset: Dataset) -> tuple[bool, str]:
    """Whether the dataset can be opened, and its columns or what is wrong."""
    required = [parameter.name for parameter in dataset.parameters if parameter.required]
    try:
        schema = await service.schema(dataset)
    except ExportError as error:
        if required:  # it was opened with nothing for what has no default, which may be what is wrong
            return True, f"{dataset.name}: not opened: {', '.join(required)} has no default"
        return False, f"datasets.{dataset.name}: {error.detail}{_cause(error)}"
    columns = ", ".join(f"{field.name} {field.type}" for field in schema)
    return True, f"{dataset.name}: {len(schema)} columns: {columns}"


def _cause(error: ExportError) -> str:
    return "" if error.__cause__ is None else ": " + " ".join(str(error.__cause__).split())
