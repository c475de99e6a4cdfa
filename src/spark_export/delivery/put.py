"""A finished file to a presigned URL: one PUT of a known length, whole or not at all.

S3 stores nothing of a body that ends before its Content-Length. It takes no chunked coding, and no `x-amz-` header
that was not signed (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html), so the content's
type and length are all that is said of it. The file's digest is kept on this side: its last piece goes out only when
the digest is right.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiofiles
import httpx

from spark_export.delivery.rules import FIELD
from spark_export.errors import DeliveryFailed

PIECE_BYTES = 2**20
DELAYS_SECONDS = (0.5, 1.0, 2.0)
"""Before each further try."""
TIMEOUTS = {"connect": 5.0, "write": 15.0, "read": 30.0, "pool": 5.0}
"""Seconds without any progress; who is silent is not asked again."""
MAY_PASS = (httpx.NetworkError, httpx.ConnectTimeout, httpx.RemoteProtocolError)


async def put_file(
    url: str,
    path: Path,
    size_bytes: int,
    media_type: str,
    sha256_hex: str,
    delays_seconds: Sequence[float] = DELAYS_SECONDS,
) -> str | None:
    """Put the file where a presigned URL says.

    Args:
        url: `http://` or `https://`, permitted; a redirect away from it is no success.
        path: of the file.
        size_bytes: of it, exactly.
        media_type: value of Content-Type, which the URL's signature may cover.
        sha256_hex: digest of it.
        delays_seconds: before each try after the first, where the connection broke or the answer was a 5xx.

    Returns:
        The object's entity tag (RFC 9110 8.8.3), None where the answer has none.

    Raises:
        DeliveryFailed: the URL did not take the file, or the file is not what it was.
        OSError: the file cannot be read.
    """
    file = _File(path, size_bytes, media_type, sha256_hex)
    try:
        # No client: httpx's logs the URL with its signature, follows the environment's proxies, and says more of
        # itself in headers. The transport takes only the environment's certificates.
        # In a thread: reading those takes 20 to 40 ms.
        async with await asyncio.to_thread(httpx.AsyncHTTPTransport) as transport:
            answer = await _put_again(transport, url, file, delays_seconds)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DeliveryFailed("the host of the URL did not take the file: no answer", field=FIELD) from error
    if not answer.is_success:
        redirect = " with a redirect, which is not followed" if answer.is_redirect else ""
        raise DeliveryFailed(f"the URL did not take the file: it answered {answer.status_code}{redirect}", field=FIELD)
    tag: str | None = answer.headers.get("etag")
    return tag


@dataclass(frozen=True)
class _File:
    path: Path
    size_bytes: int
    media_type: str
    sha256_hex: str


async def _put_again(
    transport: httpx.AsyncHTTPTransport, url: str, file: _File, delays_seconds: Sequence[float]
) -> httpx.Response:
    for delay_seconds in delays_seconds:
        with suppress(*MAY_PASS):
            answer = await _put(transport, url, file)
            if not answer.is_server_error:
                return answer
        await asyncio.sleep(delay_seconds)
    return await _put(transport, url, file)


async def _put(transport: httpx.AsyncHTTPTransport, url: str, file: _File) -> httpx.Response:
    headers = {"Content-Type": file.media_type, "Content-Length": str(file.size_bytes)}
    async with aiofiles.open(file.path, "rb") as opened, aclosing(_iter_pieces(opened, file)) as content:
        request = httpx.Request("PUT", url, headers=headers, content=content, extensions={"timeout": TIMEOUTS})
        answer = await transport.handle_async_request(request)
        await answer.aclose()
    return answer


async def _iter_pieces(opened: Any, file: _File) -> AsyncGenerator[bytes, None]:
    digest = hashlib.sha256()
    left = file.size_bytes
    while left:
        piece = await opened.read(min(left, PIECE_BYTES))
        digest.update(piece)
        left -= len(piece)
        if not piece or (not left and digest.hexdigest() != file.sha256_hex):
            raise DeliveryFailed("the file is not what it was when it was made; nothing was delivered", field=FIELD)
        yield piece
