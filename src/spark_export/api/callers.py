"""Who asks: the caller of an API key, or anyone at an address."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import Scope

from spark_export.access import Caller, Keyring


class Callers:
    """Names the caller of a request.

    Args:
        keyring: the keys; None where anyone may ask.
    """

    def __init__(self, keyring: Keyring | None) -> None:
        self._keyring = keyring

    def caller_of(self, scope: Scope) -> Caller:
        """The caller whose key the request carries; where nobody needs one, the client's address. Found once a request.

        Raises:
            Unauthorized: there are keys, and the request carries none of them.
        """
        state = scope["state"]
        if "caller" not in state:
            state["caller"] = self._find(scope)
        found: Caller = state["caller"]
        return found

    def _find(self, scope: Scope) -> Caller:
        address = address_of(scope)
        if self._keyring is None:
            return Caller(address, address)
        return self._keyring.caller_of(_key_of(Headers(scope=scope)) or "", address)


def address_of(scope: Scope) -> str:
    """The client's address."""
    client = scope.get("client")
    return client[0] if client else "local"


def _key_of(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key")
