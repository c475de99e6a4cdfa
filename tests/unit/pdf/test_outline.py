"""Bookmarks for ranges of pages."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.writers.pdf.objects import ObjectFile
from spark_export.writers.pdf.outline import MOST_ITEMS, outline_objects, page_step
from spark_export.writers.pdf.words import words_of


def outline(pages: int, rows: int, per_page: int, *, at_once: int = 1, language: str = "en") -> list[bytes]:
    """The objects, the outline itself at the end; pages have the numbers from 101 on, the outline 1."""
    file = ObjectFile()
    file.start()
    number = file.reserve()
    numbers = range(101, 101 + pages)
    first_rows = [page // at_once * per_page for page in range(pages)]
    return list(outline_objects(file, number, numbers, first_rows, rows, words_of(language), at_once=at_once))


def titles(objects: list[bytes]) -> list[str]:
    """What the bookmarks say."""
    found = [re.search(rb"/Title<FEFF([0-9A-F]+)>", each) for each in objects[:-1]]
    return [bytes.fromhex(each[1].decode()).decode("utf-16-be") for each in found if each]


def test_bytes() -> None:
    """Bookmarks lead to whole pages, know each other, and hang from the outline."""
    objects = outline(3, 25, 10)
    assert [re.sub(rb"<FEFF[0-9A-F]+>", b"<>", each) for each in objects] == [
        b"2 0 obj\n<</Title<>/Parent 1 0 R/Dest[101 0 R/Fit]/Next 3 0 R>>\nendobj\n",
        b"3 0 obj\n<</Title<>/Parent 1 0 R/Dest[102 0 R/Fit]/Prev 2 0 R/Next 4 0 R>>\nendobj\n",
        b"4 0 obj\n<</Title<>/Parent 1 0 R/Dest[103 0 R/Fit]/Prev 3 0 R>>\nendobj\n",
        b"1 0 obj\n<</Type/Outlines/First 2 0 R/Last 4 0 R/Count 3>>\nendobj\n",
    ]


def test_titles() -> None:
    """A bookmark says which pages and which rows it leads to, counted from one."""
    assert titles(outline(3, 25, 10)) == ["Pages 1 · rows 1–10", "Pages 2 · rows 11–20", "Pages 3 · rows 21–25"]
    many = titles(outline(1100, 10_995, 10))
    assert many[0] == "Pages 1–20 · rows 1–200"
    assert many[-1] == "Pages 1,081–1,100 · rows 10,801–10,995"


def test_language() -> None:
    """The words are those of the document's language."""
    assert titles(outline(1, 5, 10, language="de")) == ["Seiten 1 · Zeilen 1–5"]


def test_bands() -> None:
    """Pages that show the same rows are never parted."""
    assert titles(outline(6, 25, 10, at_once=3)) == ["Pages 1–3 · rows 1–10", "Pages 4–6 · rows 11–25"]


@given(st.integers(1, 20_000), st.integers(1, 4))
def test_every_page_is_in_one_range(groups: int, at_once: int) -> None:
    """Ranges follow each other from the first page and row to the last, and are not many."""
    pages = groups * at_once
    found = titles(outline(pages, groups * 10, 10, at_once=at_once))
    assert len(found) <= MOST_ITEMS
    spans = [[int(each.replace(",", "")) for each in re.findall(r"[\d,]+", title)] for title in found]
    by_page = [(span[0], span[1] if len(span) == 4 else span[0]) for span in spans]
    by_row = [(span[-2], span[-1]) for span in spans]
    for ranges, last in ((by_page, pages), (by_row, groups * 10)):
        assert (ranges[0][0], ranges[-1][1]) == (1, last)
        assert all(after[0] == before[1] + 1 for before, after in itertools.pairwise(ranges))


@pytest.mark.parametrize(("pages", "step"), [(1, 1), (60, 1), (61, 2), (120, 2), (121, 5), (600, 10), (601, 20)])
def test_steps(pages: int, step: int) -> None:
    """A bookmark covers the smallest round number of pages that makes them few enough."""
    assert page_step(pages) == step


def test_a_page_of_totals() -> None:
    """A bookmark to a page that shows the totals alone names no range of rows that ends before it begins."""
    assert "rows 21–20" not in titles(outline(3, 20, 10))[-1]
