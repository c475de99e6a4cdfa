"""Dates, times, timestamps, durations and intervals as text, against datetime and zoneinfo."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.model import ColumnSpec
from spark_export.text import Encoder, Style
from spark_export.text.times import TimeStyle

ZONES = ["Europe/Istanbul", "America/New_York", "Asia/Kolkata", "Europe/London", "Australia/Lord_Howe", "Etc/GMT+5"]
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
SECONDS = st.integers(int(dt.datetime(1900, 1, 1, tzinfo=dt.UTC).timestamp()), 4_102_444_800)
# The hours around changes of the clock: New York 2024, Istanbul 2016 (stays), 1978, London 2023.
EDGES = [1_710_054_000, 1_730_613_600, 1_473_199_200, 1_478_390_400, 267_915_600, 1_698_541_200, 1_679_792_400]
INSTANTS = st.one_of(SECONDS, st.builds(int.__add__, st.sampled_from(EDGES), st.integers(-7200, 7200)))


def texts(values: Any, time: TimeStyle | None = None, **spec: Any) -> list[str | None]:
    """What the encoder makes of an array."""
    schema = pa.schema([("x", values.type)])
    encoder = Encoder(schema, [ColumnSpec(name="x", **spec)], Style(time or TimeStyle()))
    made: list[str | None] = encoder.encode(pa.record_batch([values], schema=schema))[0].to_pylist()
    return made


def fraction(ticks: int, unit: str) -> str:
    """The fewest of 0, 3, 6 or 9 digits that lose nothing."""
    nanoseconds = ticks % PER_SECOND[unit] * (10**9 // PER_SECOND[unit])
    digits = f"{nanoseconds:09}"
    kept = next(count for count in (0, 3, 6, 9) if not digits[count:].strip("0"))
    return f".{digits[:kept]}" if kept else ""


def offset_of(moment: dt.datetime) -> str:
    """The offset as RFC 3339 has it, with seconds where there are some."""
    text = moment.isoformat()[19:]
    return "Z" if text == "+00:00" else text


@given(st.lists(st.dates(), min_size=1))
def test_dates(values: list[dt.date]) -> None:
    """Dates of both widths read as isoformat."""
    expected = [*(value.isoformat() for value in values), None]
    assert texts(pa.array([*values, None], pa.date32())) == expected
    assert texts(pa.array([*values, None], pa.date64())) == expected


@pytest.mark.parametrize("type_", [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")], ids=str)
@given(data=st.data())
def test_times_of_day(data: st.DataObject, type_: Any) -> None:
    """Times of day have 0, 3, 6 or 9 digits of a second, the fewest that lose nothing."""
    per_second = PER_SECOND[type_.unit]
    ticks = data.draw(st.lists(st.integers(0, 86_400 * per_second - 1), min_size=1))
    whole = [(EPOCH + dt.timedelta(seconds=each // per_second)).time().isoformat() for each in ticks]
    expected = [text + fraction(each, type_.unit) for text, each in zip(whole, ticks, strict=True)]
    storage = pa.int32() if type_.bit_width == 32 else pa.int64()
    assert texts(pa.array(ticks, storage).cast(type_)) == expected


@pytest.mark.parametrize("unit", PER_SECOND)
@given(data=st.data())
def test_timestamps_without_zone(data: st.DataObject, unit: str) -> None:
    """A timestamp without a zone stands as it is, with no offset, whatever zone is asked for."""
    per_second = PER_SECOND[unit]
    seconds = data.draw(st.lists(SECONDS, min_size=1))
    ticks = [each * per_second + data.draw(st.integers(0, per_second - 1)) for each in seconds]
    expected = [
        (EPOCH + dt.timedelta(seconds=second)).isoformat()[:19] + fraction(tick, unit)
        for second, tick in zip(seconds, ticks, strict=True)
    ]
    made = texts(pa.array(ticks, pa.int64()).cast(pa.timestamp(unit)), TimeStyle("Asia/Kolkata"))
    assert made == expected


@pytest.mark.parametrize("unit", PER_SECOND)
def test_fraction_digits_value_by_value(unit: str) -> None:
    """Each value of one column has its own number of digits."""
    per_second = PER_SECOND[unit]
    ticks = [0, 1, per_second - 1, per_second // 2, per_second]
    made = texts(pa.array(ticks, pa.int64()).cast(pa.timestamp(unit)))
    assert [(text or "")[19:] for text in made] == [fraction(each, unit) for each in ticks]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("unit", ["s", "us"])
@given(seconds=st.lists(INSTANTS, min_size=1))
def test_timezone_converts(seconds: list[int], unit: str, zone: str) -> None:
    """Instants read in the zone and with the offset that zoneinfo has for them, the changes of the clock included."""
    moments = [(EPOCH + dt.timedelta(seconds=each)).astimezone(ZoneInfo(zone)) for each in seconds]
    expected = [moment.isoformat()[:19] + offset_of(moment) for moment in moments]
    values = pa.array([each * PER_SECOND[unit] for each in seconds], pa.int64()).cast(pa.timestamp(unit, "UTC"))
    assert texts(values, TimeStyle(zone)) == expected


@pytest.mark.parametrize("zone", ["Europe/London", "America/New_York", "Europe/Istanbul"])
@given(seconds=st.lists(st.integers(2_145_916_800 - 10**7, 253_370_764_800), min_size=1))
def test_summer_time_goes_on(seconds: list[int], zone: str) -> None:
    """A zone's rule holds on after 2037, where the changes listed in its file end, in every form of a timestamp."""
    moments = [(EPOCH + dt.timedelta(seconds=each)).astimezone(ZoneInfo(zone)) for each in seconds]
    values = pa.array([*seconds, None, 0], pa.int64()).cast(pa.timestamp("s", "UTC"))
    expected = [moment.isoformat()[:19] + offset_of(moment) for moment in moments]
    assert texts(values, TimeStyle(zone))[:-1] == [*expected, None]
    assert texts(values, TimeStyle(zone, offset=False))[:-1] == [*(text[:19] for text in expected), None]
    formatted = texts(values, TimeStyle(zone), date_format="%Y-%m-%dT%H:%M:%S")
    assert formatted[:-1] == [*(text[:19] for text in expected), None]


def test_summer_time_in_far_years() -> None:
    """The rule holds in years that no datetime has, as the calendar's rounds of 400 years have it."""
    july = 1_720_000_000
    values = pa.array([july + 30 * 146_097 * 86_400], pa.int64()).cast(pa.timestamp("s", "UTC"))
    assert texts(values, TimeStyle("Europe/London")) == ["14024-07-03T10:46:40+01:00"]


def test_zone_of_the_column_is_not_shown() -> None:
    """The zone that a column carries does not change the text: `timezone` alone decides, UTC unless told."""
    ticks = pa.array([0, 1_720_000_000], pa.int64())
    made = texts(ticks.cast(pa.timestamp("s", "America/New_York")))
    assert made == ["1970-01-01T00:00:00Z", "2024-07-03T09:46:40Z"]


def test_spreadsheet_style() -> None:
    """A spreadsheet's style has a space, no offset, and three digits at most, cut towards the past."""
    style = TimeStyle("Europe/Istanbul", " ", offset=False, milliseconds_at_most=True)
    values = pa.array([1_720_000_000_123_999, -1], pa.int64()).cast(pa.timestamp("us", "UTC"))
    assert texts(values, style) == ["2024-07-03 12:46:40.123", "1970-01-01 01:59:59.999"]
    assert texts(pa.array([dt.time(1, 2, 3, 4999)], pa.time64("us")), style) == ["01:02:03.004"]


@pytest.mark.parametrize("unit", PER_SECOND)
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_infinities(unit: str, zone: str | None) -> None:
    """The largest and the smallest timestamp are the databases' infinities, beside usual and missing ones."""
    values = pa.array([2**63 - 1, -(2**63 - 1), None, 0], pa.int64()).cast(pa.timestamp(unit, zone))
    if unit == "ns":  # both are usual instants there
        assert [(text or "")[:4] for text in texts(values)] == ["2262", "1677", "", "1970"]
        return
    mark = "Z" if zone else ""
    assert texts(values) == ["infinity", "-infinity", None, f"1970-01-01T00:00:00{mark}"]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Istanbul"])
def test_infinities_with_zone(zone: str) -> None:
    """The infinities stay infinities in every zone that is asked for."""
    values = pa.array([2**63 - 1, -(2**63 - 1)], pa.int64()).cast(pa.timestamp("us", "UTC"))
    assert texts(values, TimeStyle(zone)) == ["infinity", "-infinity"]


def test_infinite_dates() -> None:
    """The largest and the smallest day are the databases' infinities."""
    values = pa.array([2**31 - 1, -(2**31 - 1), 0], pa.int32()).cast(pa.date32())
    assert texts(values) == ["infinity", "-infinity", "1970-01-01"]


def test_far_years() -> None:
    """Years of more than four digits and before the common era have a text that names the year."""
    days = pa.array([(10_000 - 1970) * 366, 40_000 * 366, -2500 * 366], pa.int32()).cast(pa.date32())
    years = [re.match(r"-?\d+", text or "") for text in texts(days)]
    assert [len((year or [""])[0].lstrip("-")) for year in years] == [5, 5, 4]
    stamps = pa.array([2**31 * 10**6 * 500, 0], pa.int64()).cast(pa.timestamp("us"))
    far, near = texts(stamps)
    assert (near, bool(re.fullmatch(r"\d{5}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?", far or ""))) == (
        "1970-01-01T00:00:00",
        True,
    )


@given(st.lists(st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)), min_size=1))  # noqa: DTZ001
def test_date_format(values: list[dt.datetime]) -> None:
    """`date_format` reads as Python's strftime, for every field that both have."""
    pattern = "%d.%m.%Y %H:%M|%j|%y"
    expected = [f"{value:%d.%m.}{value.year:04}{value: %H:%M|%j|%y}" for value in values]
    assert texts(pa.array(values, pa.timestamp("us")), date_format=pattern) == expected


def test_date_format_in_zone() -> None:
    """`date_format` shows a timestamp with a zone in the zone that is asked for."""
    values = pa.array([1_720_000_000, None], pa.int64()).cast(pa.timestamp("s", "UTC"))
    made = texts(values, TimeStyle("Asia/Kolkata"), date_format="%H:%M %z")
    assert made == ["15:16 +0530", None]


@pytest.mark.parametrize("type_", [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")], ids=str)
def test_date_format_of_times(type_: Any) -> None:
    """`date_format` formats times of day of every unit, and missing ones stay missing."""
    assert texts(pa.array([dt.time(13, 5), None], type_), date_format="%H-%M") == ["13-05", None]


@pytest.mark.parametrize("type_", [pa.date32(), pa.date64()], ids=str)
def test_date_format_of_dates(type_: Any) -> None:
    """`date_format` formats dates of both widths."""
    assert texts(pa.array([dt.date(2024, 1, 31), None], type_), date_format="%d/%m/%Y") == ["31/01/2024", None]


DURATION = re.compile(r"PT(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?\d+)(?:\.(\d+))?S)?")


@pytest.mark.parametrize("unit", PER_SECOND)
@given(ticks=st.lists(st.integers(-(10**15), 10**15), min_size=1))
def test_durations(ticks: list[int], unit: str) -> None:
    """An ISO 8601 duration adds up to the very same number of ticks."""
    per_second = PER_SECOND[unit]
    for text, tick in zip(texts(pa.array(ticks, pa.int64()).cast(pa.duration(unit))), ticks, strict=True):
        match = DURATION.fullmatch(text or "")
        assert match is not None, text
        hours, minutes, seconds, digits = match.groups()
        scaled = int((digits or "0").ljust(9, "0")) * per_second // 10**9
        sign = -1 if (seconds or "").startswith("-") else 1
        whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
        assert whole * per_second + sign * scaled == tick


def test_duration_extremes() -> None:
    """No duration is `PT0S` and a missing one stays missing."""
    assert texts(pa.array([0, None, 4_500], pa.duration("ms"))) == ["PT0S", None, "PT4.5S"]


def test_intervals() -> None:
    """Months, days and nanoseconds are the parts of one ISO 8601 duration, each with its own sign."""
    rows = [(14, 3, 14_706_500_000_000), (0, 0, 0), (-1, 2, -1), None]
    values = pa.array(rows, pa.month_day_nano_interval())
    expected = ["P1Y2M3DT4H5M6.5S", "PT0S", "P-1M2DT-0.000000001S", None]
    assert texts(values) == expected
    assert texts(values.slice(1)) == expected[1:]
