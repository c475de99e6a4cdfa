"""What the query of a request asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.dependencies.models import Dependant

from spark_export.errors import InvalidField
from spark_export.model import ExportRequest, Format
from spark_export.parsing import join_request, json_object


@dataclass(frozen=True)
class Link:
    """What the query of a link asks for."""

    format: Annotated[Format | None, Query(description="Of the file; what Accept prefers unless given.")] = None
    columns: Annotated[str | None, Query(description="Columns, comma-separated.")] = None
    order_by: Annotated[str | None, Query(description="Columns, comma-separated; `-` before one that descends.")] = None
    limit: Annotated[int | None, Query(ge=0, description="At most so many rows.")] = None
    filename: Annotated[str | None, Query(description="Name of the download.")] = None
    timezone: Annotated[str | None, Query(description="IANA time zone.")] = None
    title: Annotated[str | None, Query(description="Title of the PDF.")] = None
    options: Annotated[str | None, Query(description="A whole export request as JSON; the fields above go first.")] = (
        None
    )

    def request(self, **more: Any) -> ExportRequest:
        """The export request, with more fields where they are not None.

        Raises:
            BodyTooLarge, InvalidField: as of `parse_request`.
        """
        given = {
            "format": self.format.value if self.format is not None else None,
            "columns": self.columns.split(",") if self.columns is not None else None,
            "order_by": self.order_by.split(",") if self.order_by is not None else None,
            "limit": self.limit,
            "filename": self.filename,
            "timezone": self.timezone,
        }
        return join_request(json_object("options", self.options), given | more, self.title)

    def of_dataset(self, name: str, params: str | None) -> ExportRequest:
        """The export request for a dataset with parameters, a JSON object.

        Raises:
            BodyTooLarge, InvalidField: as of `parse_request`.
        """
        return self.request(dataset=name, params=None if params is None else json_object("params", params))


@dataclass(frozen=True)
class BodyQuery:
    """What the query says of a body that is rows."""

    delimiter: Annotated[str | None, Query(description="Between the fields of a CSV body; `,` unless given.")] = None
    quote: Annotated[
        str | None, Query(description='Around the fields of a CSV body; `"` unless given, `none` for none.')
    ] = None
    duplex: Annotated[
        bool, Query(description="Answer while the body still comes, for a client that reads while it writes.")
    ] = False


def check_query(request: Request) -> None:
    """Refuse a query with what its route does not know, so that a misspelt parameter is not left out in silence.

    Raises:
        InvalidField: there is such a parameter.
    """
    known = sorted(_names(request.scope["route"].dependant))
    for name in request.query_params:
        if name not in known:
            raise InvalidField(f"no such parameter; there are {', '.join(known) or 'none'}", field=name)


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (each.alias for each in dependant.query_params)
    for each in dependant.dependencies:
        yield from _names(each)
