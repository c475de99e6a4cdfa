"""Binary values, UUIDs, and the many physical forms of one logical type as text."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.text import Encoder


def texts(values: Any) -> list[str | None]:
    """What the encoder makes of an array."""
    schema = pa.schema([("x", values.type)])
    made: list[str | None] = Encoder(schema).encode(pa.record_batch([values], schema=schema))[0].to_pylist()
    return made


@pytest.mark.parametrize("type_", [pa.binary(), pa.large_binary(), pa.binary_view()], ids=str)
@given(values=st.lists(st.one_of(st.none(), st.binary()), min_size=1))
def test_base64(values: list[bytes | None], type_: Any) -> None:
    """Bytes are base64 with padding, in every physical form."""
    expected = [None if value is None else base64.b64encode(value).decode() for value in values]
    assert texts(pa.array(values, type_)) == expected


@given(st.lists(st.one_of(st.none(), st.binary(min_size=5, max_size=5)), min_size=1))
def test_fixed_width_binary(values: list[bytes | None]) -> None:
    """Bytes of a fixed width are base64 too."""
    expected = [None if value is None else base64.b64encode(value).decode() for value in values]
    assert texts(pa.array(values, pa.binary(5))) == expected


@given(st.lists(st.one_of(st.none(), st.binary(max_size=7)), min_size=1), st.integers(0, 8))
def test_sliced_binary(values: list[bytes | None], start: int) -> None:
    """A slice of a binary column reads as its own values."""
    array = pa.array(values, pa.binary())
    assert texts(array.slice(start)) == texts(array)[start:]


@given(st.lists(st.one_of(st.none(), st.uuids()), min_size=1), st.integers(0, 3))
def test_uuids(values: list[uuid.UUID | None], start: int) -> None:
    """A UUID is in its usual form, sliced or not, and a missing one stays missing."""
    storage = pa.array([None if value is None else value.bytes for value in values], pa.binary(16))
    array = pa.ExtensionArray.from_storage(pa.uuid(), storage)
    expected = [None if value is None else str(value) for value in values]
    assert texts(array) == expected
    assert texts(array.slice(start)) == expected[start:]


WORDS = ["ğ", None, "", "b", "ğ", "a" * 40]
FORMS = {
    "string": pa.array(WORDS, pa.string()),
    "large_string": pa.array(WORDS, pa.large_string()),
    "string_view": pa.array(WORDS, pa.string_view()),
    "dictionary": pa.array(WORDS).dictionary_encode(),
    "dictionary of large": pa.array(WORDS, pa.large_string()).dictionary_encode(),
    "dictionary with a null word": pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 2, 3, 0, 4], pa.int8()), pa.array(["ğ", None, "", "b", "a" * 40])
    ),
    "run ends": pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3, 4, 5, 6], pa.int32()), pa.array(WORDS)),
    "json": pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(WORDS)),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_text(form: str) -> None:
    """Texts read the same in every physical form of them."""
    assert texts(FORMS[form]) == WORDS


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("start", "length"), [(0, 2), (1, 3), (4, 2), (5, 1), (2, 0)])
def test_slices_of_text(form: str, start: int, length: int) -> None:
    """A slice reads as its own values in every physical form."""
    assert texts(FORMS[form].slice(start, length)) == WORDS[start : start + length]


def test_dictionary_of_numbers() -> None:
    """A dictionary of numbers reads as the numbers."""
    assert texts(pa.array([1.5, 0.1, None, 1.5]).dictionary_encode()) == ["1.5", "0.1", None, "1.5"]


@given(st.lists(st.one_of(st.none(), st.text()), min_size=1))
def test_texts_are_kept(values: list[str | None]) -> None:
    """A text is never changed."""
    assert texts(pa.array(values, pa.string())) == values
