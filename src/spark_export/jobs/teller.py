"""Tells callers that their jobs have ended: once, or until they have heard it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from spark_export.errors import ExportError
from spark_export.jobs.receipt import RECEIPTS
from spark_export.jobs.record import Attempt, Callback, Record
from spark_export.jobs.register import Register
from spark_export.logs import log_cause
from spark_export.outward.addresses import AddressPolicy, OutwardFailed
from spark_export.outward.callbacks import MOST_DELAY_SECONDS, CallbackFailed, Signer, delay_seconds, send
from spark_export.outward.http import Outward, open_outward

LOG = logging.getLogger("spark_export")

TOGETHER = 16
"""Callbacks at once, of one caller half: receivers that do not answer hold up no other caller's."""
LOOK_EVERY_SECONDS = 0.5
PAUSE_SECONDS = 10.0
"""After what was not kept, as on a full disk: it is due still, and would be tried again at once."""


class Teller:
    """Sends what is due.

    Args:
        register: of jobs.
        signer: of callbacks; None where the service has no secret, and none is sent.
        policy: where they may go.
        count: is told the state of a callback after each attempt.
    """

    def __init__(
        self, register: Register, signer: Signer | None, policy: AddressPolicy, count: Callable[[str], None]
    ) -> None:
        self._register = register
        self._signer = signer
        self._policy = policy
        self._count = count
        self._is_stuck = False
        self._telling: dict[str, tuple[str, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Look again and again."""
        if self._signer is None:
            return
        async with open_outward(self._policy) as outward:
            try:
                while True:
                    try:
                        await self._look(outward, self._signer)
                    except Exception as error:  # noqa: BLE001 - whatever it is, it may be over by the next time
                        log_cause(error)
                    was_stuck, self._is_stuck = self._is_stuck, False
                    await asyncio.sleep(PAUSE_SECONDS if was_stuck else LOOK_EVERY_SECONDS)
            finally:
                tasks = [task for _, task in self._telling.values()]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, outward: Outward, signer: Signer) -> None:
        told = set(self._telling)  # what of these is over by the time the answer comes is not due any more
        for record in await self._register.due_callbacks(MOST_DELAY_SECONDS, 2 * TOGETHER):
            callers = Counter(caller for caller, _ in self._telling.values())
            is_new = record.export_id not in told | self._telling.keys()
            if is_new and callers.total() < TOGETHER and callers[record.order.caller] < TOGETHER // 2:
                task = asyncio.create_task(self._tell(outward, signer, record))
                self._telling[record.export_id] = record.order.caller, task
                task.add_done_callback(partial(self._forget, record.export_id))

    def _forget(self, export_id: str, _: asyncio.Task[None]) -> None:
        del self._telling[export_id]

    async def _tell(self, outward: Outward, signer: Signer, record: Record) -> None:
        try:
            await self._try(outward, signer, record)
        except ExportError as error:  # what comes of it cannot be kept: it is told once more, later
            self._is_stuck = True
            log_cause(error, export_id=record.export_id)

    async def _try(self, outward: Outward, signer: Signer, record: Record) -> None:
        callback = record.callback
        if callback is None:
            return
        now = self._register.now()
        # What cannot be kept would be sent again and again: the next try is planned before this one is made.
        failed = _after(callback, Attempt(now, None, "the service ended while it was sent"), now)
        await self._register.told(record.export_id, failed)
        body = RECEIPTS.dump_json(self._register.receipt(record))
        refusal, cause = None, None
        try:
            attempt = Attempt(now, await send(outward, signer, callback.url, record.export_id, now, body))
        except CallbackFailed as error:
            attempt, refusal = Attempt(now, error.status, error.detail), error
        except OutwardFailed as error:
            attempt, cause = Attempt(now, None, error.detail), error.__cause__
        told = _after(callback, attempt, self._register.now(), refusal)
        extra = {"action": "callback", "export_id": record.export_id, "caller": record.order.caller}
        level = logging.WARNING if told.state == "failed" else logging.INFO
        said = attempt.detail if cause is None else f"{attempt.detail} ({cause})"
        self._count(told.state)
        LOG.log(level, "callback %s: %s", told.state, said or attempt.status, extra=extra)
        await self._register.told(record.export_id, told)


def _after(callback: Callback, attempt: Attempt, now: float, refusal: CallbackFailed | None = None) -> Callback:
    """What has come of telling the caller after one more attempt, to which the receiver may have answered with that."""
    attempts = (*callback.attempts, attempt)
    if attempt.detail is None:
        return replace(callback, state="delivered", attempts=attempts, next_at=None)
    retry_after = 0 if refusal is None else refusal.retry_after_seconds
    delay = delay_seconds(len(attempts), random.random(), retry_after)  # noqa: S311 - no secret
    if delay is None or (refusal is not None and refusal.final):
        return replace(callback, state="failed", attempts=attempts, next_at=None)
    return replace(callback, attempts=attempts, next_at=now + delay)
