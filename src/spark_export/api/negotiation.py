"""Which format and which content coding a client would like best (RFC 9110 12.5)."""

from __future__ import annotations

from collections.abc import Sequence

from spark_export.model import Format

MEDIA_TYPES = {Format.CSV: "text/csv", Format.PDF: "application/pdf"}
FORMATS_BY_MEDIA_TYPE = {media_type: file_format for file_format, media_type in MEDIA_TYPES.items()}


def preferred(header: str | None, offers: Sequence[str]) -> str | None:
    """The offer with the highest quality, the earlier of equals; None where the header allows none.

    Args:
        header: value of Accept or Accept-Encoding; None where it was not sent, which allows everything.
        offers: media types or codings, lower-case.
    """
    ranges = _ranges("*" if header is None else header)
    best = max(offers, key=lambda offer: _quality(ranges, offer))
    return best if _quality(ranges, best) > 0 else None


def accepts_format(header: str | None, file_format: Format) -> bool:
    """Whether the Accept header allows the format."""
    return preferred(header, [MEDIA_TYPES[file_format]]) is not None


def _ranges(header: str) -> dict[str, float]:
    ranges = {}
    for part in header.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights = [piece.removeprefix("q=") for piece in parameters if piece.startswith("q=")]
        ranges[name] = _number(weights[0]) if weights else 1.0
    return ranges


def _number(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0


def _quality(ranges: dict[str, float], offer: str) -> float:
    """Quality of the most specific range that the offer falls in."""
    main = offer.partition("/")[0]
    for name in (offer, f"{main}/*", "*/*", "*"):
        if name in ranges:
            return ranges[name]
    return 0.0
