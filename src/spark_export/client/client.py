"""What can be asked of a service: a file as a stream, a job, its file, its receipt."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from spark_export.client.bodies import Request, asks_for_job, body_of
from spark_export.client.connection import Ask, Connection, Patience, Receipt, receipt_in
from spark_export.client.errors import ClientError, ExportFailed
from spark_export.client.events import NoEvents, iter_events
from spark_export.client.parts import open_part, sha256_of
from spark_export.client.streams import Answer, Resumed, check, completed, kept, no_export

TIMEOUT_SECONDS = 60.0
"""Twice what an export may wait for its slot, unless QUEUE_TIMEOUT_SECONDS says otherwise."""
LOOKED_EVERY_SECONDS = 1
"""At a job whose events cannot be had, where the service does not say when to look again."""
ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
IDEMPOTENCY_KEY = re.compile(r"[!#-\[\]-~]{1,255}")
KEY_BYTES = 16
MOST_WAIT_SECONDS = 300
"""Longer the service lets nobody wait."""
UNDER_WAY = frozenset({"queued", "running"})

OnBytes = Callable[[int, int | None], None]
"""Told the bytes that have come and how many there will be, None where nobody knows."""
OnReceipt = Callable[[Receipt], None]


class ExportClient:
    """A client of one service; a context manager that holds its connections.

    Every file is checked against the receipt. A request is made again where the service says when, and where making it
    twice changes nothing: `Patience` has how often.

    Args:
        url: of the service.
        key: the API key; None for none.
        timeout_seconds: longest pause of the service's, not the whole: longer than its QUEUE_TIMEOUT_SECONDS.
        coding: content coding of streams, `gzip` or `zstd`; None for the bytes as they are.
        transport: of httpx, such as one for a Unix socket; its own unless given.
        patience: how often what fails is tried again.

    Raises:
        ValueError: the URL, the key or the coding is none.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        coding: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._connection = Connection(url, key, timeout_seconds, transport, patience or Patience())
        self._coding = _checked_coding(coding)

    async def aclose(self) -> None:
        """Give up the connections, as the end of the block does."""
        await self._connection.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Answer]:
        """The file as the service makes it; it is checked against the receipt when its last byte has come.

        Raises:
            Refused, Unreachable: on entering; the service could not begin.
            BrokenExport, ExportFailed, WrongDigest: out of the answer.
        """
        if asks_for_job(request):
            raise ClientError("callback_url and deliver make a job of an export: submit it")
        ask = Ask("POST", "/export", body_of(request), {"Accept-Encoding": self._coding}, is_safe=False)
        async with self._connection.open(ask) as response:
            export_id = _export_id_in(response)
            if response.status_code != httpx.codes.OK or export_id is None:
                raise no_export(response)
            yield Answer(response, self._connection, _path(export_id))

    async def save(self, request: Request, path: str | Path, on_progress: OnBytes | None = None) -> Receipt:
        """Export into a file, which is there when it is whole; else nothing is left, and what was there stays.

        Returns:
            The receipt.

        Raises:
            OSError: the file cannot be written.
            ClientError: as of `stream`.
        """
        told = on_progress or _nothing
        async with open_part(Path(path)) as part, self.stream(request) as answer:
            async for chunk in answer:
                await part.write(chunk)
                told(answer.bytes, None)
            await part.take_name()
            return answer.receipt or {}

    async def submit(
        self, request: Request, idempotency_key: str | None = None, wait_seconds: int | None = None
    ) -> Receipt:
        """Have the service make a job of it.

        Args:
            request: of the export.
            idempotency_key: the same one later, with the same request, gives the same job; one is made unless given, so
                that a second try after a lost answer makes no second job.
            wait_seconds: 0 to 300; return no earlier than that, unless the job has ended by then.

        Returns:
            The receipt of a job that is queued or runs, or has ended by now.

        Raises:
            Refused: there is no job, or it failed while this waited.
            Unreachable: nobody knows.
        """
        wait = "" if wait_seconds is None else f", wait={_checked_wait(wait_seconds)}"
        key = secrets.token_urlsafe(KEY_BYTES) if idempotency_key is None else idempotency_key
        headers = {"Prefer": f"respond-async{wait}", "Idempotency-Key": _quoted(key)}
        ask = Ask("POST", "/export", body_of(request), headers, wait_seconds=wait_seconds or 0)
        async with self._connection.open(ask) as response:
            if response.status_code == httpx.codes.ACCEPTED:
                return await receipt_in(response)
            export_id = _export_id_in(response)
            if export_id is None:
                raise no_export(response)
        return await self.receipt(export_id)  # it is done; its file can be had again

    async def wait(self, export_id: str, on_progress: OnReceipt | None = None) -> Receipt:
        """The receipt of a job that has become a file; it comes when that is so.

        Args:
            export_id: of the job.
            on_progress: told the receipts of a job under way, about each second.

        Raises:
            ExportFailed: it ended in another way.
            Refused, Unreachable: nothing is known of it.
        """
        told = on_progress or _nothing
        has_events = True
        while True:
            if has_events:
                try:
                    async with aclosing(iter_events(self._connection, f"{_path(export_id)}/events")) as events:
                        async for event in events:
                            told(event)
                except NoEvents:
                    has_events = False
            receipt, seconds = await self._connection.receipt(Ask("GET", _path(export_id)))
            if receipt["state"] not in UNDER_WAY:
                return _is_completed(receipt)
            told(receipt)
            # Events that broke off are listened to again; only where there are none the service says when to look.
            await self._connection.patience.sleep(LOOKED_EVERY_SECONDS if has_events or seconds is None else seconds)

    async def download(
        self, export_id: str, path: str | Path, on_progress: OnBytes | None = None, *, keep_part: bool = True
    ) -> Receipt:
        """Load the file of a completed job; what has come stays beside the path, so that a later call goes on there.

        Args:
            export_id: of the job.
            path: of the file; replaced once the new one is whole and is what the receipt states.
            on_progress: told the bytes.
            keep_part: leave what has come where it fails; bytes that turn out to be wrong go anyway.

        Returns:
            The receipt.

        Raises:
            OSError: the file cannot be written, or another process loads the same one into the same folder.
            ClientError: as of `content`.
        """
        told = on_progress or _nothing
        receipt = kept(await self.receipt(export_id))
        async with open_part(Path(path), f"{export_id}.part" if keep_part else None) as part:
            async with self._content(receipt, part.bytes, part.digest) as content:
                async for chunk in content:
                    await part.write(chunk)
                    told(content.bytes, receipt["bytes"])
            await part.take_name()
        return receipt

    @asynccontextmanager
    async def content(self, export_id: str) -> AsyncIterator[Resumed]:
        """The file of a completed job as a stream, which goes on where a connection breaks.

        Raises:
            ExportFailed: there is none.
            BrokenExport, Refused, Unreachable, WrongDigest: out of the content.
        """
        async with self._content(kept(await self.receipt(export_id)), 0, hashlib.sha256()) as content:
            yield content

    async def receipt(self, export_id: str) -> Receipt:
        """The receipt of an export.

        Raises:
            Refused: none is known.
            Unreachable: the service is.
        """
        receipt, _ = await self._connection.receipt(Ask("GET", _path(export_id)))
        return receipt

    async def cancel(self, export_id: str) -> None:
        """End a job that is queued or runs; remove one that has ended, with its file.

        Asked once: a second time would remove what the first has cancelled, and the callback that is due of it.

        Raises:
            Refused, Unreachable: it cannot be; or, of the latter, nobody knows.
        """
        async with self._connection.open(Ask("DELETE", _path(export_id), is_safe=False)) as response:
            if response.status_code != httpx.codes.NO_CONTENT:
                raise no_export(response)

    async def verify(self, path: str | Path, export_id: str) -> Receipt:
        """The receipt of an export, where the file is the one that it states.

        Raises:
            OSError: the file cannot be read.
            WrongDigest: it is another.
            ExportFailed: the export became no file.
        """
        receipt = completed(await self.receipt(export_id))
        return check(receipt, *await asyncio.to_thread(sha256_of, Path(path)))

    @asynccontextmanager
    async def _content(self, receipt: Receipt, start: int, digest: Any) -> AsyncIterator[Resumed]:
        content = Resumed(self._connection, f"{_path(receipt['export_id'])}/content", receipt, start, digest)
        try:
            yield content
        finally:
            await content.aclose()


def _is_completed(receipt: Receipt) -> Receipt:
    if receipt["state"] != "completed":
        raise ExportFailed(receipt)
    return receipt


def _export_id_in(response: httpx.Response) -> str | None:
    found: str = response.headers.get("X-Export-Id", "")
    return found if ID.fullmatch(found) else None


def _checked_coding(coding: str | None) -> str:
    if coding not in {None, "gzip", "zstd"}:
        raise ValueError("the coding is gzip or zstd, or None for none")
    if coding == "zstd" and find_spec("zstandard") is None:
        raise ValueError("the coding zstd takes the package zstandard")
    return coding or "identity"


def _checked_wait(seconds: int) -> int:
    if seconds != int(seconds) or not 0 <= seconds <= MOST_WAIT_SECONDS:
        raise ValueError(f"wait_seconds is a whole number from 0 to {MOST_WAIT_SECONDS}")
    return int(seconds)


def _path(export_id: str) -> str:
    """Checked, as it becomes a file's name too, and may come from elsewhere."""
    if not ID.fullmatch(export_id):
        raise ValueError(f"{export_id[:200]!r} is no id of an export")
    return f"/exports/{export_id}"


def _quoted(key: str) -> str:
    """The key as a string of a structured field (RFC 9651 3.3.3), without anything to escape."""
    if not IDEMPOTENCY_KEY.fullmatch(key):
        raise ValueError("an Idempotency-Key has 1 to 255 printable ASCII characters, no space, quote or backslash")
    return f'"{key}"'


def _nothing(*_: Any) -> None:
    """In the place of a callback that was not given."""
