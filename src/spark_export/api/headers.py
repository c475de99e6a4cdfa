"""Header fields of an answer that is a file, streamed or kept."""

from __future__ import annotations

from collections.abc import Mapping

from spark_export.filename import content_disposition, filename_of
from spark_export.model import ExportRequest, Format


def file_headers(
    export_id: str, media_type: str, request: ExportRequest, file_format: Format, *, truncated: bool
) -> dict[str, str]:
    """What is said of every file.

    Args:
        export_id: of the export.
        media_type: of the file.
        request: its filename, and whether it asked for the rows up to a cap.
        file_format: of the file.
        truncated: whether rows are left out; told to whoever asked for that.
    """
    headers = {
        "Content-Type": media_type,
        "Content-Disposition": content_disposition(filename_of(request, file_format)),
        "X-Export-Id": export_id,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",
    }
    if request.on_limit == "truncate":
        headers["X-Export-Truncated"] = str(truncated).lower()
    return headers


def raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Header fields as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
