"""PostgreSQL's types: how a column of each is read, compared, sorted and handed on. Pure.

A number, boolean, date, timestamp, UUID, JSON or text comes as ADBC's binary reader has it. Every other type, those
that ADBC hands over opaquely (inet, ranges, xml) or wrongly (money without its point, oid with a sign) among them,
comes as the text that the type's own output function makes on the server: what COPY writes. `CAST(… AS text)` would not
do: of an inet it makes `10.0.0.1/32`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_export.errors import SourceError

TYPE_NAME = b"POSTGRESQL:type"
"""Where ADBC's schema tells the type's name."""
NUMERIC = pa.opaque(pa.string(), "numeric", "PostgreSQL")

READ = {
    "bool": pa.bool_(), "int2": pa.int16(), "int4": pa.int32(), "int8": pa.int64(), "float4": pa.float32(),
    "float8": pa.float64(), "numeric": NUMERIC, "text": pa.string(), "varchar": pa.string(), "bpchar": pa.string(),
    "date": pa.date32(), "timestamp": pa.timestamp("us"), "timestamptz": pa.timestamp("us", "UTC"),
    "uuid": pa.uuid(), "json": pa.json_(), "jsonb": pa.json_(),
}  # fmt: skip
"""Types that are read as they are."""
MADE = {name: pa.opaque(pa.string(), name, "PostgreSQL") for name in ("interval", "money")}
"""Texts that the server made and nobody typed, though they may begin as a formula does: `-1 days`."""
NUMBERS = frozenset({"int2", "int4", "int8", "float4", "float8", "numeric"})
FLOATS = frozenset({"float4", "float8"})
TEXTS = frozenset({"text", "varchar", "bpchar"})
COMPARED = frozenset({
    "bool", "date", "timestamp", "timestamptz", "time", "timetz", "interval", "uuid", "inet", "cidr", "macaddr",
    "macaddr8", "money", "bit", "varbit", "oid", "pg_lsn",
})  # fmt: skip
"""Types whose values compare and sort by a rule of their own; a text stands for a value where it reads as one."""

EPOCH_DAYS = 10_957
EPOCH_MICROSECONDS = EPOCH_DAYS * 86_400_000_000
"""2000-01-01, from which PostgreSQL counts."""


@dataclass(frozen=True)
class Column:
    """One column of a statement.

    Attributes:
        name: the file's.
        alias: the statement's: it need not be unique, this is.
        type_name: PostgreSQL's name of the type, a domain's being that of the type below it.
    """

    name: str
    alias: str
    type_name: str

    @property
    def type(self) -> Any:
        """The Arrow type of what comes out."""
        return READ.get(self.type_name) or MADE.get(self.type_name, pa.string())

    @property
    def is_text(self) -> bool:
        """Whether it is compared as a text."""
        return self.type_name not in NUMBERS | COMPARED

    def selected(self) -> str:
        """What the file shows."""
        return f"{self.alias} AS {self.alias}" if self.type_name in READ else f"{self.text()} AS {self.alias}"

    def text(self) -> str:
        """The value as a text; a row whose fields are all missing is none that is missing."""
        if self.type_name in TEXTS:
            return self.alias
        return f"CASE WHEN {self.missing()} THEN NULL ELSE pg_catalog.format('%s', {self.alias}) END"

    def missing(self) -> str:
        """Whether the value is missing."""
        return f"{self.alias} IS NOT DISTINCT FROM NULL"

    def sorted(self) -> str:
        """What it is sorted by: texts by their characters' numbers, as every source sorts them."""
        return f'({self.text()}) COLLATE "C"' if self.is_text else self.alias


def columns_of(schema: Any) -> tuple[Column, ...]:
    """The columns of a statement that ADBC has described; a name that comes twice gets a number."""
    found: dict[str, Column] = {}
    for place, field in enumerate(schema):
        name, again = field.name, 0
        while name in found:
            again += 1
            name = f"{field.name}_{again}"
        type_name = (field.metadata or {}).get(TYPE_NAME, b"").decode()
        found[name] = Column(name, f"c{place}", type_name)
    return tuple(found.values())


def mended(values: Any, type_: Any) -> Any:
    """What ADBC read, in the type that comes out and with what it does not know: infinities, and numeric's words.

    Raises:
        SourceError: a timestamp is later than Arrow's last one, in the year 294246.
    """
    if type_ == NUMERIC:
        return pa.ExtensionArray.from_storage(type_, _words(values.storage))
    if isinstance(type_, pa.OpaqueType):
        return pa.ExtensionArray.from_storage(type_, values)
    if pa.types.is_timestamp(type_):
        return _timestamps(values)
    if pa.types.is_date(type_):
        return _dates(values)
    return values


def _words(texts: Any) -> Any:
    """ADBC's `nan`, `inf` and `-inf` as PostgreSQL writes them; only they have an n."""
    data = texts.buffers()[2]
    if data is None or not (np.frombuffer(data, np.uint8) == ord("n")).any():
        return texts
    for word, written in (("nan", "NaN"), ("inf", "Infinity")):
        texts = pc.replace_substring(texts, word, written)
    return texts


def _timestamps(values: Any) -> Any:
    counted = values.cast(pa.int64())
    least = pc.min(counted).as_py()
    if least is None or least > -(2**63) + 2 * EPOCH_MICROSECONDS:
        return values
    # ADBC adds the years from 1970 to 2000 to the greatest and the least integer, which stand for the infinities.
    latest, earliest = -(2**63) + EPOCH_MICROSECONDS - 1, -(2**63) + EPOCH_MICROSECONDS
    if pc.any(pc.less(counted, latest)).as_py():
        raise SourceError("a timestamp is later than the year 294246, the last that can be exported")
    counted = pc.if_else(pc.equal(counted, latest), 2**63 - 1, counted)
    return pc.if_else(pc.equal(counted, earliest), -(2**63 - 1), counted).cast(values.type)


def _dates(values: Any) -> Any:
    counted = values.cast(pa.int32())
    least = pc.min(counted).as_py()
    if least is None or least > -(2**31) + EPOCH_DAYS:
        return values
    latest, last, first = (
        -(2**31) + EPOCH_DAYS - 1,
        pa.scalar(2**31 - 1, pa.int32()),
        pa.scalar(-(2**31 - 1), pa.int32()),
    )
    counted = pc.if_else(pc.equal(counted, latest), last, counted)
    return pc.if_else(pc.equal(counted, latest + 1), first, counted).cast(values.type)
