"""Rows as a PDF table, page by page as they come.

    encode -> (text columns) -> Pages.add -> (pages) -> compress -> Document.add -> (bytes)

Each step works on some thousand rows at once in a thread, each a batch ahead of the next, so that two cores are busy.
All but this module are pure: no clock, loop, settings or socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spark_export.model import PdfOptions
from spark_export.text import Encoder
from spark_export.writers.base import Tally, map_ordered
from spark_export.writers.pdf.document import Document
from spark_export.writers.pdf.faces import Fonts
from spark_export.writers.pdf.logo import Logo
from spark_export.writers.pdf.metadata import About
from spark_export.writers.pdf.objects import compress, compress_alike
from spark_export.writers.pdf.pages import SAMPLE_ROWS, Page, Pages, sample_of
from spark_export.writers.pdf.titleblock import Heading
from spark_export.writers.pdf.totals import Totals
from spark_export.writers.pdf.words import words_of

FIRST_PIECE_ROWS = 1000
"""The first bytes leave after these."""
PIECE_ROWS = 8192
"""Rows that are laid out at once, however large a batch is: some 20 MB at ten columns.

A million rows took 2.0 s with 4096, as kernels wait for each other's interpreter lock; 1.6 s with 8192; 1.8 s with
16,384, which caches do not hold.
"""

Texts = Sequence[Any]


@dataclass(frozen=True)
class Imprint:
    """What the service adds to a document.

    Attributes:
        made_at: time of making, in the zone of the request; left out where None. What the file says depends on nothing
            else than this, the rows, the options and the fonts.
        title: where the options have none.
        filters: what the rows were chosen by.
        logo: in the title block.
        reproducible: whether its bytes depend on nothing else either: 1,000,000 trades then take 2.2 s, not 1.75.
    """

    made_at: datetime | None = None
    title: str = ""
    filters: str = ""
    logo: Logo | None = None
    reproducible: bool = False


class PdfWriter:
    """Writes the batches of one export as a PDF.

    Args:
        encoder: makes text of them.
        options: how the PDF looks.
        imprint: what the service adds.
        fonts: gives the fonts, loaded when they are first needed.
        threads: where kernels run.

    Raises:
        InvalidField: a total is asked for of what is no numeric column.
    """

    media_type = "application/pdf"

    def __init__(
        self,
        encoder: Encoder,
        options: PdfOptions,
        imprint: Imprint,
        *,
        fonts: Callable[[], Fonts],
        threads: Executor,
    ) -> None:
        self.tally = Tally()
        self._encoder = encoder
        self._options = options
        self._imprint = imprint
        self._fonts = fonts
        self._threads = threads
        self._compress = compress_alike if imprint.reproducible else compress
        self._totals = Totals(encoder, options.totals)
        self._words = words_of(options.language)
        self._title = imprint.title if options.title is None else options.title

    async def write(self, batches: AsyncIterator[Any]) -> AsyncGenerator[bytes, None]:
        """The file, some hundred pages a chunk; the first holds the first batch's pages.

        The tally counts the characters that no font has, which show as boxes.

        Raises:
            WriterError: a text is not valid UTF-8.
            InvalidField: the page has no room for a row.
        """
        async with (
            aclosing(_pieces(batches)) as pieces,
            aclosing(map_ordered(pieces, self._encode, self._threads)) as texts,
        ):
            head = await _read_head(texts)
            pages = await self._in_thread(self._start_pages, head)
            document = self._start_document(pages)
            chunk = document.start()
            async with (
                aclosing(_chain(head, texts)) as all_texts,
                aclosing(map_ordered(all_texts, pages.add, self._threads, ahead=0)) as made,
                aclosing(map_ordered(made, self._compress_all, self._threads)) as compressed,
                aclosing(map_ordered(compressed, document.add, self._threads, ahead=0)) as written,
            ):
                async for each in written:
                    self.tally.lack(pages.lacking)
                    chunk += each
                    if each:
                        yield chunk
                        chunk = b""
        last = await self._in_thread(self._finish, pages, document)
        self.tally.lack(pages.lacking)
        yield chunk + last

    async def _in_thread(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _encode(self, batch: Any) -> Texts:
        self._totals.add(batch)
        return self._encoder.encode(batch)

    def _start_pages(self, head: Sequence[Texts]) -> Pages:
        columns = self._encoder.columns
        return Pages(columns, sample_of(head, len(columns)), self._options, self._heading(), self._fonts())

    def _start_document(self, pages: Pages) -> Document:
        accessible = self._options.accessible
        return Document(pages, self._about(), self._imprint.logo, accessible=accessible, compress=self._compress)

    def _heading(self) -> Heading:
        imprint = self._imprint
        made = "" if imprint.made_at is None else f"{imprint.made_at:%Y-%m-%d %H:%M %Z}".strip()
        logo_px = None if imprint.logo is None else (imprint.logo.width_px, imprint.logo.height_px)
        return Heading(self._title, self._options.subtitle or "", imprint.filters, made, logo_px)

    def _about(self) -> About:
        options = self._options
        return About(
            # PDF/UA asks for a title of every document.
            self._title or (DEFAULT_TITLE if options.accessible else ""),
            options.author or "",
            options.subject or "",
            options.keywords or "",
            options.language,
            self._imprint.made_at,
        )

    def _compress_all(self, pages: Sequence[Page]) -> list[tuple[Page, bytes]]:
        return [(page, self._compress(page.content)) for page in pages]

    def _finish(self, pages: Pages, document: Document) -> bytes:
        last = document.add(self._compress_all(pages.finish(self._totals.texts(self._words.total))))
        return last + b"".join(document.finish(self._words))


DEFAULT_TITLE = "Export"


async def _pieces(batches: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """All rows in pieces of bounded size; a batch leaves memory when its last piece is out."""
    most = FIRST_PIECE_ROWS
    async for batch in batches:
        start = 0
        while start < len(batch):
            yield batch.slice(start, most)
            start += most
            most = PIECE_ROWS


async def _read_head(texts: AsyncIterator[Texts]) -> list[Texts]:
    """Pieces with the rows of the sample, or all there are."""
    head: list[Texts] = []
    rows = 0
    async for each in texts:
        head.append(each)
        rows += len(each[0]) if each else 0
        if rows >= SAMPLE_ROWS:
            break
    return head


async def _chain(head: list[Texts], rest: AsyncIterator[Texts]) -> AsyncGenerator[Texts, None]:
    """The first pieces, which leave memory one by one, and those that follow."""
    while head:
        yield head.pop(0)
    async for each in rest:
        yield each
