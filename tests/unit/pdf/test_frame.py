"""What stands around the rows, byte by byte."""

from __future__ import annotations

import re

import numpy as np
import pytest

from spark_export.writers.pdf.content import INK
from spark_export.writers.pdf.frame import Footer, Frame, no_rows
from spark_export.writers.pdf.layout import Band, Layout, Slot
from spark_export.writers.pdf.titleblock import Heading, Line, TitleBlock
from spark_export.writers.pdf.typeset import Typefaces, Typesetter
from spark_export.writers.pdf.words import WORDS, words_of

from .conftest import Press

ACCENT = (0.0, 0.5, 1.0)
INK_BYTES = b"0.13 0.16 0.2 rg\n"
MUTED_BYTES = b"0.42 0.46 0.52 rg\n"

BAND = Band((0, 2), (Slot(500, 4000, right_aligned=False), Slot(6000, 2000, right_aligned=True)), 10_000)
LAYOUT = Layout(400, 300, 10, 15, 30, (BAND,))
"""Rows begin 36 + 20 points below the upper edge, 30 more on the first page."""


@pytest.fixture
def typefaces(press: Press) -> Typefaces:
    """Of a fresh document."""
    return Typefaces(press.fonts)


@pytest.fixture
def bold(typefaces: Typefaces) -> Typesetter:
    """Sets headers."""
    return typefaces.bold(10)


def frame(bold: Typesetter, *labels: str, stripes: bool = True) -> Frame:
    """Of the band."""
    return Frame(LAYOUT, BAND, labels or ("Name", "-", "n"), bold, ACCENT, stripes=stripes)


def points(operators: bytes) -> list[tuple[float, float]]:
    """Where texts are shown."""
    return [(float(x), float(y)) for x, y in re.findall(rb"Tf (\S+) (\S+) Td", operators)]


@pytest.mark.parametrize(
    ("language", "total"),
    [("en", "Total"), ("tr", "Toplam"), ("de-CH", "Summe"), ("FR", "Total"), ("es", "Total"), ("ja", "Total")],
)
def test_words(language: str, total: str) -> None:
    """Words are those of the language, whatever its region, and English where it is not known."""
    assert words_of(language).total == total
    assert (words_of(language) is WORDS["en"]) == (language in {"en", "ja"})


def test_an_empty_heading() -> None:
    """A heading that says nothing takes no room."""
    assert (Heading().lines(), Heading().height_pt(10)) == ([], 0)


def test_heading_lines() -> None:
    """The title comes first, then the subtitle, then the filters with the time at their right."""
    assert Heading("T", "S", "F", "M").lines() == [
        Line(b"H1", 2.0, "T"),
        Line(b"P", 1.125, "S"),
        Line(b"P", 0.9375, "F", "M"),
    ]
    assert Heading("T", made="M").lines() == [Line(b"H1", 2.0, "T"), Line(b"P", 0.9375, "M")]


def test_heading_height() -> None:
    """A heading is as high as its lines or its logo, whichever is higher, with the space below."""
    assert Heading("T").height_pt(10) == pytest.approx(2.0 * 1.45 * 10 + 12.5)
    assert Heading("T", logo_px=(400, 400)).height_pt(10) == pytest.approx(40 + 12.5)
    assert Heading("T", "S", "F", logo_px=(1000, 10)).height_pt(10) == pytest.approx((2 + 1.125 + 0.9375) * 14.5 + 12.5)


@pytest.mark.parametrize(
    ("pixels", "size"), [((100, 100), (40, 40)), ((900, 100), (180, 20)), ((10, 1000), (0.4, 40)), ((1, 1), (40, 40))]
)
def test_logo_size(pixels: tuple[int, int], size: tuple[float, float]) -> None:
    """A logo fills a frame of 18 by 4 ems in its own proportions."""
    assert Heading(logo_px=pixels).logo_size_pt(10) == pytest.approx(size)


def test_no_logo() -> None:
    """Without a logo nothing is drawn in its place."""
    assert Heading("T").logo_size_pt(10) == (0, 0)


def title_block(typefaces: Typefaces, heading: Heading) -> TitleBlock:
    """Of a page 400 points wide."""
    return TitleBlock(heading, LAYOUT, typefaces, 10, ACCENT)


def test_title_block(typefaces: Typefaces) -> None:
    """Lines hang from the upper margin, the title in bold and in the accent's colour; notes are muted."""
    texts = list(title_block(typefaces, Heading("T", "S", "F", "M")).texts())
    assert texts == [
        (b"H1", b"0 0.5 1 rg\nBT /B 20 Tf 36 243.5 Td[(T)]TJ ET\n"),
        (b"P", INK_BYTES + b"BT /R 11.25 Tf 36 223.469 Td[(S)]TJ ET\n"),
        (b"P", MUTED_BYTES + b"BT /R 9.375 Tf 355.497 209.078 Td[(M)]TJ ET\n"),
        (b"P", MUTED_BYTES + b"BT /R 9.375 Tf 36 209.078 Td[(F)]TJ ET\n"),
    ]


def test_long_titles_are_cut(typefaces: Typefaces) -> None:
    """A title wider than the page ends in an ellipsis, before the logo where there is one."""

    def shown(heading: Heading) -> bytes:
        (_, operators), *_ = title_block(typefaces, heading).texts()
        found = re.search(rb"\[\((W+)\x05\)\]", operators)
        assert found
        return found[1]

    widest = len(shown(Heading("W" * 100)))
    advance = typefaces.bold(20).line("W", 1000).widths[0] * 20 / 1000
    assert (widest + 2) * advance > 328 > widest * advance
    beside = len(shown(Heading("W" * 100, logo_px=(100, 100))))
    assert (beside + 2) * advance > 328 - 60 > beside * advance


def test_lines_below_the_logo(typefaces: Typefaces) -> None:
    """A line that begins below the logo has all of the width."""
    heading = Heading("T", "W" * 100, "W" * 100, logo_px=(100, 50))
    texts = [operators for _, operators in title_block(typefaces, heading).texts()]
    counts = [operators.count(b"W") for operators in texts]
    alone = Heading("T", "W" * 100, "W" * 100)
    free = [operators.count(b"W") for _, operators in title_block(typefaces, alone).texts()]
    assert counts[1] < free[1]
    assert counts[2] == free[2]


def test_no_room_beside_the_time(typefaces: Typefaces) -> None:
    """Filters that have no room beside the time are left out rather than shown over it."""
    texts = list(title_block(typefaces, Heading("T", "", "F", "W" * 100)).texts())
    assert [tag for tag, _ in texts] == [b"H1", b"P"]


def test_logo(typefaces: Typefaces) -> None:
    """The logo stands in the upper right corner of the margins."""
    assert title_block(typefaces, Heading("T", logo_px=(200, 100))).logo() == b"q 80 0 0 40 284 224 cm /L Do Q\n"
    assert title_block(typefaces, Heading("T")).logo() == b""


def test_header(bold: Typesetter) -> None:
    """Labels stand above their columns, in the middle of the header row, over a rule as wide as the band."""
    labels = frame(bold).labels(first=False)
    assert labels[0] == INK_BYTES + b"BT /B 10 Tf 41 250.4 Td[(Name)]TJ ET\n"
    width = int(bold.line("n", 100).widths[0])
    assert points(labels[1]) == [pytest.approx((36 + 80 - width / 100, 250.4), abs=0.001)]
    assert frame(bold).header_rule(first=False) == b"0 0.5 1 rg\n36 244 100 0.8 re f\n"
    assert points(frame(bold).labels(first=True)[0]) == [(41, 220.4)]
    assert frame(bold).header_rule(first=True) == b"0 0.5 1 rg\n36 214 100 0.8 re f\n"


def test_labels_are_cut(bold: Typesetter) -> None:
    """A label wider than its column ends in an ellipsis."""
    (label, _) = frame(bold, "W" * 20, "-", "n").labels(first=False)
    assert re.search(rb"\[\(W+\x05\)\]", label)


def test_labels_that_read_from_the_right(bold: Typesetter) -> None:
    """A right-to-left label ends at the right edge of its column."""
    (label, _) = frame(bold, "\u05d0", "-", "n").labels(first=False)
    width = int(bold.line("\u05d0", 100).widths[0])
    assert points(label) == [pytest.approx((36 + 45 - width / 100, 250.4), abs=0.001)]


def test_stripes(bold: Typesetter) -> None:
    """Every other row is shaded, however high it is, and a line closes the last one."""
    assert frame(bold).rows(np.array([15.0, 25.0, 15.0, 15.0]), first=False) == (
        b"0.961 0.969 0.978 rg\n36 204 100 25 re\n36 174 100 15 re\nf\n0.82 0.85 0.88 rg\n36 173.6 100 0.4 re f\n"
    )


def test_no_stripes(bold: Typesetter) -> None:
    """Without stripes, and for a single row, there is the line alone; without rows there is nothing."""
    line = b"0.82 0.85 0.88 rg\n36 228.6 100 0.4 re f\n"
    assert frame(bold).rows(np.array([15.0]), first=False) == line
    assert frame(bold, stripes=False).rows(np.array([5.0, 10.0]), first=False) == line
    assert frame(bold).rows(np.array([]), first=False) == b""


def test_totals(bold: Typesetter) -> None:
    """Totals stand below their columns, under a rule."""
    first, second = frame(bold).totals(100, ["Total", "no", "12"])
    assert first == INK_BYTES + b"BT /B 10 Tf 41 88.1 Td[(Total)]TJ ET\n"
    width = int(bold.line("12", 100).widths[0])
    assert points(second) == [pytest.approx((36 + 80 - width / 100, 88.1), abs=0.001)]
    assert frame(bold).totals_rule(100) == b"0 0.5 1 rg\n36 99.2 100 0.8 re f\n"


def test_wide_totals_are_smaller(bold: Typesetter) -> None:
    """A sum too wide for its column is set smaller, never cut, and ends where the column ends."""
    _, text = frame(bold).totals(100, ["", "", "1234567890"])
    found = re.search(rb"/B (\S+) Tf (\S+) \S+ Td\[\(1234567890\)\]", text)
    assert found
    size, x = float(found[1]), float(found[2])
    width = int(bold.line("1234567890", 1000).widths[0])
    assert size == pytest.approx(10 * 2000 / width, abs=0.001)
    assert x == pytest.approx(36 + 60, abs=0.01)


def test_no_rows(typefaces: Typefaces) -> None:
    """A muted text stands in the place of rows."""
    assert no_rows(LAYOUT, typefaces.regular(10), WORDS["en"]) == (
        MUTED_BYTES + b"BT /R 10 Tf 41 195.4 Td[(No rows)]TJ ET\n"
    )


@pytest.fixture
def footer(typefaces: Typefaces) -> Footer:
    """Of a titled document in English."""
    return Footer(LAYOUT, typefaces.regular(7), WORDS["en"], "Trades")


def test_footer(footer: Footer, typefaces: Typefaces) -> None:
    """A page says its number, and shows the form of the total right after it."""
    for page in (1, 12, 1234567):
        text = f"Page {page} of "
        end = 36 + int(typefaces.regular(7).line(text, 1000).widths[0]) * 7 / 1000
        operators = footer.operators(page)
        shown, _, form = operators.partition(b"ET\n")
        assert shown == MUTED_BYTES + b"BT /R 7 Tf 36 24 Td[(%s)]TJ " % text.encode()
        found = re.fullmatch(rb"q 1 0 0 1 (\S+) 24 cm /N Do Q\n", form)
        assert found
        assert float(found[1]) == pytest.approx(end, abs=0.001)


def test_total_of_pages(footer: Footer) -> None:
    """The form shows the number of pages in a box that holds it."""
    box, content = footer.total(40)
    assert (box, content) == (b"0 -7 8.008 14", MUTED_BYTES + b"BT /R 7 Tf 0 0 Td[(40)]TJ ET\n")


def test_footer_title(footer: Footer, typefaces: Typefaces) -> None:
    """The title ends at the right margin; it takes half of the width at most, and none where there is no title."""
    width = int(typefaces.regular(7).line("Trades", 1000).widths[0]) * 7 / 1000
    assert points(footer.title()) == [pytest.approx((364 - width, 24), abs=0.001)]
    long = Footer(LAYOUT, typefaces.regular(7), WORDS["en"], "W" * 200).title()
    assert points(long)[0][0] >= 36 + 328 / 2
    assert b"\x05" in long
    assert Footer(LAYOUT, typefaces.regular(7), WORDS["en"], "").title() == b""


def test_ink() -> None:
    """Texts are dark enough on white for everyone to read (WCAG 2.1, 7 to 1)."""

    def luminance(colour: tuple[float, float, float]) -> float:
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert 1.05 / (luminance(INK) + 0.05) >= 7
