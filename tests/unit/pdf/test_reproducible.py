"""The same rows, options and time give the same bytes, however and wherever they are made."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from isal import isal_zlib

from spark_export.writers.pdf import Imprint

from .conftest import IMPRINT, MADE_AT, opened

if TYPE_CHECKING:
    from .conftest import Press

SCRIPTS = ("ş", "漢", "\U0001f600", "سلام", "שלום", "e\u0301", "ab-", "", "Ж", "क्ष")
MODES: list[dict[str, Any]] = [
    {},
    {"overflow": "wrap"},
    {"accessible": True},
    {"page_size": "60x90mm", "overflow": "wrap", "totals": ["n"], "accessible": True},
    {"overflow": "wrap", "font_size": 7.3, "theme": {"row_height": 11.1}},
]


def mixed(rows: int) -> Any:
    """Rows of many scripts, new characters throughout, in several columns."""
    texts = [
        [
            f"{SCRIPTS[(row + column) % 10]} {chr(0x100 + (row * 7 + column) % 900)}" * (row % (5 + column))
            for row in range(rows)
        ]
        for column in range(3)
    ]
    return pa.table({"n": range(rows), "漢": texts[0], "سلام": texts[1], "third": texts[2]})


@pytest.mark.parametrize("options", MODES, ids=str)
def test_batches_do_not_show(press: Press, options: dict[str, Any]) -> None:
    """The same rows give the same bytes and the same receipt, whatever the size of the batches."""
    table = mixed(120)
    made, tallies = set(), []
    for batch_rows in (1, 7, 41, 120):
        made.add(press.make(table, batch_rows=batch_rows, **options))
        tallies.append(press.tally)
    assert len(made) == 1
    assert all(tally.replaced_characters == tallies[0].replaced_characters > 0 for tally in tallies)


def test_wide_batches_do_not_show(press: Press) -> None:
    """Nor do batches show in a table of several bands."""
    table = pa.table({f"column {index}": [f"{row} ş {index}" for row in range(60)] for index in range(40)})
    made = {press.make(table, batch_rows=batch_rows, accessible=True) for batch_rows in (7, 50, 60)}
    assert len(made) == 1


@pytest.mark.parametrize("overflow", ["ellipsis", "wrap"])
def test_large_batches_do_not_show(press: Press, overflow: str) -> None:
    """Nor do they around the sizes of the pieces in which rows are laid out."""
    texts = ["ş漢\U0001f600"[row % 3] * (row % 50) for row in range(6000)]
    table = pa.table({"n": range(6000), "漢": texts})
    made = {press.make(table, batch_rows=batch_rows, overflow=overflow) for batch_rows in (999, 1000, 4097, 6000)}
    assert len(made) == 1


def test_documents_do_not_show_in_each_other(press: Press) -> None:
    """A file does not depend on those made before it with the same fonts."""
    first = press.make(mixed(50))
    press.make(pa.table({"a": ["漢ЖЖ سلام \U0001f600", "other"]}), overflow="wrap")
    assert press.make(mixed(50)) == first


def test_processes_do_not_show(press: Press) -> None:
    """Another process with other hashes and in another time zone makes the same bytes."""
    program = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from spark_export.writers.pdf.faces import load_fonts
from tests.unit.pdf.conftest import Press
from tests.unit.pdf.test_reproducible import mixed
with ThreadPoolExecutor(1) as threads:
    sys.stdout.buffer.write(Press(Path(), threads, load_fonts()).make(mixed(100), accessible=True))
"""
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "0"}
    root = Path(__file__).parents[3]
    run = subprocess.run([sys.executable, "-c", program], env=environment, cwd=root, capture_output=True, check=True)
    assert run.stdout == press.make(mixed(100), accessible=True)


@pytest.mark.parametrize(("reproducible", "made"), [(True, 1), (False, 2)])
def test_igzip_has_no_part(press: Press, monkeypatch: pytest.MonkeyPatch, reproducible: bool, made: int) -> None:
    """Where igzip writes other codes of the same content, as it may, a reproducible file is the same."""
    imprint = dataclasses.replace(IMPRINT, reproducible=reproducible)
    first = press.make(mixed(50), accessible=True, imprint=imprint)
    compress = isal_zlib.compress
    monkeypatch.setattr(isal_zlib, "compress", lambda data, _level: compress(data, 0))
    other = press.make(mixed(50), accessible=True, imprint=imprint)
    assert len({first, other}) == made
    assert press.text(first) == press.text(other)


def test_time_shows(press: Press) -> None:
    """Files made at different times differ, in the time that they state."""
    later = dataclasses.replace(IMPRINT, made_at=MADE_AT + timedelta(minutes=1))
    table = mixed(3)
    assert press.make(table) != press.make(table, imprint=later)
    assert "2026-01-05 14:03 UTC" in press.text(press.make(table))
    assert "2026-01-05 14:04 UTC" in press.text(press.make(table, imprint=later))


def test_no_time(press: Press) -> None:
    """Without a time of making nothing in the file is a date."""
    pdf = press.make(mixed(3), imprint=Imprint(title="Trades"))
    with opened(pdf) as document:
        assert not {"/CreationDate", "/ModDate"} & set(document.docinfo.keys())
        with document.open_metadata() as xmp:
            assert not {"xmp:CreateDate", "xmp:ModifyDate"} & set(xmp)
    assert "UTC" not in press.text(pdf)


def test_content_shows_in_the_identifier(press: Press) -> None:
    """Files of different rows have different identifiers of sixteen bytes."""
    identifiers = set()
    for rows in (1, 2):
        with opened(press.make(mixed(rows))) as document:
            identifiers |= {bytes(each) for each in document.trailer["/ID"]}
    assert {len(each) for each in identifiers} == {16}
    assert len(identifiers) == 2
