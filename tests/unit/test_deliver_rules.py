"""DELIVER_ALLOW: which addresses its prefixes permit, and which none can."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spark_export.delivery.rules import DeliverRules, shown
from spark_export.errors import Forbidden

ALLOW = (
    "s3://exports/reports",
    "s3://folder/in/",
    "s3://whole",
    "https://Store.example/up/",
    "http://127.0.0.1:9000/b",
)


def permits(url: str, *allow: str) -> bool:
    """Whether a file may be delivered there."""
    try:
        DeliverRules(allow or ALLOW).check(url)
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize(
    "url",
    ["s3://exports/reports", "s3://exports/reports/a.csv", "s3://exports/reports/2026/a=b/c%20d.csv",
     "s3://folder/in/a.csv", "s3://whole/a", "s3://whole/a/b..c/.d/e.", "s3://whole/%2e%2e/a",
     "https://store.example/up/a.csv", "https://STORE.EXAMPLE:443/up/a.csv", "https://store.example/up/a?X-Sig=b/../c",
     "https://store.example:0443/up/a", "http://127.0.0.1:9000/b", "http://127.0.0.1:9000/b/k?x=1&y=%2F"],
)  # fmt: skip
def test_permitted(url: str) -> None:
    """What is a prefix, or lies in it, is permitted, whatever its query."""
    assert permits(url)


@pytest.mark.parametrize(
    "url",
    ["s3://exports/reports2", "s3://exports/reports2/a", "s3://exports/report", "s3://exports/Reports/a",
     "s3://exports/a", "s3://exports2/reports/a", "s3://Exports/reports/a", "s3://whole2/a", "s3://whol/a",
     "s3://folder/in", "s3://folder/inn/a", "http://store.example/up/a", "https://store.example/up",
     "https://store.example/upper/a", "https://store.example:8443/up/a", "https://store.example.evil.example/up/a",
     "https://evil.example/store.example/up/a", "https://store.example//up/a", "http://127.0.0.1:9001/b/k",
     "https://127.0.0.1:9000/b/k", "http://127.0.0.1/b/k", "https://exports/reports/a", "http://whole/a"],
)  # fmt: skip
def test_elsewhere(url: str) -> None:
    """What only looks like a prefix, or has another scheme, bucket, host or port, is not permitted."""
    assert not permits(url)


@pytest.mark.parametrize(
    "url",
    ["s3://whole", "s3://whole/", "s3://whole/a/", "s3://whole/a//b", "s3://whole//a", "s3://whole/../exports/a",
     "s3://whole/a/..", "s3://whole/./a", "s3://whole/a?versionId=1", "s3://whole/a?", "s3://whole/a#b",
     "s3://whole/a b", "s3://whole/a\\b", "s3://whole/\N{LATIN SMALL LETTER U WITH DIAERESIS}", "s3://whole/a\n",
     "s3://whole:80/a", "s3://user@whole/a", "S3://whole/a", "s3:/whole/a", "//whole/a", "", "file:///whole/a",
     f"s3://whole/{'a' * 1025}", "https://store.example/up/", "https://store.example/up/../a",
     "https://store.example/up/..;x=y/a", "https://store.example/up/%2e%2E/a", "https://store.example/up/.%2e/a",
     "https://store.example/up/..%2fa", "https://store.example/up/..%5Ca", "https://store.example/up/%252e%252e/a",
     "https://user@store.example/up/a", "https://store.example@evil.example/up/a", "https://store.example/up/a#b",
     "https://store.example:/up/a", "https://store.example:99999/up/a", "https://store.example:0/up/a"],
)  # fmt: skip
def test_no_place(url: str) -> None:
    """What names no file, or a place that somebody may take for another, is permitted nowhere."""
    assert not permits(url, *ALLOW, "s3://whole", "https://store.example", "https://evil.example")


def test_longest_key() -> None:
    """A key has up to 1024 bytes."""
    assert permits(f"s3://whole/{'a' * 1024}")


def test_nothing_is_permitted_unless_said() -> None:
    """An empty DELIVER_ALLOW permits nothing, and the refusal names it."""
    with pytest.raises(Forbidden, match="DELIVER_ALLOW is empty") as caught:
        DeliverRules(()).check("s3://exports/a")
    assert caught.value.field == "deliver.url"


def test_refusal_tells_no_secret() -> None:
    """A refusal repeats nothing of the URL."""
    for url in ("https://evil.example/a?X-Amz-Signature=hunter2", "https://evil.example/../?hunter2"):
        with pytest.raises(Forbidden) as caught:
            DeliverRules(ALLOW).check(url)
        assert "hunter2" not in str(caught.value)
        assert "evil" not in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    ["", "exports", "s3://", "s3:///a", "gs://bucket/a", "https://", "https:///a", "https://host:x/", "https://host:0/",
     "s3://bucket/a?b=c", "https://host/a?b", "s3://bucket/../a", "https://host/%2e%2e/", "s3://bucket//a", "s3://*/a",
     "https://*.example/", "https://user:hunter2@host/"],
)  # fmt: skip
def test_bad_entry(entry: str) -> None:
    """An entry that is no prefix is an error, for the start to be stopped by."""
    with pytest.raises(ValueError, match="permits no place"):
        DeliverRules((entry,))


def test_shown() -> None:
    """A URL is shown without its query, and otherwise as it is."""
    assert shown("https://h/a?X-Amz-Signature=b?c") == "https://h/a"
    assert shown("https://h/a#b?c") == "https://h/a"
    assert shown("s3://b/a%20b") == "s3://b/a%20b"


ORIGINS = st.sampled_from(["s3://bucket", "s3://bucket2", "https://host", "https://host:443", "https://hosts"])
PATHS = st.lists(st.sampled_from(["/", "a", "b", ".", "..", "%2e", "%2f", ";", "aa"]), max_size=8).map("".join)


@given(ORIGINS, PATHS, ORIGINS, PATHS)
def test_what_is_permitted_lies_within(origin: str, prefix: str, other: str, path: str) -> None:
    """Whatever is permitted has the prefix's segments as its first, with dots resolved or not."""
    try:
        rules = DeliverRules((f"{origin}/{prefix}",))
    except ValueError:
        assume(False)
    try:
        rules.check(f"{other}/{path}")
    except Forbidden:
        return
    segments = [each for each in prefix.split("/") if each]
    assert origin.removesuffix(":443") == other.removesuffix(":443")
    assert [each for each in path.split("/") if each][: len(segments)] == segments
    assert not {".", ".."} & set(path.split("/"))
