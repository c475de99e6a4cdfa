"""The operator's logo as an image of a PDF (ISO 32000-1 8.9.5); `artwork` reads it."""

from __future__ import annotations

from dataclasses import dataclass

from spark_export.writers.pdf.objects import ObjectFile


@dataclass(frozen=True)
class Logo:
    """An image flattened on white.

    Attributes:
        samples: RGB, 8 bits each, row by row from the top, compressed.
    """

    width_px: int
    height_px: int
    samples: bytes


def logo_objects(file: ObjectFile, number: int, logo: Logo) -> bytes:
    """The image with the number reserved for it."""
    entries = b"/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceRGB/BitsPerComponent 8"
    return file.add_stream(number, logo.samples, entries % (logo.width_px, logo.height_px))
