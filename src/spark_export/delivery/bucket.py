"""A file on its way into a bucket while it is made: whole under its key at the end, or not there at all.

obstore's writer sends a file below PART_BYTES as one PUT, any other as a multipart upload, whose parts are no object
before the upload is completed. It aborts the upload where a block ends badly; but who cancels a call of it makes it
forget an upload that is just being made or completed, parts and all. Its `put_async` forgets one whenever it is
cancelled. So here no such call is cancelled: it runs out in obstore's own threads, and then the upload is aborted.

Known weaknesses. A process that is killed leaves an unfinished upload, which obstore can neither list nor abort: the
bucket needs a lifecycle rule with AbortIncompleteMultipartUpload. A delivery that is cancelled while S3 completes it
may be there all the same, as may one whose last answer was lost on its way.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from spark_export.delivery.rules import FIELD, shown
from spark_export.errors import DeliveryFailed

if TYPE_CHECKING:
    from obstore import AsyncWritableFile
    from obstore.store import ClientConfig, RetryConfig, S3Store

LOG = logging.getLogger("spark_export")

T = TypeVar("T")

PART_BYTES = 8 * 2**20
"""Of an upload's 10000 parts at most: a file of up to 78 GiB."""
PARTS_IN_FLIGHT = 2
BLOCK_BYTES = 2**20
"""Handed to obstore at once; a call into its threads takes some 0.1 ms, whatever it carries."""

CONNECT_SECONDS = 3
REQUEST_SECONDS = 25
"""For a whole request: two parts at once need 0.7 MB/s."""
RETRIES = 5
RETRY_SECONDS = 4
"""After the first try no other begins: REQUEST_SECONDS and this are the longest that an endpoint is believed."""
ANSWER_SECONDS = 60
"""For one call, whatever obstore's own time-outs come to."""
HEAD_SECONDS = 5
END_SECONDS = 0.9
"""Whoever ends a delivery early waits so long for the upload to be aborted; it goes on alone if that takes longer."""
EXIT_SECONDS = 0.1
"""A thread of obstore's that has just handed a result over still needs the interpreter's lock for a moment. One that
asks for it while the interpreter ends makes the process abort: 25 of 200 did that ended right after a delivery."""


class Upload:
    """A file that is being sent.

    Args:
        url: `s3://bucket/key`.
        store: the bucket.
        file: obstore's writer of the key.

    Attributes:
        is_finished: whether the object is there.
        object_tag: its entity tag then (RFC 9110 8.8.3); None where the store gives none.
    """

    def __init__(self, url: str, store: S3Store, file: AsyncWritableFile) -> None:
        self._url = url
        self._store = store
        self._file = file
        self._block = bytearray()
        self._bytes = 0
        self._call: asyncio.Future[Any] | None = None
        self._may_stop = True
        self._is_closing = False
        self.is_finished = False
        self.object_tag: str | None = None

    async def write(self, chunk: bytes | memoryview) -> None:
        """Send more of the file; returns when there is room for what follows. The chunk is copied.

        Raises:
            DeliveryFailed: the bucket did not take it.
        """
        left = memoryview(chunk).cast("B")
        while left:
            self._block += left[:BLOCK_BYTES]
            left = left[BLOCK_BYTES:]
            if len(self._block) >= BLOCK_BYTES:
                await self._hand_over()

    async def finish(self) -> None:
        """Send the rest, and make an object of it all.

        Raises:
            DeliveryFailed: the bucket did not take it.
        """
        await self._hand_over()
        self._is_closing = True
        await self._answer(self._file.close(), may_stop=False)
        self.is_finished = True
        self.object_tag = await self._etag()

    async def abort(self) -> None:
        """Leave nothing of the file in the bucket."""
        self._block.clear()
        ending = self._end()
        if ending is not None:
            ending.add_done_callback(self._tell)
            await asyncio.wait({ending}, timeout=END_SECONDS)

    def _end(self) -> asyncio.Future[Any] | None:
        """What must run out before nothing is left; a writer that failed to close has aborted."""
        if self._is_closing:
            return self._call if self._call is not None and not self._call.done() else None
        if self._call is not None and self._may_stop:
            self._call.cancel()
        return asyncio.ensure_future(self._file.__aexit__(DeliveryFailed, None, None))

    def _tell(self, ending: asyncio.Future[Any]) -> None:
        error = None if ending.cancelled() else ending.exception()
        if error is not None:
            LOG.warning("parts may be left of the upload to %s: %s", shown(self._url), error)

    async def _hand_over(self) -> None:
        block, self._block = self._block, bytearray()
        makes_upload = self._bytes < PART_BYTES <= self._bytes + len(block)
        self._bytes += len(block)
        await self._answer(self._file.write(block), may_stop=not makes_upload)

    async def _answer(self, call: Awaitable[T], *, may_stop: bool) -> T:
        self._call = future = asyncio.ensure_future(call)
        self._may_stop = may_stop
        await asyncio.wait({future}, timeout=ANSWER_SECONDS)
        if not future.done():
            raise DeliveryFailed("the bucket does not answer", field=FIELD)
        if (error := future.exception()) is not None:
            raise _refused(error) from error
        return future.result()

    async def _etag(self) -> str | None:
        """None where the service may write but not read, or where the object has another's content already."""
        import obstore

        key = self._url.removeprefix("s3://").partition("/")[2]
        future = asyncio.ensure_future(obstore.head_async(self._store, key))
        await asyncio.wait({future}, timeout=HEAD_SECONDS)
        if not future.done():
            future.cancel()
            return None
        if future.exception() is not None or future.result()["size"] != self._bytes:
            return None
        return future.result()["e_tag"]


@asynccontextmanager
async def open_upload(url: str, media_type: str, disposition: str | None = None) -> AsyncGenerator[Upload, None]:
    """An upload that leaves nothing in the bucket unless it is finished before the block ends.

    Args:
        url: `s3://bucket/key`, permitted; the bucket's endpoint, region and credentials are the environment's.
        media_type: the object's Content-Type.
        disposition: its Content-Disposition.

    Raises:
        DeliveryFailed: what the environment says of buckets cannot be used.
    """
    upload = _upload(url, {"Content-Type": media_type} | ({"Content-Disposition": disposition} if disposition else {}))
    try:
        yield upload
    finally:
        if not upload.is_finished:
            await upload.abort()


def _upload(url: str, attributes: dict[str, str]) -> Upload:
    import obstore  # 15 MB that a service without such deliveries spares
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    _wait_at_exit()
    bucket, _, key = url.removeprefix("s3://").partition("/")
    # S3 checks the parts as they come, and keeps the sums; they cost nothing, since the signature needs them too.
    checksum = os.environ.get("AWS_CHECKSUM_ALGORITHM", "SHA256")
    try:
        store = S3Store(
            bucket, checksum_algorithm=checksum, client_options=_client_options(), retry_config=_retry_config()
        )
        file = obstore.open_writer_async(
            store, key, attributes=attributes, buffer_size=PART_BYTES, max_concurrency=PARTS_IN_FLIGHT
        )
    except (BaseError, OSError, ValueError) as error:
        raise DeliveryFailed("the service cannot use buckets; the log tells more", field=FIELD) from error
    return Upload(url, store, file)


@cache
def _wait_at_exit() -> None:
    atexit.register(time.sleep, EXIT_SECONDS)


def _client_options() -> ClientConfig:
    endpoints = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return {
        "allow_http": any(os.environ.get(each, "").startswith("http://") for each in endpoints),
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "timeout": timedelta(seconds=REQUEST_SECONDS),
    }


def _retry_config() -> RetryConfig:
    return {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=RETRY_SECONDS),
        "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
    }


def _refused(error: BaseException) -> DeliveryFailed:
    """What the caller is told; obstore's own text names endpoints and uploads."""
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    if isinstance(error, (PermissionError, PermissionDeniedError, UnauthenticatedError)):
        return DeliveryFailed("the bucket does not let the service write there", field=FIELD)
    if isinstance(error, FileNotFoundError):
        return DeliveryFailed("there is no such bucket", field=FIELD)
    return DeliveryFailed("the bucket did not take the file; the log tells more", field=FIELD)
