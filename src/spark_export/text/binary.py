"""Binary values as text: base64 (RFC 4648 4), and UUIDs in their usual form (RFC 9562 4)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ALPHABET = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)
HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
UUID_GROUPS = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))


def base64_text(values: Any) -> Any:
    """Bytes as base64 with padding; one pass over the column's whole buffer."""
    lengths, data = lengths_and_bytes(values)
    triples = -(-lengths // 3)
    starts = np.concatenate([[0], np.cumsum(triples[:-1])]) * 3 if len(lengths) else np.zeros(0, np.int64)
    padded = np.zeros(int(triples.sum()) * 3, np.uint8)
    shift = np.repeat(starts - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    padded[np.arange(len(data)) + shift] = data
    three = padded.reshape(-1, 3).astype(np.uint32)
    word = (three[:, 0] << 16) | (three[:, 1] << 8) | three[:, 2]
    four = ALPHABET[np.stack([word >> 18, word >> 12, word >> 6, word], axis=1) & 63]
    ends = np.cumsum(triples) - 1
    four[ends[lengths % 3 == 1], 2] = ord("=")
    four[ends[(lengths % 3 == 1) | (lengths % 3 == 2)], 3] = ord("=")
    return _strings(four.tobytes(), triples * 4, values)


def uuid_text(values: Any) -> Any:
    """16-byte values as `550e8400-e29b-41d4-a716-446655440000`."""
    storage = pc.fill_null(values, bytes(16))
    _, data = lengths_and_bytes(storage)
    digits = HEX[np.stack([data >> 4, data & 15], axis=1)].reshape(-1, 32)
    dash = np.full((len(values), 1), ord("-"), np.uint8)
    parts = [piece for start, stop in UUID_GROUPS for piece in (digits[:, start:stop], dash)][:-1]
    text = np.concatenate(parts, axis=1)
    return _strings(text.tobytes(), np.full(len(values), 36), values)


def lengths_and_bytes(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Bytes in each value, and all values' bytes end to end; a missing value has none."""
    compact = pc.fill_null(values.cast(pa.binary()), b"")
    offsets = np.frombuffer(compact.buffers()[1], np.int32)[compact.offset : compact.offset + len(compact) + 1]
    data = compact.buffers()[2]
    whole = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return np.diff(offsets).astype(np.int64), whole[offsets[0] : offsets[-1]] if len(offsets) else whole


def _strings(data: bytes, lengths: np.ndarray, like: Any) -> Any:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    made = pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(data))
    return made if like.null_count == 0 else pc.if_else(pc.is_valid(like), made, pa.scalar(None, pa.string()))
