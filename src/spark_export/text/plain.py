"""Arrow's many physical forms of one logical type reduced to one: views, large, dictionary, run-end and extensions."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from spark_export.text import binary

UUID = "arrow.uuid"
JSON = "arrow.json"
OPAQUE = "arrow.opaque"


def plain_type(type_: Any) -> Any:
    """The type that `plain` gives for values of the type."""
    if isinstance(type_, pa.BaseExtensionType):
        return pa.string() if type_.extension_name == UUID else plain_type(type_.storage_type)
    if pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_):
        return plain_type(type_.value_type)
    if pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return pa.string()
    if pa.types.is_large_binary(type_) or pa.types.is_binary_view(type_) or pa.types.is_fixed_size_binary(type_):
        return pa.binary()
    return type_


def plain(values: Any) -> Any:
    """The same values in the plain form; decimals, times and nested types are left as they are."""
    type_ = values.type
    if isinstance(type_, pa.BaseExtensionType):
        return binary.uuid_text(values.storage) if type_.extension_name == UUID else plain(values.storage)
    if pa.types.is_dictionary(type_):
        return plain(values.dictionary_decode())
    if pa.types.is_run_end_encoded(type_):
        return plain(pc.run_end_decode(values))
    wanted = plain_type(type_)
    return values if wanted == type_ else values.cast(wanted)


def is_written_number(type_: Any) -> bool:
    """Whether values are numbers that their source wrote as texts, since no type of Arrow's holds them all."""
    return _extension_of(type_) == OPAQUE and type_.type_name == "numeric"


def is_written(type_: Any) -> bool:
    """Whether values are texts that their source made of something else, so that nobody typed them."""
    return _extension_of(type_) in {JSON, OPAQUE}


def _extension_of(type_: Any) -> str | None:
    return type_.extension_name if isinstance(type_, pa.BaseExtensionType) else None
