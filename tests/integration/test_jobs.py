"""Exports that outlive their connection: accepted, watched, fetched, removed, each by its own caller."""

from __future__ import annotations

import gzip
import hashlib
import json
import sqlite3
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from email.utils import parsedate_to_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Server, Start, until

ENDLESS = {"dataset": "endless"}
TRADES = {"dataset": "trades", "params": {"rows": 2000}}
ROWS = [{"id": place, "price": place / 4, "note": f"Müşteri {place}"} for place in range(300)]


@pytest.fixture(scope="module")
def jobs(start: Start, data: Path) -> Server:
    """A service for all tests that do not need settings of their own."""
    return start(DATASETS=str(data / "datasets.toml"))


def job(server: Server, request: object = TRADES, **headers: str) -> str:
    """Id of a job that was accepted."""
    answer = server.submit(request, **headers)
    assert answer.status_code == 202, answer.text
    return answer.headers["X-Export-Id"]


def finished(server: Server, request: object = TRADES) -> str:
    """Id of a job that is completed."""
    export_id = job(server, request)
    assert server.until_ended(export_id)["state"] == "completed"
    return export_id


def content(server: Server, export_id: str, **headers: str) -> httpx.Response:
    """The file, or what is answered in its place."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.get(f"/exports/{export_id}/content", headers=fields)


def remove(server: Server, export_id: str, **options: Any) -> int:
    """The status of a DELETE."""
    return httpx.delete(f"{server.url}/exports/{export_id}", timeout=30, **options).status_code


def test_accepted(jobs: Server) -> None:
    """A job is answered at once, with where to look for it, when, and its receipt."""
    answer = jobs.submit(TRADES)
    export_id = answer.headers["X-Export-Id"]
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/exports/{export_id}"
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert int(answer.headers["Retry-After"]) >= 1
    assert (answer.json()["export_id"], answer.json()["state"]) == (export_id, "queued")


@pytest.mark.parametrize("file_format", ["csv", "pdf"])
def test_the_file_is_that_of_a_stream(start: Start, file_format: str) -> None:
    """The file of a job has the bytes and the header fields that the same export has as a stream."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "0")
        server = start(SOURCE_DATE_EPOCH="0")
    request = TRADES | {"format": file_format, "filename": "işlemler"}
    streamed = server.export(request, headers={"Accept-Encoding": "identity"})
    export_id = finished(server, request)
    fetched = content(server, export_id)
    assert fetched.content == streamed.content
    for name in ("Content-Type", "Content-Disposition", "X-Content-Type-Options", "Cache-Control"):
        assert fetched.headers[name] == streamed.headers[name]
    receipt = server.receipt(export_id)
    assert receipt["sha256"] == hashlib.sha256(fetched.content).hexdigest()
    assert (receipt["bytes"], receipt["content"]) == (len(fetched.content), f"/exports/{export_id}/content")
    head = httpx.head(f"{server.url}/exports/{export_id}")
    assert (head.status_code, head.headers["Content-Type"], head.content) == (200, "application/json", b"")


@pytest.mark.parametrize(
    ("media_type", "body", "query"),
    [
        ("application/json", json.dumps({"rows": ROWS}).encode(), {}),
        ("application/x-ndjson", "\n".join(map(json.dumps, ROWS)).encode(), {"order_by": "-price"}),
        ("text/csv", "id,note\n1,a\n007,ğ\n".encode(), {"columns": "note,id"}),
    ],
)
def test_bodies(jobs: Server, media_type: str, body: bytes, query: dict[str, str]) -> None:
    """Rows of a body are kept with the job, and gone with its end."""
    fields = {"Content-Type": media_type, "Prefer": "respond-async"}
    streamed = httpx.post(f"{jobs.url}/export", content=body, params=query, headers={"Content-Type": media_type})
    answer = httpx.post(f"{jobs.url}/export", content=body, params=query, headers=fields)
    export_id = answer.headers["X-Export-Id"]
    assert jobs.until_ended(export_id)["state"] == "completed", answer.text
    assert content(jobs, export_id).content == streamed.content
    jobs.until(lambda: jobs.on_disk(export_id) == ["files"])


def test_a_coded_body(jobs: Server) -> None:
    """A body in a content coding is kept as it came, and read as it says."""
    fields = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip", "Prefer": "respond-async"}
    body = gzip.compress(b'{"a": 1}\n{"a": 2}\n')
    answer = httpx.post(f"{jobs.url}/export", content=body, headers=fields)
    jobs.until_ended(answer.headers["X-Export-Id"])
    assert content(jobs, answer.headers["X-Export-Id"]).text == "a\r\n1\r\n2\r\n"


def test_done_in_time(jobs: Server) -> None:
    """Who waits as long as it takes gets the file, and is told that the preference was applied."""
    answer = jobs.submit(TRADES, Prefer="respond-async, wait=20")
    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "respond-async, wait=20"
    assert answer.content == jobs.export(TRADES).content
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert jobs.receipt(answer.headers["X-Export-Id"])["state"] == "completed"


def test_not_done_in_time(jobs: Server) -> None:
    """Who does not wait long enough gets a job, after that time and not before."""
    began = time.monotonic()
    answer = jobs.submit(ENDLESS, Prefer="respond-async, wait=1")
    assert (answer.status_code, time.monotonic() - began >= 1) == (202, True)
    assert answer.headers["Preference-Applied"] == "respond-async, wait=1"
    assert remove(jobs, answer.headers["X-Export-Id"]) == 204


def test_failed_while_it_is_waited_for(jobs: Server) -> None:
    """Who waits for what fails gets its problem, as a stream would have."""
    answer = jobs.submit({"dataset": "trades", "columns": ["nope"]}, Prefer="respond-async, wait=20")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:spark-export:problem:invalid-field")
    assert jobs.receipt(answer.json()["export_id"])["state"] == "failed"


@pytest.mark.parametrize(
    ("request_", "status", "field"),
    [
        ({"dataset": "nothing"}, 404, "dataset"),
        ({"dataset": "trades", "params": {"rows": "many"}}, 422, "params.rows"),
        ({"dataset": "trades", "callback_url": "ftp://example.org/"}, 422, "callback_url"),
        ({"dataset": "trades", "callback_url": "https://u:p@example.org/"}, 422, "callback_url"),
        ({"dataset": "trades", "callback_url": "https://example.org/"}, 422, "callback_url"),
        ({"dataset": "trades", "deliver": {"url": "s3://bucket/key"}}, 403, "deliver.url"),
        ({"dataset": "trades", "deliver": {"url": "file:///etc/passwd"}}, 422, "deliver.url"),
        ({"dataset": "trades", "deliver": "s3://bucket/key"}, 422, "deliver"),
        ({"dataset": "trades", "format": "xls"}, 422, "format"),
        ({"dataset": "trades", "params": {"rows": float("1e999")}}, 422, "params"),
        ({"dataset": "trades", "where": [{"column": "price", "op": "lt", "value": 1e999}]}, 422, "where[0].value"),
    ],
)
def test_refused_at_once(jobs: Server, request_: object, status: int, field: str) -> None:
    """What can be known to be wrong before the job runs is told before it is accepted."""
    body = json.dumps(request_).replace("Infinity", "1e999")
    fields = {"Content-Type": "application/json", "Prefer": "respond-async"}
    answer = httpx.post(f"{jobs.url}/export", content=body, headers=fields)
    assert (answer.status_code, answer.json()["field"]) == (status, field)


@pytest.mark.parametrize("name", ["callback_url", "deliver"])
def test_a_link_changes_nothing(jobs: Server, name: str) -> None:
    """GET neither calls back nor delivers."""
    asked = {"callback_url": "https://example.org/", "deliver": {"url": "s3://bucket/key"}}
    answer = jobs.get("/export", params={"dataset": "trades", "options": json.dumps({name: asked[name]})})
    assert (answer.status_code, answer.json()["field"]) == (422, name)


def test_duplex_is_no_job(jobs: Server) -> None:
    """What is answered while it comes cannot be a job."""
    fields = {"Content-Type": "application/x-ndjson", "Prefer": "respond-async"}
    answer = httpx.post(f"{jobs.url}/export?duplex=true", content=b"{}", headers=fields)
    assert (answer.status_code, answer.json()["field"]) == (422, "Prefer")


def test_turns(start: Start, data: Path) -> None:
    """Jobs run one after the other where there is one slot, and each knows its place; a stream has its turn between."""
    server = start(DATASETS=str(data / "datasets.toml"), MAX_CONCURRENT="1")
    running, *queued = [job(server, each) for each in (ENDLESS, TRADES, TRADES, TRADES)]
    server.until(lambda: server.receipt(running)["state"] == "running")
    assert [server.receipt(each)["place"] for each in (running, *queued)] == [None, 1, 2, 3]
    assert remove(server, queued[1]) == 204
    assert [server.receipt(each)["place"] for each in queued] == [1, None, 2]
    assert server.receipt(queued[1])["state"] == "cancelled"
    server.until(lambda: server.receipt(running)["rows"] > 0)
    assert remove(server, running) == 204
    assert server.until_ended(queued[2])["state"] == "completed"


def test_a_slot_is_left_to_streams(start: Start, data: Path) -> None:
    """However many jobs run, a stream is served."""
    server = start(DATASETS=str(data / "datasets.toml"), MAX_CONCURRENT="2", QUEUE_TIMEOUT_SECONDS="5")
    running = [job(server, ENDLESS) for _ in range(3)]
    server.until(lambda: server.receipt(running[0])["state"] == "running")
    assert server.export(TRADES).status_code == 200
    assert server.receipt(running[1])["state"] == "queued"
    assert [remove(server, each) for each in running] == [204] * 3


def test_a_job_needs_no_place_of_a_stream(start: Start, data: Path) -> None:
    """Where a stream would be refused, a job is accepted, and made when there is a slot."""
    server = start(DATASETS=str(data / "datasets.toml"), MAX_CONCURRENT="1", MAX_QUEUE="0")
    with httpx.stream("GET", f"{server.url}/export?dataset=endless", timeout=30):
        server.until(lambda: server.health()[0] == 1)
        assert server.export(TRADES).status_code == 503
        accepted = job(server)
        assert server.receipt(accepted)["state"] == "queued"
        assert server.metric("export_queue_depth") == 0
    assert server.until_ended(accepted)["state"] == "completed"


def test_a_link_needs_no_key(jobs: Server) -> None:
    """GET changes nothing, and so has no use for a key or for a job."""
    fields = {"Idempotency-Key": "no key", "Prefer": "respond-async"}
    assert jobs.get("/export?dataset=trades", headers=fields).status_code == 200


def test_too_many(start: Start, data: Path) -> None:
    """One caller has at most half the places of the queue of jobs; more are refused, and say when to come again."""
    server = start(DATASETS=str(data / "datasets.toml"), MAX_CONCURRENT="1", MAX_JOBS="4")
    running = job(server, ENDLESS)
    server.until(lambda: server.receipt(running)["state"] == "running")
    queued = [job(server), job(server)]
    refused = server.submit(TRADES)
    assert (refused.status_code, refused.json()["field"]) == (503, "MAX_JOBS")
    assert int(refused.headers["Retry-After"]) >= 1
    assert [remove(server, each) for each in (*queued, running)] == [204] * 3


def test_the_limiter_is_the_same(start: Start) -> None:
    """A job takes a token as a stream does."""
    server = start(RATE_PER_SECOND="0.001", RATE_BURST="2")
    assert job(server)
    assert server.export(TRADES).status_code == 200
    refused = server.submit(TRADES)
    assert (refused.status_code, "RateLimit" in refused.headers) == (429, True)


def test_cancelled_within_a_second(jobs: Server) -> None:
    """A running job ends within a second, says so, and leaves neither query nor file."""
    export_id = job(jobs, ENDLESS)
    jobs.until(lambda: jobs.receipt(export_id)["rows"] > 0)
    began = time.monotonic()
    assert remove(jobs, export_id) == 204
    assert time.monotonic() - began < 1
    receipt = jobs.receipt(export_id)
    assert (receipt["state"], receipt["reason"], receipt["content"]) == ("cancelled", "cancelled", None)
    assert (jobs.health(), jobs.metric("spark_export_queries"), jobs.on_disk(export_id)) == ((0, 0), 0, [])
    assert (content(jobs, export_id).status_code, content(jobs, export_id).json()["field"]) == (404, "export_id")


def test_removed(jobs: Server) -> None:
    """A finished job that is removed is gone, with its file."""
    export_id = finished(jobs)
    assert jobs.on_disk(export_id) == ["files"]
    assert remove(jobs, export_id) == 204
    assert (jobs.get(f"/exports/{export_id}").status_code, jobs.on_disk(export_id)) == (404, [])
    assert content(jobs, export_id).status_code == 404
    assert remove(jobs, export_id) == 404


def test_a_stream_is_no_job(jobs: Server) -> None:
    """The receipt of a stream is shown and can be removed, but has no file."""
    export_id = jobs.export(TRADES).headers["X-Export-Id"]
    assert (jobs.receipt(export_id)["state"], jobs.receipt(export_id)["content"]) == ("completed", None)
    assert content(jobs, export_id).json()["type"] == "urn:spark-export:problem:no-content"
    assert remove(jobs, export_id) == 204
    assert jobs.get(f"/exports/{export_id}").status_code == 404


def test_failed(jobs: Server) -> None:
    """A job that fails midway says why, without a secret, and has no file."""
    export_id = job(jobs, {"dataset": "late"})
    receipt = jobs.until_ended(export_id)
    assert (receipt["state"], receipt["reason"], receipt["sha256"]) == ("failed", "source_failed", None)
    assert "secret" not in json.dumps(receipt)
    assert content(jobs, export_id).status_code == 404


def test_not_ready(jobs: Server) -> None:
    """The file of a job that runs is not there yet, not even a part of it."""
    export_id = job(jobs, ENDLESS)
    jobs.until(lambda: jobs.receipt(export_id)["bytes"] > 0)
    answer = content(jobs, export_id, Range="bytes=0-9")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:spark-export:problem:content-not-ready")
    assert remove(jobs, export_id) == 204


def test_ranges(jobs: Server) -> None:
    """Parts of the file are served by one Range, strongly tied to the file, and put together they are it."""
    export_id = finished(jobs)
    whole = content(jobs, export_id)
    size, tag = len(whole.content), whole.headers["ETag"]
    assert whole.headers["Accept-Ranges"] == "bytes"
    digest = b64encode(hashlib.sha256(whole.content).digest()).decode()
    assert whole.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    parts = [content(jobs, export_id, Range=f"bytes={first}-{first + 9999}") for first in range(0, size, 10_000)]
    assert {part.status_code for part in parts} == {206}
    assert b"".join(part.content for part in parts) == whole.content
    assert parts[0].headers["Content-Range"] == f"bytes 0-9999/{size}"
    assert parts[0].headers["Repr-Digest"] == whole.headers["Repr-Digest"]
    assert content(jobs, export_id, Range="bytes=-5", If_Range=tag).content == whole.content[-5:]
    assert content(jobs, export_id, Range="bytes=-5", If_Range='"other"').content == whole.content
    assert content(jobs, export_id, Range="bytes=-5", If_Range=whole.headers["Last-Modified"]).status_code == 206
    beyond = content(jobs, export_id, Range=f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    assert content(jobs, export_id, If_None_Match=tag).status_code == 304
    assert content(jobs, export_id, If_Match='"other"').status_code == 412
    assert parsedate_to_datetime(whole.headers["Last-Modified"]) <= parsedate_to_datetime(whole.headers["Date"])


def test_head(jobs: Server) -> None:
    """HEAD has the header fields of GET, and no body."""
    export_id = finished(jobs)
    url = f"{jobs.url}/exports/{export_id}/content"
    head, whole = httpx.head(url), httpx.get(url)
    assert (head.status_code, head.content) == (200, b"")
    unlike = {"date", "x-request-id"}
    assert {name: value for name, value in head.headers.items() if name not in unlike} == {
        name: value for name, value in whole.headers.items() if name not in unlike
    }
    part = httpx.head(url, headers={"Range": "bytes=0-9"})  # which is for GET alone (RFC 9110 14.2)
    assert (part.status_code, part.headers["Content-Length"]) == (200, str(len(whole.content)))


def test_an_empty_file(jobs: Server) -> None:
    """A file of no bytes is one too."""
    export_id = finished(jobs, {"dataset": "trades", "limit": 0, "csv": {"header": False}})
    whole = content(jobs, export_id)
    assert (whole.status_code, whole.content, whole.headers["Content-Length"]) == (200, b"", "0")
    assert content(jobs, export_id, Range="bytes=0-").status_code == 416


def events_of(server: Server, export_id: str, **headers: str) -> list[dict[str, Any]]:
    """The receipts of the stream of events, to its end."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    with httpx.stream("GET", f"{server.url}/exports/{export_id}/events", headers=fields, timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        return [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line.startswith("data:")]


def test_events(jobs: Server) -> None:
    """The events are receipts that grow, and end with the one of the end."""
    export_id = job(jobs, ENDLESS)
    ending = threading.Timer(1.5, remove, (jobs, export_id))
    ending.start()
    seen = events_of(jobs, export_id)
    ending.join()
    assert [each["state"] for each in seen][-1] == "cancelled"
    assert [each["rows"] for each in seen[:-1]] == sorted(each["rows"] for each in seen[:-1])
    assert {each["state"] for each in seen[:-1]} >= {"running"}


def test_events_of_what_has_ended(jobs: Server) -> None:
    """They are one receipt; who has it already is told to come no more."""
    export_id = finished(jobs)
    assert [each["state"] for each in events_of(jobs, export_id)] == ["completed"]
    again = jobs.get(f"/exports/{export_id}/events", headers={"Last-Event-ID": "completed"})
    assert again.status_code == 204


def test_pages(start: Start) -> None:
    """The receipts of jobs and streams are listed together, newest first, a page after the other, each once."""
    server = start()
    made = [finished(server) if place % 2 else server.export(TRADES).headers["X-Export-Id"] for place in range(7)]
    seen, path = [], "/exports?limit=3"
    while True:
        answer = server.get(path)
        seen += [each["export_id"] for each in answer.json()]
        if "next" not in answer.links:
            break
        path = answer.links["next"]["url"]
    assert seen == made[::-1]
    assert server.get("/exports?before=x").json()["field"] == "before"


@pytest.mark.parametrize("before", ["x", "nan_x", "inf_x", ""])
def test_no_page(jobs: Server, before: str) -> None:
    """What is no `next` link's place is refused."""
    answer = jobs.get("/exports", params={"before": before})
    assert (answer.status_code, answer.json()["field"]) == (422, "before")


def test_a_caller_sees_its_own(start: Start) -> None:
    """What belongs to another key is unknown, whatever is asked of it, and in no list."""
    server = start(API_KEYS="a=one,b=two")
    own, other = ({"Authorization": f"Bearer {key}"} for key in ("one", "two"))
    answer = server.submit(TRADES, Prefer="respond-async, wait=20", **own)
    export_id = answer.headers["X-Export-Id"]
    for path in ("", "/content", "/events"):
        found = [server.get(f"/exports/{export_id}{path}", headers=key).status_code for key in (own, other, {})]
        assert found == [200, 404, 401]
    assert remove(server, export_id, headers=other) == 404
    assert [len(server.get("/exports", headers=key).json()) for key in (own, other)] == [1, 0]
    assert remove(server, export_id, headers=own) == 204


def test_expired_by_time(start: Start) -> None:
    """A file is kept for its time and then gone, which its receipt says; the disk has it no longer."""
    server = start(JOB_TTL_SECONDS="3")
    export_id = finished(server)
    assert server.on_disk(export_id) == ["files"]
    until(lambda: content(server, export_id).status_code == 410)
    until(lambda: server.receipt(export_id)["state"] == "expired")
    until(lambda: server.on_disk(export_id) == [])
    assert server.receipt(export_id)["content"] is None
    assert content(server, export_id).json()["type"] == "urn:spark-export:problem:content-expired"


def test_expired_by_room(start: Start, tmp_path: Path) -> None:
    """When the files would be more than may be kept the oldest give way; one that never fits fails, and says why."""
    server = start(SPOOL_MAX_BYTES=str(2**20), SPOOL_DIR=str(tmp_path))
    export_ids = [finished(server, TRADES) for _ in range(8)]  # 210 kB each
    states = [server.receipt(each)["state"] for each in export_ids]
    assert states == ["expired"] * 4 + ["completed"] * 4
    kept = list(tmp_path.glob("jobs-*/files/*"))
    assert sum(path.stat().st_size for path in kept) <= 2**20
    large = server.until_ended(job(server, {"dataset": "trades", "params": {"rows": 20_000}}))
    assert (large["state"], large["reason"]) == ("failed", "spool_full")
    assert "SPOOL_MAX_BYTES" in large["detail"] or str(2**20) in large["detail"]
    assert finished(server)


def test_nobodys_files_give_way_to_a_greedier_caller(start: Start) -> None:
    """A caller whose file would take all the room loses its own files, not those of one who keeps less."""
    server = start(SPOOL_MAX_BYTES=str(2**20), API_KEYS="a=one,b=two")
    one, two = ({"Authorization": f"Bearer {key}", "Prefer": "respond-async, wait=20"} for key in ("one", "two"))
    own = [server.export(TRADES, headers=one).headers["X-Export-Id"] for _ in range(2)]
    refused = server.export(TRADES | {"params": {"rows": 20_000}}, headers=two)
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:spark-export:problem:spool-full")
    assert int(refused.headers.get("Retry-After", 1)) >= 1
    for export_id in own:
        assert server.get(f"/exports/{export_id}/content", headers=one).status_code == 200


def test_places_are_counted_while_jobs_are_accepted(start: Start, data: Path) -> None:
    """However many come at once, no more are accepted than may wait."""
    server = start(DATASETS=str(data / "datasets.toml"), MAX_CONCURRENT="1", MAX_JOBS="4")
    running = job(server, ENDLESS)
    server.until(lambda: server.receipt(running)["state"] == "running")
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: server.submit(TRADES), range(20)))
    assert sorted(answer.status_code for answer in answers) == [202] * 2 + [503] * 18
    for export_id in [running, *(answer.headers["X-Export-Id"] for answer in answers if answer.status_code == 202)]:
        assert remove(server, export_id) == 204


def test_a_request_of_a_megabyte_is_forgotten_with_its_job(start: Start, tmp_path: Path) -> None:
    """What only making a file takes is not kept with its receipt: neither on disk nor for whoever lists receipts."""
    server = start(SPOOL_DIR=str(tmp_path))
    columns = [{"name": "id", "label": "x" * 1900}] * 10
    where = [{"column": "note", "op": "in", "value": ["y" * 90 for _ in range(9000)]}]
    export_id = finished(server, TRADES | {"columns": columns, "where": where})
    (database,) = tmp_path.glob("jobs-*/jobs.sqlite")
    with closing(sqlite3.connect(database)) as connection:
        ((order, shown),) = connection.execute("SELECT order_json, shown_json FROM jobs").fetchall()
    assert (order, len(shown) < 3000) == (None, True)
    assert server.receipt(export_id)["rows"] == 0


def test_a_row_that_cannot_be_read(start: Start, tmp_path: Path) -> None:
    """A job that this version cannot read is nobody's, and keeps no other from being served or started."""
    server = start(SPOOL_DIR=str(tmp_path))
    spoiled, other = finished(server), finished(server)
    (database,) = tmp_path.glob("jobs-*/jobs.sqlite")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE jobs SET shown_json = '{}' WHERE export_id = ?", (spoiled,))
    assert server.get(f"/exports/{spoiled}").status_code == 404
    assert [each["export_id"] for each in server.get("/exports").json()] == [other]
    server.process.kill()
    server.process.wait()
    server = start(int(server.url.rpartition(":")[2]), SPOOL_DIR=str(tmp_path))
    assert content(server, other).status_code == 200


def test_the_rows_of_a_job_that_cannot_be_read_are_kept(start: Start, data: Path, tmp_path: Path) -> None:
    """For the version that can: it makes the job when it is back."""
    settings = {"DATASETS": str(data / "datasets.toml"), "SPOOL_DIR": str(tmp_path), "MAX_CONCURRENT": "1"}
    server = start(**settings)
    running = job(server, ENDLESS)
    server.until(lambda: server.receipt(running)["state"] == "running")
    queued = job(server, {"rows": [{"a": 1}]})
    server.process.kill()
    server.process.wait()
    (database,) = tmp_path.glob("jobs-*/jobs.sqlite")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE jobs SET shown_json = '{}' || shown_json")
    server = start(int(server.url.rpartition(":")[2]), **settings)
    assert [server.get(f"/exports/{each}").status_code for each in (running, queued)] == [404, 404]
    server.process.kill()
    server.process.wait()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE jobs SET shown_json = substr(shown_json, 3)")
    server = start(int(server.url.rpartition(":")[2]), **settings)
    remove(server, running)
    assert server.until_ended(queued)["state"] == "completed"
    assert content(server, queued).text == "a\r\n1\r\n"


def test_waiting_ends_with_the_service(start: Start, data: Path) -> None:
    """Who waits while the service shuts down is told of its job, which the next start makes."""
    server = start(DATASETS=str(data / "datasets.toml"), DRAIN_SECONDS="2")
    answers: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(server.submit(ENDLESS, Prefer="respond-async, wait=60")))
    waiting.start()
    server.until(lambda: server.health()[0] == 1)
    server.process.terminate()
    waiting.join(timeout=30)
    assert [answer.status_code for answer in answers] == [202]
    assert server.process.wait(timeout=30) == 0


def test_events_come_when_something_has_changed(start: Start, data: Path) -> None:
    """A job that waits sends no event that differs only in the time that has gone by."""
    server = start(DATASETS=str(data / "datasets.toml"), MAX_CONCURRENT="1")
    running = job(server, ENDLESS)
    server.until(lambda: server.receipt(running)["state"] == "running")
    queued = job(server, ENDLESS)
    ending = threading.Timer(2.0, remove, (server, queued))
    ending.start()
    assert [each["state"] for each in events_of(server, queued)] == ["queued", "cancelled"]
    ending.join()
    assert remove(server, running) == 204


def test_a_database_that_cannot_be_used(start: Start, tmp_path: Path) -> None:
    """Each route that needs it says so, and the log has the cause with the id of the request."""
    server = start(SPOOL_DIR=str(tmp_path))
    export_id = finished(server)
    (path,) = tmp_path.glob("*/jobs.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("DROP TABLE jobs")
    gets = [server.get(f"/exports{rest}") for rest in ("", f"/{export_id}", f"/{export_id}/content")]
    posts = [server.submit(TRADES), server.export(TRADES, headers={"Idempotency-Key": "broken"})]
    causes = [line for line in server.log.read_text().splitlines() if "no such table: jobs" in line]
    for answer in (*gets, *posts):
        problem = answer.json()
        assert (answer.status_code, problem["field"]) == (500, "SPOOL_DIR")
        assert any(problem["request_id"] in line for line in causes)
    assert server.export(TRADES).status_code == 200


def test_a_database_that_somebody_writes_to(start: Start, data: Path, tmp_path: Path) -> None:
    """Receipts are read while another process holds the database; what must be written waits, and then says why."""
    server = start(SPOOL_DIR=str(tmp_path), DATASETS=str(data / "datasets.toml"))
    export_id = finished(server)
    (path,) = tmp_path.glob("*/jobs.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        assert (server.receipt(export_id)["state"], content(server, export_id).status_code) == ("completed", 200)
        refused = server.submit(TRADES)
        assert (refused.status_code, refused.json()["field"]) == (500, "SPOOL_DIR")
        database.execute("ROLLBACK")
    assert finished(server)


def test_metrics(start: Start) -> None:
    """Jobs are counted as exports are, and those that wait and run are seen."""
    server = start()
    finished(server)
    assert server.metric('export_requests_total{format="csv",outcome="completed"}') == 1
    assert server.metric('export_bytes_total{format="csv"}') > 0
    assert (
        server.metric('spark_export_jobs{state="queued"}'),
        server.metric('spark_export_jobs{state="running"}'),
    ) == (0, 0)
    assert server.metric("spark_export_spool_bytes") > 0


def test_memory_is_flat(start: Start) -> None:
    """A job of ten times the rows, fetched in twenty parts at once, takes the same memory."""
    peaks = []
    for rows in (150_000, 1_500_000):
        server = start()
        export_id = finished(server, {"dataset": "trades", "params": {"rows": rows}})
        size = server.receipt(export_id)["bytes"]
        edges = [size * part // 20 for part in range(21)]
        with ThreadPoolExecutor(20) as threads:
            ranges = [f"bytes={first}-{stop - 1}" for first, stop in pairwise(edges)]
            parts = list(
                threads.map(lambda each, name=export_id, at=server: content(at, name, Range=each).content, ranges)
            )
        assert hashlib.sha256(b"".join(parts)).hexdigest() == server.receipt(export_id)["sha256"]
        peaks.append(server.status("VmHWM"))
    assert peaks[1] <= 1.15 * peaks[0]
