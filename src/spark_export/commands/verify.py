"""`spark-export verify`: whether a file is the one that a receipt states."""

from __future__ import annotations

import asyncio

from spark_export.client import ClientError, Receipt, WrongDigest
from spark_export.commands.arguments import Arguments, WrongUsage
from spark_export.commands.connecting import client_message, client_of
from spark_export.commands.telling import joined, message, tell
from spark_export.errors import InvalidField

FAILED = 1


def verify(arguments: Arguments) -> int:
    """Print a line that says whether it is; the exit status, 1 where it is not, or nobody knows.

    Raises:
        WrongUsage: the flags cannot be used.
    """
    try:
        receipt = asyncio.run(_verify(arguments))
    except WrongDigest as error:
        return _print("wrong", arguments, str(error))
    except ClientError as error:
        tell(f"spark-export: {client_message(error)}")
    except InvalidField as error:
        tell(f"spark-export: {message(error)}")
    except OSError as error:
        tell(f"spark-export: cannot read {arguments.file}: {error.strerror}")
    else:
        return _print("ok", arguments, f"{receipt['rows']:,} rows, {receipt['bytes']:,} bytes")
    return FAILED


async def _verify(arguments: Arguments) -> Receipt:
    async with client_of(arguments) as client:
        try:
            return await client.verify(arguments.file, arguments.export_id)
        except ValueError as error:
            raise WrongUsage(f"--receipt: {error}") from None


def _print(found: str, arguments: Arguments, why: str) -> int:
    print(f"{found:5} {joined([(None, f'{arguments.file}: {why}')])}")  # noqa: T201 - its purpose
    return 0 if found == "ok" else FAILED
