"""Callbacks as Standard Webhooks has them: signed, tried again ever later, and given up in the end.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. One thing differs:
redirects that keep the method and the body are followed, a few.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

from spark_export import __version__
from spark_export.model import ExportRequest
from spark_export.outward.addresses import OutwardFailed
from spark_export.outward.http import Answer, Outward

SECRET_PREFIX = "whsec_"  # noqa: S105 - what stands before one
LEAST_KEY_BYTES, MOST_KEY_BYTES = 24, 64
MOST_KEYS = 2

ATTEMPT_SECONDS = 15.0
"""Of one attempt with its redirects; the source recommends 15 to 30."""
MOST_REDIRECTS = 3
REDIRECTS = frozenset({HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT})

MOST_ATTEMPTS = 12
MOST_DELAY_SECONDS = 6 * 3600.0
DELAY_GROWTH = 4
"""1 s, 4 s, 16 s … 4.6 h, then 6 h: with twelve attempts 18 to 24 hours, so that a receiver may be down for a night."""
MOST_DIGITS = 9
"""Of a Retry-After that is read (RFC 9110 10.2.3); a date is not."""
MOST_SPREAD = 0.25
"""Share of a delay that chance may take from it: what failed together does not come back together."""


class CallbackFailed(OutwardFailed):
    """The receiver answered, and did not take it.

    Attributes:
        status: of the answer.
        final: whether it asked for no further attempts.
        retry_after_seconds: sooner it wants none; 0 where it said nothing of it.
    """

    def __init__(self, detail: str, *, status: int, final: bool = False, retry_after_seconds: int = 0) -> None:
        super().__init__(detail)
        self.status = status
        self.final = final
        self.retry_after_seconds = retry_after_seconds


class Signer:
    """Signs messages with one key, or with two while one replaces the other.

    Args:
        keys: each of 24 to 64 bytes.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def from_text(cls, text: str) -> Signer:
        """The signer of setting CALLBACK_SECRET.

        Args:
            text: `whsec_` and base64; two of it, comma-separated, while receivers change from one to the other.

        Raises:
            ValueError: it is nothing like it. The message repeats no part of it.
        """
        secrets = [each.strip() for each in text.split(",")]
        if len(secrets) > MOST_KEYS:
            raise ValueError(f"takes one secret, or {MOST_KEYS}, comma-separated, while one replaces the other")
        return cls([_key(each) for each in secrets])

    def headers(self, message_id: str, timestamp_seconds: int, body: bytes) -> dict[str, str]:
        """The headers that prove who sent a message, and when.

        Args:
            message_id: the same in each attempt, without a full stop, which parts what is signed.
            timestamp_seconds: of the attempt, since 1970.
            body: as it is sent, byte for byte.

        Raises:
            ValueError: the id has a full stop.
        """
        if "." in message_id:
            raise ValueError("the id of a message has no full stop")
        signed = f"{message_id}.{timestamp_seconds}.".encode() + body
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp_seconds),
            "webhook-signature": " ".join(_signature(key, signed) for key in self._keys),
        }


def _key(secret: str) -> bytes:
    encoded = secret.removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        key = b""
    if encoded == secret or not LEAST_KEY_BYTES <= len(key) <= MOST_KEY_BYTES:
        raise ValueError(f"takes {SECRET_PREFIX} and the base64 of {LEAST_KEY_BYTES} to {MOST_KEY_BYTES} random bytes")
    return key


def _signature(key: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode("ascii")


async def send(outward: Outward, signer: Signer, url: str, message_id: str, now_seconds: float, body: bytes) -> int:
    """One attempt to hand a message over.

    Args:
        outward: the way out.
        signer: of the message.
        url: of the receiver, such as a request's `callback_url` may be.
        message_id: the same in each attempt.
        now_seconds: since 1970.
        body: JSON.

    Returns:
        The status, which is of the 200s.

    Raises:
        CallbackFailed: the receiver answered something else.
        OutwardFailed: nobody answered, or nobody may be asked.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"spark-export/{__version__}",
        **signer.headers(message_id, int(now_seconds), body),
    }
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):
            answer = await _post(outward, url, headers, body)
    except TimeoutError as error:
        raise OutwardFailed(f"no answer within {ATTEMPT_SECONDS:g} s") from error
    _check_taken(answer)
    return answer.status


async def _post(outward: Outward, url: str, headers: dict[str, str], body: bytes) -> Answer:
    """The first answer that is no redirect."""
    for _ in range(MOST_REDIRECTS + 1):
        answer = await outward.post(url, headers, body, timeout_seconds=ATTEMPT_SECONDS)
        if answer.status not in REDIRECTS:
            return answer
        url = redirected(url, answer)
    raise CallbackFailed(f"redirected more than {MOST_REDIRECTS} times", status=answer.status)


def redirected(url: str, answer: Answer) -> str:
    """Where a redirect leads (RFC 9110 10.2.2).

    Raises:
        CallbackFailed: to no place that a `callback_url` may name, or from https to http.
    """
    try:
        target = urljoin(url, answer.headers["location"])
        ExportRequest(callback_url=target)  # the one place that knows what a URL may be
    except (KeyError, ValueError) as error:
        raise CallbackFailed("redirected to what is no URL for callbacks", status=answer.status) from error
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise CallbackFailed("redirected from https to http", status=answer.status)
    return target


def _check_taken(answer: Answer) -> None:
    status = answer.status
    if status == HTTPStatus.GONE:
        raise CallbackFailed("answered 410: wants no more of it", status=status, final=True)
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        said = answer.headers.get("retry-after", "")
        seconds = int(said) if said.isascii() and said.isdecimal() and len(said) <= MOST_DIGITS else 0
        raise CallbackFailed(f"answered {status}", status=status, retry_after_seconds=seconds)


def delay_seconds(attempts: int, spread: float, retry_after_seconds: int = 0) -> float | None:
    """How long to wait before the next attempt; None where there is none.

    Args:
        attempts: that have failed, at least 1.
        spread: chance, from 0 to below 1.
        retry_after_seconds: what the receiver asked for, which may make it later, but no later than the longest delay.
    """
    if attempts >= MOST_ATTEMPTS:
        return None
    delay = min(float(DELAY_GROWTH ** (attempts - 1)), MOST_DELAY_SECONDS) * (1 - MOST_SPREAD * spread)
    return max(delay, min(float(retry_after_seconds), MOST_DELAY_SECONDS))
