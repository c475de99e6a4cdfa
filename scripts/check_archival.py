"""Makes PDFs of many kinds, and asks a validator whether they are what they say: PDF/A-2b, PDF/UA-1 where tagged.

    .venv/bin/python scripts/check_archival.py ../shared/tools/verapdf

The arguments are a command that takes a flavour (`2b`, `ua1`) and files, and ends with status 0 when all conform.
Exit status 0 when it is content with all of them.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import string
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from spark_export.model import PdfOptions
from spark_export.text import Encoder
from spark_export.writers.pdf import Imprint, PdfWriter
from spark_export.writers.pdf.artwork import load_logo
from spark_export.writers.pdf.faces import Fonts, load_fonts

MADE_AT = dt.datetime(2026, 1, 5, 14, 3, tzinfo=dt.timezone(dt.timedelta(hours=3)))
BATCH_ROWS = 777
LOGO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 20">
<rect width="20" height="20" fill="#2f5d8c" opacity="0.5"/><text x="24" y="15" font-size="14">desk</text></svg>"""

SCRIPTS = [
    "İstanbul ığüşçö ĞÜŞİÇÖ",
    "Ελληνικά και Кириллица",
    "مرحبا بالعالم 123 (س)",
    "שלום עולם 45 [א]",
    "e\u0301 a\u0308 n\u0303 q\u0323\u0307 \u0301",
    "漢字かな 한국어",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1f9\U0001f1f7",
    "𝒜𝔅ℂ ∑∫√ ▲●★ ✓",
    "हिन्दी தமிழ் ไทย",
    "\u202eright\u202c \u2066to\u2069 left \u200f",
]
"""A text of each kind that is set in another way."""
ODD = [
    "",
    " ",
    "x\0y\x1b[0m\x7f\x85",
    "one\ntwo\r\nthree\tfour\u2028five",
    "(a) \\ ((b ]] << %",
    "\ufeff\u00ad\u200b\u2060\ufffe\uffff",
    "\ue000\U000f0000\U0010ffff",
    "".join(chr(point) for point in range(0xA0, 0x250)),
    "word " * 300,
    "w" * 3000,
    None,
]
"""Texts that break careless writers."""


@dataclass(frozen=True)
class Sample:
    """A document.

    Attributes:
        name: of its file.
        table: what it shows.
        options: how.
        imprint: what the service adds.
    """

    name: str
    table: Any
    options: dict[str, Any] = field(default_factory=dict)
    imprint: Imprint = field(default_factory=lambda: Imprint(MADE_AT, "Trades"))


def main(command: Sequence[str]) -> None:
    """Make them, plain and tagged, and have them checked."""
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as threads:
        folder = Path(name)
        (folder / "logo.svg").write_text(LOGO, encoding="utf-8")
        fonts = load_fonts()
        samples = make_samples(folder / "logo.svg")
        files: dict[bool, list[Path]] = {False: [], True: []}
        for accessible, made in files.items():
            for each in samples:
                path = folder / f"{each.name}{'-tagged' if accessible else ''}.pdf"
                path.write_bytes(asyncio.run(make(each, fonts, threads, accessible=accessible)))
                made.append(path)
        broken = [
            flavour
            for flavour, paths in (("2b", files[False] + files[True]), ("ua1", files[True]))
            if not conforms(command, flavour, paths)
        ]
    if broken:
        sys.exit(f"broken: {', '.join(broken)}")


def make_samples(logo: Path) -> list[Sample]:
    """One of each kind."""
    scripts = pa.table({f"{name} {index}": SCRIPTS[index:] + SCRIPTS[:index] for index, name in enumerate(SCRIPTS)})
    odd = pa.table({"n": range(len(ODD)), "text\n(": ODD, "other": ODD[::-1]})
    wide = pa.table({f"column {index}": [index, None, -index] * 30 for index in range(200)})
    texts = pa.table({"id": range(300), "text": [f"{row} {'lorem ipsum ' * (row % 90)}" for row in range(300)]})
    amount = pa.array([decimal.Decimal("-0.10")] * 60, pa.decimal128(20, 2))
    money = pa.table({"city": ["İzmir", None] * 30, "amount": amount, "price": [0.1] * 60})
    known = {"author": "Ö. Yıldız & <co>", "subject": "(fills)", "keywords": "a, b", "language": "tr"}
    everything = {**known, "title": "İşlemler", "subtitle": "alt başlık", "totals": ["amount", "price"]}
    full = Imprint(MADE_AT, "ignored", "price ≥ 40 · limit 1,000", load_logo(logo))
    return [
        Sample("empty", money.slice(0, 0)),
        Sample("no-columns", pa.table({})),
        Sample("single", pa.table({"a": [1]}), imprint=Imprint()),
        Sample("scripts", scripts),
        Sample("scripts-wrapped", scripts, {"overflow": "wrap", "page_size": "100x150mm"}),
        Sample("odd", odd),
        Sample("odd-wrapped", odd, {"overflow": "wrap", "page_size": "A4", "orientation": "portrait"}),
        Sample("bands", wide),
        Sample("bands-totals", wide, {"totals": ["column 0", "column 9", "column 199"], "page_size": "Letter"}),
        Sample("rows-over-pages", texts, {"overflow": "wrap", "page_size": "90x70mm"}),
        Sample("everything", money, everything, full),
        Sample("plain", money, {"theme": {"accent": "#ffffff", "stripes": False, "row_height": 40}, "title": ""}),
        Sample("all-ascii", pa.table({letter: [letter] for letter in string.ascii_letters})),
        Sample("ten-thousand", pa.table({"id": range(10_000), "note": [f"row {row}" for row in range(10_000)]})),
    ]


async def make(sample: Sample, fonts: Fonts, threads: Executor, *, accessible: bool) -> bytes:
    """The file of a sample."""
    options = PdfOptions.model_validate(sample.options | {"accessible": accessible})
    encoder = Encoder(sample.table.schema)
    writer = PdfWriter(encoder, options, sample.imprint, fonts=lambda: fonts, threads=threads)

    async def batches() -> AsyncIterator[Any]:
        for batch in sample.table.to_batches(max_chunksize=BATCH_ROWS):
            yield batch

    return b"".join([chunk async for chunk in writer.write(batches())])


def conforms(command: Sequence[str], flavour: str, files: Sequence[Path]) -> bool:
    """Whether the command is content with the files; what it says is printed."""
    print(f"{flavour}: {len(files)} files", flush=True)
    return subprocess.run([*command, flavour, *files], check=False).returncode == 0


if __name__ == "__main__":
    main(sys.argv[1:])
