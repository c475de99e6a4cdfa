"""Bookmarks for ranges of pages (ISO 32000-1 12.3.3), so that a reader of a long table finds a place in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spark_export.writers.pdf.objects import ObjectFile, reference, text_string
from spark_export.writers.pdf.words import Words

LEAST_PAGES = 10
"""Shorter documents are leafed through."""
MOST_ITEMS = 60
STEPS: tuple[int, ...] = tuple(step * 10**power for power in range(8) for step in (1, 2, 5))


def outline_objects(
    file: ObjectFile,
    number: int,
    pages: Sequence[int],
    first_rows: Sequence[int],
    rows: int,
    words: Words,
    *,
    at_once: int,
) -> Iterator[bytes]:
    """The outline with the number reserved for it.

    Args:
        file: of the objects.
        number: of the outline.
        pages: objects of all pages.
        first_rows: the first row of each, from 0.
        rows: how many there are.
        words: of its language.
        at_once: pages that show the same rows.
    """
    step = page_step(len(pages) // at_once) * at_once
    starts = range(0, len(pages), step)
    items = [file.reserve() for _ in starts]
    for place, (start, item) in enumerate(zip(starts, items, strict=True)):
        end = min(start + step, len(pages))
        last_row = first_rows[end] if end < len(pages) else rows
        pages_text = f"{start + 1:,}\N{EN DASH}{end:,}" if end > start + 1 else f"{end:,}"
        title = f"{words.pages} {pages_text}"
        if last_row > first_rows[start]:  # not on a last page that has the totals alone
            title += f" · {words.rows} {first_rows[start] + 1:,}\N{EN DASH}{last_row:,}"
        previous = b"/Prev " + reference(items[place - 1]) if place else b""
        following = b"/Next " + reference(items[place + 1]) if place + 1 < len(items) else b""
        yield file.add(
            item,
            b"<</Title%s/Parent %s/Dest[%s/Fit]%s%s>>"
            % (text_string(title), reference(number), reference(pages[start]), previous, following),
        )
    yield file.add(
        number,
        b"<</Type/Outlines/First %s/Last %s/Count %d>>" % (reference(items[0]), reference(items[-1]), len(items)),
    )


def page_step(pages: int) -> int:
    """How many pages one bookmark covers: the smallest round number that gives at most MOST_ITEMS of them."""
    return next(step for step in STEPS if pages <= step * MOST_ITEMS)
