"""Reads the operator's logo, a PNG or an SVG.

It is read once, at start, by a path that the operator names; whoever asks for an export cannot reach this code.
Colours are taken for sRGB: a profile inside a PNG is not applied. An SVG whose `use` elements multiply each other is
drawn as it asks, however long that takes.
"""

from __future__ import annotations

import io
import warnings
import zlib
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import resvg_py
from PIL import Image, ImageChops

from spark_export.writers.pdf.logo import Logo

MAX_FILE_BYTES = 10_000_000
MAX_PNG_PIXELS = 20_000_000
MAX_SIDE_PX = 1200
SVG_BOX_PX = (1200, 600)
"""An SVG is drawn as large as fits, so that no proportion makes the image large."""

MAX_SVG_DEPTH = 64
"""resvg 0.5 recurses and ends the process at some 300 nested groups."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
SVG = "{http://www.w3.org/2000/svg}"
EMBEDDED = tuple(f"data:image/{kind}" for kind in ("png", "jpeg", "jpg", "gif", "webp"))
"""What an image in an SVG may be. resvg opens any path; an SVG in an SVG would come unchecked."""

FONT_FILES = ("NotoSans-Regular.ttf", "NotoSans-Bold.ttf")
FONT_FAMILY = "Noto Sans"
"""Draws an SVG's text, whatever family it asks for: the bundled face, as resvg falls back to its serif family."""


def load_logo(path: Path) -> Logo:
    """The logo in a file, a PNG or an SVG by its content, at most MAX_SIDE_PX wide and high.

    Raises:
        ValueError: the file is missing, too large, broken, neither of the two, or shows nothing on white.
    """
    try:
        image = _flatten(_decode(_read(path)))
    except ValueError as error:
        raise ValueError(f"the logo {path} {error}") from error
    image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.LANCZOS)
    return Logo(image.width, image.height, zlib.compress(image.tobytes(), 9))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ValueError("does not exist") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"has more than {MAX_FILE_BYTES} bytes")
    return data


def _decode(data: bytes) -> Image.Image:
    return _decode_png(data) if data.startswith(PNG_SIGNATURE) else _draw_svg(data)


def _decode_png(data: bytes) -> Image.Image:
    too_large = ValueError(f"has more than {MAX_PNG_PIXELS} pixels")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit is lower than Pillow's
        try:
            image = Image.open(io.BytesIO(data), formats=["PNG"])
            fits = image.width * image.height <= MAX_PNG_PIXELS
            if fits:
                image.load()
        except Image.DecompressionBombError:
            raise too_large from None
        except Exception as error:  # broken chunks raise SyntaxError, struct.error, zlib.error and others
            raise ValueError("is a broken PNG") from error
    if not fits:
        raise too_large
    return image


def _draw_svg(data: bytes) -> Image.Image:
    root = _parse_svg(data)
    _check_svg(root)
    width, height = SVG_BOX_PX
    faces = resources.files("spark_export.fonts")
    with ExitStack() as files:
        fonts = [files.enter_context(resources.as_file(faces.joinpath(name))) for name in FONT_FILES]
        try:
            png = resvg_py.svg_to_bytes(
                # What was checked is what is drawn: entities and encodings are ElementTree's reading, not resvg's.
                svg_string=ET.tostring(root, encoding="unicode"),
                width=width,
                height=height,
                skip_system_fonts=True,
                font_files=[str(font) for font in fonts],
                serif_family=FONT_FAMILY,
            )
        except ValueError as error:
            raise ValueError(f"is an SVG that cannot be drawn: {error}") from error
    return _decode_png(png)


def _parse_svg(data: bytes) -> ET.Element:
    try:
        # The operator's own file. Expat refuses entities that multiply and ElementTree opens no external one.
        root = ET.fromstring(data)  # noqa: S314
    except (ET.ParseError, LookupError, ValueError) as error:  # the latter two: an unknown encoding
        if b"<svg" in data:
            raise ValueError(f"is a broken SVG: {error}") from error
        raise ValueError("is neither a PNG nor an SVG") from error
    if root.tag != SVG + "svg":
        raise ValueError(f'is neither a PNG nor an SVG: it begins with no <svg xmlns="{SVG[1:-1]}">')
    return root


def _check_svg(root: ET.Element) -> None:
    level = [root]
    for _ in range(MAX_SVG_DEPTH):
        level = [kid for element in level for kid in element]
    if level:
        raise ValueError(f"is an SVG nested more than {MAX_SVG_DEPTH} levels deep")
    for element in root.iter():
        if element.tag.endswith(("}image", "}feImage")):
            _check_image(element)


def _check_image(element: ET.Element) -> None:
    for name, value in element.items():
        if name.rpartition("}")[2] == "href" and not value.startswith(EMBEDDED):
            raise ValueError(f"shows the image {value[:60]!r}; embed it as the data of a PNG, JPEG, GIF or WebP")


def _flatten(image: Image.Image) -> Image.Image:
    """RGB on white. PDF/A-2 allows soft masks, with a blending colour space on each page."""
    pixels = (_eight_bits(image) if image.mode == "I;16" else image).convert("RGBA")
    flat = Image.new("RGBA", pixels.size, "white")
    flat.alpha_composite(pixels)
    flat = flat.convert("RGB")
    if ImageChops.invert(flat).getbbox() is None:
        raise ValueError("shows nothing on white paper")
    return flat


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits as 8 bits and its opacity; Pillow's own conversion clips at 255."""
    grey = np.asarray(image)
    alpha = np.where(grey == image.info.get("transparency", -1), 0, 255).astype(np.uint8)
    return Image.merge("LA", [Image.fromarray((grey >> 8).astype(np.uint8)), Image.fromarray(alpha)])
