"""Any table of any text, as foreign readers see it."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spark_export.writers.pdf import Imprint
from spark_export.writers.pdf.faces import REGULAR, bundled_face

from .conftest import letters, opened, pdfium_text

if TYPE_CHECKING:
    from .conftest import Press

OPTIONS = st.fixed_dictionaries(
    {
        "overflow": st.sampled_from(["ellipsis", "wrap"]),
        "accessible": st.booleans(),
        "page_size": st.sampled_from(["auto", "A4", "80x90mm", "300x90mm"]),
        "font_size": st.sampled_from([4, 7.3, 8, 11]),
    }
)
QUICK = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace").decode())


@cache
def simple() -> str:
    """Characters that the main font has one glyph for, and that readers give back as they are."""
    return "".join(
        character
        for character in map(chr, bundled_face(REGULAR).points.tolist())
        if unicodedata.category(character)[0] in "LNPS"
        and unicodedata.bidirectional(character) not in ("R", "AL", "AN")
        and unicodedata.normalize("NFKC", character) == character
        and unicodedata.category(character) not in ("Lm", "Sk")
    )


@st.composite
def tables(draw: st.DrawFn, cell: st.SearchStrategy[str]) -> Any:
    """A table of some columns of such texts, with a number in each row."""
    columns = draw(st.integers(0, 5))
    rows = draw(st.lists(st.lists(st.none() | cell, min_size=columns, max_size=columns), max_size=30))
    texts = {f"h{index}": pa.array([row[index] for row in rows], pa.string()) for index in range(columns)}
    return pa.table({"number": pa.array(range(1000, 1000 + len(rows)), pa.int64())} | texts)


@QUICK
@given(table=tables(TEXT), options=OPTIONS, title=TEXT)
def test_any_table_is_a_sound_file(press: Press, table: Any, options: dict[str, Any], title: str) -> None:
    """The file is sound, every number is there, and every page says which it is, for poppler and PDFium."""
    pdf = press.make(table, title=title, imprint=Imprint(), **options)
    with opened(pdf) as document:
        pages = len(document.pages)
    for text in (press.stream(pdf), pdfium_text(pdf)):
        assert [each for each in table["number"].to_pylist() if str(each) not in text] == []
        assert sum(f"Page {number} of" in text for number in range(1, pages + 1)) == pages


@QUICK
@given(
    texts=st.lists(
        st.lists(st.text(st.sampled_from(simple()), max_size=12), min_size=3, max_size=3), min_size=1, max_size=40
    ),
    options=OPTIONS,
)
def test_cells_that_fit_read_back(press: Press, texts: list[list[str]], options: dict[str, Any]) -> None:
    """The letters of every cell are there in its row's place, whole unless it ends in an ellipsis."""
    table = pa.table({f"h{index}": [row[index] for row in texts] for index in range(3)})
    pdf = press.make(table, imprint=Imprint(), title="", **options | {"page_size": "A4"})
    expected = letters("".join(each for row in texts for each in row))
    # PDFium gives U+FFFE for a hyphen at the end of a line.
    for text in (press.stream(pdf), pdfium_text(pdf).replace("\ufffe", "-")):
        shown = letters(re.sub(r"(?m)^h0 ?h1 ?h2\s*$|Page \d+ of\s*\d+", "", text))
        assert shown == expected


@QUICK
@given(
    rows=st.lists(st.lists(st.text("abcdefgh \n-", max_size=200), min_size=2, max_size=2), min_size=1, max_size=12),
    options=OPTIONS,
)
def test_wrapped_cells_read_back(press: Press, rows: list[list[str]], options: dict[str, Any]) -> None:
    """No letter of a broken cell is lost or comes twice, however small the page."""
    table = pa.table({"1": [row[0].upper() for row in rows], "2": [row[1] for row in rows]})
    pdf = press.make(table, imprint=Imprint(), title="", **options | {"overflow": "wrap", "page_size": "70x70mm"})
    text = re.sub(r"Page \d+ of\s\d+", "", press.stream(pdf))
    for name, others in (("1", "[^A-H]"), ("2", "[^a-h]")):
        assert re.sub(others, "", text) == re.sub(others, "", "".join(table[name].to_pylist()))


@QUICK
@given(table=tables(TEXT), options=OPTIONS, sizes=st.lists(st.integers(1, 30), min_size=2, max_size=2))
def test_batches_of_any_size(press: Press, table: Any, options: dict[str, Any], sizes: list[int]) -> None:
    """Any table in batches of any size gives the same bytes."""
    assert len({press.make(table, batch_rows=size, **options) for size in sizes}) == 1
