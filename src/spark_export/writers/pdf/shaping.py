"""Shapes what one glyph a character cannot show: right-to-left and joined scripts, combining marks, emoji sequences.

A text gets its embedding levels (UAX #9, python-bidi), falls into runs of one level, font and script, these are put in
the order in which they are seen, and HarfBuzz shapes each of them.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress, groupby, pairwise
from operator import and_, ne
from typing import NamedTuple
from unicodedata import bidirectional, category, combining

import bidi
import numpy as np
import numpy.typing as npt
import uharfbuzz as hb

EM = 1000
LACKING = -1
"""Glyph of a character that no font has."""
KEPT_TEXTS = 4096
KEPT_GLYPHS = 1 << 14


def _characters(ranges: str) -> frozenset[str]:
    """The characters of ranges of hexadecimal code points."""
    ends = (each.partition("-") for each in ranges.split())
    return frozenset(chr(point) for low, _, high in ends for point in range(int(low, 16), int(high or low, 16) + 1))


CONTROLS = _characters("61C 200E-200F 202A-202E 2066-2069")
"""They only say in which order others are seen."""
SHAPED = "61C 200C-200F 202A-202E 2066-2069 1F1E6-1F1FF 1F3FB-1F3FF E0001-E007F E0100-E01EF"
"""Bidi controls, joiners, flags, skin tones, tags and variation selectors."""
MARKED = "300-33FF A000-ABFF FB1D-16FFF 1B000-1FFFF"
"""Where marks and right-to-left letters are."""
COMPLEX = (
    "590-109F 1100-11FF 1700-18AF 1900-194F 1A00-1C4F 1CC0-1CFF A800-A82F A840-AAFF ABC0-ABFF D7B0-D7FF "
    "10800-11FFF 16100-1613F 16D40-16D7F 1BC00-1BCAF 1E800-1EFFF"
)
"""Blocks whose letters turn, join, stack or move, as those probably do that later versions of Unicode put there."""
IGNORABLE = _characters(
    "AD 34F 61C 17B4-17B5 180B-180F 200B-200F 202A-202E 2060-206F FE00-FE0F FEFF 1D173-1D17A E0000-E0FFF"
)
"""Characters that HarfBuzz makes nothing of (most of Default_Ignorable_Code_Point)."""

RIGHT = ("R", "AL", "AN")
ALWAYS_RIGHT = frozenset(("R", "AL", "NSM", "WS", "ON", "CS", "ES", "ET", "BN"))
"""A right-to-left text of these bidi classes alone has one level."""
TURNING = frozenset((*RIGHT, "RLE", "RLO", "RLI", "FSI", ""))
"""A left-to-right text without these is seen in its logical order. Python has no class for the newest characters."""
CLUSTER_LEVEL = hb.BufferClusterLevel.MONOTONE_CHARACTERS
FLAGS = hb.BufferFlags.REMOVE_DEFAULT_IGNORABLES
TRAILING = "".join(_characters("20 AD 1680 2000-200D 2028-202E 205F-206F 3000 FEFF"))
"""At the end of a text these have its direction (UAX #9 L1)."""
LEVEL = re.compile(r"Level\(\n\s*(\d+)")

KINDS = {
    "x": _characters("200C E33 EB3 FF9E-FF9F 1F3FB-1F3FF E0020-E007F"),
    "j": _characters("200D"),
    "r": _characters("1F1E6-1F1FF"),
    "l": _characters("1100-115F A960-A97C"),
    "m": _characters("1160-11A7 D7B0-D7C6"),
    "t": _characters("11A8-11FF D7CB-D7FB"),
}
"""Of characters in a cluster: marks, joiner, flag letters, and Hangul initials, medials and finals."""
VIRAMA = 9
"""Canonical combining class."""
ENDING = "\u0bcd\u0e3a\u103a"
"""Viramas that join nothing to the letter after them: of Tamil, Thai and Myanmar."""
CLUSTER = re.compile("(?:rr|l+g?m*t*|[gm]m*t*|.)[xjv]*+(?:(?<=[jv])o[xjv]*+)*+")
"""Over kinds: Hangul syllables, flags, bases with their marks, and letters and pictures after a virama or joiner."""
WORD = re.compile(" *[^ ]+| +$")


@dataclass(frozen=True)
class Glyph:
    """A glyph in its place on a line.

    Attributes:
        font: index into the shaper's fonts.
        glyph: its number in that font; LACKING for a character that none has.
        text: what it copies out as, in logical order; empty for the further glyphs of a cluster.
        advance, x_offset, y_offset: in 1/1000 em.
    """

    font: int
    glyph: int
    text: str
    advance: int
    x_offset: int
    y_offset: int


@dataclass(frozen=True)
class ShapedText:
    """A line.

    Attributes:
        glyphs: left to right, as seen.
        width: sum of their advances, in 1/1000 em.
        right_to_left: direction of the text, by its first strong character.
        lacking: the characters that no font has, each time one appears.
    """

    glyphs: tuple[Glyph, ...]
    width: int
    right_to_left: bool
    lacking: tuple[str, ...]


@functools.cache
def needs_shaping() -> npt.NDArray[np.bool_]:
    """Of each code point, whether texts that hold it must be shaped; read-only."""
    table = np.zeros(0x110000, np.bool_)
    found = [each for each in _characters(MARKED) if category(each)[0] == "M" or bidirectional(each) in RIGHT]
    found += [each for each in _characters(COMPLEX) if category(each)[0] in "LMC"]
    table[list(map(ord, found))] = table[list(map(ord, _characters(SHAPED)))] = True
    table.flags.writeable = False
    return table


class Shaper:
    """Makes glyphs of texts. Those of the latest are kept, as tables repeat values.

    Bidi controls, and other invisible characters where nothing is beside them, copy out as nothing.

    Args:
        fonts: uharfbuzz fonts, in the order in which they are tried.
        lacking_advance: of what stands for a character that no font has, in 1/1000 em.
    """

    def __init__(self, fonts: Sequence[hb.Font], lacking_advance: int) -> None:
        self._fonts = _Fonts(fonts, lacking_advance)
        self._shaped = functools.lru_cache(KEPT_TEXTS)(functools.partial(_shape, self._fonts))

    def shape(self, text: str) -> ShapedText:
        """The text on one line."""
        return self._shaped(text)

    def fit(self, text: str, width: int, ellipsis: str = "…") -> ShapedText:
        """The text on one line, if it is wider than `width` its longest part that fits with the ellipsis at its end.

        It is cut between clusters. An ellipsis that is itself too wide stands alone.
        """
        whole = self.shape(text)
        if whole.width <= width:
            return whole

        def cut(end: int) -> ShapedText:
            return _shape(self._fonts, text[:end] + ellipsis, int(whole.right_to_left))

        ends = [0, *_cluster_ends(text)]
        guess = len(ends) * width // whole.width - 1
        count = max(1, _most(ends, width, lambda end: cut(end).width, guess))
        # A letter may be narrower when another one joins it: without this, 0.6 % of Arabic texts were cut too early.
        joined = (cut(end) for end in ends[count + 1 : count + 2])
        return next((line for line in joined if line.width <= width), None) or cut(ends[count - 1])

    def wrap(self, text: str, width: int) -> list[ShapedText]:
        """At least one line, none wider than `width` unless a single cluster is.

        Lines end at line feeds, else at spaces, which are dropped there, else between the clusters of a word.
        """
        return [line for part in text.split("\n") for line in _Paragraph(self._fonts, part).lines(width)]


def _shape(fonts: _Fonts, text: str, base: int | None = None) -> ShapedText:
    return _Paragraph(fonts, text, base).line()


class _Run(NamedTuple):
    """Characters that are shaped together."""

    start: int
    stop: int
    level: int
    font: int
    script: str


class _Paragraph:
    """A text of one direction: level 0 or 1, else that of its first strong character.

    It falls into runs as a whole, and a line takes its part of them: levels are resolved before lines are broken and
    put in order one by one (UAX #9 3.4), and letters join over their ends (CSS Text 3, word-break).
    """

    def __init__(self, fonts: _Fonts, text: str, base: int | None = None) -> None:
        self._fonts = fonts
        self._base = (bidi.get_base_level(text) if text else 0) if base is None else base
        levels = _levels(text, self._base)
        if not CONTROLS.isdisjoint(text):
            levels = [level for level, character in zip(levels, text, strict=True) if character not in CONTROLS]
            text = "".join(character for character in text if character not in CONTROLS)
        self._text = text
        keys = list(zip(levels, fonts.of_characters(text), _scripts(text), strict=True))
        self._starts = [0, *compress(range(1, len(keys)), map(ne, keys, keys[1:]))][: len(keys)]
        self._runs = [_Run(start, stop, *keys[start]) for start, stop in pairwise([*self._starts, len(keys)])]

    def line(self, start: int = 0, stop: int | None = None) -> ShapedText:
        """A part of the text, or all of it."""
        stop = len(self._text) if stop is None else stop
        runs = self._runs[max(0, bisect_right(self._starts, start) - 1) : bisect_left(self._starts, stop)]
        glyphs = tuple(
            glyph
            for run in _seen(runs)
            for glyph in self._fonts.glyphs(self._text, max(start, run.start), min(stop, run.stop), run)
        )
        lacking = tuple(glyph.text for glyph in glyphs if glyph.glyph == LACKING)
        return ShapedText(glyphs, sum(glyph.advance for glyph in glyphs), self._base == 1, lacking)

    def lines(self, width: int) -> Iterator[ShapedText]:
        """All of the text, on one line if it is empty."""
        words, clusters = [match.end() for match in WORD.finditer(self._text)], _cluster_ends(self._text)
        start = 0
        while True:
            reach = self._reach(clusters, start, width)
            whole = bisect_right(words, reach)
            stop = words[whole - 1] if whole and words[whole - 1] > start else reach
            yield self.line(start, stop)
            start = len(self._text) - len(self._text[stop:].lstrip(" "))
            if start == len(self._text):
                return

    def _reach(self, ends: Sequence[int], start: int, width: int) -> int:
        """The last of the ends up to which a line fits, or the first one."""
        further = ends[bisect_right(ends, start) :]
        count = _most(further, width, lambda end: self.line(start, end).width, 1 + 2 * width // EM)
        return further[max(1, count) - 1] if further else start


def _most(ends: Sequence[int], width: int, measure: Callable[[int], int], guess: int) -> int:
    """How many of them fit; looked for around a guess in doubling steps, as measuring takes time."""
    low, high, step = 0, len(ends), 1
    guess = max(1, min(guess, high))
    while low < guess <= high:
        if measure(ends[guess - 1]) <= width:
            low, guess = guess, guess + step
        else:
            high, guess = guess - 1, guess - step
        step *= 2
    return bisect_right(ends, width, low, high, key=measure)


class _Fonts:
    """Finds fonts for characters, and sets runs in them."""

    def __init__(self, fonts: Sequence[hb.Font], lacking_advance: int) -> None:
        self._fonts = tuple(fonts)
        self._masks = _Masks(fonts)
        self._lacking_advance = lacking_advance
        # Texts share their glyphs: a frozen dataclass takes 1.2 us to make, looking it up 0.2.
        self._glyph = functools.lru_cache(KEPT_GLYPHS)(functools.partial(_glyph, [font.scale for font in fonts]))

    def of_characters(self, text: str) -> list[int]:
        """Of each: the first font that has its cluster whole, else its base, else the character itself, else LACKING.

        Characters common to all scripts stay in the font before them if it has them; the first ones in that after them.
        """
        masks = self._masks
        lead = next(filter(_script, text), "")
        font = _first(masks[lead]) if lead else 0
        if font != LACKING and all(_is_of(masks[each], font, _script(each)) for each in set(text)):
            return [font] * len(text)
        fonts: list[int] = []
        for start, end in pairwise([0, *_cluster_ends(text)]):
            mask = masks[text[start]]
            if end - start > 1:
                mask = functools.reduce(and_, (masks[each] for each in text[start:end])) or mask
            if font == LACKING or _script(text[start]) or not mask >> font & 1:
                font = _first(mask)
            fonts += [font] if end - start == 1 else [_first(masks[each], font) for each in text[start:end]]
        return fonts

    def glyphs(self, text: str, start: int, stop: int, run: _Run) -> list[Glyph]:
        """Glyphs of that part of a run, left to right."""
        if run.font == LACKING:
            characters = reversed(text[start:stop]) if run.level % 2 else text[start:stop]
            return [Glyph(0, LACKING, character, self._lacking_advance, 0, 0) for character in characters]
        buffer = hb.Buffer()
        buffer.cluster_level = CLUSTER_LEVEL
        buffer.flags = FLAGS
        buffer.add_str(text, start, stop - start)
        buffer.direction = "rtl" if run.level % 2 else "ltr"
        if run.script:
            buffer.script = run.script
        hb.shape(self._fonts[run.font], buffer)
        infos, places = buffer.glyph_infos, buffer.glyph_positions
        # The first glyph of a cluster takes its end out, so that the others find no text.
        clusters = [info.cluster for info in infos]
        ends = dict(pairwise([*sorted(set(clusters)), stop]))
        texts = [text[cluster : ends.pop(cluster, cluster)] for cluster in clusters]
        return [
            self._glyph(run.font, info.codepoint, shown, place.position)
            for info, shown, place in zip(infos, texts, places, strict=True)
        ]


def _glyph(scales: Sequence[tuple[int, int]], font: int, glyph: int, text: str, position: tuple[int, ...]) -> Glyph:
    """A glyph at a position in its font's scale."""
    x_offset, y_offset, advance, _ = position
    x, y = (EM / scale for scale in scales[font])
    return Glyph(font, glyph, text, round(advance * x), round(x_offset * x), round(y_offset * y))


class _Masks(dict[str, int]):
    """Of each character, a bit for each font that has it; all of them where none needs to."""

    def __init__(self, fonts: Sequence[hb.Font]) -> None:
        super().__init__()
        self._points = [font.face.unicodes for font in fonts]

    def __missing__(self, character: str) -> int:
        mask = sum((ord(character) in points) << index for index, points in enumerate(self._points))
        self[character] = mask = -1 if character in IGNORABLE else mask
        return mask


def _is_of(mask: int, font: int, script: str) -> bool:
    """Whether it is that font which a character is shown in, wherever in a text of that font it stands."""
    return bool(mask >> font & 1 and not (script and mask % (1 << font)))


def _first(mask: int, font: int = LACKING) -> int:
    """That font if it is among them, else the first of them, else LACKING."""
    return font if font != LACKING and mask >> font & 1 else (mask & -mask).bit_length() - 1


@functools.cache
def _script(character: str) -> str:
    """ISO 15924 code; empty for what scripts have in common."""
    buffer = hb.Buffer()
    buffer.add_str(character)
    buffer.guess_segment_properties()
    return buffer.script or ""


def _scripts(text: str) -> list[str]:
    """Of each character; common ones have that of the one before, the first of them that of the one after."""
    scripts = list(map(_script, text))
    lead = next(filter(None, scripts), "")
    if len({lead, "", *scripts}) <= 2:
        return [lead] * len(text)
    return list(accumulate(scripts, lambda before, script: script or before, initial=lead))[1:]


@functools.cache
def _kind(character: str) -> str:
    """One of KINDS, or v for a virama, g for a Hangul syllable, o for other letters and pictures, s for the rest."""
    found = category(character)
    if found[0] == "M":
        return "v" if combining(character) == VIRAMA and character not in ENDING else "x"
    rest = "g" if "가" <= character <= "힣" else "o" if found[0] == "L" or found == "So" else "s"
    return next((kind for kind, characters in KINDS.items() if character in characters), rest)


def _cluster_ends(text: str) -> list[int]:
    """Where grapheme clusters end (UAX #29, roughly)."""
    return [match.end() for match in CLUSTER.finditer("".join(map(_kind, text)))]


def _levels(text: str, base: int) -> list[int]:
    """Embedding level of each character (UAX #9 3.3) in a text of that direction.

    Of python-bidi's two implementations the Python one lacks isolates and paired brackets. The Rust one tells its
    levels, one a byte of UTF-8, in what it returns for `debug`: 15 us and more, but few texts need it.
    """
    classes = list(map(bidirectional, text))
    if (TURNING.isdisjoint(classes) and not base) or (ALWAYS_RIGHT.issuperset(classes) and base):
        return [base] * len(text)
    state = bidi.get_display(text, base_dir="LR"[base], debug=True)
    of_bytes = zip(text.encode(), LEVEL.findall(state), strict=False)
    levels = [int(level) for byte, level in of_bytes if byte & 0xC0 != 0x80]
    ink = len(text.rstrip(TRAILING))
    return levels[:ink] + [base] * (len(text) - ink)  # L1


def _seen(runs: list[_Run]) -> list[_Run]:
    """The runs left to right (UAX #9 L2)."""
    odd = [run.level for run in runs if run.level % 2] if len(runs) > 1 else ()
    for level in range(max(run.level for run in runs), min(odd) - 1, -1) if odd else ():
        runs = _turned(runs, level)
    return runs


def _turned(runs: list[_Run], level: int) -> list[_Run]:
    """Each stretch of that level or a higher one in reverse."""
    stretches = ((high, list(stretch)) for high, stretch in groupby(runs, lambda run: run.level >= level))
    return [run for high, stretch in stretches for run in (reversed(stretch) if high else stretch)]
