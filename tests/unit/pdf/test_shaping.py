"""Right-to-left, joined and combined text: order, forms, fonts and lines."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from importlib import resources

import bidi
import numpy as np
import pytest
import uharfbuzz as hb
from hypothesis import given
from hypothesis import strategies as st

from spark_export.writers.pdf.shaping import LACKING, Glyph, ShapedText, Shaper, needs_shaping

LATIN, ARABIC, HEBREW = range(3)
LACKING_ADVANCE = 600
ALEF, BET = "\u05d0", "\u05d1"
RLI, PDI, RLO, PDF, LRM, RLM, ZWNJ, ZWJ = map(chr, (0x2067, 0x2069, 0x202E, 0x202C, 0x200E, 0x200F, 0x200C, 0x200D))
ACUTE, FATHA = "\u0301", "\u064e"
LAM_ALEF = "\u0644\u0627"
SALAM = "\u0633\u0644\u0627\u0645"
INVISIBLE = (ZWNJ, ZWJ, "\u202a", "\u202b", PDF, "\u202d", RLO, "\u2066", RLI, "\u2068", PDI, LRM, RLM, "\ufe0f")
LETTERS = ("a", "b", "é", ALEF, BET, "\u0633", "\u0644", "\u0627", "\u0645", ACUTE, FATHA, "\u05b8", "漢", "क", "्")
NEUTRALS = (" ", " ", "1", "2", "\u0661", ".", ",", "-", "+", "%", "(", ")", "[", "]", "…")


def load(name: str) -> hb.Font:
    """A bundled font."""
    return hb.Font(hb.Face(hb.Blob(resources.files("spark_export.fonts").joinpath(name).read_bytes())))


FONTS = [load(f"NotoSans{script}-Regular.ttf") for script in ("", "Arabic", "Hebrew")]
SHAPER = Shaper(FONTS, LACKING_ADVANCE)

texts = st.text(st.sampled_from((*LETTERS, *NEUTRALS, *INVISIBLE)), max_size=25)
visible_texts = st.text(st.sampled_from((*LETTERS, *NEUTRALS)), max_size=25)


def seen(line: ShapedText) -> str:
    """The texts of its glyphs, left to right."""
    return "".join(glyph.text for glyph in line.glyphs)


def visible(text: str, *others: str) -> Counter[str]:
    """How often each character is in a text, without those that have no glyph."""
    return Counter(character for character in text if character not in (*INVISIBLE, *others))


def numbers(glyphs: Sequence[Glyph]) -> list[int]:
    """Of the glyphs."""
    return [glyph.glyph for glyph in glyphs]


def isolated(character: str) -> int:
    """Glyph of a character that stands alone."""
    return SHAPER.shape(character).glyphs[0].glyph


def test_plain_text_is_left_as_it_is() -> None:
    """Latin text has one glyph a character, that of the character map, in its order."""
    shaped = SHAPER.shape("Ab 1,2")
    assert seen(shaped) == "Ab 1,2"
    assert numbers(shaped.glyphs) == [FONTS[LATIN].get_nominal_glyph(ord(character)) for character in "Ab 1,2"]
    assert (shaped.right_to_left, shaped.lacking) == (False, ())


def test_letters_join() -> None:
    """Arabic letters have the forms that join them: none of those of the word is the isolated one of its letter."""
    shaped = SHAPER.shape(SALAM)
    assert [glyph.text for glyph in shaped.glyphs[::-1]] == ["\u0633", LAM_ALEF, "\u0645"]
    assert shaped.glyphs[2].glyph != isolated("\u0633")
    assert isolated("\u0633") not in numbers(shaped.glyphs)
    assert SHAPER.shape("\u0633\u0633").glyphs[0].glyph not in (isolated("\u0633"), shaped.glyphs[2].glyph)


def test_ligature() -> None:
    """Lam and alef are one glyph that copies out as both, in logical order."""
    (glyph,) = SHAPER.shape(LAM_ALEF).glyphs
    assert glyph.text == LAM_ALEF


def test_joiners() -> None:
    """A zero-width non-joiner keeps letters apart, shows nothing, and copies out with a letter."""
    apart = SHAPER.shape(f"\u0633{ZWNJ}\u0633")
    assert numbers(apart.glyphs) == [isolated("\u0633")] * 2
    assert ZWNJ in seen(apart)


def test_mixed_directions() -> None:
    """Hebrew in Latin text turns by itself; the number after it stays on the side to which the bidi rules put it."""
    assert seen(SHAPER.shape("abc שלום 123")) == "abc 123 םולש"
    assert seen(SHAPER.shape("שלום abc 123")) == "abc 123 םולש"
    assert SHAPER.shape("123 שלום abc").right_to_left
    assert not SHAPER.shape("123 abc שלום").right_to_left
    assert seen(SHAPER.shape("123 שלום abc")) == "abc םולש 123"


def test_brackets_are_mirrored() -> None:
    """A bracket in right-to-left text shows as its twin, and copies out as itself."""
    left, right = (FONTS[LATIN].get_nominal_glyph(ord(bracket)) for bracket in "()")
    shaped = SHAPER.shape(f"({ALEF})")
    assert [(glyph.glyph, glyph.text) for glyph in shaped.glyphs] == [
        (left, ")"),
        (isolated(ALEF), ALEF),
        (right, "("),
    ]


def test_brackets_are_paired() -> None:
    """Both brackets of a pair go the same way (UAX #9 N0)."""
    assert seen(SHAPER.shape(f"ab ({ALEF}) {BET}")) == f"ab ({ALEF}) {BET}"


def test_bidi_controls() -> None:
    """Isolates, overrides and marks order what is around them, and make no glyph."""
    assert seen(SHAPER.shape(f"{ALEF}a {RLI}{BET}1{PDI}")) == f"1{BET} a{ALEF}"
    assert seen(SHAPER.shape(f"{RLO}abc{PDF}")) == "cba"
    assert seen(SHAPER.shape(f"{RLM}1 a")) == "a 1"


def test_spaces_at_the_end() -> None:
    """Spaces at the end are at the end of the text's direction, whatever embedding is open there (UAX #9 L1)."""
    assert seen(SHAPER.shape("\u202ba ")) == "a "
    assert seen(SHAPER.shape(f"{ALEF}a ")) == f" a{ALEF}"


@given(visible_texts)
def test_order_is_that_of_unicode(text: str) -> None:
    """Without marks and ligatures characters are seen in the order in which python-bidi shows them."""
    text = "".join(character for character in text if not unicodedata.combining(character)).replace("\u0644", "")
    assert seen(SHAPER.shape(text)) == bidi.get_display(text)


@given(texts)
def test_nothing_is_lost(text: str) -> None:
    """Glyphs copy out as the text, each character once; widths are sums of advances; lacking ones are all told."""
    shaped = SHAPER.shape(text)
    assert visible(seen(shaped)) == visible(text)
    assert shaped.width == sum(glyph.advance for glyph in shaped.glyphs)
    assert Counter(shaped.lacking) == Counter(character for character in text if character in "漢क्")
    assert all((glyph.glyph == LACKING) == (glyph.text in tuple("漢क्")) for glyph in shaped.glyphs)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=20))
def test_any_text_has_a_shape(text: str) -> None:
    """No character is one too many for the shaper, in its lines neither."""
    assert SHAPER.shape(text).width >= 0
    assert len(SHAPER.wrap(text, 2000)) >= 1


def test_marks_keep_to_their_base() -> None:
    """A mark composes with its base where the font has both as one, and is one glyph on it else."""
    (composed,) = SHAPER.shape(f"e{ACUTE}").glyphs
    assert (composed.glyph, composed.text) == (FONTS[LATIN].get_nominal_glyph(ord("é")), f"e{ACUTE}")
    letter, mark = SHAPER.shape(f"q{ACUTE}").glyphs
    assert (letter.text, mark.text, mark.advance) == ("q", ACUTE, 0)
    assert mark.x_offset != SHAPER.shape(f"d{ACUTE}").glyphs[1].x_offset


def test_vowel_signs() -> None:
    """Arabic vowel signs keep a text of their own, take no width and break no joint."""
    mark, letter = SHAPER.shape(f"\u0633{FATHA}").glyphs
    assert (mark.text, letter.text, mark.advance, mark.font) == (FATHA, "\u0633", 0, ARABIC)
    bare, signed = SHAPER.shape("\u0633\u0645"), SHAPER.shape(f"\u0633{FATHA}\u0645{FATHA}")
    assert numbers([glyph for glyph in signed.glyphs if glyph.advance]) == numbers(bare.glyphs)
    assert signed.width == bare.width


def test_fonts_are_tried_in_order() -> None:
    """A character is shown in the first font that has it."""
    fonts = {glyph.text: glyph.font for glyph in SHAPER.shape(f"a{ALEF}\u0633").glyphs}
    assert fonts == {"a": LATIN, ALEF: HEBREW, "\u0633": ARABIC}
    assert SHAPER.shape("a").glyphs == Shaper([FONTS[LATIN], FONTS[LATIN]], 0).shape("a").glyphs


def test_spaces_change_no_font() -> None:
    """Spaces, digits and punctuation stay in the font before them that has them, first ones in that after them."""
    assert {glyph.font for glyph in SHAPER.shape("1. \u0633 12. \u0633").glyphs} == {ARABIC}
    assert [glyph.font for glyph in SHAPER.shape(f"{ALEF} 1").glyphs] == [LATIN, HEBREW, HEBREW]


def test_a_cluster_is_in_one_font() -> None:
    """A base goes with its marks to a font that has them all, though one before has the base alone."""
    bases = Shaper([_subset("q"), FONTS[LATIN]], 0)
    assert [glyph.font for glyph in bases.shape("q").glyphs] == [0]
    assert [glyph.font for glyph in bases.shape(f"qq{ACUTE}").glyphs] == [0, 1, 1]


def _subset(characters: str) -> hb.Font:
    wanted = hb.SubsetInput()
    wanted.sets(hb.SubsetInputSets.UNICODE).update(map(ord, characters))
    return hb.Font(hb.subset(FONTS[LATIN].face, wanted))


def test_lacking_characters() -> None:
    """Each character that no font has is told each time, and stands as itself where it would be seen."""
    shaped = SHAPER.shape(f"漢{ALEF}漢字")
    assert Counter(shaped.lacking) == Counter("漢漢字")
    assert Glyph(0, LACKING, "字", LACKING_ADVANCE, 0, 0) in shaped.glyphs
    assert seen(SHAPER.shape(f"{ALEF}{RLO}漢字")) == f"字漢{ALEF}"


def test_a_lacking_sequence() -> None:
    """Of an emoji sequence only what is visible lacks; its mark shows where a font has it."""
    assert SHAPER.shape(f"\U0001f469\U0001f3fd{ZWJ}\U0001f680\ufe0f").lacking == (
        "\U0001f469",
        "\U0001f3fd",
        "\U0001f680",
    )
    base, mark = SHAPER.shape(f"漢{ACUTE}").glyphs
    assert (base.glyph, mark.text, mark.font) == (LACKING, ACUTE, LATIN)
    assert mark.glyph != LACKING


def test_scale() -> None:
    """Figures are thousandths of an em in whatever scale the font is."""
    scaled = [load(f"NotoSans{script}-Regular.ttf") for script in ("", "Arabic")]
    for font in scaled:
        font.scale = (2048, 2048)
    text = f"\u0633{FATHA}\u0645{FATHA} abc"
    for glyph, usual in zip(Shaper(scaled, 0).shape(text).glyphs, SHAPER.shape(text).glyphs, strict=True):
        assert (glyph.glyph, glyph.text) == (usual.glyph, usual.text)
        assert abs(glyph.advance - usual.advance) <= 1
        assert abs(glyph.x_offset - usual.x_offset) <= 1
        assert abs(glyph.y_offset - usual.y_offset) <= 1


def test_what_fits_is_whole() -> None:
    """A text exactly as wide as its column is not cut."""
    shaped = SHAPER.shape(f"{SALAM} abc")
    assert SHAPER.fit(f"{SALAM} abc", shaped.width) is shaped
    assert seen(SHAPER.fit(f"{SALAM} abc", shaped.width - 1)) != seen(shaped)


def test_fit_in_both_directions() -> None:
    """The ellipsis is on the left of right-to-left text, also where what is left of it has no direction."""
    assert seen(SHAPER.fit("abcdefgh", 3000)) == "abc…"
    assert seen(SHAPER.fit(ALEF * 3 + BET * 9, 3500)) == f"…{BET}{ALEF * 3}"
    assert seen(SHAPER.fit(f"123 {ALEF}{BET * 9}", 2600)) == "…123"
    assert SHAPER.fit(f"123 {ALEF}{BET * 9}", 2600).right_to_left


def test_fit_cuts_between_clusters() -> None:
    """A mark is not cut off its base, nor a letter off a virama."""
    marked = f"q{ACUTE}{FATHA}" * 3
    for width in range(800, SHAPER.shape(marked).width, 100):
        kept = seen(SHAPER.fit(marked, width))
        assert kept.count("q") == kept.count(ACUTE) == kept.count(FATHA)
    width = SHAPER.shape("aक्…").width
    assert seen(SHAPER.fit("aकaaaaaa", width)) == "aकa…"
    assert seen(SHAPER.fit("aक्कaaaaa", width)) == "a…"


def test_an_ellipsis_alone() -> None:
    """In a column narrower than any character the ellipsis stands alone."""
    assert seen(SHAPER.fit(f"{ALEF}{BET}", 10)) == "…"


@given(visible_texts, st.integers(0, 9000))
def test_fit_is_the_longest(text: str, width: int) -> None:
    """What is cut is the longest part between clusters that fits with the ellipsis, in the direction of the whole."""
    whole = SHAPER.shape(text)
    if whole.width > width:
        mark = RLM if whole.right_to_left else LRM
        cuts = [SHAPER.shape(mark + text[:end] + "…") for end in range(len(text)) if not joins(text[:end], text[end])]
        fitting = [cut for cut in cuts if cut.width <= width]
        assert SHAPER.fit(text, width) == (fitting or cuts[:1])[-1]


def test_a_letter_that_makes_room() -> None:
    """Where a letter is narrower with the next one joined to it, both are kept."""
    assert seen(SHAPER.fit("سساسس", 2716)) == "…" + "سسا"[::-1]
    assert seen(SHAPER.fit("سساسس", 2715)) == "…" + "س"


def joins(before: str, character: str) -> bool:
    """Whether no line can begin at the character, of which that is before."""
    return bool(before) and (unicodedata.combining(character) != 0 or (before[-1] == "्" and character.isalpha()))


@given(st.lists(texts, max_size=3).map("\n".join), st.integers(0, 9000))
def test_wrap_loses_nothing(text: str, width: int) -> None:
    """Lines hold each visible character once but spaces, and are no wider than the width unless one cluster is."""
    lines = SHAPER.wrap(text, width)
    assert visible("".join(map(seen, lines)), " ") == visible(text, " ", "\n")
    assert len(lines) >= text.count("\n") + 1
    for line in lines:
        bases = sum(not unicodedata.combining(character) for character in visible(seen(line)).elements())
        assert line.width <= width or bases <= 1 + text.count("्") + text.count(ZWJ)


def test_wrap_at_spaces() -> None:
    """Lines break at spaces, which are dropped there; right-to-left lines follow each other in logical order."""
    width = SHAPER.shape("abc def").width
    assert [seen(line) for line in SHAPER.wrap("abc def  abc def", width)] == ["abc def", "abc def"]
    assert [seen(line) for line in SHAPER.wrap("abc def abc def", width - 1)] == ["abc", "def", "abc", "def"]
    assert [seen(line) for line in SHAPER.wrap(f"{ALEF}a {BET}b", 1400)] == [f"a{ALEF}", f"b{BET}"]
    assert [seen(line) for line in SHAPER.wrap(" abc ", 9000)] == [" abc "]


def test_wrap_at_line_feeds() -> None:
    """A line feed always ends a line, and each part has its own direction."""
    lines = SHAPER.wrap(f"a{ALEF}\n\n{ALEF}a\n", 9000)
    assert [(seen(line), line.right_to_left) for line in lines] == [
        (f"a{ALEF}", False),
        ("", False),
        (f"a{ALEF}", True),
        ("", False),
    ]
    assert SHAPER.wrap("", 0) == [ShapedText((), 0, right_to_left=False, lacking=())]


def test_wrap_within_a_word() -> None:
    """A word wider than a line breaks between clusters, where its letters still join; at least one is on each line."""
    assert [seen(line) for line in SHAPER.wrap(f"e{ACUTE}e{ACUTE}b", 0)] == [f"e{ACUTE}", f"e{ACUTE}", "b"]
    first, second = SHAPER.wrap("\u0633\u0633", 1000)
    assert numbers([*second.glyphs, *first.glyphs]) == numbers(SHAPER.shape("\u0633\u0633").glyphs)


def test_lines_keep_the_order_of_their_text() -> None:
    """A number that Hebrew in Latin text ends with is on the left of what follows it on its line, as if unbroken."""
    text = f"abc {ALEF * 9} 12 {BET}"
    assert seen(SHAPER.shape(text)) == f"abc {BET} 12 {ALEF * 9}"
    lines = SHAPER.wrap(text, SHAPER.shape(f"abc {ALEF * 9}").width)
    assert [seen(line) for line in lines] == [f"abc {ALEF * 9}", f"{BET} 12"]


def test_shapes_are_kept() -> None:
    """The same text is shaped once."""
    assert SHAPER.shape(SALAM + " 1") is SHAPER.shape(SALAM + " 1")


@pytest.mark.parametrize(
    "characters",
    [
        f"{ALEF}\u0633\u0661\u07ca\u0710\U0001e900",
        f"{ACUTE}{FATHA}\u0903\u20e3\u20dd\ufe20",
        "कกກཀမកខᠠ\u1100\u1161\u11a8ꦗ",
        f"{ZWJ}{ZWNJ}{RLI}{PDI}{RLO}{RLM}\u200e\u061c\ufe0f\U000e0100",
        "\U0001f3fd\U0001f1e9\U000e0067",
    ],
)
def test_what_needs_shaping(characters: str) -> None:
    """Right-to-left letters and numbers, marks, complex scripts, joiners, controls and parts of emoji need shaping."""
    assert needs_shaping()[list(map(ord, characters))].all()


def test_what_needs_none() -> None:
    """Latin, Greek, Cyrillic, CJK, kana, Hangul syllables, symbols, emoji, digits and punctuation need none."""
    for low, high in [(0x20, 0x2FF), (0x370, 0x482), (0x48A, 0x52F), (0x1E00, 0x1FFF), (0x3041, 0x3096)]:
        assert not needs_shaping()[low : high + 1].any()
    for low, high in [(0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x2010, 0x2027), (0x2100, 0x2BFF), (0x20000, 0x2FFFF)]:
        assert not needs_shaping()[low : high + 1].any()
    assert not needs_shaping()[list(map(ord, "ー、。😀🚀०๓฿"))].any()


def test_the_table_is_shared() -> None:
    """The table is made once, covers all code points, and nobody can write to it."""
    table = needs_shaping()
    assert needs_shaping() is table
    assert (len(table), table.dtype) == (0x110000, np.dtype(bool))
    with pytest.raises(ValueError, match="read-only"):
        table[0] = True
