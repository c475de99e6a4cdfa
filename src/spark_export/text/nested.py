"""Lists, structs, maps and what is in them as JSON text (RFC 8259), by column kernels over the flat children."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_export.text.plain import plain

TextOf = Callable[[Any], Any]

CONTROL = {code: json.dumps(chr(code))[1:-1] for code in range(0x20)}


def is_nested(type_: Any) -> bool:
    """Whether values of the type are lists, structs or maps."""
    return bool(pa.types.is_nested(type_) and not pa.types.is_union(type_))


def json_text(values: Any, text_of: TextOf) -> Any:
    """JSON of each value, missing ones staying missing: numbers and booleans bare, everything else quoted.

    Args:
        values: array of any type.
        text_of: the encoder's text of a column that is not nested; missing values stay missing.

    NaN and the infinities, which JSON does not have, are quoted.
    """
    values = plain(values)
    type_ = values.type
    if pa.types.is_struct(type_):
        made = _struct_json(values, text_of)
    elif pa.types.is_map(type_):
        made = _map_json(values, text_of)
    elif is_nested(type_):
        made = _list_json(values, text_of)
    else:
        made = _scalar_json(values, text_of)
    return pc.if_else(pc.is_valid(values), made, pa.scalar(None, pa.string()))


def _item_json(values: Any, text_of: TextOf) -> Any:
    """JSON of what is inside a nested value, missing ones as `null`."""
    return pc.fill_null(json_text(values, text_of), "null") if len(values) else pa.array([], pa.string())


def quoted(text: Any) -> Any:
    """Texts as JSON strings."""
    text = pc.replace_substring(pc.replace_substring(text, "\\", "\\\\"), '"', '\\"')
    if pc.any(pc.match_substring_regex(text, r"[\x00-\x1f]"), min_count=0).as_py():
        for code, escape in CONTROL.items():
            text = pc.replace_substring(text, chr(code), escape)
    return pc.binary_join_element_wise('"', text, '"', "")


def _scalar_json(values: Any, text_of: TextOf) -> Any:
    type_ = values.type
    text = text_of(values)
    if pa.types.is_floating(type_):
        return pc.if_else(pc.is_finite(values), text, quoted(text))
    if pa.types.is_boolean(type_) or pa.types.is_integer(type_) or pa.types.is_decimal(type_):
        return text
    return quoted(text)


def _struct_json(values: Any, text_of: TextOf) -> Any:
    parts: list[Any] = []
    for index, field in enumerate(values.type):
        key = json.dumps(field.name, ensure_ascii=False) + ":"
        parts.append(pc.binary_join_element_wise(key, _item_json(values.field(index), text_of), ""))
    if not parts:
        return pa.array(["{}"] * len(values), pa.string())
    return pc.binary_join_element_wise("{", pc.binary_join_element_wise(*parts, ","), "}", "")


def _map_json(values: Any, text_of: TextOf) -> Any:
    entry = pa.struct([("key", values.type.key_type), ("value", values.type.item_type)])
    lists = values.cast(pa.list_(entry))
    entries = lists.flatten()
    keys = quoted(text_of(plain(entries.field(0))))
    pairs = pc.binary_join_element_wise(keys, _item_json(entries.field(1), text_of), ":")
    return pc.binary_join_element_wise("{", _join_lists(pairs, lists), "}", "")


def _list_json(values: Any, text_of: TextOf) -> Any:
    items = _item_json(values.flatten(), text_of)
    return pc.binary_join_element_wise("[", _join_lists(items, values), "]", "")


def _join_lists(items: Any, lists: Any) -> Any:
    """Each list's items joined; `items` are those of `lists` end to end, without those of missing lists."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), pa.int32())
    return pc.binary_join(pa.ListArray.from_arrays(offsets, items), ",")
