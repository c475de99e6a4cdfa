"""Requests read of JSON text and of pieces."""

from __future__ import annotations

import pytest

from spark_export.errors import InvalidField
from spark_export.model import ExportRequest
from spark_export.parsing import check_origin, join_request, json_object, split_rows


def test_given_fields_go_first() -> None:
    """What is given goes before what was asked, what is not given leaves it; a title joins the PDF's options."""
    asked = {"dataset": "a", "limit": 5, "pdf": {"subtitle": "s"}}
    joined = join_request(asked, {"limit": 7, "dataset": None}, "t")
    assert (joined.dataset, joined.limit, joined.pdf.title, joined.pdf.subtitle) == ("a", 7, "t", "s")


def test_a_title_mends_no_bad_options() -> None:
    """Options that are no object are named, with a title as without."""
    for title in ("t", None):
        with pytest.raises(InvalidField) as caught:
            join_request({"pdf": 5}, {}, title)
        assert caught.value.field == "pdf"


@pytest.mark.parametrize(
    ("dataset", "rows", "field"),
    [("a", b"[]", "rows"), (None, None, "dataset"), ("a", None, None), (None, b"[]", None)],
)
def test_rows_or_a_dataset(dataset: str | None, rows: bytes | None, field: str | None) -> None:
    """A request has either; both and neither are refused by the field to change."""
    request = ExportRequest(dataset=dataset)
    given = None if rows is None else memoryview(rows)
    if field is None:
        check_origin(request, given)
        return
    with pytest.raises(InvalidField) as caught:
        check_origin(request, given)
    assert caught.value.field == field


def test_rows_are_split_off() -> None:
    """The rows stay text, the rest is an object of its own; null is no rows."""
    rows, rest = split_rows(b'{"limit": 1, "rows": [ {"a": 1.50} ]}')
    assert (bytes(rows or b""), json_object("request", rest)) == (b'[ {"a": 1.50} ]', {"limit": 1})
    assert split_rows(b'{"rows": null}') == (None, b"{}")
