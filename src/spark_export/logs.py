"""Log lines: JSON or text, one line each, with the ids of the request and the export."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from typing import Literal

from spark_export.errors import ExportError

LOG = logging.getLogger("spark_export")

PLAIN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}
SHOWN_IN_TEXT = ("export_id", "request_id", "caller", "address", "format", "dataset", "asked")


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with everything in its `extra`."""
        line = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name}
        line["message"] = record.getMessage()
        line |= {name: value for name, value in vars(record).items() if name not in PLAIN_ATTRIBUTES}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """One readable line; what a client sent cannot begin another."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with its ids."""
        ids = [f"{name}={value}" for name in SHOWN_IN_TEXT if (value := getattr(record, name, None)) not in {None, ""}]
        line = " ".join([_time(record), record.levelname, record.getMessage(), *ids])
        line = line.translate(CONTROL_CHARACTERS)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


CONTROL_CHARACTERS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)}


def _time(record: logging.LogRecord) -> str:
    return dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def configure_logs(form: Literal["text", "json"], level: str) -> None:
    """Send every logger's lines to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.root.handlers = [handler]
    logging.root.setLevel(level.upper())


def log_cause(error: Exception, **ids: str) -> None:
    """What the caller is not told: the exception behind the error, or the traceback of a bug."""
    if not isinstance(error, ExportError):
        LOG.error("internal error", exc_info=error, extra=ids)
    elif error.__cause__ is not None:
        LOG.error("%s: %s", error.slug, error.__cause__, extra=ids)
