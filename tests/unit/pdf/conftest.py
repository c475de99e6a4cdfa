"""Makes PDFs of small tables, and asks foreign readers what is in them."""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import unicodedata
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pikepdf
import pypdfium2
import pytest

from spark_export.model import ColumnSpec, PdfOptions
from spark_export.text import Encoder
from spark_export.writers.base import Tally
from spark_export.writers.pdf import Imprint, PdfWriter
from spark_export.writers.pdf.faces import Fonts, load_fonts

MADE_AT = datetime(2026, 1, 5, 14, 3, tzinfo=UTC)
IMPRINT = Imprint(made_at=MADE_AT, title="Trades", reproducible=True)


def letters(text: str) -> str:
    """The text without spaces and controls, which readers add and drop as they place words."""
    return "".join(each for each in text if not each.isspace() and unicodedata.category(each) not in ("Cc", "Cf"))


@dataclass
class Press:
    """Makes and reads PDFs in one folder.

    Attributes:
        folder: for files.
        threads: where kernels run.
        fonts: of all documents.
        tally: of the last document.
    """

    folder: Path
    threads: ThreadPoolExecutor
    fonts: Fonts
    tally: Tally = field(default_factory=Tally)

    def chunks(
        self,
        table: Any,
        *,
        batch_rows: int = 1000,
        failure: Exception | None = None,
        columns: Sequence[ColumnSpec] | None = None,
        imprint: Imprint = IMPRINT,
        **options: Any,
    ) -> list[bytes]:
        """The chunks of the table's PDF; those before the failure where the source fails at its end."""
        writer = PdfWriter(
            Encoder(table.schema, columns),
            PdfOptions.model_validate(options),
            imprint,
            fonts=lambda: self.fonts,
            threads=self.threads,
        )
        made: list[bytes] = []

        async def source() -> AsyncIterator[Any]:
            for batch in table.to_batches(max_chunksize=batch_rows):
                yield batch
            if failure:
                raise failure

        async def collect() -> None:
            async for chunk in writer.write(source()):
                made.append(chunk)  # noqa: PERF401  what came before a failure is wanted

        if failure:
            with pytest.raises(type(failure)):
                asyncio.run(collect())
        else:
            asyncio.run(collect())
        self.tally = writer.tally
        return made

    def make(self, table: Any, **options: Any) -> bytes:
        """The table's PDF."""
        return b"".join(self.chunks(table, **options))

    def check(self, pdf: bytes) -> Path:
        """The file, in which qpdf finds nothing wrong."""
        path = self.folder / "table.pdf"
        path.write_bytes(pdf)
        self.run("qpdf", "--check", path)
        return path

    def text(self, pdf: bytes) -> str:
        """What poppler reads on the pages of a sound file, laid out as they are."""
        return self.run("pdftotext", "-layout", self.check(pdf), "-")

    def pages(self, pdf: bytes) -> list[str]:
        """The same, page by page."""
        return self.text(pdf).split("\f")[:-1]

    def stream(self, pdf: bytes) -> str:
        """What poppler reads of a sound file in the order of its operators."""
        return self.run("pdftotext", "-raw", self.check(pdf), "-")

    def sizes(self, pdf: bytes) -> list[tuple[float, float]]:
        """Width and height of each page in points."""
        with opened(pdf) as document:
            return [(float(page.mediabox[2]), float(page.mediabox[3])) for page in document.pages]

    @staticmethod
    def run(*command: str | Path) -> str:
        """What a command prints that must succeed without a warning."""
        done = subprocess.run(command, capture_output=True, check=False)
        assert (done.returncode, done.stderr.decode("utf-8", "replace")) == (0, "")
        return done.stdout.decode("utf-8")


def embedded(pdf: bytes) -> set[str]:
    """PostScript names of the fonts in a file, without the tags of subsets."""
    with opened(pdf) as document:
        fonts = [each for each in document.objects if isinstance(each, pikepdf.Dictionary)]
        names = {str(each.FontName) for each in fonts if each.get("/Type") == "/FontDescriptor"}
    assert all(re.fullmatch(r"/[A-Z]{6}\+.+", name) for name in names)
    return {name.partition("+")[2] for name in names}


def opened(pdf: bytes) -> pikepdf.Pdf:
    """The file as pikepdf reads it."""
    return pikepdf.open(io.BytesIO(pdf))


def pdfium_text(pdf: bytes) -> str:
    """What PDFium reads on all pages."""
    document = pypdfium2.PdfDocument(pdf)
    try:
        return "\n".join(document[number].get_textpage().get_text_range() for number in range(len(document)))
    finally:
        document.close()


def contents(pdf: bytes) -> list[bytes]:
    """The operators of each page, those of the forms that it draws among them."""
    with opened(pdf) as document:
        return [b"".join(_operators(page)) for page in document.pages]


def _operators(page: pikepdf.Page) -> Iterator[bytes]:
    own = page.Contents.read_bytes()
    yield own
    for name, form in forms(page).items():
        if re.search(rb"%s Do\b" % re.escape(name.encode()), own):
            yield form.read_bytes()


def forms(page: pikepdf.Page) -> dict[str, pikepdf.Object]:
    """The forms that a page may draw, by their names."""
    found: Any = page.Resources.XObject
    return {name: each for name, each in found.items() if each.Subtype == "/Form"}


def words(text: str) -> list[str]:
    """The words of a text."""
    return re.findall(r"\S+", text)


@pytest.fixture(scope="session")
def press(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Press]:
    """One press with its threads for all tests."""
    with ThreadPoolExecutor(2) as threads:
        yield Press(tmp_path_factory.mktemp("pdf"), threads, load_fonts())
