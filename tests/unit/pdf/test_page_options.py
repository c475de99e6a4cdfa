"""What options change on the pages: sizes, colours, words, and what stands above the table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from spark_export.errors import InvalidField
from spark_export.writers.pdf import Imprint
from spark_export.writers.pdf.artwork import load_logo

from .conftest import MADE_AT, contents, opened, words

if TYPE_CHECKING:
    from .conftest import Press

A4, A3, LETTER, LEGAL = (595.28, 841.89), (841.89, 1190.55), (612, 792), (612, 1008)
"""ISO 216 and ANSI, in points."""
NARROW = pa.table({"id": [1, 2, 3], "note": ["x", "y", "z"]})
WIDER = pa.table({f"column {index}": ["some text of a cell"] * 3 for index in range(8)})
LOGO = (
    b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 1"><rect width="4" height="1" fill="#ff8800"/></svg>"""
)


def numbered(rows: int) -> Any:
    """Rows that can be told from each other."""
    return pa.table({"id": range(rows), "note": [f"row-{row}-" for row in range(rows)]})


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, A4),
        ({"page_size": "A4"}, A4),
        ({"page_size": "A3"}, A3),
        ({"page_size": "Letter"}, LETTER),
        ({"page_size": "Legal"}, LEGAL),
        ({"page_size": "Legal", "orientation": "landscape"}, LEGAL[::-1]),
        ({"orientation": "landscape"}, A4[::-1]),
        ({"page_size": "100x150mm"}, (283.46, 425.2)),
        ({"page_size": "150x100mm"}, (425.2, 283.46)),
        ({"page_size": "150x100mm", "orientation": "portrait"}, (283.46, 425.2)),
        ({"page_size": "100x150mm", "orientation": "landscape"}, (425.2, 283.46)),
        ({"page_size": "210.5x297.25mm"}, (596.69, 842.6)),
        ({"page_size": "5080x5080mm"}, (14400, 14400)),
    ],
    ids=str,
)
def test_page_sizes(press: Press, options: dict[str, str], size: tuple[float, float]) -> None:
    """Pages have the size and the orientation asked for; a size in millimetres is as told unless turned."""
    pdf = press.make(numbered(100), **options)
    assert all(each == pytest.approx(size, abs=0.01) for each in press.sizes(pdf))


@pytest.mark.parametrize(
    ("table", "options", "size"),
    [
        (NARROW, {}, A4),
        (WIDER, {}, A4[::-1]),
        (WIDER, {"orientation": "portrait"}, A4),
        (pa.table({f"c{index}": [f"{index} of some length"] for index in range(17)}), {}, A3[::-1]),
    ],
)
def test_automatic_sizes(press: Press, table: Any, options: dict[str, str], size: tuple[float, float]) -> None:
    """By itself a table stands upright on A4, on its side where it is wider, then on A3."""
    assert press.sizes(press.make(table, **options)) == [size]


@pytest.mark.parametrize(
    ("table", "options", "field"),
    [
        (NARROW, {"page_size": "50x50mm"}, "pdf.page_size"),
        (NARROW, {"page_size": "50x50mm", "title": "", "font_size": 24}, "pdf.page_size"),
        (NARROW, {"theme": {"row_height": 9.5}}, "pdf.theme.row_height"),
        (NARROW, {"font_size": 20, "theme": {"row_height": 20}}, "pdf.theme.row_height"),
        (NARROW, {"page_size": "100x60mm", "theme": {"row_height": 150}}, "pdf.page_size"),
    ],
    ids=str,
)
def test_no_room(press: Press, table: Any, options: dict[str, Any], field: str) -> None:
    """A page without room for a row, or a row without room for its text, is refused by the field to change."""
    with pytest.raises(InvalidField) as caught:
        press.make(table, **options)
    assert caught.value.field == field


def test_smallest_page(press: Press) -> None:
    """The smallest page of all has room for a row where nothing stands above it."""
    pdf = press.make(NARROW, page_size="50x50mm", imprint=Imprint())
    assert {"1", "x", "3", "z"} <= set(words(press.text(pdf)))


def test_accent_colours_the_title_and_the_rules(press: Press) -> None:
    """The accent is a fill colour on every page, and the usual one is not."""
    pages = contents(press.make(numbered(100), theme={"accent": "#ff0080"}))
    assert all(b"1 0 0.502 rg" in page for page in pages)
    assert not any(b"0.184 0.365 0.549 rg" in page for page in pages)
    assert all(b"0.184 0.365 0.549 rg" in page for page in contents(press.make(numbered(100))))


@pytest.mark.parametrize("overflow", ["ellipsis", "wrap"])
def test_stripes_can_be_left_out(press: Press, overflow: str) -> None:
    """No page has a stripe where they are turned off; else full and last pages have."""
    stripe = b"0.961 0.969 0.978 rg"
    striped = contents(press.make(numbered(100), overflow=overflow))
    plain = contents(press.make(numbered(100), overflow=overflow, theme={"stripes": False}))
    assert len(striped) == len(plain) == 2
    assert all(stripe in page for page in striped)
    assert not any(stripe in page for page in plain)


@pytest.mark.parametrize(
    ("options", "rows"),
    [({}, 58), ({"theme": {"row_height": 24}}, 28), ({"theme": {"row_height": 9.6}}, 73), ({"font_size": 16}, 26)],
    ids=str,
)
def test_row_height_sets_the_rows_of_a_page(press: Press, options: dict[str, Any], rows: int) -> None:
    """Rows as high as asked for, or one and a half times the font, fill the first page below title and header."""
    # 841.89 - margins of 36 and 46, a header of 4/3 rows, and a title block of 5.51 times the font size.
    page = press.pages(press.make(numbered(200), **options))[0]
    assert len(re.findall(r"row-\d+-", page)) == rows


@pytest.mark.parametrize(
    ("options", "size_pt"),
    [
        ({}, 8),
        ({"font_size": 10}, 10),
        ({"theme": {"font_size": 11}}, 11),
        ({"font_size": 9, "theme": {"font_size": 12}}, 12),
    ],
    ids=str,
)
def test_font_size(press: Press, options: dict[str, Any], size_pt: float) -> None:
    """Cells have the font size asked for, the theme's before the document's."""
    operators = contents(press.make(numbered(3), **options))[0]
    assert re.search(rb"/R %d Tf \d+(\.\d+)? TL " % size_pt, operators)


def test_texts_above_the_table(press: Press) -> None:
    """Title, subtitle, filters and time stand above the table on the first page, in that order."""
    imprint = Imprint(MADE_AT, "the dataset", "price > 40 · limit 5")
    text = press.pages(press.make(numbered(100), imprint=imprint, title="Own title", subtitle="Smaller"))[0]
    assert re.match(r"Own title\n+Smaller\n+price > 40 · limit 5 +2026-01-05 14:03 UTC\n+ *id +note\n", text.lstrip())
    assert "the dataset" not in text


def test_later_pages_have_the_title_in_the_footer(press: Press) -> None:
    """Pages after the first have no block above the table; the title stands in their footer."""
    page = press.pages(press.make(numbered(100)))[1]
    assert re.match(r"\s*id +note\n", page)
    assert re.search(r"Page 2 of 2 +Trades\s*$", page)


def test_long_and_empty_headings(press: Press) -> None:
    """A title longer than the page is cut; an empty one takes no room and shows nowhere."""
    assert "…" in press.text(press.make(numbered(3), title="word " * 200, subtitle="more " * 300))
    assert "Trades" not in press.text(press.make(numbered(100), title=""))
    assert len(press.pages(press.make(numbered(60), title=""))) == 1
    assert len(press.pages(press.make(numbered(60)))) == 2


def test_long_filters_leave_room_for_the_time(press: Press) -> None:
    """Filters too long for the page end in an ellipsis before the time."""
    imprint = Imprint(MADE_AT, "T", "a = " + "filter " * 200)
    assert re.search(
        r"a = filter [filter ]+\S*… +2026-01-05 14:03 UTC", press.text(press.make(numbered(1), imprint=imprint))
    )


@pytest.mark.parametrize(
    ("language", "none", "page", "total"),
    [
        ("en", "No rows", "Page 1 of 1", "Total"),
        ("tr", "Satır yok", "Sayfa 1 / 1", "Toplam"),
        ("tr-TR", "Satır yok", "Sayfa 1 / 1", "Toplam"),
        ("DE", "Keine Zeilen", "Seite 1 von 1", "Summe"),
        ("fr", "Aucune ligne", "Page 1 sur 1", "Total"),
        ("es-MX", "Sin filas", "Página 1 de 1", "Total"),
        ("ja", "No rows", "Page 1 of 1", "Total"),
    ],
)
def test_words_of_the_language(press: Press, language: str, none: str, page: str, total: str) -> None:
    """The page's own words are in the document's language, in English where they are not known."""
    table = pa.table({"a": ["x"], "n": [1]})
    empty = press.text(press.make(table.slice(0, 0), language=language))
    filled = press.text(press.make(table, language=language, totals=["n"]))
    assert none in empty
    assert page in empty
    assert re.search(rf"{total} +1\b", filled)


def test_bookmarks_speak_the_language(press: Press) -> None:
    """Bookmarks are in the document's language."""
    with opened(press.make(numbered(1000), language="tr")) as document, document.open_outline() as outline:
        assert all(re.fullmatch(r"Sayfalar .+ · satırlar .+", item.title) for item in outline.root)
        assert outline.root


@pytest.fixture
def logo(tmp_path: Path) -> Any:
    """A wide orange one."""
    path = tmp_path / "logo.svg"
    path.write_bytes(LOGO)
    return load_logo(path)


def test_logo_is_on_the_first_page(press: Press, logo: Any) -> None:
    """The logo is an image that is drawn once, at the upper right of the first page, in its own proportions."""
    pdf = press.make(numbered(100), imprint=Imprint(MADE_AT, "Trades", logo=logo))
    listed = press.run("pdfimages", "-list", press.check(pdf)).splitlines()[2:]
    assert {tuple(line.split()[2:5]) for line in listed} == {("image", str(logo.width_px), str(logo.height_px))}
    first, second = contents(pdf)
    (drawn,) = re.findall(rb"q ([\d.]+) 0 0 ([\d.]+) ([\d.]+) ([\d.]+) cm /L Do Q", first)
    width, height, x, y = map(float, drawn)
    assert width / height == pytest.approx(4, abs=0.05)
    assert (x + width, y + height) == pytest.approx((A4[0] - 36, A4[1] - 36), abs=0.02)
    assert b"/L Do" not in second


def test_logo_pushes_the_table_down(press: Press, logo: Any) -> None:
    """A logo higher than the texts beside it leaves fewer rows on the first page, and the title as it is."""
    with_logo = press.pages(press.make(numbered(100), imprint=Imprint(title="", logo=logo)))
    without = press.pages(press.make(numbered(100), imprint=Imprint(title="")))
    assert with_logo[0].count("row-") < without[0].count("row-")


def test_logo_shortens_the_title(press: Press, logo: Any) -> None:
    """A long title ends before the logo."""
    title = "word " * 100
    texts = [press.text(press.make(NARROW, title=title, imprint=Imprint(logo=each))) for each in (logo, None)]
    assert texts[0].count("word") < texts[1].count("word")


def test_without_a_logo_there_is_no_image(press: Press) -> None:
    """A document without a logo holds no image."""
    assert len(press.run("pdfimages", "-list", press.check(press.make(NARROW))).splitlines()) == 2
