"""Widths, page geometry, and what is done where columns do not fit."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.errors import InvalidField
from spark_export.model import PdfOptions
from spark_export.text import Column, Kind
from spark_export.writers.pdf.columns import (
    LONGEST_FIXED,
    NUMBER_ROOM,
    SHORT_TEXT,
    SHORT_TEXT_ROOM,
    TOTAL_ROOM,
    Want,
    share,
    want,
)
from spark_export.writers.pdf.layout import (
    BOTTOM_PT,
    MARGIN_PT,
    PADDING,
    READABLE_PT,
    Layout,
    Slot,
    most_characters,
    page_size_pt,
    plan,
)

TEXT, NUMBER, OTHER = (Column(kind.value, kind) for kind in (Kind.TEXT, Kind.NUMBER, Kind.OTHER))
A4, A4_LYING, A3, A3_LYING = (595.28, 841.89), (841.89, 595.28), (841.89, 1190.55), (1190.55, 841.89)

wants = st.lists(
    st.tuples(*[st.integers(0, 20_000)] * 3).map(sorted).map(lambda each: Want(*each)), min_size=1, max_size=40
)
options = st.builds(
    lambda size, orientation, font: {"page_size": size, "orientation": orientation, "font_size": font},
    st.sampled_from(["auto", "A4", "A3", "Letter", "Legal", "100x150mm", "300x90.5mm"]),
    st.sampled_from(["auto", "portrait", "landscape"]),
    st.sampled_from([4.0, 6.0, 8.0, 12.0]),
)


def laid(*each: Want, title_pt: float = 0, **given_options: Any) -> Layout:
    """The layout of text columns."""
    return plan([TEXT] * len(each), each, PdfOptions.model_validate(given_options), title_pt)


def room(width_pt: float, font_pt: float = 8) -> int:
    """Between the margins of a page, in 1/1000 em."""
    return int((width_pt - 72) / font_pt * 1000)


def page(layout: Layout) -> tuple[float, float]:
    """Width and height."""
    return layout.width_pt, layout.height_pt


def test_a4_upright() -> None:
    """Columns that are as wide as most of their cells stand on A4 upright, if they fit exactly."""
    width = room(595.28) - PADDING
    assert (page(laid(Want(width, width, width))), page(laid(Want(0, width, 10**6)))) == (A4, A4)
    assert page(laid(Want(0, width + 1, width + 1))) == A4_LYING


def test_a4_on_its_side() -> None:
    """Else they stand on A4 on its side at the same size, if they fit exactly."""
    width = room(841.89) - PADDING
    layout = laid(Want(width, width, 10**6))
    assert (page(layout), layout.font_pt, layout.bands[0].slots[0].width) == (A4_LYING, 8, width)


def test_long_texts_are_cut() -> None:
    """Else long texts are cut on A4 on its side, at the same size."""
    width = room(841.89) - 2 * PADDING
    layout = laid(Want(5000, width, width), Want(4000, 4000, 4000))
    assert (page(layout), layout.font_pt) == (A4_LYING, 8)
    assert [slot.width for slot in layout.bands[0].slots] == [width - 4000, 4000]


def test_smaller_font() -> None:
    """Else the font is smaller, as little as is needed, down to a readable size; rows shrink with it."""
    least = room(841.89, 7) - PADDING
    layout = laid(Want(least, least, least))
    assert (page(layout), layout.font_pt, layout.row_pt) == (A4_LYING, 7, 10.5)
    smallest = room(841.89, READABLE_PT) - PADDING
    layout = laid(Want(smallest, smallest, smallest))
    assert (page(layout), layout.font_pt) == (A4_LYING, READABLE_PT)


def test_a3() -> None:
    """Else all this is tried on A3, which upright is as wide as A4 on its side."""
    smallest = room(841.89, READABLE_PT) - PADDING + 1
    layout = laid(Want(smallest, smallest, smallest))
    assert (page(layout), layout.font_pt) == (A3_LYING, 8)
    largest = room(1190.55, READABLE_PT) - PADDING - 2
    layout = laid(Want(largest, largest, largest))
    assert (page(layout), layout.font_pt) == (A3_LYING, READABLE_PT)


def test_bands() -> None:
    """Else the columns are parted into bands on A3 on its side, at the full size."""
    layout = laid(*[Want(9000, 9000, 9000)] * 25)
    assert (page(layout), layout.font_pt, len(layout.bands)) == (A3_LYING, 8, 2)


def test_a_given_size_has_no_larger_one() -> None:
    """Where the page size is given columns that do not fit on it are parted into bands."""
    least = room(841.89, READABLE_PT) // 3
    layout = laid(*[Want(least, least, least)] * 3, page_size="A4")
    assert (page(layout), len(layout.bands)) == (A4_LYING, 2)


@pytest.mark.parametrize(
    ("name", "orientation", "size"),
    [
        ("A4", "portrait", (595.28, 841.89)),
        ("A4", "landscape", (841.89, 595.28)),
        ("A3", "portrait", (841.89, 1190.55)),
        ("Letter", "landscape", (792, 612)),
        ("Legal", "portrait", (612, 1008)),
        ("auto", "landscape", (841.89, 595.28)),
        ("100x150mm", "auto", (283.46, 425.2)),
        ("150x100mm", "auto", (425.2, 283.46)),
        ("150x100mm", "portrait", (283.46, 425.2)),
        ("100x150mm", "landscape", (425.2, 283.46)),
    ],
)
@pytest.mark.parametrize("width", [1000, 20_000])
def test_pages_are_as_told(name: str, orientation: str, size: tuple[float, float], width: int) -> None:
    """A page has the size and the orientation that were asked for, wherever the columns fit; a custom one its own."""
    assert page(laid(Want(0, width, width), page_size=name, orientation=orientation)) == size


def test_orientation_of_wide_tables() -> None:
    """A table too wide for the orientation that was asked for is not turned."""
    width = room(841.89) - PADDING
    assert page(laid(Want(0, width, width), orientation="portrait", page_size="Letter")) == (612, 792)
    assert page(laid(*[Want(9000, 9000, 9000)] * 40, orientation="portrait")) == A3


@pytest.mark.parametrize(
    ("name", "size"), [("A4", (595.28, 841.89)), ("100x150mm", (283.46, 425.2)), ("50x5080mm", (141.73, 14400))]
)
def test_page_sizes(name: str, size: tuple[float, float]) -> None:
    """A millimetre is 72/25.4 points."""
    assert page_size_pt(name) == size


@given(wants, options)
def test_columns_stay_on_the_page(each: list[Want], given_options: dict[str, Any]) -> None:
    """Columns stand side by side within the margins, whatever they ask for."""
    layout = laid(*each, **given_options)
    for band in layout.bands:
        edges = [edge for slot in band.slots for edge in (slot.left, slot.right)]
        assert edges == sorted(edges)
        assert edges[0] >= 0
        assert edges[-1] <= band.width
        assert layout.points(band.width) <= layout.width_pt - 2 * MARGIN_PT + 0.01


@given(wants, options)
def test_bands_hold_every_column(each: list[Want], given_options: dict[str, Any]) -> None:
    """Each band begins with the first column; every other one is on one band, in order."""
    layout = laid(*each, **given_options)
    assert {band.columns[0] for band in layout.bands} == {0}
    assert [column for band in layout.bands for column in band.columns[1:]] == list(range(1, len(each)))
    assert all(len(band.columns) == len(band.slots) for band in layout.bands)


@given(wants, options)
def test_widths_by_column(each: list[Want], given_options: dict[str, Any]) -> None:
    """Each column has one width, the first one the same on all bands."""
    layout = laid(*each, **given_options)
    widths = layout.column_widths()
    assert len(widths) == len(each)
    for band in layout.bands:
        assert [slot.width for slot in band.slots] == [widths[column] for column in band.columns]


@given(wants)
def test_columns_have_what_they_need(each: list[Want]) -> None:
    """In a table that is not parted no column has less than it needs at least."""
    layout = laid(*each)
    if len(layout.bands) == 1:
        assert all(width >= asked.least for width, asked in zip(layout.column_widths(), each, strict=True))


def test_the_first_column_of_bands() -> None:
    """A first column that is repeated takes no more than 0.4 of the page."""
    layout = laid(Want(90_000, 90_000, 90_000), *[Want(9000, 9000, 9000)] * 20, page_size="A4")
    assert {band.slots[0].width for band in layout.bands} == {int(room(841.89) * 0.4)}


def test_a_single_column_too_wide_for_its_page() -> None:
    """A table of one column that does not fit has all of the page's width."""
    layout = laid(Want(300_000, 300_000, 300_000), page_size="A4")
    assert layout.points(layout.bands[0].width) > 0.9 * (layout.width_pt - 2 * MARGIN_PT)


def test_numbers_are_right_aligned() -> None:
    """Columns of numbers are right-aligned, all others are not."""
    layout = plan([TEXT, NUMBER, OTHER], [Want(1, 1, 1)] * 3, PdfOptions(), 0)
    assert [slot.right_aligned for slot in layout.bands[0].slots] == [False, True, False]
    assert Slot(100, 50, right_aligned=True).right == 150


def test_padding() -> None:
    """Half of the padding is before the first column and after the last, all of it between two."""
    band = laid(Want(1, 1, 1), Want(1, 1, 1)).bands[0]
    first, second = band.slots
    assert (first.left, second.left - first.right, band.width - second.right) == (PADDING // 2, PADDING, PADDING // 2)


def test_rows_per_page() -> None:
    """About forty rows stand on a page of A4 on its side, fewer below a title; none reaches into the margin."""
    layout = laid(Want(1, 1, 1), orientation="landscape", title_pt=36)
    assert (layout.rows(first=True), layout.rows(first=False)) == (38, 41)
    assert (
        layout.top_pt(first=False) - 41 * layout.row_pt >= BOTTOM_PT > layout.top_pt(first=False) - 42 * layout.row_pt
    )
    assert layout.top_pt(first=False) - layout.top_pt(first=True) == 36
    assert layout.room_pt(first=False) == layout.top_pt(first=False) - BOTTOM_PT


def test_row_height() -> None:
    """A row is one and a half times the font size, or as high as was asked for."""
    assert laid(Want(1, 1, 1), font_size=10).row_pt == 15
    layout = laid(Want(1, 1, 1), theme={"row_height": 20})
    assert (layout.row_pt, layout.line_pt) == (20, 10)
    assert layout.header_pt == pytest.approx(20 * 4 / 3)


@pytest.mark.parametrize(("height", "fits"), [(9.6, True), (9.59, False)])
def test_rows_too_low(height: float, fits: bool) -> None:
    """Rows lower than 1.2 times the font size are refused."""
    if fits:
        assert laid(Want(1, 1, 1), theme={"row_height": height}).row_pt == height
        return
    with pytest.raises(InvalidField) as refused:
        laid(Want(1, 1, 1), theme={"row_height": height})
    assert refused.value.field == "pdf.theme.row_height"


@pytest.mark.parametrize(
    ("given_options", "title_pt"),
    [
        ({"page_size": "50x50mm"}, 40),
        ({"page_size": "500x50mm", "theme": {"row_height": 50}}, 0),
        ({"page_size": "A4", "theme": {"row_height": 200}, "orientation": "landscape"}, 300),
    ],
)
@pytest.mark.parametrize("columns", [1, 30])
def test_pages_too_small(given_options: dict[str, Any], title_pt: float, columns: int) -> None:
    """A page without room for its title, its header and one row, or for a word across, is refused."""
    with pytest.raises(InvalidField) as refused:
        laid(*[Want(5000, 5000, 5000)] * columns, title_pt=title_pt, **given_options)
    assert refused.value.field == "pdf.page_size"


@pytest.mark.parametrize("asked", [[Want(0, 1, 1)], [Want(5000, 5000, 5000)] * 30])
def test_pages_too_narrow(asked: list[Want]) -> None:
    """A page without room for a word between its margins is refused."""
    with pytest.raises(InvalidField) as refused:
        laid(*asked, page_size="50x500mm", font_size=24)
    assert refused.value.field == "pdf.page_size"


def test_smallest_page() -> None:
    """The smallest page that a request may ask for holds a table."""
    layout = laid(Want(5000, 9000, 9000), page_size="50x50mm")
    assert layout.rows(first=True) == 3


def test_shares_leave_nothing_out() -> None:
    """Columns that fit get all they ask for, and an equal part of what is left, up to three ems."""
    assert share([Want(1, 2, 1000), Want(1, 2, 3000)], 6000) == [2000, 4000]
    assert share([Want(1, 2, 1000), Want(1, 2, 3000)], 10**6) == [4000, 6000]


def test_texts_shrink_first() -> None:
    """Where there is too little room numbers keep theirs and long texts are levelled."""
    asked = [Want(4000, 4000, 4000), Want(2000, 9000, 9000), Want(2000, 2500, 2500)]
    assert share(asked, 10_500) == [4000, 4000, 2500]
    assert share(asked, 8_000) == [4000, 2000, 2000]
    assert share(asked, 7_500) == [3500, 2000, 2000]


@given(wants, st.integers(0, 400_000))
def test_shares_fit(each: list[Want], most: int) -> None:
    """Columns never take more than there is, and leave less than a unit for each where they want more."""
    widths = share(each, most)
    assert sum(widths) <= most
    if any(width < asked.whole for width, asked in zip(widths, each, strict=True)):
        assert most - sum(widths) < len(each)


def test_want_of_numbers() -> None:
    """A number column asks for its longest cell at least, then for two digits more, and two again."""
    assert want(NUMBER, 500, np.array([100, 5000])) == Want(5000, 5000 + NUMBER_ROOM, 5000 + 2 * NUMBER_ROOM)
    assert want(NUMBER, 20_000, np.array([5000])) == Want(9000, 20_000, 20_000)


def test_want_of_totals() -> None:
    """A column with a total asks for the digits of a large sum; other kinds have none."""
    assert want(NUMBER, 500, np.array([5000]), is_totalled=True).least == 5000 + TOTAL_ROOM


def test_want_of_times() -> None:
    """Times and the like are kept whole; longer texts that the encoder made are cut as texts are."""
    assert want(OTHER, 500, np.array([LONGEST_FIXED])) == Want(LONGEST_FIXED, LONGEST_FIXED, LONGEST_FIXED)
    assert want(OTHER, 500, np.array([LONGEST_FIXED + 1])).least == 5000


def test_want_of_short_texts() -> None:
    """Codes and names that are all short are kept whole, with room for a longer one."""
    assert want(TEXT, 500, np.array([100, SHORT_TEXT])) == Want(SHORT_TEXT, SHORT_TEXT, SHORT_TEXT + SHORT_TEXT_ROOM)
    assert want(TEXT, 500, np.array([100, SHORT_TEXT + 1])).least == 5000


def test_want_of_texts() -> None:
    """One long text among many does not widen its column at the cost of others."""
    assert want(TEXT, 500, np.array([6000] * 99 + [90_000])) == Want(5000, 6000, 90_000)


@pytest.mark.parametrize("column", [TEXT, NUMBER, OTHER])
@given(header=st.integers(0, 50_000), sample=st.lists(st.integers(0, 50_000), max_size=20), is_totalled=st.booleans())
def test_wants_ascend(column: Column, header: int, sample: list[int], is_totalled: bool) -> None:
    """No column asks for less typically than it needs, or for less at most than typically."""
    asked = want(column, header, np.array(sample, np.int64), is_totalled=is_totalled)
    assert 0 <= asked.least <= asked.typical <= asked.whole
    assert asked.whole >= max(header, *sample, 0)


def test_more_characters_than_fit() -> None:
    """The bound of characters is above what a column holds of the narrowest ones."""
    for narrow, wide in pairwise([0, 1000, 10_000, 100_000]):
        assert most_characters(wide) > wide / 200
        assert most_characters(wide) > most_characters(narrow)
