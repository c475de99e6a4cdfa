"""The operator's SQL and connection string, as text."""

from __future__ import annotations

import pytest

from spark_export.sources.postgres.dsn import complete, hide
from spark_export.sources.postgres.template import Template


@pytest.mark.parametrize(
    ("sql", "names", "filled"),
    [
        ("SELECT $a, $b_2", ("a", "b_2"), "SELECT (<a>), (<b_2>)"),
        ("SELECT $a;", ("a",), "SELECT (<a>)"),
        ("SELECT 1; -- $end", (), "SELECT 1 -- $end"),
        ("SELECT '$a', \"$a\", E'\\'$a', '''$a'", (), None),
        ("SELECT $$ $a $$, $tag$ $a $$ $tag$", (), None),
        ("SELECT /* $a /* $a */ $a */ 1 -- $a", (), None),
        ("SELECT a$b, x.y$z FROM t$1", (), None),
        ("SELECT $a::int, x=$a", ("a", "a"), "SELECT (<a>)::int, x=(<a>)"),
        ("SELECT ';'", (), None),
    ],
)
def test_template(sql: str, names: tuple[str, ...], filled: str | None) -> None:
    """Parameters are found where PostgreSQL's lexer would find one, and nowhere else; the rest stays as it is."""
    template = Template.parse(sql)
    assert template.names == names
    assert template.fill(lambda name: f"<{name}>") == (filled or sql)


@pytest.mark.parametrize("sql", ["", " ; ", "-- nothing", "SELECT 1; SELECT 2", "SELECT $1", "SELECT 1 /* /* */"])
def test_no_template(sql: str) -> None:
    """What is no one statement, or numbers its parameters, is refused."""
    with pytest.raises(ValueError, match=r"must be one|have names|has no end"):
        Template.parse(sql)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:p%40ss@db.example:5433/book?sslmode=require",
        "postgres://me:p%40ss@db.example:5433,other.example/book",
        "host=db.example port=5433 user=me password=p@ss dbname=book",
        "password = 'p@ss' user=me host='db.example' dbname=book port=5433",
    ],
)
def test_hidden(dsn: str) -> None:
    """Nothing of a connection string stays in a text, encoded or not; the rest of the text does."""
    text = 'connection to server at "db.example", port 5433 failed for me: p@ss, "book" (some)'
    hidden = hide(text, dsn)
    assert not [part for part in ("db.example", "5433", " me:", "p@ss", "book") if part in hidden]
    assert "connection to server at" in hidden
    assert "(some)" in hidden


def test_completed() -> None:
    """What a connection string does not say is added; what it says stands, but for the application's name."""
    made = complete("postgresql://h/d?connect_timeout=9&application_name=x")
    assert (made.count("connect_timeout"), made.rpartition("application_name=")[2]) == (1, "spark-export")
    assert complete("postgresql://h/d").startswith("postgresql://h/d?connect_timeout=5&")
    assert " connect_timeout=5 " in complete("host=h password='a b'")
    with pytest.raises(ValueError, match="is no connection string") as caught:
        complete("s3cret")
    assert "s3cret" not in str(caught.value)
