"""An export that a service makes as a job: submitted, waited for, and its file loaded."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from spark_export.client import Body, ClientError, ExportClient, Receipt
from spark_export.commands.arguments import WrongUsage
from spark_export.commands.asking import Asked
from spark_export.commands.output import Output, open_output
from spark_export.commands.progress import Bar, line, queued_line
from spark_export.errors import SinkError

JSON = "application/json"
CANCEL_SECONDS = 5
"""For the service to hear that its job is not wanted; whoever pressed Ctrl-C waits for it."""


@dataclass
class Made:
    """How far a job is, as the bar takes it."""

    rows: int
    total_rows: int | None
    bytes: int


class RemoteJob:
    """A job of a service, from its submission to its file.

    Args:
        client: of the service.
        asked: what to make.
        bar: shows how far it is.
        key: an Idempotency-Key, by which a later command finds the job; None for a job that nobody else is to find.
    """

    def __init__(self, client: ExportClient, asked: Asked, bar: Bar, key: str | None) -> None:
        self._client = client
        self._asked = asked
        self._bar = bar
        self._key = key
        self._export_id: str | None = None

    async def make(self) -> Receipt:
        """The receipt, when the file is where it belongs.

        Cancelled, it cancels the job; but one that is found again by its key is left for a later command.
        What fails after the submission has a note of the job's id.

        Raises:
            ClientError: the service does not make it, or its file cannot be had.
            SinkError: the file cannot be written.
            WrongUsage: the key is none.
        """
        output = self._asked.output
        try:
            if self._asked.request.deliver is not None:
                return await self._made()
            if output is not None and (output.is_file() or not output.exists()):
                return await self._load(output)
            async with open_output(output) as opened:
                return await self._pass_on(opened)
        except asyncio.CancelledError:
            if self._key is None:
                await self._remove()
            raise
        except (ClientError, SinkError) as error:
            if self._export_id is not None:
                error.add_note(f"export {self._export_id}")
            raise

    async def _made(self) -> Receipt:
        """The receipt, when the service has made the file."""
        try:
            submitted = await self._client.submit(Body(self._asked.body, JSON), self._key)
        except ValueError as error:
            raise WrongUsage(str(error)) from None
        self._export_id = submitted["export_id"]
        return await self._client.wait(self._export_id, self._show)

    async def _load(self, output: Path) -> Receipt:
        """The receipt, when the file has its name; found by its key, a later command goes on with the rest."""
        _check_folder(output)
        made = await self._made()
        keep = self._key is not None
        try:
            return await self._client.download(made["export_id"], output, self._bar.loading(), keep_part=keep)
        except OSError as error:
            raise SinkError(f"cannot write {output}: {error.strerror or error}") from None

    async def _pass_on(self, output: Output) -> Receipt:
        """The receipt, when the file is with its reader."""
        made = await self._made()
        show = self._bar.loading()
        async with self._client.content(made["export_id"]) as content:
            async for chunk in content:
                await output.write(chunk)
                show(content.bytes, made["bytes"])
        return made

    async def _remove(self) -> None:
        """Stopped before the answer to its submission, nobody knows the job's id: it goes on."""
        if self._export_id is not None:
            with suppress(ClientError, TimeoutError):
                async with asyncio.timeout(CANCEL_SECONDS):
                    await self._client.cancel(self._export_id)

    def _show(self, receipt: Receipt) -> None:
        if receipt["state"] == "queued":
            self._bar.draw = partial(queued_line, receipt["place"])
        else:
            made = Made(receipt["rows"], receipt["total_rows"], receipt["bytes"])
            text = line(made if made.bytes else None, receipt["seconds"] - receipt["queued_seconds"])
            self._bar.draw = lambda _: text


def _check_folder(output: Path) -> None:
    """Fail before the job is made rather than after it."""
    folder = output.resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise SinkError(f"cannot write {output}: {folder} is no folder that can be written to")
