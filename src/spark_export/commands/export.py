"""`spark-export export`: one export without HTTP. What makes it, its bounds and its bytes are those of HTTP."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial

import uvloop
from pydantic import TypeAdapter

from spark_export.access import Caller
from spark_export.commands.arguments import Arguments
from spark_export.commands.asking import Asked, read_asked
from spark_export.commands.output import open_output
from spark_export.commands.process import set_up
from spark_export.commands.progress import Bar, line
from spark_export.commands.signals import Stopped, stopped_by_signals
from spark_export.commands.telling import is_bar_wanted, message, summary, tell
from spark_export.errors import ExportError
from spark_export.export import Plan, new_id
from spark_export.factory import open_service
from spark_export.logs import log_cause
from spark_export.model import Format
from spark_export.outcome import Outcome, State
from spark_export.parsing import check_no_job
from spark_export.service import Service
from spark_export.settings import Settings

FAILED = 1
OPERATOR = Caller("local")
"""Who may run the command may read what it exports: keys are for who comes from elsewhere."""


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
        check_no_job(asked.request)
        set_up(settings)
        uvloop.run(_export(asked, settings, last, quiet=arguments.quiet))
    except Stopped as stopped:
        return 128 + stopped.number
    except ExportError as error:
        log_cause(error)
        tell(f"spark-export: {message(error)}")
        if arguments.receipt and last.outcome is not None and last.outcome.state is not State.COMPLETED:
            tell(receipt(last.outcome))
        return FAILED
    if last.outcome is not None and (arguments.receipt or not arguments.quiet):
        tell(receipt(last.outcome) if arguments.receipt else summary(asdict(last.outcome)))
    return 0


async def _export(asked: Asked, settings: Settings, last: LastOutcome, *, quiet: bool) -> None:
    with stopped_by_signals():
        async with open_service(settings, log=last) as service, open_output(asked.output) as output:
            bar = Bar(sys.stderr)
            showing = bar.shown() if is_bar_wanted(asked.output, quiet=quiet) else nullcontext()
            async with showing, service.exporter.open(_plan(service, asked)) as made:
                bar.draw = partial(line, made.progress)
                async for chunk in made.body:
                    await output.write(chunk)
                await output.sync()


def _plan(service: Service, asked: Asked) -> Plan:
    export_id = new_id()
    return Plan(
        export_id=export_id,
        request_id=export_id,
        caller=OPERATOR,
        request=asked.request,
        file_format=asked.file_format,
        table=lambda: service.table(asked.request, asked.rows),
    )


def receipt(outcome: Outcome) -> str:
    """The receipt as `GET /exports/{id}` has it."""
    return TypeAdapter(Outcome).dump_json(outcome).decode()
