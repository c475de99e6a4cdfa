"""The peers that `scripts/bench pdf` measures against: the table of trades as a PDF, made by other means.

    .venv-bench/bin/python scripts/bench_pdf_peers.py PEER TABLE.csv FONT.ttf OUT.pdf

Prints the seconds that the file took. The peers are favoured: before the clock runs their rows are texts in memory, and
Cairo and ReportLab are loaded; none of them draws rules or stripes. Their packages are not the project's, so they are
imported by name: mypy does not find them.
"""

from __future__ import annotations

import csv
import html
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

WIDTH_PT, HEIGHT_PT = 841.89, 595.276
MARGIN_PT = 36.0
FOOTER_PT = 24.0
FONT_PT = 8.0
FAMILY = "Noto Sans"
ROW_PT = 12.5
PAGE_ROWS = 40
PADDING_PT = 8.0
COLUMN_PT = {
    "id": 46,
    "ts": 118,
    "symbol": 58,
    "side": 36,
    "qty": 62,
    "price": 62,
    "notional": 82,
    "fee": 62,
    "strategy": 88,
    "note": 155,
}
"""Measured by hand, as in any report that is drawn: nothing sizes these columns while the clock runs."""
NUMBERS = {"id", "qty", "price", "notional", "fee"}
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"

CHROMIUM = (
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-pdf-tagging",  # tags take 34 MB for 10,000 rows instead of 2, and 60 s instead of 38
)

Row = Sequence[str]
Placed = tuple[float, float, str]
"""Where a text's baseline begins, from the paper's left and upper edges, and the text."""


@dataclass(frozen=True)
class Task:
    """One file to be made.

    Attributes:
        rows: the labels and then the rows.
        font: the file of the only font.
        out: the file.
    """

    rows: Sequence[Row]
    font: Path
    out: Path


class Slot(NamedTuple):
    """Where a column's texts stand; a tuple, which is unpacked for each cell."""

    left_pt: float
    width_pt: float
    right_aligned: bool


def main(peer: str, table: Path, font: Path, out: Path) -> None:
    """Time one peer at one file."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    show_fontconfig_only(font, out.with_suffix(".conf"))
    make = PEERS[peer](Task(rows, font, out))
    began = time.perf_counter()
    make()
    print(time.perf_counter() - began)


def show_fontconfig_only(font: Path, configuration: Path) -> None:
    """Let Cairo and Chromium find the font that the service embeds, on any machine."""
    folders = f"<dir>{font.parent}</dir><cachedir>{configuration.with_suffix('.cache')}</cachedir>"
    configuration.write_text(f"<fontconfig>{folders}</fontconfig>", encoding="utf-8")
    os.environ["FONTCONFIG_FILE"] = str(configuration)


def prepare_cairo(task: Task) -> Callable[[], object]:
    """Pycairo: `show_text` for each cell."""
    return partial(draw_by_cairo, import_module("cairo"), task)


def draw_by_cairo(cairo: Any, task: Task) -> None:
    """Draw the pages."""
    surface = cairo.PDFSurface(str(task.out), WIDTH_PT, HEIGHT_PT)
    context = cairo.Context(surface)
    context.select_font_face(FAMILY)
    context.set_font_size(FONT_PT)
    move_to, show_text = context.move_to, context.show_text
    for page in iter_pages(task.rows, Advances(lambda character: float(context.text_extents(character).x_advance))):
        for x, y, text in page:
            move_to(x, y)
            show_text(text)
        context.show_page()
    surface.finish()


def prepare_reportlab(task: Task) -> Callable[[], object]:
    """ReportLab's canvas: `drawString` for each cell, with its C code, which it does without silently."""
    import_module("_rl_accel")
    return _prepare_reportlab(task)


def _prepare_reportlab(task: Task) -> Callable[[], object]:
    metrics = import_module("reportlab.pdfbase.pdfmetrics")
    metrics.registerFont(import_module("reportlab.pdfbase.ttfonts").TTFont(FAMILY, str(task.font)))
    canvas = import_module("reportlab.pdfgen.canvas")
    return partial(draw_by_reportlab, canvas.Canvas, metrics.stringWidth, task)


def prepare_reportlab_alone(task: Task) -> Callable[[], object]:
    """The same without its C code, as `pip install reportlab` gives it."""
    sys.modules["_rl_accel"] = None  # type: ignore[assignment]
    return _prepare_reportlab(task)


def draw_by_reportlab(canvas_of: Any, width_of: Any, task: Task) -> None:
    """Draw the pages."""
    canvas = canvas_of(str(task.out), pagesize=(WIDTH_PT, HEIGHT_PT), pageCompression=1)
    draw = canvas.drawString
    for page in iter_pages(task.rows, Advances(lambda character: float(width_of(character, FAMILY, FONT_PT)))):
        canvas.setFont(FAMILY, FONT_PT)
        for x, y, text in page:
            draw(x, HEIGHT_PT - y, text)
        canvas.showPage()
    canvas.save()


def prepare_chromium(task: Task) -> Callable[[], object]:
    """Headless Chromium, from its start to its end: print a page of HTML, which is there already."""
    page = task.out.with_suffix(".html")
    page.write_text("".join(iter_html(task.rows)), encoding="utf-8")
    profile = f"--user-data-dir={task.out.with_suffix('.profile')}"
    command = [*CHROMIUM, profile, f"--print-to-pdf={task.out}", page.as_uri()]
    return partial(subprocess.run, command, check=True, capture_output=True)


def iter_html(rows: Sequence[Row]) -> Iterator[str]:
    """The table as HTML, with the labels on every page; page numbers are Chromium's own."""
    labels, *rest = rows
    numbers = ", ".join(f":nth-child({place})" for place, name in enumerate(COLUMN_PT, 1) if name in NUMBERS)
    yield f"""<!doctype html><meta charset="utf-8"><title>trades</title><style>
        @page {{ size: A4 landscape; margin: {MARGIN_PT}pt }}
        body {{ margin: 0; font: {FONT_PT}pt "{FAMILY}" }}
        table {{ table-layout: fixed; width: 100%; border-collapse: collapse }}
        th, td {{ height: {ROW_PT}pt; line-height: {ROW_PT}pt; padding: 0 {PADDING_PT / 2}pt; font-weight: normal;
            text-align: left; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }}
        :is(th, td):is({numbers}) {{ text-align: right }}
        </style><table>"""
    yield from (f'<col style="width: {width}pt">' for width in COLUMN_PT.values())
    yield f"<thead><tr>{''.join(f'<th>{html.escape(label)}' for label in labels)}</thead>"
    yield from (f"<tr>{''.join(f'<td>{html.escape(cell)}' for cell in row)}" for row in rest)


PEERS = {
    "cairo": prepare_cairo,
    "reportlab": prepare_reportlab,
    "reportlab-alone": prepare_reportlab_alone,
    "chromium": prepare_chromium,
}
"""Each takes a task, gets ready, and returns what is timed."""


class Advances(dict[str, float]):
    """Widths of characters in points, each measured when it is first met."""

    def __init__(self, measure: Callable[[str], float]) -> None:
        super().__init__()
        self._measure = measure

    def __missing__(self, character: str) -> float:
        self[character] = advance = self._measure(character)
        return advance


def iter_pages(rows: Sequence[Row], advances: Mapping[str, float]) -> Iterator[list[Placed]]:
    """Each page's texts: the labels, forty rows, the page's number."""
    labels, *rest = rows
    slots = slots_of(labels)
    pages = -(-len(rest) // PAGE_ROWS)
    for page in range(pages):
        placed = place([labels, *rest[page * PAGE_ROWS : (page + 1) * PAGE_ROWS]], slots, advances)
        placed.append((MARGIN_PT, HEIGHT_PT - FOOTER_PT, f"Page {page + 1} of {pages}"))
        yield placed


def slots_of(labels: Row) -> list[Slot]:
    """The columns side by side."""
    widths = [COLUMN_PT[label] for label in labels]
    lefts = accumulate(widths[:-1], initial=MARGIN_PT + PADDING_PT / 2)
    return [
        Slot(left, width - PADDING_PT, label in NUMBERS)
        for left, width, label in zip(lefts, widths, labels, strict=True)
    ]


def place(rows: Sequence[Row], slots: Sequence[Slot], advances: Mapping[str, float]) -> list[Placed]:
    """Every cell of a page, cut where its column ends."""
    placed = []
    y = MARGIN_PT
    for row in rows:
        y += ROW_PT
        for (left, room, right_aligned), text in zip(slots, row, strict=True):
            width = sum(map(advances.__getitem__, text))
            if width > room:
                placed.append((left, y, cut(text, room, advances)))
            else:
                placed.append((left + room - width if right_aligned else left, y, text))
    return placed


def cut(text: str, room_pt: float, advances: Mapping[str, float]) -> str:
    """As much of a text as fits before an ellipsis."""
    ends = accumulate(advances[character] for character in text)
    return text[: sum(end <= room_pt - advances[ELLIPSIS] for end in ends)] + ELLIPSIS


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
