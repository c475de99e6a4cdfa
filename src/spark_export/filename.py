"""What a file is called, for the client that saves it."""

from __future__ import annotations

import re
from urllib.parse import quote

from spark_export.model import ExportRequest, Format

UNSAFE_IN_TOKEN = re.compile(r"[^ !#$&+.^_`{}~0-9A-Za-z()\[\],;=@-]")


def filename_of(request: ExportRequest, file_format: Format) -> str:
    """The request's file name, or one made of the dataset's, with the format's extension."""
    name = request.filename or request.dataset or "export"
    extension = f".{file_format.value}"
    return name if name.lower().endswith(extension) else name + extension


def content_disposition(filename: str) -> str:
    """An attachment of that name, for old and new clients (RFC 6266 4.3, RFC 8187)."""
    plain = UNSAFE_IN_TOKEN.sub("_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
