"""Texts of many scripts, as poppler and PDFium copy them out."""

from __future__ import annotations

import re
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

import pyarrow as pa
import pytest

from spark_export.writers.pdf import Imprint
from spark_export.writers.pdf.faces import load_face, load_fonts

from .conftest import embedded, letters, opened, pdfium_text

if TYPE_CHECKING:
    from .conftest import Press

TEXTS = {
    "turkish": "İstanbul şubesi İıŞşĞğÇçÖöÜü",
    "greek": "Ελληνικά Θεσσαλονίκη ἀρχή",
    "cyrillic": "Кириллица Ёлка їжак",
    "latin": "Tiếng Việt Łódź naïve Ærø ß",
    "signs": "€ £ ¥ ₺ ₿ № § ¶ … – — “quoted” ½ ²",
    "mathematics": "∑∫√ ≤≥≠ ℂ",
    "pictures": "▲ ● ★ ✓",
}
RIGHT_TO_LEFT = {
    "arabic": "مرحبا بالعالم",
    "persian": "گفتگو پژوهش",
    "hebrew": "שלום עולם",
}
LACKING = ["漢字", "日本", "\U0001f600", "𝒜𝔅"]
FONTS = resources.files("spark_export.fonts")


@pytest.mark.parametrize("accessible", [False, True])
@pytest.mark.parametrize("name", TEXTS)
def test_left_to_right(press: Press, name: str, accessible: bool) -> None:
    """A text reads back from header, cell and title, for poppler and PDFium."""
    text = TEXTS[name]
    pdf = press.make(pa.table({f"H {text}": [f"C {text}"]}), title=f"T {text}", accessible=accessible)
    for found in (press.text(pdf), pdfium_text(pdf)):
        for start in "HCT":
            assert letters(start + text) in letters(found)
    assert press.tally.lacking_characters == {}


@pytest.mark.parametrize("name", RIGHT_TO_LEFT)
def test_right_to_left(press: Press, name: str) -> None:
    """A text that reads from the right copies out in its logical order, for poppler and PDFium."""
    text = RIGHT_TO_LEFT[name]
    pdf = press.make(pa.table({text: ["x"], "other": [text]}), title=text)
    for found in (press.text(pdf), pdfium_text(pdf)):
        assert letters(found).count(letters(text)) == 3
    assert press.tally.lacking_characters == {}


@pytest.mark.parametrize("text", ["سلام", "لا", "الأسعار"])
def test_right_to_left_ligatures(press: Press, text: str) -> None:
    """Lam and alef, which every Arabic font makes one glyph of, copy out in their order, for poppler and PDFium."""
    pdf = press.make(pa.table({"a": [text]}))
    assert [text in letters(found) for found in (press.text(pdf), pdfium_text(pdf))] == [True, True]


def test_right_to_left_cells_stand_at_the_right(press: Press) -> None:
    """Texts that read from the right end where their column does, others begin where it begins."""
    table = pa.table({"header": ["שלום", "שלוםשלוםשלום", "left", "leftandlonger"], "next": [*"abcd"]})
    boxes = {
        letters(word): (float(left), float(right))
        for left, right, word in re.findall(
            r'<word xMin="([\d.]+)" yMin="[\d.]+" xMax="([\d.]+)" yMax="[\d.]+">(.+)</word>',
            press.run("pdftotext", "-bbox", press.check(press.make(table)), "-"),
        )
    }
    short, long = (
        next(box for word, box in boxes.items() if sorted(word) == sorted(text))
        for text in table["header"].to_pylist()[:2]
    )
    assert short[1] == pytest.approx(long[1], abs=0.1)
    assert short[0] > long[0] + 10
    assert boxes["left"][0] == pytest.approx(boxes["leftandlonger"][0], abs=0.1)
    assert boxes["left"][0] < short[0]
    assert long[1] < boxes["a"][0]


def test_mixed_directions(press: Press) -> None:
    """Numbers and Latin words among right-to-left ones copy out in their logical order from PDFium."""
    texts = ["سعر AAPL هو 123.45 درهم", "abc שלום 42 def"]
    pdf = press.make(pa.table({"text": texts}))
    assert texts[0] in pdfium_text(pdf)
    # Poppler leaves the words in the order in which they are seen.
    assert {word for text in texts for word in text.split()} <= {letters(each) for each in press.stream(pdf).split()}


@pytest.mark.parametrize("text", ["e\u0301a\u0308", "i\u0307", "n\u0303o\u0302"])
def test_combining_marks(press: Press, text: str) -> None:
    """A letter with its mark copies out as what it was, composed or not, for poppler and PDFium."""
    pdf = press.make(pa.table({"a": [f"begin{text}end"]}))
    for found in (press.text(pdf), pdfium_text(pdf)):
        assert normalize("NFC", f"begin{text}end") in normalize("NFC", letters(found))


@pytest.mark.parametrize("text", ["שָׁלוֹם", "q\u0323\u0307x", "x\u20d7y", "مَرْحَبًا"])
def test_stacked_marks(press: Press, text: str) -> None:
    """Every mark of letters with several is there, though readers place those that are raised in lines of their own."""
    pdf = press.make(pa.table({"a": [text]}), imprint=Imprint(), title="")
    for found in (press.stream(pdf), pdfium_text(pdf)):
        shown = Counter(normalize("NFD", letters(found)))
        assert Counter(normalize("NFD", text)) <= shown


def test_lacking_characters(press: Press) -> None:
    """Characters that no font has copy out as themselves, and are counted and named."""
    pdf = press.make(pa.table({"name": [f"{LACKING[0]} ok", *LACKING]}))
    for found in (press.text(pdf), pdfium_text(pdf)):
        assert all(text in found for text in (f"{LACKING[0]} ok", *LACKING))
    assert press.tally.lacking_characters == {
        "U+6F22": 2, "U+5B57": 2, "U+65E5": 1, "U+672C": 1, "U+1F600": 1, "U+1D49C": 1, "U+1D505": 1
    }  # fmt: skip
    assert press.tally.replaced_characters == sum(press.tally.lacking_characters.values())


def test_lacking_characters_show_as_boxes(press: Press) -> None:
    """What no font has is shown by one glyph of the main font, which is another than those of letters."""
    table = pa.table({"name": ["漢字日本"]})
    with opened(press.make(table)) as document:
        font = document.pages[0].Resources.Font["/R"]
        glyph_map = font.DescendantFonts[0].CIDToGIDMap.read_bytes()
        texts = dict(re.findall(rb"<(\w+)><(\w{4,})>", font.ToUnicode.read_bytes().partition(b"beginbfchar")[2]))
    codes = {bytes.fromhex(text.decode()).decode("utf-16-be"): int(code, 16) for code, text in texts.items()}
    glyphs = {each: int.from_bytes(glyph_map[2 * codes[each] : 2 * codes[each] + 2], "big") for each in "漢字日本na"}
    assert glyphs["漢"] == glyphs["字"] == glyphs["日"] == glyphs["本"] != 0
    assert len(set(glyphs.values())) == 3


def test_lacking_characters_do_not_depend_on_batches(press: Press) -> None:
    """The receipt names the same characters, whatever the size of the batches."""
    table = pa.table({name: [chr(first + row) for row in range(30)] for name, first in (("a", 0x4E00), ("b", 0x5000))})
    found = []
    for batch_rows in (1, 30):
        press.make(table, batch_rows=batch_rows)
        found.append(press.tally)
    assert found[0] == found[1]
    assert found[0].replaced_characters == 60
    assert len(found[0].lacking_characters) == 20


def test_lacking_characters_in_shaped_texts(press: Press) -> None:
    """They are counted beside right-to-left and combining text too, in titles and headers as in cells."""
    press.make(pa.table({"漢": ["שלום 漢 e\u0301"], "b": [""]}), title="漢")
    assert press.tally.lacking_characters == {"U+6F22": press.tally.replaced_characters}
    assert press.tally.replaced_characters >= 3


@pytest.mark.parametrize("count", [180, 220, 250, 1500, 3000])
def test_many_characters(press: Press, count: int) -> None:
    """More different characters than fit in one byte read back, for poppler and PDFium."""
    points = [*range(0xC0, 0x17F), *range(0x391, 0x3A0), *range(0x410, 0x450), *range(0x4E00, 0x4E00 + 3000)][:count]
    lines = ["".join(map(chr, points[start : start + 20])) for start in range(0, count, 20)]
    pdf = press.make(pa.table({"letters": lines}))
    for found in (press.text(pdf), pdfium_text(pdf)):
        assert [line for line in lines if line not in found] == []


def test_more_characters_than_codes(press: Press) -> None:
    """A document of more characters than there are codes is sound, and each has a code or shows as U+FFFD."""
    points = range(0x4E00, 0x4E00 + 20_000)
    lines = ["".join(map(chr, points[start : start + 50])) for start in range(0, len(points), 50)]
    found = set(press.stream(press.make(pa.table({"letters": lines}), page_size="A3")))
    shown = sum(chr(point) in found for point in points)
    assert 15_000 < shown < 20_000
    assert "\ufffd" in found


def test_fonts_that_are_used_are_embedded(press: Press) -> None:
    """A document holds subsets of the fonts that it uses, and of no other."""
    assert embedded(press.make(pa.table({"a": ["x"]}))) == {"NotoSans-Regular", "NotoSans-Bold"}
    every = [*TEXTS.values(), *RIGHT_TO_LEFT.values()]
    assert embedded(press.make(pa.table({"a": every}))) == {
        "NotoSans-Regular",
        "NotoSans-Bold",
        "NotoSansArabic-Regular",
        "NotoSansHebrew-Regular",
        "NotoSansMath-Regular",
        "NotoSansSymbols2-Regular",
    }


def test_the_operators_fonts_come_first(press: Press, tmp_path: Path) -> None:
    """An operator's font is tried before those of the package, after the main one."""
    hebrew = FONTS.joinpath("NotoSansHebrew-Regular.ttf").read_bytes()
    renamed = hebrew.replace("NotoSansHebrew".encode("utf-16-be"), "OwnSansHebrews".encode("utf-16-be"))
    (tmp_path / "own.ttf").write_bytes(renamed)
    own = type(press)(press.folder, press.threads, load_fonts([load_face(str(tmp_path / "own.ttf"))]))
    table = pa.table({"a": ["שלום and latin"]})
    pdf = own.make(table)
    assert "שלום" in letters(own.text(pdf))
    assert embedded(pdf) == {"NotoSans-Regular", "NotoSans-Bold", "OwnSansHebrews-Regular"}
    assert embedded(press.make(table)) == {"NotoSans-Regular", "NotoSans-Bold", "NotoSansHebrew-Regular"}
