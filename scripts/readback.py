"""What foreign readers find in a file that was exported."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

import pikepdf
import pypdfium2
from smoke import reason_of, shown


def fault_of_csv(body: bytes, rows: Sequence[dict[str, Any]]) -> str | None:
    """The first difference between the file and the rows that were sent."""
    try:
        header, *found = csv.reader(io.StringIO(body.decode(), newline=""), strict=True)
    except (ValueError, csv.Error) as error:
        return f"cannot be read: {reason_of(error)}"
    if header != list(rows[0]):
        return f"header: {header}"
    if len(found) != len(rows):
        return f"{len(found):,} rows where {len(rows):,} were sent"
    for row, cells in zip(rows, found, strict=True):
        if len(cells) != len(row) or not all(map(is_same, row.values(), cells)):
            return f"{row['id']}: {list(row.values())} was sent, {cells} came"
    return None


def is_same(value: object, cell: str) -> bool:
    """Whether a cell says what was sent."""
    if not isinstance(value, float):
        return cell == (value or "")
    try:
        return float(cell) == value
    except ValueError:
        return False


def look_into_pdf(body: bytes, ids: Sequence[str]) -> tuple[str | None, int]:
    """What is wrong with the file, if anything is, and how many pages it has."""
    try:
        with pikepdf.open(io.BytesIO(body)) as document:
            complaints, pages = [*document.get_warnings(), *document.check_pdf_syntax()], len(document.pages)
        texts = page_texts(body)
    except (pikepdf.PdfError, pypdfium2.PdfiumError) as error:
        return f"cannot be read: {reason_of(error)}", 0
    numbers = [re.findall(r"Page (\d+) of (\d+)", text) for text in texts]
    found = [each for text in texts for each in re.findall(r"TRD-\d+", text)]
    if complaints:
        return f"qpdf complains: {shown(complaints)}", pages
    if numbers != [[(str(page), str(pages))] for page in range(1, pages + 1)]:
        return f"{pages} pages with the numbers {shown(numbers)}", pages
    if found != list(ids):
        return f"{len(found):,} rows on {pages} pages, not the {len(ids):,} that were sent in their order", pages
    return None, pages


def page_texts(body: bytes) -> list[str]:
    """The text of each page, as PDFium reads it."""
    document = pypdfium2.PdfDocument(body)
    try:
        return [document[page].get_textpage().get_text_bounded() for page in range(len(document))]
    finally:
        document.close()
