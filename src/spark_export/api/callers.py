"""Who asks: the name of an API key, or the address."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from fastapi import Request
from pydantic import SecretStr

from spark_export.errors import Unauthorized


class Callers:
    """Names the caller of a request.

    Args:
        keys: secret by name; None where anyone may ask. Only hashes are kept.
    """

    def __init__(self, keys: Mapping[str, SecretStr] | None) -> None:
        self._hashes = None if keys is None else {name: _hash(key.get_secret_value()) for name, key in keys.items()}

    def caller_of(self, request: Request) -> str:
        """The key's name where there are keys, else the client's address.

        Raises:
            Unauthorized: there are keys, and the request carries none of them.
        """
        if self._hashes is None:
            return request.client.host if request.client is not None else "local"
        given = _hash(_key_of(request) or "")
        # Every hash is compared, each in constant time: how long it takes tells nothing.
        names = [name for name, known in self._hashes.items() if hmac.compare_digest(known, given)]
        if not names:
            raise Unauthorized("send a known key as `Authorization: Bearer …` or `X-API-Key`", field="Authorization")
        return names[0]


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _key_of(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key")
