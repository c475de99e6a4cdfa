"""A record batch becomes text columns: one encoder for every source and every format."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from spark_export.errors import InvalidField
from spark_export.model import ColumnSpec
from spark_export.text import binary, nested, numbers, times
from spark_export.text.plain import is_written, is_written_number, plain, plain_type

BARE = frozenset(string.ascii_letters + string.digits + "-+:. ")
"""Characters of numbers, booleans, dates and times, unless a column or the style asks for others."""


class Kind(Enum):
    """What a column's values are, as far as a format needs to know."""

    TEXT = "text"
    """Whatever someone may have typed: the formula guard looks at it."""
    NUMBER = "number"
    """Right-aligned; never quoted or guarded for being a number."""
    OTHER = "other"
    """Text that the encoder itself made: booleans, times, JSON, base64."""


@dataclass(frozen=True)
class Column:
    """One column of the file.

    Attributes:
        label: its header.
        kind: of its values.
        null: what stands for a missing value, None for the format's own text.
        bare: whether its texts are made of `BARE` only, so that nobody needs to look for anything else in them.
        name: of the rows' column.
        untyped: whether a text may be a number that nobody said to be one.
    """

    label: str
    kind: Kind
    null: str | None = None
    bare: bool = False
    name: str = ""
    untyped: bool = False


@dataclass(frozen=True)
class Style:
    """How values read, for all columns of a file.

    Attributes:
        time: of dates, times and timestamps.
        decimal_mark: of numbers, `.` or `,`.
    """

    time: times.TimeStyle = field(default_factory=times.TimeStyle)
    decimal_mark: str = "."


class Encoder:
    """Encodes the batches of one export.

    Args:
        schema: of the batches.
        specs: the file's columns in their order; all columns of the schema when None.
        style: how values read.
        untyped: whether texts are of no type that anyone chose, but where a spec says so.

    Raises:
        InvalidField: a spec names no column, formats one that it does not fit, or a type has no text.
    """

    def __init__(
        self,
        schema: Any,
        specs: Sequence[ColumnSpec] | None = None,
        style: Style | None = None,
        *,
        untyped: bool = False,
    ) -> None:
        self._untyped = untyped
        self._style = style or Style()
        # Unchecked: rows may have names that a request's columns may not, the empty one.
        self._specs = (
            tuple(specs) if specs is not None else tuple(ColumnSpec.model_construct(name=name) for name in schema.names)
        )
        self._indices = tuple(self._find(schema, position, spec) for position, spec in enumerate(self._specs))
        for position, (spec, index) in enumerate(zip(self._specs, self._indices, strict=True)):
            _check_spec(spec, schema.field(index).type, f"columns[{position}]")
            if spec.type is not None and not untyped:
                detail = "type is for the columns of a CSV body; these rows have types of their own"
                raise InvalidField(detail, field=f"columns[{position}].type")
        self.columns = tuple(
            self._column(spec, schema.field(index).type) for spec, index in zip(self._specs, self._indices, strict=True)
        )

    def _column(self, spec: ColumnSpec, type_: Any) -> Column:
        label = spec.label if spec.label is not None else spec.name
        usual = spec.thousands is None and spec.date_format is None and self._style.decimal_mark == "."
        kind = kind_of(type_)
        untyped = self._untyped and kind is Kind.TEXT and spec.type is None
        bare = usual and (is_written_number(type_) or is_bare(plain_type(type_)))
        return Column(label, kind, spec.null, bare=bare, name=spec.name, untyped=untyped)

    @staticmethod
    def _find(schema: Any, position: int, spec: ColumnSpec) -> int:
        index: int = schema.get_field_index(spec.name)
        if index < 0:
            raise InvalidField(
                f"no column {spec.name!r}; there are {name_some(schema.names)}", field=f"columns[{position}].name"
            )
        return index

    def encode(self, batch: Any) -> list[Any]:
        """A StringArray for each column, in the file's order; missing values stay missing."""
        return [
            self._column_text(batch.column(index), spec) for spec, index in zip(self._specs, self._indices, strict=True)
        ]

    def encode_others(self, batch: Any) -> dict[str, str]:
        """One row of other values, of types of their own, as the columns of those names read."""
        texts = {
            spec.name: self._column_text(batch.column(spec.name), spec)[0].as_py()
            for spec in self._specs
            if spec.name in batch.schema.names
        }
        return {name: text or "" for name, text in texts.items()}

    def _column_text(self, values: Any, spec: ColumnSpec) -> Any:
        if len(values) == 0:
            return pa.array([], pa.string())
        is_number = kind_of(values.type) is Kind.NUMBER
        values = plain(values)
        if spec.date_format is not None:
            return times.formatted_text(values, spec.date_format, self._style.time)
        text = _text(values, self._style.time) if spec.decimals is None else numbers.fixed_text(values, spec.decimals)
        mark = self._style.decimal_mark
        if spec.thousands is not None:
            return numbers.group_thousands(text, spec.thousands, mark)
        return pc.replace_substring(text, ".", mark) if mark != "." and is_number else text


def kind_of(type_: Any) -> Kind:
    """What values of the type are to a format."""
    if is_written(type_):
        return Kind.NUMBER if is_written_number(type_) else Kind.OTHER
    type_ = plain_type(type_)
    if numbers.is_numeric(type_):
        return Kind.NUMBER
    return Kind.TEXT if pa.types.is_string(type_) else Kind.OTHER


def _text(values: Any, time: times.TimeStyle) -> Any:
    """Text of values in their plain form."""
    return maker_of(values.type)(values, time) if len(values) else pa.array([], pa.string())


def is_bare(type_: Any) -> bool:
    """Whether texts of the plain type are made of `BARE` only."""
    fits = (numbers.is_numeric, pa.types.is_boolean, pa.types.is_date, pa.types.is_time, pa.types.is_timestamp)
    return any(fit(type_) for fit in fits)


def _json(values: Any, time: times.TimeStyle) -> Any:
    return nested.json_text(values, lambda leaf: _text(leaf, time))


Maker = Callable[[Any, times.TimeStyle], Any]

MAKERS: tuple[tuple[Callable[[Any], bool], Maker], ...] = (
    (pa.types.is_string, lambda values, _: values),
    (pa.types.is_integer, lambda values, _: numbers.integer_text(values)),
    (pa.types.is_floating, lambda values, _: numbers.float_text(values)),
    (pa.types.is_decimal, lambda values, _: numbers.decimal_text(values)),
    (pa.types.is_timestamp, times.timestamp_text),
    (pa.types.is_date, lambda values, _: times.date_text(values)),
    (pa.types.is_boolean, lambda values, _: pc.cast(values, pa.string())),
    (pa.types.is_time, times.time_text),
    (pa.types.is_duration, lambda values, _: times.duration_text(values)),
    (pa.types.is_interval, lambda values, _: times.interval_text(values)),
    (pa.types.is_binary, lambda values, _: binary.base64_text(values)),
    (pa.types.is_null, lambda values, _: pa.nulls(len(values), pa.string())),
    (nested.is_nested, _json),
)


def maker_of(type_: Any) -> Maker:
    """The kernel that makes text of values of a plain type.

    Raises:
        NotImplementedError: the type has no text (unions).
    """
    for fits, make in MAKERS:
        if fits(type_):
            return make
    raise NotImplementedError(f"no text for {type_}")


def check_text(type_: Any) -> None:
    """Make sure that values of the type, and those inside of them, have a text.

    Raises:
        NotImplementedError: they have none.
    """
    type_ = plain_type(type_)
    maker_of(type_)
    if nested.is_nested(type_):
        for index in range(type_.num_fields):
            check_text(type_.field(index).type)


def _check_spec(spec: ColumnSpec, type_: Any, path: str) -> None:
    """Refuse formats that the column's type does not have, before the first row."""
    kind = kind_of(type_)
    type_ = plain_type(type_)
    try:
        check_text(type_)
    except NotImplementedError:
        raise InvalidField(f"column {spec.name!r} is {type_}, which has no text; leave it out", field=path) from None
    temporal = pa.types.is_temporal(type_) and not pa.types.is_duration(type_) and not pa.types.is_interval(type_)
    for name, given, fits in (
        ("decimals", spec.decimals, kind is Kind.NUMBER),
        ("thousands", spec.thousands, kind is Kind.NUMBER),
        ("date_format", spec.date_format, temporal),
    ):
        if given is not None and not fits:
            raise InvalidField(f"column {spec.name!r} is {type_}, which takes no {name}", field=f"{path}.{name}")


def name_some(names: Sequence[str], most: int = 20) -> str:
    """Names for an error message, cut where there are many."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
