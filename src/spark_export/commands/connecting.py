"""Connects a command to the service that it is told of."""

from __future__ import annotations

import os
from pathlib import Path

from spark_export.client import ClientError, ExportClient, ExportFailed, Patience, Refused
from spark_export.commands.arguments import KEY_VARIABLE, Arguments, WrongUsage
from spark_export.commands.telling import joined
from spark_export.errors import InvalidField


def client_of(arguments: Arguments, patience: Patience | None = None) -> ExportClient:
    """The client of the service that the command line names, with the key that it or the environment names.

    Raises:
        InvalidField: the key's file cannot be read.
        WrongUsage: the URL, or the key, is none, or a proxy of the environment's.
    """
    try:
        return ExportClient(arguments.url or "", _key_of(arguments.key_file), patience=patience)
    except ValueError as error:
        raise WrongUsage(str(error)) from None
    except (ImportError, OSError) as error:  # of a proxy, or of certificates, that variables name
        raise WrongUsage(f"what the environment says of proxies or certificates cannot be used: {error}") from None


def client_message(error: ClientError) -> str:
    """What a client's error says, on one line, each field that must change with it."""
    if isinstance(error, ExportFailed):
        return joined([(error.receipt.get("field"), str(error))])
    if not isinstance(error, Refused):
        return joined([(None, str(error))])
    found = [(each["field"], each["detail"]) for each in error.errors]
    return joined(found or [(error.field, str(error))])


def _key_of(file: Path | None) -> str | None:
    """The key: no flag has it as a value, as whoever lists processes would see it."""
    if file is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise InvalidField(f"cannot read {file}: {error.strerror}", field="--key-file") from None
