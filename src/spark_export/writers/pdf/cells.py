"""Text columns as characters: the UTF-8 of an Arrow StringArray, decoded once for all its cells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from spark_export.errors import WriterError

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

SPACES = (0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x85, 0x2028, 0x2029)
"""Line breaks and the like show as a space; other control characters as U+FFFD."""
CONTROLS_END = 0xA0
SHOWN_CONTROLS = np.arange(CONTROLS_END, dtype=np.uint32)
SHOWN_CONTROLS[:0x20] = SHOWN_CONTROLS[0x7F:] = ord(REPLACEMENT)
SHOWN_CONTROLS[[point for point in SPACES if point < CONTROLS_END]] = ord(" ")
SHOWN_BEYOND = {0x2028: ord(" "), 0x2029: ord(" "), 0xFFFE: ord(REPLACEMENT), 0xFFFF: ord(REPLACEMENT)}
"""What shows in place of line and paragraph separators, and of what is no character."""


@dataclass(frozen=True)
class Cells:
    """One column's characters, cell after cell.

    Attributes:
        offsets: where each cell begins, in characters; one more for the end of the last.
        characters: ASCII (uint8), else code points (uint32).
        ascii: the characters, where all are ASCII.
    """

    offsets: npt.NDArray[np.int64]
    characters: npt.NDArray[Any]
    ascii: bytes | None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def text(self, row: int) -> str:
        """One cell."""
        part = self.characters[self.offsets[row] : self.offsets[row + 1]]
        return part.tobytes().decode("ascii" if self.ascii is not None else "utf-32-le")


def read_cells(texts: Any, null: str, most_characters: int) -> Cells:
    """The characters of a StringArray.

    Args:
        texts: the column.
        null: what stands for a missing value.
        most_characters: longer cells end in an ellipsis there, so that the memory that a batch takes is bounded. More
            than fit in the column, unless characters are narrower than any that show.

    Raises:
        WriterError: a text is no UTF-8, which only a source that does not check it can bring about.
    """
    if texts.null_count:
        texts = pc.fill_null(texts, _scalar(null))
    offsets = _offsets(texts)
    if len(texts) and int(np.diff(offsets).max()) > most_characters:
        texts = _bounded(texts, most_characters)
        offsets = _offsets(texts)
    start, end = int(offsets[0]), int(offsets[-1])
    data = texts.buffers()[2].slice(start, end - start).to_pybytes() if end > start else b""
    try:
        cells = _decode(data, offsets - start)
        if cells.ascii is None:
            _check_begins(data, offsets - start)
    except UnicodeDecodeError as error:
        raise WriterError("a text of the rows is not valid UTF-8") from error
    return cells


def _check_begins(data: bytes, offsets: npt.NDArray[np.int64]) -> None:
    """Make sure that no character goes on in the next cell.

    Raises:
        UnicodeDecodeError: one does.
    """
    begins = offsets[:-1][offsets[1:] > offsets[:-1]]
    torn = begins[np.frombuffer(data, np.uint8)[begins] & 0xC0 == 0x80]
    if len(torn):
        raise UnicodeDecodeError("utf-8", data, int(torn[0]), int(torn[0]) + 1, "invalid start byte")


@lru_cache(64)
def _scalar(text: str) -> Any:
    return pa.scalar(text)


def _offsets(texts: Any) -> npt.NDArray[np.int64]:
    """Where each cell begins in the buffer of bytes; one more for the end."""
    if not len(texts):
        return np.zeros(1, np.int64)
    return np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1, texts.offset * 4).astype(np.int64)


def _bounded(texts: Any, most_characters: int) -> Any:
    """Cut what is too long to be looked at whole."""
    try:
        too_long = pc.greater(pc.utf8_length(texts), most_characters)
        cut = pc.utf8_slice_codeunits(texts, 0, most_characters)
    except pa.ArrowInvalid as error:
        raise WriterError("a text of the rows is not valid UTF-8") from error
    return pc.if_else(too_long, pc.binary_join_element_wise(cut, ELLIPSIS, ""), texts)


def _decode(data: bytes, offsets: npt.NDArray[np.int64]) -> Cells:
    if data.isascii():
        return Cells(offsets, np.frombuffer(data, np.uint8), data)
    points = np.frombuffer(data.decode("utf-8").encode("utf-32-le"), np.uint32)
    begins = np.frombuffer(data, np.uint8) & 0xC0 != 0x80  # all but continuation bytes
    characters = np.zeros(len(data) + 1, np.int32)
    np.cumsum(begins, out=characters[1:], dtype=np.int32)
    return Cells(characters[offsets].astype(np.int64), points, None)


def one_cell(text: str) -> Cells:
    """A single text as a column of one cell; a lone surrogate, which UTF-8 cannot hold, becomes U+FFFD."""
    clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _decode(data := clean.encode("utf-8"), np.array([0, len(data)], np.int64))
