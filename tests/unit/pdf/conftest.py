"""Makes PDFs of small tables, and asks foreign readers what is in them."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from spark_export.model import PdfOptions
from spark_export.text import Encoder
from spark_export.writers.pdf import PdfWriter

MADE_AT = datetime(2026, 1, 5, 14, 3, tzinfo=UTC)


@dataclass
class Press:
    """Makes and reads PDFs in one folder."""

    folder: Path
    threads: ThreadPoolExecutor
    replaced_characters: int = 0

    def chunks(
        self, table: Any, *, batch_rows: int = 1000, failure: Exception | None = None, **options: Any
    ) -> list[bytes]:
        """The chunks of the table's PDF; those before the failure where the source fails at its end."""
        encoder = Encoder(table.schema)
        writer = PdfWriter(
            encoder, PdfOptions(**options), threads=self.threads, made_at=MADE_AT, default_title="Trades"
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
        self.replaced_characters = writer.tally.replaced_characters
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
        """What poppler reads on the pages of a sound file."""
        return self.run("pdftotext", "-layout", self.check(pdf), "-")

    @staticmethod
    def run(*command: str | Path) -> str:
        """What a command prints that must succeed without a warning."""
        done = subprocess.run(command, capture_output=True, check=False)
        assert (done.returncode, done.stderr.decode("utf-8", "replace")) == (0, "")
        return done.stdout.decode("utf-8")


@pytest.fixture(scope="session")
def press(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Press]:
    """One press with its threads for all tests."""
    with ThreadPoolExecutor(2) as threads:
        yield Press(tmp_path_factory.mktemp("pdf"), threads)
