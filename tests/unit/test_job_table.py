"""The table of jobs, and what is read of it when the clock is not what it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from spark_export.jobs import table
from spark_export.jobs.receipt import receipt_of
from spark_export.jobs.record import Callback, JobState, Key, Order, Record
from spark_export.model import ExportRequest, Format

HOUR = 3600.0


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """An empty table."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        made.row_factory = sqlite3.Row
        made.executescript(table.SCHEMA)
        yield made


def record(export_id: str, due_at: float | None = None) -> Record:
    """A job that was accepted at 100 s, with a callback that is due then."""
    order = Order(export_id, "r1", "a", "local", ExportRequest(dataset="trades"), Format.CSV)
    callback = None if due_at is None else Callback("http://a.test/", next_at=due_at)
    return Record(order, JobState.RUNNING, accepted_at=100.0, began_at=101.0, callback=callback)


@pytest.mark.parametrize(("due_at", "is_due"), [(999.0, True), (1001.0, False), (7 * HOUR, True)])
def test_due_callbacks(connection: sqlite3.Connection, due_at: float, is_due: bool) -> None:
    """Due is what is due by now, and what could only be due so late if the clock was set back."""
    table.write(connection, record("e1", due_at))
    found = table.read_due_callbacks(connection, 1000.0, 6 * HOUR, 10)
    assert [each.export_id for each in found] == ["e1"] * is_due


def ended_record(export_id: str, ended_at: float, key: str | None = None) -> Record:
    """A job that failed then."""
    fingerprint = None if key is None else Key(key, "digest")
    return replace(record(export_id), state=JobState.FAILED, ended_at=ended_at, key=fingerprint)


def test_what_is_past_goes(connection: sqlite3.Connection) -> None:
    """A receipt goes with its time, or as the oldest of its caller's; one that has a key stays as long as that.

    What ended much later than now did so before the clock was set back.
    """
    for each in (
        ended_record("old", 10.0),
        ended_record("keyed and old", 10.0, "k1"),
        ended_record("first", 200.0),
        ended_record("keyed", 300.0, "k2"),
        ended_record("second", 400.0),
        ended_record("third", 500.0),
        record("running"),
        ended_record("ahead", 9000.0),
        ended_record("keyed and ahead", 9000.0, "k3"),
    ):
        table.write(connection, each)
    table.free_keys(connection, now=1250.0, seconds=1000.0)
    table.forget(connection, now=1100.0, seconds=1000.0, most=4)
    left = connection.execute("SELECT export_id, key FROM jobs ORDER BY ended_at").fetchall()
    assert [tuple(row) for row in left] == [("running", None), ("keyed", "k2"), ("second", None), ("third", None)]


@pytest.mark.parametrize(("expires_at", "is_over"), [(999.0, True), (1001.0, False), (1190.0, False), (1201.0, True)])
def test_files_are_kept_their_time(connection: sqlite3.Connection, expires_at: float, is_over: bool) -> None:
    """A file goes when its time is over, and when more than twice of it seems to be left: the clock was set back."""
    done = replace(record("e1"), state=JobState.COMPLETED, ended_at=900.0, expires_at=expires_at)
    table.write(connection, done)
    assert table.read_expired(connection, 1000.0, 100.0) == ["e1"] * is_over


def test_no_time_runs_backwards() -> None:
    """A job that was accepted later than now has taken no time yet."""
    receipt = receipt_of(record("e1"), 50.0)
    assert (receipt.seconds, receipt.queued_seconds) == (0.0, 1.0)


def test_jobs_that_cannot_be_read_are_alive(connection: sqlite3.Connection) -> None:
    """Their callers are known by id all the same."""
    table.write(connection, record("e1"))
    connection.execute("UPDATE jobs SET shown_json = '{}'")
    assert (table.read_alive(connection), table.read_alive_callers(connection)) == ([], {"e1": "a"})
