"""No text of a client becomes SQL: the statements that the engine is given are recorded and taken apart."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from spark_export.errors import InvalidField
from spark_export.model import Condition, Scalar
from spark_export.sources.base import Table
from spark_export.sources.duckdb import Engine, SqlDataset
from spark_export.sources.inline import InlineTable
from spark_export.sources.parameters import Parameter
from spark_export.sources.selection import Selection

MARKER = "zq7xk"
"""Stands in every text of a client, and in nothing else."""
IDENTIFIER = re.compile(r'"((?:[^"]|"")*)"')

HOSTILE = st.sampled_from(
    ["'", '"', '""', "';", '";', "--", "/*", "*/", "$", "$$", "$__where_0_0", "$p", "?", "\\", "\\'", "%", "_", "(",
     ")", ",", "\n", "\0", "\u2019", "\uff07", "\u02bc", " OR 1=1 ", "; DROP TABLE rows; ", " UNION SELECT ", "rows",
     "E'", "{{"]
)  # fmt: skip
TEXTS = st.lists(HOSTILE | st.text(max_size=4), max_size=6).map("".join)
MARKED = st.builds(lambda before, after: before + MARKER + after, TEXTS, TEXTS)

TEXT_COLUMNS = ("text", f'" OR 1=1 --{MARKER}', f"'; DROP TABLE rows; --{MARKER}")
COLUMNS = (*TEXT_COLUMNS, "whole", "double", "flag", "day")
NAMES = st.sampled_from(COLUMNS) | MARKED
OTHERS: list[Scalar] = ["5", "2024-01-01", "true", 5, 0.5, True]
VALUES: st.SearchStrategy[Scalar] = MARKED | st.sampled_from(OTHERS)
ONE_VALUED: list[Any] = ["eq", "ne", "lt", "le", "gt", "ge", "like"]


def selections(names: st.SearchStrategy[str], values: st.SearchStrategy[Scalar]) -> st.SearchStrategy[Selection]:
    """Selections by such columns and values."""
    conditions = (
        st.builds(Condition, column=names, op=st.sampled_from(ONE_VALUED), value=values)
        | st.builds(Condition, column=names, op=st.just("in"), value=st.lists(values, min_size=1, max_size=3))
        | st.builds(Condition, column=names, op=st.just("between"), value=st.lists(values, min_size=2, max_size=2))
    )
    return st.builds(
        Selection,
        columns=st.none() | st.lists(names, min_size=1, max_size=3, unique=True).map(tuple),
        where=st.lists(conditions, min_size=1, max_size=3).map(tuple),
        order_by=st.lists(st.tuples(names, st.booleans()), max_size=2).map(tuple),
        limit=st.none() | st.integers(0, 200_000),
    )


SELECTIONS = selections(st.sampled_from(TEXT_COLUMNS), MARKED) | selections(NAMES, VALUES)
PROPERTY = settings(max_examples=150, suppress_health_check=list(HealthCheck))


ROWS = pa.table(
    {name: ["a", f"x{MARKER}", None] for name in TEXT_COLUMNS}
    | {"whole": [1, 2, 3], "double": [0.5, None, 2.5], "flag": [True, False, None]}
    | {"day": pa.array([19_000, 19_001, None], pa.date32())}
)


class Recorder:
    """A connection that writes down every statement, and the values that are bound to it.

    Attributes:
        statements: texts, in order.
        bound: values, in order.
    """

    def __init__(self, connection: Any, statements: list[str], bound: list[Any]) -> None:
        self._connection = connection
        self.statements = statements
        self.bound = bound

    def cursor(self) -> Recorder:
        """Another one, which writes into the same list."""
        return Recorder(self._connection.cursor(), self.statements, self.bound)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        return self._recorded(found) if callable(found) else found

    def _recorded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Every method is recorded, so that one that the engine comes to use some day is, too."""

        def record(*arguments: Any, **named: Any) -> Any:
            params = dict(named.pop("params", None) or {})
            texts = [each for each in (*arguments, *named.values()) if isinstance(each, str)]
            self.statements.extend(texts)
            self.bound.extend(params.values())
            return call(*arguments, **named, **({"params": params} if params else {}))

        return record


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for all tests of the module."""
    with ThreadPoolExecutor(2) as made:
        yield made


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    """Of everything that an engine says to DuckDB."""
    return Recorder(None, [], [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the rows as a Parquet file."""
    made = tmp_path_factory.mktemp("data")
    pq.write_table(ROWS, made / "rows.parquet")
    return made


@pytest.fixture(scope="module")
def engine(recorder: Recorder, threads: ThreadPoolExecutor, folder: Path) -> Iterator[Engine]:
    """An engine whose every statement is recorded."""
    connect = duckdb.connect
    with pytest.MonkeyPatch.context() as patch:

        def recorded(*arguments: Any, **named: Any) -> Recorder:
            return Recorder(connect(*arguments, **named), recorder.statements, recorder.bound)

        patch.setattr("spark_export.sources.duckdb.duckdb.connect", recorded)
        made = Engine(
            folder=folder, databases={}, memory_bytes=256 * 2**20, query_threads=1,
            temp_folder=folder / "spill", threads=threads,
        )  # fmt: skip
        made.parameters_of("SELECT 1")
        yield made
    made.close()


def read(table: Table, selection: Selection) -> bool:
    """Read the rows; whether the selection fitted."""

    async def collect() -> None:
        async with table.open(selection) as source:
            async for _ in source.batches():
                pass

    try:
        asyncio.run(collect())
    except InvalidField:
        return False
    return True


def check_statements(statements: Sequence[str], names: Sequence[str]) -> None:
    """The marker stands in quoted names of columns, and nowhere else."""
    for statement in statements:
        found = [identifier.replace('""', '"') for identifier in IDENTIFIER.findall(statement)]
        assert {each for each in found if MARKER in each} <= set(names)
        assert MARKER not in IDENTIFIER.sub("", statement)


def run(recorder: Recorder, table: Table, selection: Selection, names: Sequence[str]) -> bool:
    """Read the rows, and check every statement that this took; whether the selection fitted."""
    recorder.statements.clear()
    recorder.bound.clear()
    fitted = read(table, selection)
    event("read" if fitted else "refused")
    check_statements(recorder.statements, names)
    return fitted


@pytest.fixture(scope="module")
def tables(engine: Engine, threads: ThreadPoolExecutor, folder: Path) -> dict[str, Table]:
    """The rows from each kind of source that asks the engine."""
    texts = ROWS.set_column(ROWS.column_names.index("day"), "day", ROWS["day"].cast(pa.string()))
    sql = f"SELECT * FROM read_parquet('{folder}/rows.parquet')"  # noqa: S608 - a test's own
    return {
        "inline": InlineTable(json.dumps(texts.to_pylist()).encode(), None, threads, engine),
        "sql": SqlDataset("d", "", (), sql, None, engine).table({}),
    }


@pytest.mark.parametrize("source", ["inline", "sql"])
@given(selection=SELECTIONS)
@PROPERTY
def test_selections_are_bound(recorder: Recorder, tables: dict[str, Table], source: str, selection: Selection) -> None:
    """Values, patterns and lists never stand in a statement, names only as the quoted name of a column."""
    fitted = run(recorder, tables[source], selection, COLUMNS)
    texts = {value for each in selection.where for value in each.values if isinstance(value, str)}
    assert recorder.statements or not fitted
    assert not fitted or texts <= {value for value in recorder.bound if isinstance(value, str)}


@given(name=MARKED, values=st.lists(MARKED, min_size=1, max_size=3), down=st.booleans())
@PROPERTY
def test_names_of_rows_stay_outside(
    recorder: Recorder, engine: Engine, threads: ThreadPoolExecutor, name: str, values: list[str], down: bool
) -> None:
    """A key of a client's own rows stands in no statement: the engine knows their columns by their places."""
    rows = [{name: value, "n": 1} for value in values]
    selection = Selection((name,), (Condition(column=name, op="in", value=values),), ((name, down),))
    table = InlineTable(json.dumps(rows).encode(), None, threads, engine)
    assert run(recorder, table, selection, [])


@given(value=MARKED, column=NAMES)
@PROPERTY
def test_parameters_are_bound(recorder: Recorder, engine: Engine, value: str, column: str) -> None:
    """A parameter's text never stands in a statement; it arrives as it was given."""
    sql = "SELECT $p AS text, $p || '!' AS loud"
    table = SqlDataset("d", "", (Parameter("p", "text", required=True),), sql, None, engine).table({"p": value})
    selection = Selection(where=(Condition(column="text", op="eq", value=value),), order_by=((column, False),))
    assert run(recorder, table, selection, ["text", "loud"]) == (column == "text")
    assert value in recorder.bound


@pytest.mark.parametrize(
    "statement",
    [
        f"SELECT '{MARKER}'",
        f'SELECT "{MARKER}"',
        f'SELECT "text" {MARKER}',
        f'SELECT "{TEXT_COLUMNS[1]}"',
        f"-- {MARKER}",
    ],
)
def test_what_is_unbound_is_seen(statement: str) -> None:
    """The check finds a text outside of quotes, a name that is no column's, and a name that ends its quotes."""
    with pytest.raises(AssertionError):
        check_statements([statement], COLUMNS)
