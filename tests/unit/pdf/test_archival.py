"""What makes a file one for archives (ISO 19005-2); `scripts/check_archival.py` asks a validator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pikepdf
import pyarrow as pa
import pytest

from spark_export.writers.pdf import Imprint

from .conftest import MADE_AT, forms, opened

if TYPE_CHECKING:
    from .conftest import Press

TABLE = pa.table({"n": [1, 2], "t": ["ığüş 漢 שלום e\u0301 ∑ ★ سلام", "plain"]})
KNOWN = {
    "title": "İşlemler & <more>",
    "author": "Ö. Yıldız",
    "subject": "Fills (all) \\ of them",
    "keywords": "a, ş, 漢",
    "language": "tr",
}


def fonts_of(document: pikepdf.Pdf) -> list[pikepdf.Object]:
    """The composite fonts of a file."""
    return [
        each for each in document.objects if isinstance(each, pikepdf.Dictionary) and each.get("/Subtype") == "/Type0"
    ]


def shown_codes(document: pikepdf.Pdf) -> dict[str, set[int]]:
    """For each font's resource name, the codes in the strings that pages and their forms show."""
    codes: dict[str, set[int]] = {}
    for page in document.pages:
        contents: list[pikepdf.Page | pikepdf.Object] = [page, *forms(page).values()]
        for content in contents:
            for font, string in shown_strings(content):
                codes.setdefault(font, set()).update(split(string))
    return codes


def shown_strings(content: pikepdf.Page | pikepdf.Object) -> Iterator[tuple[str, bytes]]:
    """The strings that operators show, each with the name of its font."""
    font = ""
    for each in pikepdf.parse_content_stream(content):
        operands: Any = each.operands
        if str(each.operator) == "Tf":
            font = str(operands[0])
        elif str(each.operator) == "TJ":
            yield from ((font, bytes(part)) for part in operands[0] if isinstance(part, pikepdf.String))


def split(string: bytes) -> list[int]:
    """Codes of one byte below 0xC0, else of two."""
    return [int.from_bytes(each, "big") for each in re.findall(rb"[\x00-\xbf]|[\xc0-\xff].", string, re.DOTALL)]


@pytest.mark.parametrize("accessible", [False, True])
def test_markers(press: Press, accessible: bool) -> None:
    """XMP says PDF/A-2b, and PDF/UA-1 where it is tagged; there are an sRGB intent, an ID and no encryption."""
    with opened(press.make(TABLE, accessible=accessible)) as document:
        with document.open_metadata() as xmp:
            assert (xmp["pdfaid:part"], xmp["pdfaid:conformance"]) == ("2", "B")
            assert xmp.get("{http://www.aiim.org/pdfua/ns/id/}part") == ("1" if accessible else None)
        (intent,) = document.Root.OutputIntents
        assert intent.S == "/GTS_PDFA1"
        assert intent.DestOutputProfile.read_bytes()[36:40] == b"acsp"
        assert intent.DestOutputProfile.N == 3
        assert len(bytes(document.trailer.ID[0])) == 16
        assert not document.is_encrypted
        assert "/Encrypt" not in document.trailer
        assert document.pdf_version == "1.7"


def test_about(press: Press) -> None:
    """Title, author, subject, keywords, language and time are in the information dictionary and, the same, in XMP."""
    with opened(press.make(TABLE, **KNOWN)) as document:
        found = {key: str(document.docinfo[f"/{key.title()}"]) for key in ("title", "author", "subject", "keywords")}
        assert found == {key: KNOWN[key] for key in found}
        assert str(document.docinfo.CreationDate) == "D:20260105140300+00'00'"
        assert str(document.Root.Lang) == "tr"
        with document.open_metadata() as xmp:
            assert xmp["dc:title"] == KNOWN["title"]
            assert xmp["dc:creator"] == [KNOWN["author"]]
            assert xmp["dc:description"] == KNOWN["subject"]
            assert xmp["pdf:Keywords"] == KNOWN["keywords"]
            assert xmp["dc:language"] == {"tr"}
            assert xmp["xmp:CreateDate"] == "2026-01-05T14:03:00+00:00"
        assert bool(document.Root.ViewerPreferences.DisplayDocTitle)


def test_nothing_to_say(press: Press) -> None:
    """What is not given is left out, and the title is the service's."""
    with opened(press.make(TABLE)) as document:
        assert not {"/Author", "/Subject", "/Keywords"} & set(document.docinfo.keys())
        assert str(document.docinfo.Title) == "Trades"
    with opened(press.make(TABLE, title="")) as document:
        assert "/Title" not in document.docinfo
        assert "/ViewerPreferences" not in document.Root


def test_a_tagged_document_has_a_title(press: Press) -> None:
    """PDF/UA wants a title of each document, even where nobody gave one."""
    with opened(press.make(TABLE, accessible=True, imprint=Imprint(MADE_AT))) as document:
        assert str(document.docinfo.Title)
        with document.open_metadata() as xmp:
            assert xmp["dc:title"] == str(document.docinfo.Title)


@pytest.mark.parametrize("overflow", ["ellipsis", "wrap"])
def test_fonts(press: Press, overflow: str) -> None:
    """Every font is embedded, a subset, and says what its codes mean and how wide they are."""
    with opened(press.make(TABLE, overflow=overflow)) as document:
        fonts = fonts_of(document)
        assert len(fonts) == 6
        for font in fonts:
            (descendant,) = font.DescendantFonts
            assert re.fullmatch(r"/[A-Z]{6}\+Noto\w+-\w+", str(font.BaseFont))
            assert font.BaseFont == descendant.BaseFont == descendant.FontDescriptor.FontName
            assert descendant.FontDescriptor.FontFile2.read_bytes()[:4] == b"\0\1\0\0"
            assert b"beginbfchar" in font.ToUnicode.read_bytes()
            assert len(descendant.W) > 0
        assert len({str(font.BaseFont) for font in fonts}) == len(fonts)


@pytest.mark.parametrize("options", [{}, {"overflow": "wrap"}, {"accessible": True, "totals": ["n"]}], ids=str)
def test_every_code_has_a_glyph_and_a_text(press: Press, options: dict[str, Any]) -> None:
    """No code that is shown stands for .notdef, and each has a text to copy out as."""
    with opened(press.make(TABLE, **options)) as document:
        resources = document.pages[0].Resources.Font
        codes = shown_codes(document)
        assert set(codes) == set(resources.keys())
        for name, shown in codes.items():
            font = resources[name]
            glyphs = font.DescendantFonts[0].CIDToGIDMap.read_bytes()
            texts = {int(code, 16) for code in re.findall(rb"(?m)^<(\w+)><\w{4,}>$", font.ToUnicode.read_bytes())}
            assert all(int.from_bytes(glyphs[2 * code : 2 * code + 2], "big") for code in shown)
            assert shown <= texts


@pytest.mark.parametrize("text", ["a\0b", "\ufeff", "a\ufeffb", "\ufffe", "\ufeffשלום\ufeff"], ids=ascii)
def test_no_text_is_a_byte_order_mark(press: Press, text: str) -> None:
    """No code copies out as U+0000, U+FEFF or U+FFFE, which ISO 14289-1 7.21.7 forbids."""
    with opened(press.make(pa.table({"a": [text]}))) as document:
        maps = b"\n".join(font.ToUnicode.read_bytes() for font in fonts_of(document))
    units = {each[at : at + 4] for each in re.findall(rb"(?m)^<\w+><(\w{4,})>$", maps) for at in range(0, len(each), 4)}
    assert b"0061" in units
    assert not units & {b"0000", b"FEFF", b"FFFE"}


def test_pages_have_their_own_resources(press: Press) -> None:
    """No page inherits what it needs, and no stream is in a filter that archives do not know."""
    with opened(press.make(pa.table({"n": range(2000)}), accessible=True)) as document:
        assert all("/Resources" in page.obj for page in document.pages)
        filters = {
            str(each.Filter) for each in document.objects if isinstance(each, pikepdf.Stream) and "/Filter" in each
        }
        assert filters == {"/FlateDecode"}
