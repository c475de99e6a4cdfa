"""PNG and SVG files as images of a PDF, and what is refused."""

from __future__ import annotations

import base64
import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pikepdf
import pytest
from PIL import Image

from spark_export.writers.pdf import artwork as module
from spark_export.writers.pdf.artwork import PNG_SIGNATURE, load_logo
from spark_export.writers.pdf.logo import Logo, logo_objects
from spark_export.writers.pdf.objects import ObjectFile, reference

RED, WHITE, BLACK = [255, 0, 0], [255, 255, 255], [0, 0, 0]
NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
SQUARE = '<rect width="4" height="4" fill="red"/>'


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(depth_bits: int, colour_type: int, width: int, row: bytes, *, height: int = 1, before: bytes = b"") -> bytes:
    """A PNG of equal rows, of any kind that the format knows."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth_bits, colour_type, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress((b"\0" + row) * height))
    return PNG_SIGNATURE + head + before + data + chunk(b"IEND", b"")


def svg(content: str = SQUARE, attributes: str = 'viewBox="0 0 8 4"') -> bytes:
    """An SVG, twice as wide as high, its left half red."""
    return f"<svg {NAMESPACES} {attributes}>{content}</svg>".encode()


def saved(image: Image.Image, **options: Any) -> bytes:
    """The image as Pillow writes it."""
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def pixels(logo: Logo) -> npt.NDArray[np.uint8]:
    """Rows of colours."""
    samples = np.frombuffer(zlib.decompress(logo.samples), np.uint8)
    return samples.reshape(logo.height_px, logo.width_px, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the logo lies, under a name that says nothing."""
    return tmp_path / "logo"


def loaded(path: Path, data: bytes) -> npt.NDArray[np.uint8]:
    """The pixels of a logo with that content."""
    path.write_bytes(data)
    return pixels(load_logo(path))


def refusal(path: Path, data: bytes) -> str:
    """What is said of that content after the file's name."""
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"^the logo ") as refused:
        load_logo(path)
    return str(refused.value).removeprefix(f"the logo {path} ")


@pytest.mark.parametrize(
    ("data", "colours"),
    [
        (png(1, 0, 2, b"\x40"), [BLACK, WHITE]),
        (png(2, 0, 4, b"\x1b"), [[0] * 3, [85] * 3, [170] * 3, [255] * 3]),
        (png(8, 0, 2, b"\x00\x80"), [BLACK, [128] * 3]),
        (png(16, 0, 3, bytes.fromhex("00ff8000ffff")), [BLACK, [128] * 3, WHITE]),
        (png(8, 2, 2, bytes.fromhex("ff0000010203")), [RED, [1, 2, 3]]),
        (png(16, 2, 2, bytes.fromhex("ffff00000000 0100020003ff")), [RED, [1, 2, 3]]),
        (png(8, 3, 2, b"\x01\x00", before=chunk(b"PLTE", bytes.fromhex("000000ff0000"))), [RED, BLACK]),
    ],
    ids=["1 bit", "2 bits", "grey", "grey of 16 bits", "RGB", "RGB of 16 bits", "palette"],
)
def test_opaque_png(path: Path, data: bytes, colours: list[list[int]]) -> None:
    """A PNG of any depth and kind becomes RGB of 8 bits."""
    assert loaded(path, data).tolist() == [colours]


@pytest.mark.parametrize(
    ("data", "colours"),
    [
        (png(8, 6, 3, bytes.fromhex("ff000000 ff000080 ff0000ff")), [WHITE, [255, 127, 127], RED]),
        (png(16, 6, 2, bytes.fromhex("ffff000000000000 ffff00000000ffff")), [WHITE, RED]),
        (png(8, 4, 2, bytes.fromhex("0000 00ff")), [WHITE, BLACK]),
        (png(16, 4, 2, bytes.fromhex("00000000 0000ffff")), [WHITE, BLACK]),
        (png(8, 0, 2, b"\x80\x00", before=chunk(b"tRNS", b"\x00\x80")), [WHITE, BLACK]),
        (png(16, 0, 2, b"\x80\x00\x80\x01", before=chunk(b"tRNS", b"\x80\x00")), [WHITE, [128] * 3]),
        (
            png(8, 3, 2, b"\x00\x01", before=chunk(b"PLTE", bytes.fromhex("000000ff0000")) + chunk(b"tRNS", b"\x00")),
            [WHITE, RED],
        ),
    ],
    ids=["RGBA", "RGBA of 16 bits", "LA", "LA of 16 bits", "grey", "grey of 16 bits", "palette"],
)
def test_transparent_png(path: Path, data: bytes, colours: list[list[int]]) -> None:
    """What is transparent, in part or wholly, shows the white paper."""
    assert loaded(path, data).tolist() == [colours]


@pytest.mark.parametrize(
    ("size", "scaled"), [((2400, 600), (1200, 300)), ((60, 2400), (30, 1200)), ((1, 5000), (1, 1200)), ((9, 5), (9, 5))]
)
def test_size(path: Path, size: tuple[int, int], scaled: tuple[int, int]) -> None:
    """A large PNG is scaled down in proportion, to one pixel at least; a small one stays as it is."""
    width, height = scaled
    assert loaded(path, saved(Image.new("RGB", size, "red"))).tolist() == [[RED] * width] * height


def test_moving_png(path: Path) -> None:
    """Of a moving PNG the first picture stays."""
    red, blue = (Image.new("RGB", (1, 1), colour) for colour in ("red", "blue"))
    assert loaded(path, saved(red, save_all=True, append_images=[blue])).tolist() == [[RED]]


@pytest.mark.parametrize(("width", "height"), [(5000, 4001), (10_000, 9500), (60_000, 60_000)])
def test_too_many_pixels(path: Path, width: int, height: int) -> None:
    """A PNG is refused by the size that it states, before a pixel is decoded."""
    assert refusal(path, png(8, 2, width, b"", height=height)[:-20]) == "has more than 20000000 pixels"


def test_file_too_large(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is read up to the limit only."""
    data = svg()
    monkeypatch.setattr(module, "MAX_FILE_BYTES", len(data))
    assert loaded(path, data)[0, 0].tolist() == RED
    assert refusal(path, data + b" ") == f"has more than {len(data)} bytes"


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.frombytes("L", (64, 64), random.Random(1).randbytes(64 * 64)))[:-500],  # noqa: S311
        PNG_SIGNATURE,
        PNG_SIGNATURE + bytes(20),
        png(8, 2, 0, b""),
        png(8, 2, 1, bytes(RED)).replace(b"IHDR", b"IHDX"),
        png(8, 0, 1, b"\0", before=chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(9_000_000)))),
    ],
    ids=["truncated", "nothing else", "zeros", "no width", "no header", "a text that expands"],
)
def test_broken_png(path: Path, data: bytes) -> None:
    """A PNG that cannot be decoded to its last row is refused."""
    assert refusal(path, data) == "is a broken PNG"


def test_damaged_png(path: Path) -> None:
    """Whatever bytes of a PNG are wrong, it is loaded or refused, and nothing else is raised."""
    chance = random.Random(1)  # noqa: S311
    whole = saved(Image.frombytes("L", (9, 9), chance.randbytes(81)).convert("P"))
    for _ in range(300):
        data = bytearray(whole)
        data[chance.randrange(8, len(data))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            load_logo(path)
        except ValueError as error:
            assert str(error) == f"the logo {path} is a broken PNG"  # noqa: PT017  it need not be raised


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff\xe0", b"\x1f\x8b\x08", b"Logo"])
def test_other_files(path: Path, data: bytes) -> None:
    """What is neither a PNG nor XML is refused as such."""
    assert refusal(path, data) == "is neither a PNG nor an SVG"


@pytest.mark.parametrize("data", [b'<svg viewBox="0 0 8 4"/>', b"<html><svg/></html>"])
def test_other_markup(path: Path, data: bytes) -> None:
    """XML that a browser would not show as an SVG either is told what is missing."""
    assert refusal(path, data).endswith('it begins with no <svg xmlns="http://www.w3.org/2000/svg">')


def test_content_counts(tmp_path: Path) -> None:
    """What the file is named says nothing about what it is."""
    assert loaded(tmp_path / "logo.svg", png(8, 2, 1, bytes(RED))).tolist() == [[RED]]
    assert loaded(tmp_path / "logo.png", svg()).shape == (600, 1200, 3)


def test_no_file(tmp_path: Path) -> None:
    """A file that is missing, or is a folder, is named with what is wrong."""
    with pytest.raises(ValueError, match=r"^the logo .*/none\.png does not exist$"):
        load_logo(tmp_path / "none.png")
    with pytest.raises(ValueError, match=r"^the logo .* cannot be read: Is a directory$"):
        load_logo(tmp_path)


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ('viewBox="0 0 8 4"', (1200, 600)),
        ('width="8" height="4"', (1200, 600)),
        ('width="100%" height="100%" viewBox="0 0 40 10"', (1200, 300)),
        ('viewBox="0 0 4 8"', (300, 600)),
        ('viewBox="0 0 1000000 1"', (1200, 1)),
        ('viewBox="0 0 1 1000000"', (1, 600)),
    ],
)
def test_svg_size(path: Path, attributes: str, size: tuple[int, int]) -> None:
    """An SVG is drawn as large as fits into the box, whatever size and proportion it states."""
    width, height = size
    assert loaded(path, svg('<rect width="100%" height="100%"/>', attributes)).shape == (height, width, 3)


def test_svg_on_white(path: Path) -> None:
    """Where an SVG draws nothing the paper is white."""
    drawn = loaded(path, svg())
    assert (drawn[300, 300].tolist(), drawn[300, 900].tolist()) == (RED, WHITE)


@pytest.mark.parametrize("family", ["", "Arial", "DejaVu Sans", "Times, serif", "monospace"])
def test_svg_text(path: Path, family: str) -> None:
    """Text is drawn with the bundled face, whatever family it names and whatever fonts the system has."""
    named, ours = (
        loaded(path, svg(f'<text y="4" font-size="4" font-family="{name}">A</text>')) for name in (family, "Noto Sans")
    )
    assert (ours == 0).all(axis=2).mean() > 0.02
    assert (named == ours).all()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-9"])
def test_svg_encodings(path: Path, encoding: str) -> None:
    """An SVG may be in any encoding that it declares."""
    declared = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>'
    assert loaded(path, (declared + svg(f"<title>ş</title>{SQUARE}").decode()).encode(encoding))[0, 0].tolist() == RED


def test_svg_prefix(path: Path) -> None:
    """Prefixes, a document type, comments and style sheets change nothing."""
    data = b"""<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
    <!-- drawn by hand --><s:svg xmlns:s="http://www.w3.org/2000/svg" viewBox="0 0 8 4">
    <s:style>.a { fill: red }</s:style><s:rect class="a" width="4" height="4"/></s:svg>"""
    assert loaded(path, data)[0, 0].tolist() == RED


def test_embedded_image(path: Path) -> None:
    """An SVG shows the images that it holds."""
    held = base64.b64encode(png(8, 2, 1, bytes(RED))).decode()
    image = f'<image width="4" height="4" xlink:href="data:image/png;base64,{held}"/>'
    assert loaded(path, svg(image))[300, 300].tolist() == RED


@pytest.mark.parametrize(
    "link",
    [
        "other.png",
        "/etc/other.png",
        "file:///other.png",
        "http://127.0.0.1/other.png",
        "data:image/svg+xml,&lt;svg/>",
        "",
    ],
)
@pytest.mark.parametrize("element", ['<image href="{}"/>', '<g><image xlink:href="{}"/></g>', '<feImage href="{}"/>'])
def test_linked_image(path: Path, element: str, link: str) -> None:
    """An SVG that shows another file, or another SVG, is refused: it is neither opened nor left out silently."""
    said = refusal(path, svg(SQUARE + element.format(link)))
    assert said.startswith("shows the image '")
    assert said.endswith("; embed it as the data of a PNG, JPEG, GIF or WebP")


def test_entity_in_a_link(path: Path) -> None:
    """A link is judged after its entities are replaced."""
    document_type = b'<!DOCTYPE svg [<!ENTITY other "/etc/other.png">]>'
    assert refusal(path, document_type + svg('<image href="&other;"/>')).startswith("shows the image '/etc/other.png'")


def test_external_entity(path: Path, tmp_path: Path) -> None:
    """No file gets into an SVG as an entity."""
    (tmp_path / "other").write_text("secret")
    document_type = f'<!DOCTYPE svg [<!ENTITY other SYSTEM "{tmp_path}/other">]>'.encode()
    said = refusal(path, document_type + svg(f"{SQUARE}<text>&other;</text>"))
    assert said.startswith("is a broken SVG: undefined entity &other;")


def test_multiplying_entities(path: Path) -> None:
    """Entities that expand to gigabytes are refused."""
    entities = "".join(
        f'<!ENTITY {name} "{f"&{before};" * 20}">' for before, name in zip("abcdefg", "bcdefgh", strict=True)
    )
    document_type = f'<!DOCTYPE svg [<!ENTITY a "{"a" * 20}">{entities}]>'.encode()
    assert "amplification" in refusal(path, document_type + svg("<text>&h;</text>"))


@pytest.mark.parametrize("depth", [63, 100_000])
def test_deep_svg(path: Path, depth: int) -> None:
    """Groups so deep that resvg would end the process are refused."""
    assert refusal(path, svg("<g>" * depth + SQUARE + "</g>" * depth)) == "is an SVG nested more than 64 levels deep"


def test_deepest_svg(path: Path) -> None:
    """Groups up to the limit are drawn."""
    assert loaded(path, svg("<g>" * 62 + SQUARE + "</g>" * 62))[300, 300].tolist() == RED


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (svg()[:-6], "is a broken SVG: no element found"),
        (b'<?xml version="1.0" encoding="klingon"?>' + svg(), "is a broken SVG: unknown encoding"),
        (svg(attributes='width="0" height="4"'), "is an SVG that cannot be drawn: SVG has an invalid size"),
    ],
)
def test_broken_svg(path: Path, data: bytes, said: str) -> None:
    """An SVG that cannot be read or drawn is refused with what is wrong."""
    assert refusal(path, data).startswith(said)


@pytest.mark.parametrize("data", [svg(""), svg('<rect width="8" height="4" fill="white"/>'), png(8, 4, 1, b"\x00\x00")])
def test_blank_logo(path: Path, data: bytes) -> None:
    """A logo that nobody would see on white paper, as one for dark pages, is refused."""
    assert refusal(path, data) == "shows nothing on white paper"


def test_image_object(path: Path) -> None:
    """A foreign reader sees the pixels in an image without a mask or interpolation, which PDF/A restricts."""
    path.write_bytes(png(8, 2, 2, bytes(RED + BLACK), height=2))
    file = ObjectFile()
    head = file.start()
    root, info, image = (file.reserve() for _ in range(3))
    body = logo_objects(file, image, load_logo(path))
    catalog = file.add(root, b"<</Type/Catalog/Pages<</Type/Pages/Count 0/Kids[]>>/Logo %s>>" % reference(image))
    with pikepdf.open(
        io.BytesIO(b"".join([head, body, catalog, file.add(info, b"<<>>"), *file.finish(root, info)]))
    ) as pdf:
        stream = pdf.Root.Logo
        assert isinstance(stream, pikepdf.Stream)
        assert set(stream.keys()) == {
            "/Type", "/Subtype", "/Width", "/Height", "/ColorSpace", "/BitsPerComponent", "/Filter", "/Length"
        }  # fmt: skip
        assert np.asarray(pikepdf.PdfImage(stream).as_pil_image()).tolist() == [[RED, BLACK]] * 2
