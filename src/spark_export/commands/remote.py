"""`spark-export export --url`: one export by a service, as a stream or as a job, checked against its receipt."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import nullcontext

from spark_export.client import Body, ClientError, ExportClient, ExportFailed, Patience, Receipt
from spark_export.commands.arguments import Arguments, WrongUsage
from spark_export.commands.asking import Asked, read_asked
from spark_export.commands.connecting import client_message, client_of
from spark_export.commands.output import open_output
from spark_export.commands.progress import Bar
from spark_export.commands.remotejob import JSON, RemoteJob
from spark_export.commands.signals import Stopped, stopped_by_signals
from spark_export.commands.telling import is_bar_wanted, message, summary, tell
from spark_export.errors import ExportError

FAILED = 1


def export_by_service(arguments: Arguments) -> int:
    """Have the export made, and say on standard error what came of it; the exit status.

    Raises:
        WrongUsage: the flags do not go together.
        BrokenPipeError: whoever reads the output has left.
    """
    try:
        asked = read_asked(arguments, None)  # the service has its own bound
        _check(asked, arguments)
        receipt = asyncio.run(_export(asked, arguments))
    except Stopped as stopped:
        return 128 + stopped.number
    except ExportError as error:
        tell(f"spark-export: {_noted(message(error), error)}")
        return FAILED
    except ClientError as error:
        tell(f"spark-export: {_noted(client_message(error), error)}")
        if arguments.receipt and isinstance(error, ExportFailed):
            tell(json.dumps(error.receipt))
        return FAILED
    if arguments.receipt or not arguments.quiet:
        told = f"{summary(receipt)}, export {receipt['export_id']}"
        tell(json.dumps(receipt) if arguments.receipt else told)
    return 0


def _noted(said: str, error: Exception) -> str:
    return "; ".join([said, *getattr(error, "__notes__", ())])


def _check(asked: Asked, arguments: Arguments) -> None:
    if arguments.idempotency_key is not None and not arguments.job:
        raise WrongUsage("--idempotency-key is for a job: give --job")
    if asked.request.is_job and not arguments.job:
        raise WrongUsage("what the request asks for takes a job: give --job")
    if asked.request.deliver is not None and asked.output is not None:
        raise WrongUsage("the request has the file delivered elsewhere: leave --output out")


async def _export(asked: Asked, arguments: Arguments) -> Receipt:
    bar = Bar(sys.stderr)
    showing = bar.shown() if is_bar_wanted(asked.output, quiet=arguments.quiet) else nullcontext()
    with stopped_by_signals():
        async with client_of(arguments, Patience(tell=bar.pausing)) as client, showing:
            if arguments.job:
                return await RemoteJob(client, asked, bar, arguments.idempotency_key).make()
            return await _stream(client, asked, bar)


async def _stream(client: ExportClient, asked: Asked, bar: Bar) -> Receipt:
    async with open_output(asked.output) as output, client.stream(Body(asked.body, JSON)) as answer:
        show = bar.loading()
        async for chunk in answer:
            await output.write(chunk)
            show(answer.bytes, None)
        await output.sync()
        return answer.receipt or {}
