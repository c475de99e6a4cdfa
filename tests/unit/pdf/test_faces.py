"""Font files: what is read of them, what is refused, subsets, and the order in which faces are tried."""

from __future__ import annotations

import base64
import struct
import zlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import uharfbuzz as hb

from spark_export.writers.pdf.faces import (
    ADVANCE_MASK,
    BOLD,
    BOX,
    BUNDLED_FALLBACKS,
    CLASS_SHIFT,
    COMPLEX,
    LACKING,
    REGULAR,
    Chain,
    Face,
    Fonts,
    bundled_face,
    load_face,
    load_fonts,
)

CFF_FONT = zlib.decompress(
    base64.b64decode(
        "eNqFUjlIQ0EQffs3p1dUJF6gIaTQQFAsxEKwUCxN0IDigX7MxwjmwAO0sxLxNwE7sRIrbS0sLCJYWVhpLYiihRILxW8VZzYfjBY6"
        "MLNv3s7s7MxuNB6PwotNSNQODg8HJmMt54A2ASARHevqOeg8fQUEuZibT+lZw7q8J/+N/KGkoSciVzMXhPdJe5NEyC35QviaNJRM"
        "ra5XdHCqdkamNqWvZ+GIMWGRutJ6yrjLN9/QeXPk72YzK6t0D47vIxNQZUkfMpXhWV//O6R84t3HcPVR+YqEyJGV0FASypGBYh9b"
        "cnJIlBooEwcQUxZS26EIp8L/iqcMD5AAU+OZIFf5LarjEu/CiF1fqColrMFNnrAjqlBJ9xcOLzEeNNpYQw3abexCEyLxxfTGqLGw"
        "tqQvM4zYGHEsIo0NjMLAAtawBB3fbOQXr6pDTbqBT1erA92qQQ/vTY0bD5lgsfiNDo/32nK3ZXOUf0+KWhUQQlT/uCcRdVarZpoF"
        "K+TM+8xC/UUdk06O4qSgRnnCW98asrZNf6HgrrGeTf/HNIHPGIE8gxPTb4UI8C/kn8qz5jf4Au42d3A="
    )
)
"""An OpenType font with CFF outlines, made with fontTools: triangles 200, 300 and 400 high for 漢, 字 and 日,
which are 600, 700 and 800 wide."""
HAN = "漢字日"


def font_bytes(name: str) -> bytes:
    """A bundled font file."""
    return resources.files("spark_export.fonts").joinpath(name).read_bytes()


def tables(font: bytes) -> dict[str, tuple[int, int]]:
    """Where the tables of a font file are, and how long."""
    count = struct.unpack_from(">H", font, 4)[0]
    records = [struct.unpack_from(">4sLLL", font, 12 + 16 * place) for place in range(count)]
    return {tag.decode(): (offset, length) for tag, _, offset, length in records}


def without(font: bytes, tag: str) -> bytes:
    """The font with that table under a name that nobody knows."""
    return font.replace(tag.encode(), b"zzzz", 1)


def collection(*fonts: bytes) -> bytes:
    """A TrueType collection of the fonts."""
    start = 12 + 4 * len(fonts)
    starts = [start + sum(map(len, fonts[:place])) for place in range(len(fonts))]
    parts = [struct.pack(f">4sLL{len(fonts)}L", b"ttcf", 0x10000, len(fonts), *starts)]
    for font, moved in zip(fonts, starts, strict=True):
        changed = bytearray(font)
        for place in range(struct.unpack_from(">H", font, 4)[0]):
            (offset,) = struct.unpack_from(">L", font, 12 + 16 * place + 8)
            struct.pack_into(">L", changed, 12 + 16 * place + 8, offset + moved)
        parts.append(bytes(changed))
    return b"".join(parts)


@pytest.fixture(scope="module")
def fonts() -> Fonts:
    """The bundled fonts."""
    return load_fonts()


@pytest.fixture(scope="module")
def face() -> Face:
    """The main face."""
    return bundled_face(REGULAR)


def class_of(chain: Chain, character: str) -> int:
    """The class of a character in the chain."""
    return int(chain.traits[ord(character)]) >> CLASS_SHIFT


def test_advances_are_the_fonts(face: Face) -> None:
    """Advances are those of Noto Sans, in 1/1000 em."""
    characters = "A1ş…"
    assert [face.advance(face.glyph_of(ord(each))) for each in characters] == [639, 572, 479, 791]
    found = dict(zip(face.points.tolist(), face.advances.tolist(), strict=True))
    assert [found[ord(each)] for each in characters] == [639, 572, 479, 791]


def test_advances_of_another_em() -> None:
    """Advances of a face with 1000 units in an em are its own, whatever its outlines are."""
    face = Face(CFF_FONT)
    assert face.name == "Tiny-Regular"
    assert list(zip(map(chr, face.points), face.advances.tolist(), strict=True)) == [
        ("字", 700),
        ("日", 800),
        ("漢", 600),
    ]


def test_characters_ascend(face: Face) -> None:
    """A face tells its characters in ascending order, each with its glyph."""
    assert (np.diff(face.points.astype(np.int64)) > 0).all()
    assert face.glyphs.tolist() == [face.glyph_of(point) for point in face.points.tolist()]


def test_figures_of_the_regular_face(face: Face) -> None:
    """The figures are those of the tables `hhea`, `OS/2` and `head`."""
    figures = face.figures
    assert (figures.ascent, figures.descent, figures.cap_height) == (1069, -293, 714)
    assert (figures.italic_angle, figures.stem_v, figures.flags) == (0.0, 88, 4)


def test_figures_of_the_bold_face() -> None:
    """A bold face says that it is bold."""
    assert (bundled_face(BOLD).figures.flags, bundled_face(BOLD).figures.stem_v) == (4 | 1 << 18, 166)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        b"\0\1\0\0" + b"\xff" * 200,
        font_bytes(REGULAR)[:100],
        *(without(font_bytes(REGULAR), tag) for tag in ("head", "cmap", "hhea", "hmtx")),
    ],
    ids=["empty", "garbage", "broken", "cut off", "no head", "no cmap", "no hhea", "no hmtx"],
)
def test_what_is_no_font(data: bytes) -> None:
    """A file without what every font has is refused."""
    with pytest.raises(ValueError, match="is no TrueType or OpenType font"):
        Face(data)


def test_fonts_without_outlines() -> None:
    """A font of pictures alone has nothing that a PDF can hold."""
    with pytest.raises(ValueError, match="has no outlines"):
        Face(without(font_bytes(REGULAR), "glyf"))


@pytest.mark.parametrize(("rights", "allowed"), [(0, True), (2, False), (4, True), (8, True), (0x102, False)])
def test_licences(rights: int, allowed: bool) -> None:
    """A font whose licence forbids embedding is refused (OS/2.fsType)."""
    data = bytearray(font_bytes(REGULAR))
    struct.pack_into(">H", data, tables(bytes(data))["OS/2"][0] + 8, rights)
    if allowed:
        Face(bytes(data))
        return
    with pytest.raises(ValueError, match="may not be embedded"):
        Face(bytes(data))


def test_load_face(tmp_path: Path) -> None:
    """A face is loaded from a file, whose name may hold a `#`."""
    path = tmp_path / "tiny#.otf"
    path.write_bytes(CFF_FONT)
    assert load_face(str(path)).name == "Tiny-Regular"


def test_faces_of_a_collection(tmp_path: Path) -> None:
    """A number after `#` chooses among the faces of a collection; without one it is the first."""
    path = tmp_path / "both.ttc"
    path.write_bytes(collection(font_bytes(BOLD), CFF_FONT))
    names = [load_face(f"{path}{index}").name for index in ("", "#0", "#1")]
    assert names == ["NotoSans-Bold", "NotoSans-Bold", "Tiny-Regular"]


def test_collections_end(tmp_path: Path) -> None:
    """A number that no face of the collection has is refused."""
    path = tmp_path / "both.ttc"
    path.write_bytes(collection(font_bytes(BOLD), CFF_FONT))
    with pytest.raises(ValueError, match=r"both\.ttc#2 is no TrueType"):
        load_face(f"{path}#2")


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is told by its name, without the number of the face."""
    with pytest.raises(ValueError, match=r"nowhere\.ttc: No such file"):
        load_face(str(tmp_path / "nowhere.ttc#1"))


def test_garbage_file(tmp_path: Path) -> None:
    """A file that is no font is told by its name."""
    path = tmp_path / "garbage.ttf"
    path.write_bytes(b"garbage" * 100)
    with pytest.raises(ValueError, match=r"garbage\.ttf is no TrueType"):
        load_face(str(path))


def test_names_need_no_escaping() -> None:
    """A face's name holds letters, digits and hyphens only, whatever its file says."""
    data = font_bytes(BOLD)
    offset, length = tables(data)["name"]
    names = data[offset : offset + length]
    changed = names.replace("NotoSans-Bold".encode("utf-16-be"), "Noto#/(-Bold".ljust(13).encode("utf-16-be"))
    changed = changed.replace(b"NotoSans-Bold", b"Noto#/(-Bold ")
    assert names != changed
    assert Face(data[:offset] + changed + data[offset + length :]).name == "Noto-Bold"


def test_subset_is_a_font_of_its_glyphs(face: Face) -> None:
    """A subset has .notdef first, then each glyph once in the order of the face, and says where each is."""
    small, large = sorted((face.glyph_of(ord("a")), face.glyph_of(ord("b"))))
    program = face.subset([large, small, large])
    assert program.places == {0: 0, small: 1, large: 2}
    assert program.data[:4] == b"\0\1\0\0"
    assert zlib.decompress(program.compressed) == program.data
    assert not {"cmap", "GSUB", "GPOS", "name", "OS/2", "post"} & set(tables(program.data))


def test_subset_of_cff() -> None:
    """CFF outlines become TrueType ones, which alone have a map from codes to glyphs (ISO 32000-1 9.7.4.2)."""
    face = Face(CFF_FONT)
    program = face.subset([face.glyph_of(ord("日")), face.glyph_of(ord("漢"))])
    assert program.places == {0: 0, 1: 1, 3: 2}
    assert {"glyf", "loca", "head", "hhea", "hmtx", "maxp"} <= set(tables(program.data))
    assert "CFF " not in tables(program.data)
    assert zlib.decompress(program.compressed) == program.data
    assert program == face.subset([3, 1])


def test_outlines_of_cff() -> None:
    """Converted outlines are those of the face: their boxes, and their advances."""
    program = Face(CFF_FONT).subset([1, 2, 3])
    font = hb.Font(hb.Face(hb.Blob(program.data)))
    boxes = [font.get_glyph_extents(place) for place in (1, 2, 3)]
    assert [(box.x_bearing, box.y_bearing, box.width, box.height) for box in boxes] == [
        (0, 200, 100, -200),
        (0, 300, 100, -300),
        (0, 400, 100, -400),
    ]
    assert [font.get_glyph_h_advance(place) for place in (1, 2, 3)] == [600, 700, 800]


def test_subset_of_nothing(face: Face) -> None:
    """A subset always has .notdef."""
    assert face.subset([]).places == {0: 0}


def test_subset_does_not_depend_on_the_order(face: Face) -> None:
    """The same glyphs in any order make the same bytes."""
    assert face.subset([7, 5, 7]) == face.subset([5, 7])


def test_faces_are_tried_in_order(fonts: Fonts) -> None:
    """A character is of the first face that has it."""
    chain = fonts.regular
    for character, index in {"A": 0, "ş": 0, "Ω": 0, "∀": 3, "☀": 4}.items():
        assert class_of(chain, character) == index
        having = [number for number, face in enumerate(chain.faces) if face.glyph_of(ord(character))]
        assert having[0] == index


def test_traits_hold_the_advance(fonts: Fonts) -> None:
    """The advance of a character is that of its face, of one that all lack that of the box."""
    for chain in (fonts.regular, fonts.bold):
        for character in "Aş∀☀":
            face = chain.faces[class_of(chain, character)]
            assert chain.advance_of(ord(character)) == face.advance(face.glyph_of(ord(character)))
        assert (class_of(chain, "漢"), chain.advance_of(ord("漢"))) == (LACKING, chain.box_advance)
        assert chain.traits.max() >> CLASS_SHIFT == COMPLEX
        assert (chain.traits & ADVANCE_MASK).max() < 10_000


def test_box(fonts: Fonts) -> None:
    """Both main faces have a box for what all lack, which is not .notdef (ISO 19005-2 6.2.11.8)."""
    for chain in (fonts.regular, fonts.bold):
        assert chain.box == chain.faces[0].glyph_of(BOX) != 0
        assert chain.box_advance == 600


@pytest.mark.parametrize("character", ["\u05d0", "\u0627", "\u0301", "\u200d", "\xad", "\u200b", "\ufeff", "\u2060"])
def test_complex_characters(fonts: Fonts, character: str) -> None:
    """Letters that turn or join, marks, and invisible characters are shaped, whether or not a face has them."""
    assert class_of(fonts.regular, character) == COMPLEX


def test_operators_fonts_come_after_the_main_one() -> None:
    """An operator's face stands in for what the main one lacks, before the bundled fallbacks."""
    loaded = load_fonts([Face(CFF_FONT)])
    for chain, main in ((loaded.regular, "NotoSans-Regular"), (loaded.bold, "NotoSans-Bold")):
        assert [face.name for face in chain.faces[:2]] == [main, "Tiny-Regular"]
        assert len(chain.faces) == 2 + len(BUNDLED_FALLBACKS)
        assert {class_of(chain, character) for character in HAN} == {1}
        assert [chain.advance_of(ord(character)) for character in HAN] == [600, 700, 800]
