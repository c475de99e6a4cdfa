"""Texts of columns as strings of codes, whatever characters they are made of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.writers.pdf.cells import one_cell, read_cells
from spark_export.writers.pdf.faces import load_fonts
from spark_export.writers.pdf.strings import Typeset, align, code_strings, members, slices, summed, with_ellipses
from spark_export.writers.pdf.typeset import Typefaces

FONT_PT = 8
WIDE = 10**6
ALEF, BET, LAM, ACUTE = "\u05d0", "\u05d1", "\u0644", "\u0301"
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
SWITCH = re.compile(rb"\)\]TJ(/\w+) (\S+) Tf\[\(")
RISE = re.compile(rb"\)\]TJ (\S+) Ts\[\(")
MOVE = re.compile(rb"\)(-?\d+)\(")
"""What may stand between the codes of a string of TJ: each closes it and opens another."""

FONTS = load_fonts()

simple = st.sampled_from("aB1 .(şΩ…\\漢∀☀\n")
mixed = st.sampled_from("aB1 .(şΩ…\\漢∀☀\n" + ALEF + BET + LAM + ACUTE)
anything = st.characters(exclude_categories=["Cs"])
columns = st.integers(1, 6).flatmap(
    lambda rows: st.lists(st.lists(st.text(mixed, max_size=6), min_size=rows, max_size=rows), min_size=1, max_size=3)
)


@dataclass(frozen=True)
class Shown:
    """What a string of TJ shows: the text that it copies out as, the width, the font at the end, the largest rise."""

    text: str
    width: int
    font: bytes
    fonts: tuple[bytes, ...]


def read(typefaces: Typefaces, operand: bytes, main: bytes = b"/R") -> Shown:
    """Reads what stands between the brackets of a string, as a viewer does."""
    subsets = {subset.name: subset for subset in typefaces.subsets}
    uses = {subset.name: dict(subset.uses()) for subset in typefaces.subsets}
    font, place, width, text = main, 0, 0, ""
    fonts = [main]
    while place < len(operand):
        if operand[place : place + 1] == b")":
            if found := SWITCH.match(operand, place):
                font = found[1]
                assert float(found[2]) == FONT_PT
                fonts.append(font)
            elif found := MOVE.match(operand, place):
                width -= int(found[1])
            else:
                found = RISE.match(operand, place)
            assert found
            place = found.end()
            continue
        length = 1 if operand[place] < 0xC0 else 2
        use = uses[font][int.from_bytes(operand[place : place + length], "big")]
        text += use.text
        width += subsets[font].face.advance(use.glyph)
        place += length
    return Shown(text, width, font, tuple(fonts))


def set_one(typefaces: Typefaces, texts: Sequence[str | None], width: int = WIDE, *, wrap: bool = False) -> Typeset:
    """A single column."""
    cells = read_cells(pa.array(texts, pa.string()), "", 100_000)
    return typefaces.regular(FONT_PT).set_columns([cells], [width], wrap=wrap)[0]


def shown(texts: Sequence[str], width: int = WIDE, *, wrap: bool = False) -> list[Shown]:
    """The cells, or lines, as they show."""
    typefaces = Typefaces(FONTS)
    made = set_one(typefaces, texts, width, wrap=wrap)
    return [read(typefaces, each) for each in made.codes.to_pylist()]


@pytest.fixture
def typefaces() -> Typefaces:
    """Of a fresh document."""
    return Typefaces(FONTS)


@given(st.text(anything, max_size=20))
def test_strings_need_no_escaping(text: str) -> None:
    """No code of any text holds a byte that means something in a literal string."""
    operand = set_one(Typefaces(FONTS), [text]).operand
    for operator in (SWITCH, RISE, MOVE):
        operand = operator.sub(b"", operand)
    assert not set(operand) & set(b"()\\\r\n")


@given(st.lists(st.text(mixed, max_size=8), min_size=1, max_size=5))
def test_widths_are_those_that_a_viewer_finds(texts: list[str]) -> None:
    """The width of each cell is what its glyphs advance, and its string ends in the main font."""
    typefaces = Typefaces(FONTS)
    made = set_one(typefaces, texts)
    found = [read(typefaces, each) for each in made.codes.to_pylist()]
    assert [each.width for each in found] == made.widths.tolist()
    assert {each.font for each in found} == {b"/R"}


@given(st.lists(st.text(simple, max_size=8), min_size=1, max_size=5))
def test_texts_copy_out(texts: list[str]) -> None:
    """What codes stand for is the text, in its order; a line feed is a space."""
    assert [each.text for each in shown(texts)] == [text.replace("\n", " ") for text in texts]


@given(st.lists(st.text(mixed, max_size=8), min_size=1, max_size=5))
def test_measures(texts: list[str]) -> None:
    """A column measures what its cells take when they are set uncut."""
    cells = read_cells(pa.array(texts), "", 100)
    assert Typefaces(FONTS).regular(FONT_PT).measure(cells).tolist() == [each.width for each in shown(texts)]


@given(st.lists(st.text(st.sampled_from("aB1 .(W-\n"), max_size=12), max_size=6), st.integers(1, 5000), st.booleans())
def test_ascii_is_set_as_all_else(texts: list[str], width: int, wrap: bool) -> None:
    """ASCII cells are set the same whether or not another cell of their column has other characters."""
    alone = set_one(Typefaces(FONTS), texts, width, wrap=wrap)
    among = set_one(Typefaces(FONTS), [*texts, "ş"], width, wrap=wrap)
    count = len(alone.widths)
    assert among.codes.to_pylist()[:count] == alone.codes.to_pylist()
    assert among.widths.tolist()[:count] == alone.widths.tolist()
    if wrap and texts:
        assert among.lines is not None
        assert alone.lines is not None
        assert among.lines.tolist() == [*alone.lines.tolist(), 1]


@given(columns, st.integers(1, 6), st.booleans())
def test_codes_do_not_depend_on_batches(table: list[list[str]], step: int, wrap: bool) -> None:
    """Codes, simple and shaped, are the same however the rows are batched."""

    def set_in(step: int) -> tuple[list[list[bytes]], list[tuple[bytes, Any]], Counter[str]]:
        typefaces = Typefaces(FONTS)
        setter = typefaces.regular(FONT_PT)
        codes: list[list[bytes]] = [[] for _ in table]
        for start in range(0, len(table[0]), step):
            cells = [read_cells(pa.array(column).slice(start, step), "", 100) for column in table]
            made = setter.set_columns(cells, [1500] * len(table), wrap=wrap)
            for known, column in zip(codes, made, strict=True):
                known.extend(column.codes.to_pylist())
        return codes, [(subset.name, list(subset.uses())) for subset in typefaces.subsets], typefaces.lacking

    assert set_in(step) == set_in(6)


def test_codes_follow_the_rows(typefaces: Typefaces) -> None:
    """Characters get their codes row by row, not column by column."""
    cells = [read_cells(pa.array(column), "", 9) for column in (["漢", "日", "本"], ["語", "漢", "字"])]
    typefaces.regular(FONT_PT).set_columns(cells, [WIDE, WIDE])
    used = [use.text for _, use in next(iter(typefaces.subsets)).uses() if use.text in "漢語日本字"]
    assert used == list("漢語日本字")


@given(st.lists(st.text(mixed, max_size=12), min_size=1, max_size=5), st.integers(791, 6000))
def test_cut_texts(texts: list[str], width: int) -> None:
    """Nothing is wider than its column; what fits is whole, and what is cut ends in an ellipsis."""
    for whole, cut in zip(shown(texts), shown(texts, width), strict=True):
        assert cut.width <= width
        if whole.width <= width:
            assert cut == whole
        else:
            assert "…" in cut.text
            assert not Counter(re.sub("[…\u200b]", "", cut.text)) - Counter(whole.text)


def test_exact_borders() -> None:
    """A text exactly as wide as its column is whole; one unit less, and it is cut."""
    assert [each.text for each in shown(["1234", "", "12"], 4 * 572)] == ["1234", "", "12"]
    assert [each.text for each in shown(["1234", "", "12"], 4 * 572 - 1)] == ["12…", "", "12"]
    assert [each.width for each in shown(["1234"], 4 * 572 - 1)] == [2 * 572 + 791]


@pytest.mark.parametrize(
    ("text", "cut"), [("şşşşşşş", "şşşş…"), ("漢" * 9, "漢漢漢…"), ("☀" * 9, "☀☀…"), (BET * 9, BET * 3 + "…")]
)
def test_cut_of_any_script(text: str, cut: str) -> None:
    """Texts are cut between characters, of whichever font."""
    (found,) = shown([text], 3000)
    assert Counter(found.text) == Counter(cut)


def test_narrower_than_the_ellipsis() -> None:
    """A column narrower than the ellipsis still shows it."""
    assert [(each.text, each.width) for each in shown(["abc", "i"], 300)] == [("…", 791), ("i", 258)]


def test_fallback_fonts(typefaces: Typefaces) -> None:
    """A character of another font closes the string, sets the font, and the main one again at its end."""
    assert set_one(typefaces, ["a☀b"]).operand == b"a)]TJ/F4 8 Tf[(\x06)]TJ/R 8 Tf[(b"
    assert set_one(typefaces, ["☀☀"]).operand == b")]TJ/F4 8 Tf[(\x06\x06)]TJ/R 8 Tf[("
    assert set_one(typefaces, ["∀☀"]).operand == b")]TJ/F3 8 Tf[(\x06)]TJ/F4 8 Tf[(\x06)]TJ/R 8 Tf[("


def test_cells_end_in_the_main_font(typefaces: Typefaces) -> None:
    """Each cell begins and ends in the main font, those that are cut and empty ones too."""
    assert set_one(typefaces, ["☀", "", "☀", "☀☀☀"], 2000).codes.to_pylist() == [
        b")]TJ/F4 8 Tf[(\x06)]TJ/R 8 Tf[(",
        b"",
        b")]TJ/F4 8 Tf[(\x06)]TJ/R 8 Tf[(",
        b")]TJ/F4 8 Tf[(\x06)]TJ/R 8 Tf[(\x05",
    ]


def test_bold(typefaces: Typefaces) -> None:
    """Bold text comes back to the bold font, and shares the fallback fonts and what they lack with the regular one."""
    regular, bold = typefaces.regular(FONT_PT), typefaces.bold(10)
    assert (regular.name, bold.name) == (b"/R", b"/B")
    assert regular.line("☀漢", 100).operand.startswith(b")]TJ/F4 8 Tf[(\x06)]TJ/R 8 Tf[(")
    assert bold.line("☀漢", 100).operand.startswith(b")]TJ/F4 10 Tf[(\x06)]TJ/B 10 Tf[(")
    assert typefaces.lacking == {"漢": 2}


def test_subsets_in_use(typefaces: Typefaces) -> None:
    """The main fonts are always in the document, others once a character needs them."""
    assert [subset.name for subset in typefaces.subsets] == [b"/R", b"/B"]
    set_one(typefaces, ["☀" + ALEF])
    assert [subset.name for subset in typefaces.subsets] == [b"/R", b"/B", b"/F2", b"/F4"]


def test_shaped_cells_stand_among_others(typefaces: Typefaces) -> None:
    """A cell that is shaped takes its place among the rows, and says that it reads from the right."""
    made = set_one(typefaces, ["ab", ALEF + BET, "", BET, "e" + ACUTE])
    assert made.right_to_left is not None
    assert made.right_to_left.tolist() == [False, True, False, True, False]
    texts = [read(typefaces, each).text for each in made.codes.to_pylist()]
    assert texts == ["ab", BET + ALEF, "", BET, "e" + ACUTE]


def test_wrapped_cells_of_all_kinds(typefaces: Typefaces) -> None:
    """Lines of shaped cells and of others stand in the order of the rows, and are counted row by row."""
    made = set_one(typefaces, ["ab cd", f"{ALEF}{BET} {BET}", "", "ef", f"{BET}\n{ALEF}"], 1300, wrap=True)
    assert made.lines is not None
    assert made.lines.tolist() == [2, 2, 1, 1, 2]
    texts = [read(typefaces, each).text for each in made.codes.to_pylist()]
    assert texts == ["ab", "cd", BET + ALEF, BET, "", "ef", BET, ALEF]
    assert made.right_to_left is not None
    assert made.right_to_left.tolist() == [False, False, True, True, False, False, True, True]


def test_nothing_reads_from_the_right(typefaces: Typefaces) -> None:
    """A column without right-to-left texts says so in one word."""
    assert set_one(typefaces, ["a", "e" + ACUTE]).right_to_left is None


LINE_FEEDS = ("\n{0}", "{0}\n{0}", "\n\n{0}", "{0}\n\n{0}", "{0} \n {0}")
LAST_LINE_FEEDS = ("{0}\n", "{0}\n\n", "\n{0}\n")


@pytest.mark.parametrize("text", LINE_FEEDS)
def test_line_feeds_of_shaped_cells(text: str) -> None:
    """A cell that must be shaped has as many lines as one of other letters has."""
    assert len(shown([text.format("x")], 5000, wrap=True)) == len(shown([text.format(ALEF)], 5000, wrap=True))


@pytest.mark.parametrize("text", LAST_LINE_FEEDS)
def test_last_line_feeds_of_shaped_cells(text: str) -> None:
    """A line feed at the very end of a cell that must be shaped begins no line, as in any other cell."""
    assert len(shown([text.format("x")], 5000, wrap=True)) == len(shown([text.format(ALEF)], 5000, wrap=True))


@pytest.mark.parametrize("before", ["", "ş", ALEF, "漢"])
@pytest.mark.parametrize(
    ("text", "seen"),
    [("a\tb\r\nc\u2028d\u2029e\x85f\v\f", "a b  c d e f  "), ("a\x00b\x1b\x7f\x80", "a\ufffdb\ufffd\ufffd\ufffd")],
)
def test_controls(before: str, text: str, seen: str) -> None:
    """Line breaks and tabs show as spaces, other control characters as U+FFFD, beside characters of any kind."""
    assert shown([before + text])[0] == shown([before + seen])[0]


@pytest.mark.parametrize("before", ["", "ş", ALEF])
def test_controls_are_not_lacking(typefaces: Typefaces, before: str) -> None:
    """Control characters, which have no glyph in any font, are none that fonts lack."""
    set_one(typefaces, [before + "\t\x00\x85\u2028"])
    assert not typefaces.lacking


@pytest.mark.parametrize(
    "text",
    [
        "a\ufffe",
        ALEF + "\ufffe",
        "a\x00",
        ALEF + "\x00",
        "a\ufeff",
    ],
)
def test_texts_that_no_code_may_have(typefaces: Typefaces, text: str) -> None:
    """No code copies out as U+0000, U+FEFF or U+FFFE (ISO 14289-1 7.21.7)."""
    set_one(typefaces, [text])
    assert not {"\0", "\ufeff", "\ufffe"} & {
        character for subset in typefaces.subsets for _, use in subset.uses() for character in use.text
    }


def test_lacking_characters_are_counted(typefaces: Typefaces) -> None:
    """Characters that no font has are counted, each time they appear."""
    set_one(typefaces, ["aş漢漢", "漢字", "漢字"])
    assert typefaces.lacking == {"漢": 4, "字": 2}


def test_lacking_characters_of_shaped_cells_are_counted(typefaces: Typefaces) -> None:
    """Characters that no font has are counted once, too, in cells that must be shaped."""
    set_one(typefaces, ["漢", ALEF + "漢"])
    assert typefaces.lacking == {"漢": 2}


def test_lacking_characters_show_as_boxes(typefaces: Typefaces) -> None:
    """A character that no font has shows as the box and copies out as itself."""
    made = set_one(typefaces, ["漢", ALEF + "漢"])
    box = FONTS.regular.box
    assert [use.text for _, use in typefaces.subsets[0].uses() if use.glyph == box] == ["漢", "漢"]
    assert made.widths[0] == FONTS.regular.box_advance


def test_more_lacking_characters_than_codes(typefaces: Typefaces) -> None:
    """Where codes run out characters still show, and are counted."""
    made = set_one(typefaces, ["".join(map(chr, range(0x30000, 0x30000 + 17_000)))], 10**8)
    assert sum(typefaces.lacking.values()) == 17_000
    assert len(read(typefaces, made.operand).text) == 17_000
    assert not set(made.operand) & set(b"()\\\r\n")


def test_widths_where_codes_run_out(typefaces: Typefaces) -> None:
    """Where codes run out widths are still those that a viewer finds."""
    made = set_one(typefaces, ["".join(map(chr, range(0x30000, 0x30000 + 17_000)))], 10**8)
    assert read(typefaces, made.operand).width == made.widths[0]


def test_kinds_of_lacking_characters_are_bounded(typefaces: Typefaces) -> None:
    """A thousand lacking characters are told apart; all others are counted together."""
    set_one(typefaces, ["".join(map(chr, range(0x30000, 0x30000 + 1500)))])
    assert len(typefaces.lacking) == 1001
    assert typefaces.lacking["…"] == 500


def test_a_line(typefaces: Typefaces) -> None:
    """One text is cut to its room in points, at the size that it is set in."""
    setter = typefaces.regular(10)
    assert setter.line("1234", 22.88).operand == b"1234"
    assert setter.line("1234", 22.87).operand == b"12\x05"
    assert setter.points(572) == 5.72


def test_no_rows(typefaces: Typefaces) -> None:
    """Columns without rows are set as columns without rows."""
    for wrap in (False, True):
        made = set_one(typefaces, [], wrap=wrap)
        assert (made.codes.to_pylist(), made.widths.tolist()) == ([], [])


def test_missing_values_and_slices(typefaces: Typefaces) -> None:
    """A slice of a column with missing values is set as its own rows are."""
    cells = read_cells(pa.array(["x", None, "şa", "b"]).slice(1, 2), "-", 10)
    made = typefaces.regular(FONT_PT).set_columns([cells], [WIDE])[0]
    assert [read(typefaces, each).text for each in made.codes.to_pylist()] == ["-", "şa"]


def lines_of(counts: list[int], *, none: bool = False) -> Typeset:
    """A column of cells of so many lines, each line told by its cell and its place."""
    texts = [b"%d.%d" % (cell, line) for cell, count in enumerate(counts) for line in range(count)]
    reading = np.array([text.endswith(b".0") for text in texts])
    return Typeset(
        pa.array(texts, pa.binary()), np.arange(1, len(texts) + 1), None if none else np.array(counts), reading
    )


@given(
    st.integers(1, 6).flatmap(
        lambda rows: st.lists(st.lists(st.integers(1, 4), min_size=rows, max_size=rows), min_size=1, max_size=4)
    )
)
def test_align(counts: list[list[int]]) -> None:
    """All cells of a row take as many lines as the largest; the lines of each stand on top, empty ones below."""
    columns = [lines_of(each) for each in counts]
    aligned, lines = align(columns)
    assert lines.tolist() == [max(row) for row in zip(*counts, strict=True)]
    for own, column in zip(counts, aligned, strict=True):
        expected = [
            (b"%d.%d" % (cell, line), line == 0) if line < own[cell] else (b"", False)
            for cell, most in enumerate(lines.tolist())
            for line in range(most)
        ]
        assert column.right_to_left is not None
        assert list(zip(column.codes.to_pylist(), column.right_to_left.tolist(), strict=True)) == expected
        assert [width for width in column.widths.tolist() if width] == list(range(1, sum(own) + 1))
        assert [width == 0 for width in column.widths.tolist()] == [text == b"" for text, _ in expected]
        assert column.lines is None


def test_align_with_columns_of_one_line() -> None:
    """A column whose cells are one line each is stretched beside one that has more."""
    single = Typeset(pa.array([b"a", b"b"], pa.binary()), np.array([1, 2]))
    (first, second), lines = align([single, lines_of([3, 1])])
    assert lines.tolist() == [3, 1]
    assert first.codes.to_pylist() == [b"a", b"", b"", b"b"]
    assert first.right_to_left is None
    assert second.codes.to_pylist() == [b"0.0", b"0.1", b"0.2", b"1.0"]


@given(st.binary(max_size=30), st.lists(st.integers(0, 30), max_size=12).map(sorted))
def test_slices(data: bytes, ends: list[int]) -> None:
    """Parts of one buffer, with or without gaps between them, are those parts."""
    edges = np.array([min(each, len(data)) for each in ends[: len(ends) // 2 * 2]], np.int64)
    made = slices(np.frombuffer(data, np.uint8), edges[0::2], edges[1::2])
    assert made.to_pylist() == [data[start:end] for start, end in zip(edges[0::2], edges[1::2], strict=True)]


@given(st.lists(st.one_of(st.integers(1, 0xBF), st.integers(0xC000, 0xFFFF)), max_size=20))
def test_code_strings(codes: list[int]) -> None:
    """Each code takes one byte or two, and begins where it is said to."""
    data, places = code_strings(np.array(codes, np.uint16))
    assert data.tobytes() == b"".join(code.to_bytes(1 if code < 0x100 else 2, "big") for code in codes)
    assert np.diff(places).tolist() == [1 if code < 0x100 else 2 for code in codes]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=6))
def test_members(ranges: list[tuple[int, int]]) -> None:
    """The members of ranges are those of each, one range after another."""
    starts = np.array([start for start, _ in ranges], np.int64)
    ends = starts + np.array([length for _, length in ranges], np.int64)
    assert members(starts, ends).tolist() == [
        each for start, end in zip(starts, ends, strict=True) for each in range(start, end)
    ]


def test_sums() -> None:
    """Running sums begin with nothing, and have 64 bits where 32 might not hold them."""
    small = summed(np.array([1, 2, 3], np.uint16))
    assert (small.tolist(), small.dtype.name) == ([0, 1, 3, 6], "int32")
    large = summed(np.full(40_000, 65_535, np.uint16))
    assert (int(large[-1]), large.dtype.name) == (40_000 * 65_535, "int64")
    assert summed(np.array([], np.uint16)).tolist() == [0]


def test_ellipses_leave_the_characters_alone() -> None:
    """Ellipses are put into a copy."""
    characters = np.array([1, 2, 3])
    assert with_ellipses(characters, np.array([1]), 9).tolist() == [1, 9, 3]
    assert characters.tolist() == [1, 2, 3]


def test_one_cell_is_a_column() -> None:
    """One text is set as a column of one row."""
    made = Typefaces(FONTS).regular(FONT_PT).set_columns([one_cell("ab")], [WIDE])[0]
    assert (made.operand, made.widths.tolist()) == (b"ab", [561 + 615])
