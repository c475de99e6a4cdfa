r"""Codes: which bytes stand for which glyph in one document, and what they copy out as.

A string of a content stream holds codes of our own of one or two bytes (a CMap with two codespace ranges, ISO 32000-1
9.7.5.3): ASCII and the first other characters that a document uses take one byte, all else two. No code holds a byte
that means something in a literal string (`(`, `)`, `\`, CR, LF), so that operands need no escaping.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from spark_export.errors import WriterError
from spark_export.writers.pdf.cells import ELLIPSIS, REPLACEMENT
from spark_export.writers.pdf.faces import BOX, Face

FORBIDDEN_BYTES = b"()\\\r\n"
LEAD = 0xC0
"""Bytes from here on begin a code of two."""

STATIC_CODES = {
    **{point: point for point in range(0x20, 0x7F)},
    ord("("): 1,
    ord(")"): 2,
    ord("\\"): 3,
    ord(REPLACEMENT): 4,
    ord(ELLIPSIS): 5,
}
"""The same in every document's main fonts: ASCII text becomes codes by `bytes.translate`, at 0.6 ns a character."""
ELLIPSIS_CODE = STATIC_CODES[ord(ELLIPSIS)]
BOX_CODE = 0xFFFF
"""Of the box where no code is left for a character that no font has."""

TRAILS = tuple(byte for byte in range(256) if byte not in FORBIDDEN_BYTES)
CODES = (
    *(code for code in range(1, LEAD) if code not in (*FORBIDDEN_BYTES, *STATIC_CODES.values())),
    *(lead << 8 | trail for lead in range(LEAD, 0x100) for trail in TRAILS if (lead, trail) != (0xFF, 0xFF)),
)
"""Those that are not static, in the order in which they are given."""

WITHOUT_TEXT = "\u200b"
"""What the further glyphs of a cluster copy out as: every code must have a text (ISO 14289-1 7.21.7)."""


def code_bytes(code: int) -> bytes:
    """The code as a string holds it."""
    return code.to_bytes(1 if code < 0x100 else 2, "big")


@dataclass(frozen=True)
class Use:
    """What a code stands for: a glyph of the face, and the text that it copies out as."""

    glyph: int
    text: str


class FontSubset:
    """What one document uses of a face. Belongs to one export's kernels, which run one at a time.

    Args:
        face: what it is a subset of.
        name: among the resources of pages.
        has_static: whether the codes of STATIC_CODES are taken from the start.
    """

    def __init__(self, face: Face, name: bytes, *, has_static: bool) -> None:
        self.face = face
        self.name = name
        self._uses: dict[int, Use] = {}
        if has_static:
            self._uses = {code: Use(face.glyph_of(point), chr(point)) for point, code in STATIC_CODES.items()}
        static = {use: code for code, use in self._uses.items()}
        # Shaped glyphs have theirs from the end: which come first then does not hang on how rows are batched.
        self._codes, self._shaped_codes = dict(static), static
        self._taken, self._taken_at_end = 0, 0

    def code(self, glyph: int, text: str) -> int:
        """The code of a character's glyph.

        Raises:
            WriterError: 16,000 different ones have used up all codes.
        """
        use = Use(glyph, text)
        if use not in self._codes:
            self._check_spare()
            self._codes[use] = CODES[self._taken]
            self._uses[self._codes[use]] = use
            self._taken += 1
        return self._codes[use]

    def shaped_code(self, glyph: int, text: str) -> int:
        """The code of a glyph that shaping chose.

        Raises:
            WriterError: no code is left.
        """
        use = Use(glyph, text or WITHOUT_TEXT)
        if use not in self._shaped_codes:
            self._check_spare()
            self._taken_at_end += 1
            self._shaped_codes[use] = CODES[-self._taken_at_end]
            self._uses[self._shaped_codes[use]] = use
        return self._shaped_codes[use]

    def box_code(self, text: str) -> int:
        """The code of a box for a character that no font has; where all codes are used up it copies out as U+FFFD."""
        return self.code(self.face.glyph_of(BOX), text) if self._has_spare else self._last_box_code()

    def shaped_box_code(self, text: str) -> int:
        """The same in a shaped text."""
        return self.shaped_code(self.face.glyph_of(BOX), text) if self._has_spare else self._last_box_code()

    def _last_box_code(self) -> int:
        self._uses[BOX_CODE] = Use(self.face.glyph_of(BOX), REPLACEMENT)
        return BOX_CODE

    @property
    def _has_spare(self) -> bool:
        return self._taken + self._taken_at_end < len(CODES)

    def _check_spare(self) -> None:
        if not self._has_spare:
            raise WriterError(f"a PDF shows at most {len(CODES):,} different characters of a font")

    def uses(self) -> Iterator[tuple[int, Use]]:
        """The codes in the document so far, ascending."""
        yield from sorted(self._uses.items())
