"""Which rows and columns of a table an export takes, for every source the same. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from spark_export.errors import Forbidden, InvalidField
from spark_export.model import Condition, ExportRequest
from spark_export.text.encoder import name_some


@dataclass(frozen=True)
class Selection:
    """A projection, a filter, an order and a limit.

    Attributes:
        columns: distinct columns to read, in order; None for all.
        where: conditions, joined by AND.
        order_by: column and whether it descends.
        limit: at most so many rows; None for all.
        visible: the columns that the caller may see, in whatever a table has; None for all. The others are not there:
            no message names one, nothing can be filtered or sorted by it.
    """

    columns: tuple[str, ...] | None = None
    where: tuple[Condition, ...] = ()
    order_by: tuple[tuple[str, bool], ...] = ()
    limit: int | None = None
    visible: frozenset[str] | None = None

    @classmethod
    def from_request(cls, request: ExportRequest, visible: frozenset[str] | None = None) -> Selection:
        """What the request selects of what its caller may see."""
        specs = request.columns
        return cls(
            columns=None if specs is None else tuple(dict.fromkeys(spec.name for spec in specs)),
            where=request.where,
            order_by=tuple((name.removeprefix("-"), name.startswith("-")) for name in request.order_by),
            limit=request.limit,
            visible=visible,
        )

    @property
    def needs_engine(self) -> bool:
        """Whether rows must be compared, which is the embedded engine's work."""
        return bool(self.where or self.order_by)

    def check(self, names: Sequence[str]) -> None:
        """Refuse columns that the table does not have.

        Raises:
            InvalidField: naming the place in the request.
            Forbidden: the table has no column that the caller may see.
        """
        seen = [name for name in names if self.visible is None or name in self.visible]
        if names and not seen:
            raise Forbidden("this key may see none of the columns", field="dataset")
        known = frozenset(seen)
        wanted = [
            *((name, f"columns[{i}]") for i, name in enumerate(self.columns or ())),
            *((condition.column, f"where[{i}].column") for i, condition in enumerate(self.where)),
            *((name, f"order_by[{i}]") for i, (name, _) in enumerate(self.order_by)),
        ]
        for name, path in wanted:
            if name not in known:
                raise InvalidField(f"no column {name!r}; there are {name_some(seen)}", field=path)

    def project(self, schema: Any) -> Any:
        """The schema of the selected columns."""
        return pa.schema([schema.field(name) for name in self.columns_of(schema.names)])

    def columns_of(self, names: Sequence[str]) -> tuple[str, ...]:
        """The selected columns of a table with these; every visible one where the selection names none."""
        if self.columns is not None:
            return self.columns
        return tuple(name for name in names if self.visible is None or name in self.visible)

    def apply(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Project and cut the batches; for selections that need no engine. Reads no batch beyond the limit."""
        left = self.limit
        if left == 0:
            return
        for batch in batches:
            selected = batch.select(list(self.columns_of(batch.schema.names)))
            yield selected if left is None else selected.slice(0, left)
            if left is not None:
                left -= len(selected)
                if left <= 0:
                    return
