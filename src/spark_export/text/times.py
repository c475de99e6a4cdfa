"""Dates, times, timestamps and durations as ISO 8601 text.

A fraction of a second has 0, 3, 6 or 9 digits, the fewest that lose nothing, value by value (as java.time prints it).
Measured on one core: a timestamp in UTC 60 ns, in another zone 110; `date_format` (strftime) 1,030 ns.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
FRACTION_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
FOUR_DIGIT_YEARS = (-62_167_219_200, 253_402_300_799)
"""Seconds since the epoch of the first and last second whose year has four digits: 0000 to 9999."""
LISTED_CHANGES_END = 2_145_916_800
"""2038-01-01T00:00:00Z: Arrow knows the changes of the clock that a zone's file lists, not the rule that goes on."""
CALENDAR_SECONDS = 146_097 * 86_400
"""After 400 years the Gregorian calendar repeats, weekdays included; and so does a zone's rule."""
DATE_LENGTH = len("2024-01-31")
END = 2**31 - 1
"""Beyond every text's end: replacing the slice there appends, at a sixth of the cost of a join."""


@dataclass(frozen=True)
class TimeStyle:
    """How points in time read.

    Attributes:
        timezone: IANA name that timestamps with a zone are shown in.
        separator: between date and time; `T` in ISO 8601, a space for spreadsheets.
        offset: whether a timestamp with a zone ends in its offset from UTC (`Z`, `+03:00`).
        milliseconds_at_most: cut finer fractions: a spreadsheet takes three digits for a time, six for text.
    """

    timezone: str = "UTC"
    separator: str = "T"
    offset: bool = True
    milliseconds_at_most: bool = False


def date_text(values: Any) -> Any:
    """Days as `2024-01-31`; the largest and smallest day, which databases use for it, as `infinity`, `-infinity`."""
    if pa.types.is_date64(values.type):
        values = values.cast(pa.date32())
    return _mend_out_of_range(pc.cast(values, pa.string()), values.cast(pa.int32()).cast(pa.int64()), 2**31 - 1, "D")


def time_text(values: Any, style: TimeStyle) -> Any:
    """Times of day as `13:45:06`, with a fraction where there is one."""
    if style.milliseconds_at_most and values.type.unit in {"us", "ns"}:
        values = pc.cast(values, pa.time32("ms"), safe=False)
    return _shortest_fraction(pc.cast(values, pa.string()), values.type.unit)


def timestamp_text(values: Any, style: TimeStyle) -> Any:
    """Timestamps as ISO 8601: with a zone in `style.timezone` and with the offset, without one as they stand."""
    original = values.cast(pa.int64())
    offset: Any = None
    if values.type.tz is not None:
        values, offset = _to_zone(values, style)
    if style.milliseconds_at_most and values.type.unit in {"us", "ns"}:
        values = _to_milliseconds(values)
    text = _shortest_fraction(pc.cast(values, pa.string()), values.type.unit)
    usual = _years_have_four_digits(values)
    if style.separator != " ":
        text = (
            pc.binary_replace_slice(text, DATE_LENGTH, DATE_LENGTH + 1, style.separator)
            if usual
            else pc.replace_substring(text, " ", style.separator, max_replacements=1)
        )
    if isinstance(offset, str):
        text = pc.binary_replace_slice(text, END, END, offset)
    elif offset is not None:
        text = pc.binary_join_element_wise(text, offset, "")
    return text if usual else _mend_out_of_range(text, original, 2**63 - 1, values.type.unit)


def formatted_text(values: Any, pattern: str, style: TimeStyle) -> Any:
    """Dates, times and timestamps by a strftime pattern; a timestamp with a zone in `style.timezone`."""
    if pa.types.is_timestamp(values.type) and values.type.tz is not None:
        values = _to_formatted_zone(values, pattern, style.timezone)
    if pa.types.is_time(values.type):
        unit = values.type.unit
        since_midnight = values.cast(pa.int32() if unit in {"s", "ms"} else pa.int64()).cast(pa.int64())
        values = pc.cast(since_midnight, pa.timestamp(unit))
    return pc.strftime(values, format=pattern)


def duration_text(values: Any) -> Any:
    """Durations as ISO 8601, in seconds and larger units of fixed length: `PT26H3M4.5S`."""
    per_second = PER_SECOND[values.type.unit]
    raw = values.cast(pa.int64())
    zero = pa.array(np.zeros(len(values), np.int64))
    return pc.if_else(
        pc.is_valid(values), _iso_duration(zero, zero, pc.fill_null(raw, 0), per_second), pa.scalar(None, pa.string())
    )


def interval_text(values: Any) -> Any:
    """Months, days and nanoseconds as ISO 8601: `P1Y2M3DT4H5M6.5S`; each part keeps its own sign."""
    fields = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])
    rows = np.frombuffer(values.buffers()[1], dtype=fields, count=len(values) + values.offset)[values.offset :]
    months, days, nanoseconds = (pa.array(rows[name].astype(np.int64)) for name in fields.names or ())
    text = _iso_duration(months, days, nanoseconds, 10**9)
    return pc.if_else(pc.is_valid(values), text, pa.scalar(None, pa.string()))


def _iso_duration(months: Any, days: Any, ticks: Any, per_second: int) -> Any:
    """ISO 8601 text of the parts, all int64 without nulls."""
    minutes, seconds = _truncated_divide(ticks, 60 * per_second)
    hours, minutes = _truncated_divide(minutes, 60)
    years, months = _truncated_divide(months, 12)
    date = _join(_part(years, "Y"), _part(months, "M"), _part(days, "D"))
    time = _join(_part(hours, "H"), _part(minutes, "M"), _seconds_part(seconds, per_second))
    time = pc.if_else(pc.equal(time, ""), "", _join("T", time))
    text = _join("P", date, time)
    return pc.if_else(pc.equal(text, "P"), "PT0S", text)


def _truncated_divide(values: Any, by: int) -> tuple[Any, Any]:
    """Quotient and remainder, both with the sign of the value."""
    quotient = pc.divide(values, by)
    return quotient, pc.subtract(values, pc.multiply(quotient, by))


def _join(*parts: Any) -> Any:
    return pc.binary_join_element_wise(*parts, "")


def _part(values: Any, unit: str) -> Any:
    return pc.if_else(pc.equal(values, 0), "", _join(pc.cast(values, pa.string()), unit))


def _seconds_part(ticks: Any, per_second: int) -> Any:
    seconds, fraction = _truncated_divide(ticks, per_second)
    sign = pc.if_else(pc.less(ticks, 0), "-", "")
    whole = pc.cast(pc.abs(seconds), pa.string())
    digits = len(str(per_second)) - 1
    padded = pc.utf8_lpad(pc.cast(pc.abs(fraction), pa.string()), width=max(digits, 1), padding="0")
    point = pc.if_else(pc.equal(fraction, 0), "", _join(".", pc.utf8_rtrim(padded, "0")))
    return pc.if_else(pc.equal(ticks, 0), "", _join(sign, whole, point, "S"))


def _to_zone(values: Any, style: TimeStyle) -> tuple[Any, Any]:
    """The wall clock's values in the zone, and the text of each one's offset (None for no offset)."""
    unit = values.type.unit
    naive = pc.cast(values, pa.timestamp(unit))
    if style.timezone in {"UTC", "Etc/UTC"}:
        return naive, "Z" if style.offset else None
    local = _to_wall_clock(values, style.timezone)
    if not style.offset:
        return local, None
    seconds = pc.divide(pc.subtract(local.cast(pa.int64()), naive.cast(pa.int64())), PER_SECOND[unit])
    coded = seconds.dictionary_encode()
    names = pa.array([_offset_name(each) for each in coded.dictionary.to_pylist()], pa.string())
    return local, names.take(coded.indices)


def _to_wall_clock(values: Any, zone: str) -> Any:
    """Timestamps with a zone as the timestamps without one that a clock in the zone shows."""
    unit = values.type.unit
    local = pc.local_timestamp(pc.cast(values, pa.timestamp(unit, zone)))
    far = _beyond_listed_changes(values)
    if far is None:
        return local
    instants = values.cast(pa.int64()).filter(far)
    coded = pc.divide(instants, PER_SECOND[unit]).dictionary_encode()
    known = ZoneInfo(zone)
    offsets = [_far_offset_seconds(each, known) * PER_SECOND[unit] for each in coded.dictionary.to_pylist()]
    mended = pc.add(instants, pa.array(offsets, pa.int64()).take(coded.indices))
    return pc.replace_with_mask(local, far, mended.cast(local.type))


def _to_formatted_zone(values: Any, pattern: str, zone: str) -> Any:
    """Timestamps with a zone as strftime needs them; a known weakness: with %z or %Z, no summer time after 2037."""
    names_zone = "%z" in pattern or "%Z" in pattern
    if names_zone or _beyond_listed_changes(values) is None:
        return pc.cast(values, pa.timestamp(values.type.unit, zone))
    return _to_wall_clock(values, zone)


def _beyond_listed_changes(values: Any) -> Any:
    """Mask of the instants for which Arrow has no summer time, None where there are none; infinities are not."""
    per_second = PER_SECOND[values.type.unit]
    instants = values.cast(pa.int64())
    last = pc.max(instants).as_py()
    if last is None or last < LISTED_CHANGES_END * per_second:
        return None
    usual = pc.less(instants, 2**63 - 1 - 86_400 * per_second)
    return pc.fill_null(pc.and_(pc.greater_equal(instants, LISTED_CHANGES_END * per_second), usual), fill_value=False)


def _far_offset_seconds(seconds: int, zone: ZoneInfo) -> int:
    """Offset from UTC at an instant after 2037, in the same place of the calendar's first round after it."""
    equal = LISTED_CHANGES_END + (seconds - LISTED_CHANGES_END) % CALENDAR_SECONDS
    offset = dt.datetime.fromtimestamp(equal, zone).utcoffset() or dt.timedelta()
    return round(offset.total_seconds())


def _offset_name(seconds: int) -> str:
    """`Z`, `+03:00`, and `+01:56:56` for the local mean times before the zones."""
    if seconds == 0:
        return "Z"
    minutes, rest = divmod(abs(seconds), 60)
    sign = "-" if seconds < 0 else "+"
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}" + (f":{rest:02}" if rest else "")


def _shortest_fraction(text: Any, unit: str) -> Any:
    """Texts that end in all digits of the unit, cut to 0, 3, 6 or 9: the fewest that lose nothing, value by value."""
    for _ in range(FRACTION_DIGITS[unit] // 3):
        zeros = pc.ends_with(text, "000")
        if not pc.any(zeros, min_count=0).as_py():
            return text
        text = pc.if_else(zeros, pc.binary_replace_slice(text, -3, END, ""), text)
    bare = pc.ends_with(text, ".")
    return pc.if_else(bare, pc.binary_replace_slice(text, -1, END, ""), text)


def _to_milliseconds(values: Any) -> Any:
    """Timestamps without a zone, finer fractions cut off (towards the past, as a clock shows it)."""
    return pc.cast(pc.floor_temporal(values, unit="millisecond"), pa.timestamp("ms"))


def _years_have_four_digits(values: Any) -> bool:
    """Whether all timestamps lie in the years 0000 to 9999, whose texts all have one shape."""
    bounds = pc.min_max(values.cast(pa.int64()))
    least, most = bounds["min"].as_py(), bounds["max"].as_py()
    per_second = PER_SECOND[values.type.unit]
    first, last = FOUR_DIGIT_YEARS
    return least is None or bool(first * per_second <= least and most < (last + 1) * per_second)


def _mend_out_of_range(text: Any, raw: Any, infinity: int, unit: str) -> Any:
    """Give years beyond 32767, where Arrow writes `<value out of range>`, their text; rare, hence not a kernel."""
    outside = pc.fill_null(pc.starts_with(text, "<"), fill_value=False)
    if not pc.any(outside, min_count=0).as_py():
        return text
    mended = [_far_text(value, infinity, unit) for value in raw.filter(outside).to_pylist()]
    return pc.replace_with_mask(text, outside, pa.array(mended, pa.string()))


def _far_text(value: int, infinity: int, unit: str) -> str:
    if value == infinity:
        return "infinity"
    if value <= -infinity:
        return "-infinity"
    return str(np.datetime64(value, unit))  # type: ignore[call-overload]
