"""Sums of columns, kept while the rows pass."""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from spark_export.errors import InvalidField, WriterError
from spark_export.text import Encoder, Kind
from spark_export.text.encoder import name_some
from spark_export.text.plain import plain

DIGITS = 76
"""Of Arrow's widest decimal: sums of 38 digits over any number of rows."""
PRECISION_BITS = {16: 11, 32: 24, 64: 53}
"""Of floats of so many bits (IEEE 754 3.6)."""

MANTISSA_BITS = 53
LEAST_EXPONENT = -1073
"""What frexp gives for the least double."""
HALF_BITS = 26
HALF_MASK = (1 << HALF_BITS) - 1

EXACT = decimal.Context(prec=DIGITS + 2)


class Totals:
    """The totals row of one table.

    Args:
        encoder: of the table: totals read as the cells above them do.
        names: the columns to sum.

    Raises:
        InvalidField: one is no numeric column of the file.
    """

    def __init__(self, encoder: Encoder, names: Sequence[str]) -> None:
        self._encoder = encoder
        numbers = [column.name for column in encoder.columns if column.kind is Kind.NUMBER]
        for place, name in enumerate(names):
            if name not in numbers:
                known = f"there are {name_some(numbers)}" if numbers else "there is none"
                raise InvalidField(f"no numeric column {name!r}; {known}", field=f"pdf.totals[{place}]")
        self._sums: dict[str, _Sum] = {name: _Sum() for name in names}

    def add(self, batch: Any) -> None:
        """Take the rows of a batch into the sums."""
        for name, each in self._sums.items():
            each.add(plain(batch.column(name)))

    def texts(self, label: str) -> list[str] | None:
        """The row, one text a column, with the label in the first one where that is not summed; None for no totals."""
        if not self._sums:
            return None
        arrays = {name: each.value() for name, each in self._sums.items()}
        made = self._encoder.encode_others(pa.RecordBatch.from_pydict(arrays))
        texts = [made.get(column.name, "") for column in self._encoder.columns]
        return [texts[0] or label, *texts[1:]]


class _Sum:
    """One column's, exact for values of every type."""

    def __init__(self) -> None:
        self._exact = decimal.Decimal(0)
        self._floats: _FloatSum | None = None
        self._not_finite = 0.0

    def add(self, values: Any) -> None:
        if pa.types.is_floating(values.type):
            self._floats = self._floats or _FloatSum(PRECISION_BITS[values.type.bit_width])
            self._floats.add(values.drop_null().cast(pa.float64()).to_numpy())
            return
        if pa.types.is_string(values.type):
            self._add_written(values)
            return
        scale = values.type.scale if pa.types.is_decimal(values.type) else 0
        batch = pc.sum(values.cast(pa.decimal256(DIGITS, max(scale, 0))), min_count=0).as_py()
        self._exact = EXACT.add(self._exact, batch)

    def _add_written(self, texts: Any) -> None:
        """Numbers that came as texts: one that is not finite makes the sum so, as with floats."""
        for number in map(decimal.Decimal, texts.drop_null().to_pylist()):
            if number.is_finite():
                self._exact = EXACT.add(self._exact, number)
            else:
                self._not_finite += float(number)

    def value(self) -> Any:
        """The sum, an array of one.

        Raises:
            WriterError: it has too many digits.
        """
        if self._floats is not None:
            return pa.array([self._floats.value()])
        if self._not_finite or math.isnan(self._not_finite):
            return pa.array([self._not_finite])
        scale = max(0, -int(self._exact.as_tuple().exponent))
        try:
            return pa.array([self._exact], pa.decimal256(DIGITS, scale))
        except pa.ArrowInvalid:
            raise WriterError(f"a total has more than {DIGITS} digits") from None


class _FloatSum:
    """A sum of floats as an integer: multiples of the least double.

    Args:
        precision_bits: of the values: each may be off by half a unit of its last bit, unless it is an integer.
    """

    def __init__(self, precision_bits: int) -> None:
        self._precision_bits = precision_bits
        self._units = 0
        self._inexact = 0.0
        self._not_finite = 0.0

    def add(self, values: npt.NDArray[np.float64]) -> None:
        finite = np.isfinite(values)
        if not finite.all():
            with np.errstate(invalid="ignore"):
                self._not_finite += float(values[~finite].sum())
            values = values[finite]
        self._inexact += float(np.abs(values[values != np.rint(values)]).sum())
        fractions, exponents = np.frexp(values)
        mantissas = np.ldexp(fractions, MANTISSA_BITS).astype(np.int64)
        for exponent in np.unique(exponents).tolist():
            these = mantissas[exponents == exponent]
            # In halves, so that a sum of billions of them fits 64 bits.
            total = (int((these >> HALF_BITS).sum()) << HALF_BITS) + int((these & HALF_MASK).sum())
            self._units += total << (exponent - LEAST_EXPONENT)

    def value(self) -> float:
        """The sum, to the last digit that the values are exact to: `0.3`, not `0.30000000000000004`."""
        if self._not_finite or math.isnan(self._not_finite):
            return self._not_finite
        exact = Fraction(self._units, 1 << (MANTISSA_BITS - LEAST_EXPONENT))
        if not self._inexact:
            return _nearest(exact)
        places = math.floor(-math.log10(self._inexact) + (self._precision_bits - 1) * math.log10(2))
        return _nearest(round(exact, places))


def _nearest(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf
