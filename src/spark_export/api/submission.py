"""How an export that is understood is answered: by its file, by a job, or as the same key was answered before."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path

from fastapi import Request
from fastapi.responses import Response
from starlette.types import Message, Receive, Scope, Send

from spark_export.access import Caller
from spark_export.api.content import ContentResponse
from spark_export.api.ids import request_id_of
from spark_export.api.preferences import Preferences, fingerprint
from spark_export.api.problems import failure_response, quota_headers
from spark_export.api.streaming import ExportResponse, run_until_left, until_disconnect
from spark_export.errors import InvalidField
from spark_export.export import Plan
from spark_export.jobs.jobs import Jobs
from spark_export.jobs.kept import KeptStream
from spark_export.jobs.receipt import RECEIPTS, Receipt
from spark_export.jobs.record import JobState, Key, Order, Record
from spark_export.service import Service
from spark_export.sources.upload.table import BodyForm

POLL_SECONDS = 1
MOST_POLL_SECONDS = 60
"""When to look at a job again: a queued one the later the more wait before it."""


@dataclass(frozen=True)
class Submission:
    """One request to export, as it came.

    Attributes:
        service, jobs: that answer it.
        request: of HTTP.
        caller: who asks.
        preferences: how it wants its answer.
        held: what it has until it is answered: its key, where it has one.
    """

    service: Service
    jobs: Jobs
    request: Request
    caller: Caller
    preferences: Preferences
    held: ExitStack = field(default_factory=ExitStack)

    def check_duplex(self) -> None:
        """Refuse what takes an export that outlives its connection: one whose body still comes cannot.

        Raises:
            InvalidField: it is asked for.
        """
        if self.preferences.is_async:
            raise InvalidField("respond-async does not go with duplex", field="Prefer")
        if self.preferences.key is not None:
            raise InvalidField("a key does not go with duplex", field="Idempotency-Key")

    async def answer(self, plan: Plan, form: BodyForm | None, body: memoryview | Path | None) -> Response:
        """The answer.

        Args:
            plan: the export.
            form: what the body is whose rows a file holds.
            body: JSON text of the rows, or that file.

        Raises:
            RequestError, AdmissionError, SinkError: there is none.
        """
        key = await self._key(plan, body)
        if key is not None and (record := await self.jobs.answered(self.caller.name, key)) is not None:
            self.held.close()  # it is not the first
            return await self._answer_again(record)
        order = Order(
            export_id=plan.export_id,
            request_id=plan.request_id,
            caller=self.caller.name,
            address=self.caller.address,
            request=plan.request,
            file_format=plan.file_format,
            has_body=body is not None,
            form=form,
        )
        if self.preferences.is_async or plan.request.is_job:
            return await self._accept(order, plan, body, key)
        if key is not None:
            # What is kept is the file as it is: so is what is sent.
            return self._stream(replace(plan, coding=None), self.jobs.keeping(order, key))
        return self._stream(plan)

    async def _key(self, plan: Plan, body: memoryview | Path | None) -> Key | None:
        if self.preferences.key is None:
            return None
        asked = plan.request.model_dump_json(exclude_unset=True)
        content = await asyncio.to_thread(_digest, body)
        return Key(self.preferences.key, fingerprint(plan.file_format.value, asked, _said(self.request), content))

    def _stream(self, plan: Plan, keeping: KeptStream | None = None) -> Response:
        least = self.service.settings.min_client_bytes_per_second
        return ExportResponse(self.service.exporter, plan, least, keeping=keeping)

    async def _accept(self, order: Order, plan: Plan, body: memoryview | Path | None, key: Key | None) -> Response:
        self.service.check_job(order.request)
        if order.request.dataset is not None:
            plan.table()  # its parameters
        with self.jobs.places.one(self.caller.name):
            quota = self.service.exporter.take_token(self.caller)
            receipt = await self.jobs.accept(order, body, key)
        return self._job(receipt.export_id, quota_headers(quota))

    async def _answer_again(self, record: Record) -> Response:
        if record.order.is_stream:
            return self._content(await self.jobs.content(self.caller.name, record.export_id), {})
        return self._job(record.export_id, {})

    def _job(self, export_id: str, headers: dict[str, str]) -> Response:
        if self.preferences.is_async:
            headers |= {"Preference-Applied": self.preferences.applied}
        return JobResponse(lambda: self._answer_job(export_id, headers))

    async def _answer_job(self, export_id: str, headers: dict[str, str]) -> Response:
        """The job's file, where it is here in time; else where to look for it."""
        is_ended = self.preferences.wait_seconds > 0 and await self.jobs.until_ended(
            export_id, self.preferences.wait_seconds
        )
        receipt = await self.jobs.receipt(self.caller.name, export_id)
        if is_ended and receipt.content is not None:
            headers |= {"Content-Location": receipt.content}
            return self._content(await self.jobs.content(self.caller.name, export_id), headers)
        if is_ended and receipt.state is JobState.FAILED:
            return failure_response(receipt, request_id_of(self.request.scope))
        is_delivered = is_ended and receipt.state is JobState.COMPLETED
        return receipt_response(receipt, headers, HTTPStatus.OK if is_delivered else HTTPStatus.ACCEPTED)

    def _content(self, record: Record, headers: dict[str, str]) -> Response:
        least = self.service.settings.min_client_bytes_per_second
        return ContentResponse(self.jobs, record, least, headers, is_whole=True)


async def answer_under_key(submission: Submission, answer: Callable[[], Awaitable[Response]]) -> Response:
    """The answer, until whose end no other request has the key, unless it is known already.

    Raises:
        KeyInUse: another one has it.
    """
    held = submission.held
    held.enter_context(submission.jobs.keys.hold(submission.caller.name, submission.preferences.key or ""))
    try:
        return HoldingResponse(await answer(), held)
    except BaseException:
        held.close()
        raise


class HoldingResponse(Response):
    """An answer at whose end something is given back.

    Args:
        response: the answer.
        held: given back then.
    """

    def __init__(self, response: Response, held: ExitStack) -> None:
        super().__init__()
        self._response = response
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._held:
            await self._response(scope, receive, send)


class JobResponse(Response):
    """The answer of a job, for which its client may wait; when it leaves, its Idempotency-Key need not wait for it.

    Args:
        answer: makes it.
    """

    def __init__(self, answer: Callable[[], Awaitable[Response]]) -> None:
        super().__init__()
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, and send it."""
        await run_until_left(self._send(scope, send), until_disconnect(receive))

    async def _send(self, scope: Scope, send: Send) -> None:
        response = await self._answer()
        await response(scope, _never, send)


async def _never() -> Message:
    """What a response receives whose client is looked after already."""
    forever: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    return await forever


def receipt_response(receipt: Receipt, headers: dict[str, str], status: HTTPStatus) -> Response:
    """Where to look for what becomes of the job, and when: 202, or 200 of what is done (RFC 9110 15.3)."""
    more = {
        "Location": f"/exports/{receipt.export_id}",
        "X-Export-Id": receipt.export_id,
        "Cache-Control": "no-store",
    }
    if not is_final(receipt):
        more["Retry-After"] = str(poll_seconds(receipt))
    return Response(RECEIPTS.dump_json(receipt), status, headers | more, media_type="application/json")


def is_final(receipt: Receipt) -> bool:
    """Whether nothing more will come of the export."""
    return not isinstance(receipt.state, JobState) or receipt.state.is_final


def poll_seconds(receipt: Receipt) -> int:
    """After how many seconds something may have changed."""
    return min(POLL_SECONDS * (receipt.place or 1), MOST_POLL_SECONDS)


def _said(request: Request) -> str:
    """What the query and the head say of the body."""
    head = [request.headers.get(name) for name in ("content-type", "content-encoding")]
    return json.dumps([*head, *sorted(request.query_params.multi_items())])


def _digest(body: memoryview | Path | None) -> bytes:
    """In a thread."""
    if isinstance(body, Path):
        with body.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    return hashlib.sha256(body or b"").digest()
