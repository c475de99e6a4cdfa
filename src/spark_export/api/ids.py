"""The id of a request: the caller's `X-Request-Id`, or one made here; on every answer and log line."""

from __future__ import annotations

import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spark_export.export import new_id

HEADER = "X-Request-Id"
ACCEPTED = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
"""Nothing that could forge a log line or a header."""


def request_id_of(scope: Scope) -> str:
    """The id that the middleware gave the request."""
    found: str = scope["state"]["request_id"]
    return found


class RequestIds:
    """Gives every HTTP request its id and puts it on the response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(HEADER.lower().encode(), b"")
        request_id = given.decode() if ACCEPTED.fullmatch(given) else new_id()
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)
