"""Rows as a PDF table, page by page as they come.

    encode -> (text columns) -> Pages.add -> (page contents) -> compress -> Document.add -> (bytes)

Each step works on some thousand rows at once in a thread, each a batch ahead of the next, so that two cores are busy.
layout, content, objects, fonts, cells, embedding and document are pure: no clock, loop, settings or socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from datetime import datetime
from typing import Any

from spark_export.model import PdfOptions
from spark_export.text import Encoder
from spark_export.writers.base import Tally, map_ordered
from spark_export.writers.pdf.content import Heading
from spark_export.writers.pdf.document import SAMPLE_ROWS, Document, Pages, sample_of
from spark_export.writers.pdf.objects import compress

FIRST_PIECE_ROWS = 1000
"""The first bytes leave after these."""
PIECE_ROWS = 4096
"""Rows that are laid out at once, however large a batch is: some 10 MB at ten columns."""

Texts = Sequence[Any]


class PdfWriter:
    """Writes the batches of one export as a PDF.

    Args:
        encoder: makes text of them.
        options: how the PDF looks.
        threads: where kernels run.
        made_at: time of making, on the first page and in the document's information; left out where None. The file
            depends on nothing else than this, the rows and the options.
        default_title: the title where the options have none.
    """

    media_type = "application/pdf"

    def __init__(
        self,
        encoder: Encoder,
        options: PdfOptions,
        *,
        threads: Executor,
        made_at: datetime | None,
        default_title: str | None,
    ) -> None:
        self.tally = Tally()
        self._encoder = encoder
        self._options = options
        self._threads = threads
        self._made_at = made_at
        title = default_title if options.title is None else options.title
        made = "" if made_at is None else f"{made_at:%Y-%m-%d %H:%M %Z}".strip()
        self._heading = Heading(title or "", options.subtitle or "", made)

    async def write(self, batches: AsyncIterator[Any]) -> AsyncGenerator[bytes, None]:
        """The file, some hundred pages a chunk; the first holds the first batch's pages.

        `tally.replaced_characters` counts those that the font lacks, which show as boxes.

        Raises:
            WriterError: a text is not valid UTF-8.
        """
        async with aclosing(map_ordered(batches, self._encoder.encode, self._threads)) as texts:
            head = await _read_head(texts)
            pages = await self._in_thread(self._start_pages, head)
            document = Document(pages)
            chunk = document.start()
            async with (
                aclosing(_pieces(head, texts)) as pieces,
                aclosing(map_ordered(pieces, pages.add, self._threads, ahead=0)) as contents,
                aclosing(map_ordered(contents, _compress_all, self._threads)) as streams,
            ):
                async for stream in streams:
                    self.tally.replaced_characters = pages.lacking
                    chunk += document.add(stream)
                    if stream:
                        yield chunk
                        chunk = b""
        last = await self._in_thread(self._finish, pages, document)
        yield chunk + last

    async def _in_thread(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _start_pages(self, head: Sequence[Texts]) -> Pages:
        columns = self._encoder.columns
        return Pages(columns, sample_of(head, len(columns)), self._options, self._heading)

    def _finish(self, pages: Pages, document: Document) -> bytes:
        last = document.add(_compress_all(pages.finish()))
        return last + b"".join(document.finish(self._heading.title, self._made_at))


def _compress_all(contents: Sequence[bytes]) -> list[bytes]:
    return [compress(content) for content in contents]


async def _read_head(texts: AsyncIterator[Texts]) -> list[Texts]:
    """Batches with the rows of the sample, or all there are."""
    head: list[Texts] = []
    rows = 0
    async for each in texts:
        head.append(each)
        rows += len(each[0]) if each else 0
        if rows >= SAMPLE_ROWS:
            break
    return head


async def _pieces(head: list[Texts], rest: AsyncIterator[Texts]) -> AsyncGenerator[Texts, None]:
    """All rows in pieces of bounded size; a batch leaves memory when its last piece is out."""
    most = FIRST_PIECE_ROWS
    while (each := head.pop(0) if head else await anext(rest, None)) is not None:
        rows = len(each[0]) if each else 0
        start = 0
        while start < rows:
            yield [column.slice(start, most) for column in each]
            start += most
            most = PIECE_ROWS
