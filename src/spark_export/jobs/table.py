"""The table of jobs. Each function is one step of a transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from sqlite3 import Connection, Row

from spark_export.jobs.record import OUTCOMES, Callback, JobState, Key, Order, Record, ends_to_come

LOG = logging.getLogger("spark_export")

VERSION = 1
SCHEMA = """
CREATE TABLE jobs (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    export_id TEXT NOT NULL UNIQUE,
    caller TEXT NOT NULL,
    state TEXT NOT NULL,
    accepted_at REAL NOT NULL,
    began_at REAL,
    ended_at REAL,
    expires_at REAL,
    runs INTEGER NOT NULL,
    media_type TEXT,
    object_tag TEXT,
    order_json TEXT,
    shown_json TEXT NOT NULL,
    outcome_json TEXT,
    callback_json TEXT,
    callback_due REAL,
    key TEXT,
    fingerprint TEXT
) STRICT;
CREATE UNIQUE INDEX jobs_by_key ON jobs (caller, key) WHERE key IS NOT NULL;
CREATE INDEX jobs_by_caller ON jobs (caller, accepted_at, export_id);
CREATE INDEX jobs_by_end ON jobs (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX jobs_past ON jobs (caller, ended_at, state, expires_at, export_id)
    WHERE ended_at IS NOT NULL AND callback_due IS NULL AND key IS NULL;
CREATE INDEX jobs_by_end_of_key ON jobs (ended_at) WHERE ended_at IS NOT NULL AND key IS NOT NULL;
CREATE INDEX jobs_by_callback ON jobs (callback_due) WHERE callback_due IS NOT NULL;
CREATE INDEX jobs_alive ON jobs (place) WHERE state IN ('queued', 'running');
"""

COLUMNS = (
    "export_id",
    "caller",
    "state",
    "accepted_at",
    "began_at",
    "ended_at",
    "expires_at",
    "runs",
    "media_type",
    "object_tag",
    "shown_json",
    "outcome_json",
    "callback_json",
    "callback_due",
    "key",
    "fingerprint",
)
WRITE = (
    f"INSERT INTO jobs ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "  # noqa: S608 - names of ours
    f"ON CONFLICT (export_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in COLUMNS[1:])}"
)


def write(connection: Connection, record: Record) -> None:
    """Keep the record as it is now; what was ordered is forgotten with the job's end.

    Raises:
        sqlite3.IntegrityError: another one of the caller's has its key.
    """
    connection.execute(WRITE, _values(record))
    if record.state.is_final:
        connection.execute("UPDATE jobs SET order_json = NULL WHERE export_id = ?", (record.export_id,))


def write_order(connection: Connection, order: Order) -> None:
    """Keep all that the job of the order is made by."""
    connection.execute("UPDATE jobs SET order_json = ? WHERE export_id = ?", (order.to_json(), order.export_id))


def read_order(connection: Connection, export_id: str) -> Order:
    """What a job is made by that has not ended.

    Raises:
        ValueError: it cannot be read, as one that a later version wrote.
    """
    (text,) = connection.execute("SELECT order_json FROM jobs WHERE export_id = ?", (export_id,)).fetchone()
    return Order.from_json(text)


def read(connection: Connection, export_id: str) -> Record | None:
    """The job of that id."""
    return _first(connection.execute("SELECT * FROM jobs WHERE export_id = ?", (export_id,)))


def read_by_key(connection: Connection, caller: str, key: str) -> Record | None:
    """The job that the caller asked for with that Idempotency-Key."""
    return _first(connection.execute("SELECT * FROM jobs WHERE caller = ? AND key = ?", (caller, key)))


def read_alive(connection: Connection) -> list[Record]:
    """The jobs that have not ended, in the order in which they were accepted."""
    return _all(connection.execute("SELECT * FROM jobs WHERE state IN ('queued', 'running') ORDER BY place"))


def read_alive_callers(connection: Connection) -> dict[str, str]:
    """Callers of the jobs that have not ended, by id, be they such that this version can read them or not."""
    found = connection.execute("SELECT export_id, caller FROM jobs WHERE state IN ('queued', 'running')")
    return {row["export_id"]: row["caller"] for row in found}


def read_page(connection: Connection, caller: str, before: tuple[float, str], count: int) -> list[Record]:
    """The caller's latest jobs, newest first.

    Args:
        connection: in a transaction.
        caller: whose.
        before: time of acceptance and id of the job that they come after.
        count: at most.
    """
    found = connection.execute(
        "SELECT * FROM jobs WHERE caller = ? AND (accepted_at, export_id) < (?, ?) "
        "ORDER BY accepted_at DESC, export_id DESC LIMIT ?",
        (caller, *before, count),
    )
    return _all(found)


def read_due_callbacks(connection: Connection, now: float, within: float, count: int) -> list[Record]:
    """Jobs whose caller is to be told by now, the longest due first, and a caller after the other.

    Nothing is due later than within some seconds, so what seems to be is due: the clock was set back.
    """
    found = connection.execute(
        "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY caller ORDER BY callback_due) AS turn "
        "FROM jobs WHERE callback_due <= ? OR callback_due > ?) ORDER BY turn, callback_due LIMIT ?",
        (now, now + within, count),
    )
    return _all(found)


def write_callback(connection: Connection, export_id: str, callback: Callback) -> None:
    """Keep what has come of telling the caller."""
    connection.execute(
        "UPDATE jobs SET callback_json = ?, callback_due = ? WHERE export_id = ?",
        (callback.to_json(), callback.next_at, export_id),
    )


def read_kept(connection: Connection) -> dict[str, str]:
    """Callers of the files that are kept, by id, of the job that ended first on."""
    found = connection.execute(
        "SELECT export_id, caller FROM jobs WHERE state = 'completed' AND expires_at IS NOT NULL ORDER BY ended_at"
    )
    return {row["export_id"]: row["caller"] for row in found}


def read_expired(connection: Connection, now: float, ttl_seconds: float) -> list[str]:
    """Ids of the completed jobs whose time is over."""
    found = connection.execute(
        "SELECT export_id FROM jobs WHERE state = 'completed' AND (expires_at <= ? OR expires_at > ?)",
        ends_to_come(now, ttl_seconds),
    )
    return [row["export_id"] for row in found]


def expire(connection: Connection, export_ids: Iterable[str]) -> None:
    """Say of completed jobs that their files are no longer kept; their keys are free again."""
    connection.executemany(
        "UPDATE jobs SET state = 'expired', key = NULL, fingerprint = NULL WHERE state = 'completed' AND export_id = ?",
        [(export_id,) for export_id in export_ids],
    )


def free_keys(connection: Connection, now: float, seconds: float) -> None:
    """Forget the keys of jobs that ended so long ago, or as much later; of a file that is kept it goes with that."""
    connection.execute(
        "UPDATE jobs SET key = NULL, fingerprint = NULL "
        "WHERE (ended_at < ? OR ended_at > ?) AND key IS NOT NULL AND (state <> 'completed' OR expires_at IS NULL)",
        (now - seconds, now + seconds),
    )


def forget(connection: Connection, now: float, seconds: float, most: int) -> None:
    """Drop the jobs that ended so long ago, or as much later, and each caller's oldest of too many.

    Those whose file is kept stay, those that have a key, and those whose caller is still to be told.
    """
    connection.execute(
        "DELETE FROM jobs WHERE export_id IN (SELECT export_id FROM "
        "(SELECT export_id, ended_at, ROW_NUMBER() OVER (PARTITION BY caller ORDER BY ended_at DESC) AS rank FROM jobs "
        "WHERE ended_at IS NOT NULL AND callback_due IS NULL AND key IS NULL "
        "AND (state <> 'completed' OR expires_at IS NULL)) "
        "WHERE ended_at < ? OR ended_at > ? OR rank > ?)",
        (now - seconds, now + seconds, most),
    )


def delete(connection: Connection, export_id: str) -> None:
    """Drop a job."""
    connection.execute("DELETE FROM jobs WHERE export_id = ?", (export_id,))


def _values(record: Record) -> tuple[object, ...]:
    callback, key = record.callback, record.key
    return (
        record.export_id,
        record.order.caller,
        record.state.value,
        record.accepted_at,
        record.began_at,
        record.ended_at,
        record.expires_at,
        record.runs,
        record.media_type,
        record.object_tag,
        record.order.to_json(),
        None if record.outcome is None else OUTCOMES.dump_json(record.outcome).decode(),
        None if callback is None else callback.to_json(),
        None if callback is None else callback.next_at,
        None if key is None else key.text,
        None if key is None else key.fingerprint,
    )


def _first(rows: Iterable[Row]) -> Record | None:
    return next(iter(_all(rows)), None)


def _all(rows: Iterable[Row]) -> list[Record]:
    return [record for row in rows if (record := _try_record(row)) is not None]


def _try_record(row: Row) -> Record | None:
    """The record; None for a row that this version cannot read, which must not keep the others from being served."""
    try:
        return _record(row)
    except ValueError as error:
        LOG.error("the job cannot be read: %s", error, extra={"export_id": row["export_id"]})  # noqa: TRY400 - of data
        return None


def _record(row: Row) -> Record:
    return Record(
        order=Order.from_json(row["shown_json"]),
        state=JobState(row["state"]),
        accepted_at=row["accepted_at"],
        began_at=row["began_at"],
        ended_at=row["ended_at"],
        expires_at=row["expires_at"],
        runs=row["runs"],
        media_type=row["media_type"],
        outcome=None if row["outcome_json"] is None else OUTCOMES.validate_json(row["outcome_json"]),
        object_tag=row["object_tag"],
        callback=None if row["callback_json"] is None else Callback.from_json(row["callback_json"]),
        key=None if row["key"] is None else Key(row["key"], row["fingerprint"]),
    )
