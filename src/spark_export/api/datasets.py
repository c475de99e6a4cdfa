"""The datasets that can be exported by name."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel

from spark_export.api.links import check_query
from spark_export.api.problems import problem_responses
from spark_export.api.state import caller_of, service_of
from spark_export.sources.base import Dataset
from spark_export.sources.parameters import Parameter

router = APIRouter(dependencies=[Depends(check_query)])


class ColumnInfo(BaseModel):
    """A column of a dataset."""

    name: str
    type: str


class DatasetInfo(BaseModel):
    """A dataset that can be exported."""

    name: str
    description: str
    parameters: list[Parameter]


class DatasetDetail(DatasetInfo):
    """A dataset with its columns; types are Arrow's."""

    columns: list[ColumnInfo]


@router.get("/datasets", responses=problem_responses(401, 422, 503))
async def list_datasets(request: Request) -> list[DatasetInfo]:
    """What can be exported by name."""
    caller = caller_of(request)
    return [DatasetInfo(**_info(each)) for each in service_of(request).datasets.values() if caller.may_see(each.name)]


@router.get("/datasets/{name}", responses=problem_responses(401, 403, 404, 422, 500, 503))
async def show_dataset(request: Request, name: Annotated[str, Path(max_length=200)]) -> DatasetDetail:
    """A dataset's columns and parameters."""
    caller = caller_of(request)
    caller.check(name)
    dataset = service_of(request).dataset(name)
    schema = await service_of(request).schema(dataset, caller.columns.get(name))
    columns = [ColumnInfo(name=field.name, type=str(field.type)) for field in schema]
    return DatasetDetail(**_info(dataset), columns=columns)


def _info(dataset: Dataset) -> dict[str, Any]:
    return {"name": dataset.name, "description": dataset.description, "parameters": list(dataset.parameters)}
