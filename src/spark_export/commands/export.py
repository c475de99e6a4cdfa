"""`spark-export export`: one export without HTTP. What makes it, its bounds and its bytes are those of HTTP."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import uvloop
from pydantic import TypeAdapter

from spark_export.access import Caller
from spark_export.commands.arguments import Arguments
from spark_export.commands.asking import Asked, read_asked
from spark_export.commands.output import open_output
from spark_export.commands.process import set_up
from spark_export.commands.progress import Bar
from spark_export.errors import ExportError, InvalidField
from spark_export.factory import Service, open_service
from spark_export.job import Job, new_id
from spark_export.logs import CONTROL_CHARACTERS, log_cause
from spark_export.model import Format
from spark_export.outcome import Outcome, State
from spark_export.settings import Settings

FAILED = 1
OPERATOR = Caller("local")
"""Who may run the command may read what it exports: keys are for who comes from elsewhere."""


class Stopped(Exception):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class LastOutcome:
    """Keeps what came of the export.

    Attributes:
        outcome: None where none began.
    """

    outcome: Outcome | None = None

    def wrote(self, file_format: Format, sent_bytes: int) -> None:
        """Say nothing: the bar looks at the progress itself."""

    def finished(self, outcome: Outcome) -> None:
        """Keep it."""
        self.outcome = outcome


def export(arguments: Arguments, settings: Settings) -> int:
    """Make the export and say on standard error what came of it; the exit status.

    Raises:
        SettingsError: naming all that cannot be used.
        WrongUsage: the flags do not go together.
        BrokenPipeError: whoever reads the output has left.
    """
    last = LastOutcome()
    try:
        asked = read_asked(arguments, settings.max_body_bytes)  # before names are relative to another folder
        set_up(settings)
        uvloop.run(_export(asked, settings, last, quiet=arguments.quiet))
    except Stopped as stopped:
        return 128 + stopped.number
    except ExportError as error:
        log_cause(error)
        _tell(f"spark-export: {message(error)}")
        if arguments.receipt and last.outcome is not None and last.outcome.state is not State.COMPLETED:
            _tell(receipt(last.outcome))
        return FAILED
    if last.outcome is not None and (arguments.receipt or not arguments.quiet):
        _tell(receipt(last.outcome) if arguments.receipt else summary(last.outcome))
    return 0


async def _export(asked: Asked, settings: Settings, last: LastOutcome, *, quiet: bool) -> None:
    with _stopped_by_signals():
        async with open_service(settings, log=last) as service, open_output(asked.output) as output:
            bar = Bar(sys.stderr)
            showing = bar.shown() if is_bar_wanted(asked.output, quiet=quiet) else nullcontext()
            async with showing, service.exporter.open(_job(service, asked)) as made:
                bar.progress = made.progress
                async for chunk in made.body:
                    await output.write(chunk)
                await output.sync()


def _job(service: Service, asked: Asked) -> Job:
    export_id = new_id()
    return Job(
        export_id=export_id,
        request_id=export_id,
        caller=OPERATOR,
        request=asked.request,
        file_format=asked.file_format,
        table=lambda: service.table(asked.request, asked.rows),
    )


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """End the task at SIGINT and SIGTERM, as its cancellation, so that everything is given back.

    Raises:
        Stopped: it was ended so.
    """
    task, received = asyncio.current_task(), list[int]()

    def stop(number: int) -> None:
        received.append(number)
        if task is not None:
            task.cancel()

    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop, each)
    try:
        yield
    except asyncio.CancelledError:
        if not received:
            raise
        raise Stopped(received[0]) from None


def is_bar_wanted(output: Path | None, *, quiet: bool) -> bool:
    """Whether somebody looks at standard error, and the rows do not go to the same terminal."""
    return not quiet and sys.stderr.isatty() and not (output is None and sys.stdout.isatty())


def message(error: ExportError) -> str:
    """All that is wrong, on one line, each with the field or setting to change."""
    more = error.more if isinstance(error, InvalidField) else ()
    found = more or ((error.field, error.detail),)
    said = [text if field is None or text.startswith(field) else f"{field}: {text}" for field, text in found]
    return "; ".join(said).translate(CONTROL_CHARACTERS)


def summary(outcome: Outcome) -> str:
    """What was made, on one line."""
    parts = [
        f"{outcome.rows:,} rows",
        f"{outcome.bytes:,} bytes",
        f"{outcome.seconds:.2f} s",
        f"sha256 {outcome.sha256}",
    ]
    if outcome.truncated:
        parts.append("cut at MAX_ROWS")
    if outcome.escaped_cells:
        parts.append(f"{outcome.escaped_cells:,} formulas escaped")
    if outcome.replaced_characters:
        parts.append(f"{outcome.replaced_characters:,} characters replaced")
    return ", ".join(parts)


def receipt(outcome: Outcome) -> str:
    """The receipt as `GET /exports/{id}` has it."""
    return TypeAdapter(Outcome).dump_json(outcome).decode()


def _tell(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - its purpose
