"""Text columns as characters: the UTF-8 of an Arrow StringArray, decoded once for all its cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from spark_export.errors import WriterError

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True)
class Cells:
    """One column's characters, cell after cell.

    Attributes:
        offsets: where each cell begins, in characters; one more for the end of the last.
        ascii: the characters, where all are ASCII.
        points: else their code points.
    """

    offsets: npt.NDArray[np.int64]
    ascii: bytes | None
    points: npt.NDArray[np.uint32] | None

    def __len__(self) -> int:
        return len(self.offsets) - 1


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
        texts = pc.fill_null(texts, null)
    try:
        return _decode(*_utf8(_bounded(texts, most_characters)))
    except (UnicodeDecodeError, pa.ArrowInvalid) as error:
        raise WriterError("a text of the rows is not valid UTF-8") from error


def _utf8(texts: Any) -> tuple[bytes, npt.NDArray[np.int64]]:
    """The bytes of all cells and the offset of each in them."""
    _, offsets_buffer, data = texts.buffers()
    if not len(texts):
        return b"", np.zeros(1, np.int64)
    raw = np.frombuffer(offsets_buffer, np.int32, len(texts) + 1, texts.offset * 4).astype(np.int64)
    length = int(raw[-1] - raw[0])
    return data.slice(int(raw[0]), length).to_pybytes() if length else b"", raw - raw[0]


def _bounded(texts: Any, most_characters: int) -> Any:
    """Cut what is too long to be looked at whole."""
    too_long = pc.greater(pc.binary_length(texts), most_characters)
    if not pc.any(too_long, min_count=0).as_py():
        return texts
    too_long = pc.greater(pc.utf8_length(texts), most_characters)
    cut = pc.utf8_slice_codeunits(texts, 0, most_characters)
    return pc.if_else(too_long, pc.binary_join_element_wise(cut, ELLIPSIS, ""), texts)


def _decode(data: bytes, offsets: npt.NDArray[np.int64]) -> Cells:
    if data.isascii():
        return Cells(offsets, data, None)
    points = np.frombuffer(data.decode("utf-8").encode("utf-32-le"), np.uint32)
    begins = np.frombuffer(data, np.uint8) & 0xC0 != 0x80  # all but continuation bytes
    characters = np.zeros(len(data) + 1, np.int64)
    np.cumsum(begins, out=characters[1:])
    return Cells(characters[offsets], None, points)


def one_cell(text: str) -> Cells:
    """A single text as a column of one cell; a lone surrogate, which UTF-8 cannot hold, becomes U+FFFD."""
    clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _decode(data := clean.encode("utf-8"), np.array([0, len(data)], np.int64))
