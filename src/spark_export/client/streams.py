"""The bytes of a file as they come, checked against the receipt before their end is told."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Self

import httpx

from spark_export.client.connection import Ask, Connection, Receipt
from spark_export.client.errors import BrokenExport, ClientError, ExportFailed, Refused, WrongDigest

REPR_DIGEST = re.compile(r"(?:^|[,\s])sha-256=:([A-Za-z0-9+/]{43}=):")
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d+/(?:\d+|\*)", re.ASCII)


class Answer:
    """The file of one answer, which cannot be had again; iterate over it for its bytes.

    Args:
        response: whose body it is.
        connection: to the service.
        path: of the receipt there.

    Attributes:
        export_id: of the export.
        media_type: of the file.
        bytes: that have come.
        receipt: once the last byte has come and fits it; None before.
    """

    def __init__(self, response: httpx.Response, connection: Connection, path: str) -> None:
        self.export_id: str = response.headers["X-Export-Id"]
        self.media_type: str = response.headers.get("Content-Type", "application/octet-stream")
        self.bytes = 0
        self.receipt: Receipt | None = None
        self._chunks = response.aiter_bytes()
        self._connection = connection
        self._path = path
        self._digest = hashlib.sha256()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next bytes.

        Raises:
            BrokenExport: the connection broke.
            ExportFailed: it did, and the receipt says why.
            WrongDigest: all have come, and are others than the receipt states.
        """
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            if self.receipt is None:
                receipt, _ = await self._connection.receipt(Ask("GET", self._path))
                self.receipt = check(receipt, self._digest.hexdigest(), self.bytes)
            raise
        except httpx.RequestError as error:
            raise await self._why(error) from error
        self._digest.update(chunk)
        self.bytes += len(chunk)
        return chunk

    async def _why(self, error: httpx.RequestError) -> ClientError:
        """The receipt knows more than that the connection broke, unless it broke under way; it is asked for once."""
        try:
            receipt, _ = await self._connection.receipt(Ask("GET", self._path, is_safe=False))
        except ClientError:
            receipt = {}
        if receipt.get("state") == "failed":
            return ExportFailed(receipt)
        return BrokenExport(f"the file broke off after {self.bytes} bytes: {error}", self.export_id)


class Resumed:
    """The file of a job; where a connection breaks another one goes on (RFC 9110 14). Iterate over it for its bytes.

    Args:
        connection: to the service.
        path: of the file there.
        receipt: of the completed job.
        start: bytes that are here already.
        digest: SHA-256 of them.

    Attributes:
        bytes: that have come, those that were here already too.
        receipt: of the job.
    """

    def __init__(self, connection: Connection, path: str, receipt: Receipt, start: int, digest: Any) -> None:
        self.bytes = start
        self.receipt = receipt
        self._connection = connection
        self._path = path
        self._digest = digest
        self._etag: str | None = None
        self._open = AsyncExitStack()
        self._chunks: AsyncIterator[bytes] | None = None
        self._passed_over = 0
        self._failures = 0
        self._is_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next bytes.

        Raises:
            BrokenExport: again and again the connection broke, and brought no further byte.
            Refused, Unreachable: it cannot be had.
            WrongDigest: what came is another file than the receipt states.
        """
        if self._is_closed:
            raise RuntimeError("the block in which this could be read has ended")
        while self.bytes < self.receipt["bytes"]:
            try:
                if chunk := await self._next():
                    return chunk
            except httpx.RequestError as error:
                await self._break(str(error) or type(error).__name__)
            except StopAsyncIteration:
                await self._break("it ended early")
        check(self.receipt, self._digest.hexdigest(), self.bytes)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Give up the connection, and read no further."""
        self._is_closed = True
        await self._give_up()

    async def _give_up(self) -> None:
        self._chunks = None
        await self._open.aclose()

    async def _next(self) -> bytes:
        """The next bytes of the connection; none where they are among those that are here."""
        if self._chunks is None:
            self._chunks = await self._go_on()
        chunk = await anext(self._chunks)
        passed_over = min(self._passed_over, len(chunk))
        self._passed_over -= passed_over
        chunk = chunk[passed_over:]
        if chunk:
            self._failures = 0
            self._digest.update(chunk)
            self.bytes += len(chunk)
        return chunk

    async def _go_on(self) -> AsyncIterator[bytes]:
        """The bytes from the first that is missing, or from the first of all, where a part cannot be had."""
        headers = {}
        if self.bytes:
            headers["Range"] = f"bytes={self.bytes}-"
        if self.bytes and self._etag is not None:
            headers["If-Range"] = self._etag
        response = await self._open.enter_async_context(self._connection.open(Ask("GET", self._path, headers=headers)))
        self._check_head(response)
        self._etag = response.headers.get("ETag")
        self._passed_over = self.bytes - _first_byte(response)
        return response.aiter_raw()

    def _check_head(self, response: httpx.Response) -> None:
        if response.status_code not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
            raise no_export(response)
        digest = repr_digest(response)
        if digest is not None and digest != self.receipt["sha256"]:
            raise WrongDigest(f"the file has SHA-256 {digest}, and its receipt states {self.receipt['sha256']}")
        if _first_byte(response) > self.bytes:
            raise BrokenExport("the service left a part of the file out", self.receipt["export_id"])

    async def _break(self, why: str) -> None:
        await self._give_up()
        self._failures += 1
        said = f"the file broke off after {self.bytes} bytes: {why}"
        if self._failures >= self._connection.patience.tries:
            raise BrokenExport(said, self.receipt["export_id"])
        await self._connection.patience.pause(said, self._failures)


def check(receipt: Receipt, sha256: str, size_bytes: int) -> Receipt:
    """The receipt, where it is that of a file of so many bytes with that digest.

    Raises:
        ExportFailed: it states none.
        WrongDigest: it is another file's.
    """
    stated = completed(receipt)
    if (stated["sha256"], stated["bytes"]) != (sha256, size_bytes):
        raise WrongDigest(
            f"{size_bytes} bytes with SHA-256 {sha256} came, "
            f"and the receipt states {stated['bytes']} with {stated['sha256']}"
        )
    return receipt


def completed(receipt: Receipt) -> Receipt:
    """The receipt of an export that became a file, though that may be gone.

    Raises:
        ExportFailed: it did not, or not yet.
    """
    if not receipt.get("sha256"):
        raise ExportFailed(receipt)
    return receipt


def kept(receipt: Receipt) -> Receipt:
    """The receipt of an export whose file the service has.

    Raises:
        ExportFailed: it has none, or no longer.
    """
    if not completed(receipt).get("content"):
        raise ExportFailed(receipt, f"the service has no file of this export, which is {receipt['state']}")
    return receipt


def repr_digest(response: httpx.Response) -> str | None:
    """SHA-256 of the whole file, hexadecimal, as the answer states it (RFC 9530 3); None where it states none."""
    found = REPR_DIGEST.search(response.headers.get("Repr-Digest", ""))
    return None if found is None else base64.b64decode(found[1]).hex()


def no_export(response: httpx.Response) -> ClientError:
    """What an answer of somebody else's is: of a proxy, or of another service."""
    if response.has_redirect_location:
        return ClientError(f"{response.url} leads to {response.headers['Location']}: give the service's own URL")
    return ClientError(f"the answer of {response.url} has status {response.status_code} and is no export")


def _first_byte(response: httpx.Response) -> int:
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        return 0
    found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None:
        raise Refused(response.status_code, {"detail": "the service says not which part of the file it sends"})
    return int(found[1])
