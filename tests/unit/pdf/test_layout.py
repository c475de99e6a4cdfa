"""Widths, geometry, and texts cut to their columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.model import PdfOptions
from spark_export.text import Column, Kind
from spark_export.writers.pdf.cells import read_cells
from spark_export.writers.pdf.fonts import REGULAR, FontSubset, load_face
from spark_export.writers.pdf.layout import BOTTOM_PT, MARGIN_PT, Layout, Want, fit, plan, share, want

TEXT, NUMBER = Column("text", Kind.TEXT), Column("number", Kind.NUMBER)


def cut(texts: list[str], width: int) -> tuple[list[str], list[int]]:
    """The texts as they show in a column of that width, and their widths."""
    fonts = FontSubset(load_face(REGULAR))
    fitted = fit(fonts.shape([read_cells(pa.array(texts, pa.string()), "", 1000)])[0], width, fonts.ellipsis)
    back = dict(zip(*fonts.used(), strict=True))
    codes = [np.frombuffer(text, ">u2").tolist() for text in fitted.texts.to_pylist()]
    return ["".join(chr(back[code]) for code in cell) for cell in codes], fitted.widths.tolist()


def test_what_fits_is_whole() -> None:
    """A text exactly as wide as its column is not cut; one unit less, and it is."""
    assert cut(["1234", "", "12"], 4 * 572) == (["1234", "", "12"], [2288, 0, 1144])
    assert cut(["1234", "", "12"], 4 * 572 - 1) == (["12…", "", "12"], [2 * 572 + 791, 0, 1144])


def test_cut_of_any_script() -> None:
    """Texts are cut between characters, not bytes."""
    assert cut(["şşşşşşş", "\U0001f600" * 9], 3000)[0] == ["şşşş…", "\U0001f600\U0001f600\U0001f600…"]


def test_narrower_than_the_ellipsis() -> None:
    """A column narrower than the ellipsis still shows it."""
    assert cut(["abc", "i"], 300) == (["…", "i"], [791, 258])


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])), max_size=9), st.integers(800, 9000)
)
def test_cut_texts(texts: list[str], width: int) -> None:
    """Nothing is wider than its column; what is cut is a beginning and an ellipsis, and was too wide."""
    whole_widths = cut(texts, 10**9)[1]
    shown, widths = cut(texts, width)
    for text, whole, cell, taken in zip(texts, whole_widths, shown, widths, strict=True):
        assert taken <= width
        assert cell == text if whole <= width else cell[-1] == "…" and text.startswith(cell[:-1])


def test_shares_leave_nothing_out() -> None:
    """Columns that fit get all they ask for, and an equal part of what is left."""
    assert share([Want(1, 2, 1000), Want(1, 2, 3000)], 6000) == [2000, 4000]


def test_texts_shrink_first() -> None:
    """Where there is too little room numbers keep theirs and long texts are levelled."""
    assert share([Want(4000, 4000, 4000), Want(2000, 9000, 9000), Want(2000, 2500, 2500)], 10_500) == [4000, 4000, 2500]


@given(
    st.lists(
        st.tuples(*[st.integers(0, 10_000)] * 3).map(sorted).map(lambda each: Want(*each)), min_size=1, max_size=9
    ),
    st.integers(0, 60_000),
)
def test_shares_fit(wants: list[Want], room: int) -> None:
    """Columns never take more than there is."""
    assert sum(share(wants, room)) <= room


def test_want_of_numbers() -> None:
    """A number column asks for its longest cell, never less."""
    assert want(NUMBER, 500, np.array([100, 5000])).least == 5000


def test_want_of_texts() -> None:
    """One long text among many does not widen its column at the cost of others."""
    asked = want(TEXT, 500, np.array([6000] * 99 + [90_000]))
    assert (asked.least, asked.typical, asked.whole) == (5000, 6000, 90_000)


def test_auto_orientation() -> None:
    """A page is upright where its columns fit so, else on its side, unless told."""

    def laid(width: int, **options: str) -> Layout:
        wide = [Want(width, width, width)]
        return plan([TEXT], wide, PdfOptions.model_validate(options), 0)

    assert laid(60_000).height_pt == 841.89
    assert laid(70_000).height_pt == 595.28
    assert laid(70_000, orientation="portrait", page_size="Letter").height_pt == 792.0
    assert laid(1000, orientation="landscape").height_pt == 595.28


def test_rows_per_page() -> None:
    """About forty rows stand on a page of A4 on its side, fewer below a title; none reaches into the margin."""
    layout = plan([TEXT], [Want(1, 1, 1)], PdfOptions(orientation="landscape"), 5)
    assert (layout.rows(first=True), layout.rows(first=False)) == (38, 41)
    assert layout.top_pt(first=False) - 41 * layout.row_pt >= BOTTOM_PT


@pytest.mark.parametrize("count", [1, 3, 19, 40, 200, 1000])
def test_columns_stay_on_the_page(count: int) -> None:
    """However many columns, they stand side by side within the margins."""
    layout = plan([TEXT, NUMBER] * count, [Want(3000, 9000, 20_000)] * (2 * count), PdfOptions(), 0)
    edges = [edge for slot in layout.slots for edge in (slot.left, slot.right)]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert layout.points(edges[-1]) <= layout.width_pt - 2 * MARGIN_PT + 0.01
