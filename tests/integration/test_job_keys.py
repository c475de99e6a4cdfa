"""Idempotency-Key: a request that comes again is answered as the first one was, and nothing is made twice."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import Server, Start
from tests.integration.test_job_recovery import killed
from tests.integration.test_jobs import ENDLESS, TRADES, content, remove

KEY = {"Idempotency-Key": '"7f0f-1"'}


@pytest.fixture
def server(start: Start, data: Path) -> Server:
    """A service that has seen no key."""
    return start(DATASETS=str(data / "datasets.toml"))


def post(server: Server, request: object = TRADES, **headers: str) -> httpx.Response:
    """POST /export under the key."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.export(request, headers=KEY | fields)


def test_a_job_is_made_once(server: Server) -> None:
    """The same request under the same key has the same job, while it runs and afterwards."""
    first = post(server, Prefer="respond-async")
    again = post(server, Prefer="respond-async")
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["Location"] == first.headers["Location"]
    server.until_ended(first.headers["X-Export-Id"])
    late = post(server, Prefer="respond-async, wait=10")
    assert (late.status_code, late.headers["X-Export-Id"]) == (200, first.headers["X-Export-Id"])
    assert len(server.get("/exports").json()) == 1


def test_no_room_is_needed_to_come_again(start: Start, data: Path) -> None:
    """Who comes again for a job that was accepted has it, though there is room for no other one."""
    server = start(DATASETS=str(data / "datasets.toml"), MAX_CONCURRENT="1", MAX_JOBS="8", RATE_PER_SECOND="0.01",
                   RATE_BURST="3")  # fmt: skip
    first = [post(server, ENDLESS, Prefer="respond-async", Idempotency_Key=f"k{number}") for number in range(3)]
    refused = post(server, ENDLESS, Prefer="respond-async", Idempotency_Key="k3")
    again = post(server, ENDLESS, Prefer="respond-async", Idempotency_Key="k2")
    other = post(server, Prefer="respond-async", Idempotency_Key="k2")
    assert [answer.status_code for answer in (*first, refused, again, other)] == [202, 202, 202, 429, 202, 422]
    assert again.headers["Location"] == first[2].headers["Location"]
    assert [remove(server, answer.headers["X-Export-Id"]) for answer in reversed(first)] == [204] * 3


def test_a_cut_file_says_so(start: Start) -> None:
    """A file with rows left out is said to be cut however it comes: streamed, again under its key, and of a job."""
    server = start(MAX_ROWS="5")
    cut = {"dataset": "trades", "on_limit": "truncate"}
    streamed = [post(server, cut), post(server, cut)]
    made = server.export(cut, headers={"Prefer": "respond-async, wait=60"})
    answers = [*streamed, made, content(server, made.headers["X-Export-Id"])]
    assert [answer.headers.get("X-Export-Truncated") for answer in answers] == ["true"] * 4
    assert {answer.content for answer in answers} == {streamed[0].content}


def test_a_stream_is_made_once(server: Server) -> None:
    """A streamed file that has come to its end is sent again as it was, under its id, and can be fetched."""
    first, again = post(server), post(server, Accept_Encoding="gzip")
    assert first.content == again.content == server.export(TRADES).content
    assert first.headers["X-Export-Id"] == again.headers["X-Export-Id"]
    assert first.headers["Content-Disposition"] == again.headers["Content-Disposition"]
    assert content(server, first.headers["X-Export-Id"]).content == first.content
    assert server.metric('export_requests_total{format="csv",outcome="completed"}') == 2


def test_a_client_that_leaves_at_the_end(start: Start, tmp_path: Path) -> None:
    """Whenever the client of a keyed stream leaves, its file is kept with its receipt, or it is gone with its bytes."""
    server = start(SPOOL_DIR=str(tmp_path))
    rows = [{"a": number, "b": "x" * 20} for number in range(2000)]
    body = json.dumps({"rows": rows, "order_by": ["-a"]}).encode()
    for number in range(80):
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as client:
            head = (
                f"POST /export HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nIdempotency-Key: {number}\r\n"
            )
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            found = b""
            while b"\r\n0,xxx" not in found:
                found += (data := client.recv(2**18))
                assert data
            time.sleep(number % 8 * 0.001)
    (files,) = tmp_path.glob("jobs-*/files")

    def is_accounted_for() -> bool:
        receipts = server.get("/exports", params={"limit": 1000}).json()
        kept = {each["export_id"]: each["bytes"] for each in receipts if each["content"] is not None}
        left = {path.name: path.stat().st_size for path in files.iterdir()}
        return left == kept and server.metric("spark_export_spool_bytes") == sum(kept.values())

    server.until(is_accounted_for, 10)


def test_a_body_of_rows(server: Server) -> None:
    """The body counts as payload, byte for byte."""
    fields = KEY | {"Content-Type": "application/x-ndjson"}
    answers = [
        httpx.post(f"{server.url}/export", content=body, headers=fields, params=query)
        for body, query in ((b'{"a": 1}', {}), (b'{"a": 1}', {}), (b'{"a": 2}', {}), (b'{"a": 1}', {"format": "pdf"}))
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 422, 422]
    assert answers[0].headers["X-Export-Id"] == answers[1].headers["X-Export-Id"]


def test_another_payload(server: Server) -> None:
    """The key with another request is refused, and what it first came with stays."""
    first = post(server)
    other = post(server, TRADES | {"limit": 1})
    assert (other.status_code, other.json()["type"]) == (422, "urn:spark-export:problem:idempotency-key-reused")
    assert other.json()["field"] == "Idempotency-Key"
    assert post(server).headers["X-Export-Id"] == first.headers["X-Export-Id"]


def test_what_a_body_is_said_to_be_belongs_to_it(start: Start, tmp_path: Path) -> None:
    """A body under another Content-Type or query is another payload; a setting that has changed makes none."""

    def send(server: Server, query: str = "", media_type: str = "text/csv") -> httpx.Response:
        headers = KEY | {"Content-Type": media_type}
        return httpx.post(f"{server.url}/export?format=csv{query}", content=b"a;b\r\n1;2\r\n", headers=headers)

    server = start(SPOOL_DIR=str(tmp_path))
    first = send(server)
    others = [send(server, "&delimiter=;"), send(server, media_type="text/csv; charset=windows-1254")]
    assert [answer.status_code for answer in (first, *others)] == [200, 422, 422]
    again = send(start(killed(server), SPOOL_DIR=str(tmp_path), MAX_UPLOAD_BYTES="1000000"))
    assert (again.status_code, again.headers["X-Export-Id"]) == (200, first.headers["X-Export-Id"])


@pytest.mark.parametrize("prefer", ["respond-async, wait=60", "return=minimal"])
def test_while_it_is_being_answered(server: Server, prefer: str) -> None:
    """A second request is refused until the first one is answered; the key is free when that was cancelled or left."""
    left = threading.Event()

    def ask() -> None:
        with httpx.stream(
            "POST", f"{server.url}/export", json=ENDLESS, headers=KEY | {"Prefer": prefer}, timeout=60
        ) as answer:
            for _ in answer.iter_bytes():
                if left.is_set():
                    return

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    server.until(lambda: server.health()[0] == 1)
    second = post(server, ENDLESS, Prefer=prefer)
    assert (second.status_code, second.json()["type"]) == (409, "urn:spark-export:problem:idempotency-key-in-use")
    left.set()
    for each in server.get("/exports").json():
        if each["state"] == "running":
            assert remove(server, each["export_id"]) == 204
    asking.join(timeout=30)
    server.until(lambda: post(server).status_code != 409)
    assert post(server).status_code == 200


def test_who_comes_again_holds_up_nobody(server: Server) -> None:
    """Of those who come again for a job, or for the file of a stream, none waits for another one's answer."""
    first = post(server, ENDLESS, Prefer="respond-async")
    waiting = threading.Thread(target=lambda: post(server, ENDLESS, Prefer="respond-async, wait=60"))
    waiting.start()
    time.sleep(0.5)
    again = post(server, ENDLESS, Prefer="respond-async")
    assert (again.status_code, again.headers["Location"]) == (202, first.headers["Location"])
    assert remove(server, first.headers["X-Export-Id"]) == 204
    waiting.join(timeout=30)
    large, key = {"dataset": "trades", "params": {"rows": 300_000}}, {"Idempotency-Key": "large"}
    assert server.export(large, headers=key).status_code == 200
    with httpx.stream("POST", f"{server.url}/export", json=large, headers=key, timeout=30) as slow:
        assert slow.status_code == 200
        assert server.export(large, headers=key).status_code == 200


def test_what_failed_may_be_asked_again(server: Server) -> None:
    """A stream that failed is no answer: the key is free."""
    assert post(server, {"dataset": "early"}).status_code == 500
    assert post(server, {"dataset": "trades", "columns": ["x"]}).status_code == 422
    assert post(server).status_code == 200


def test_a_file_that_is_gone(server: Server) -> None:
    """When the file is removed the key is free, and the export is made anew."""
    first = post(server)
    assert remove(server, first.headers["X-Export-Id"]) == 204
    again = post(server)
    assert (again.content, again.headers["X-Export-Id"] != first.headers["X-Export-Id"]) == (first.content, True)


def test_a_key_is_free_when_its_client_has_left(server: Server) -> None:
    """Who was waiting for a job and left may come again at once, and finds it."""
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/export", json=ENDLESS, headers=KEY | {"Prefer": "respond-async, wait=60"}, timeout=1)
    server.until(lambda: post(server, ENDLESS, Prefer="respond-async").status_code == 202)
    (receipt,) = server.get("/exports?limit=1").json()
    assert remove(server, receipt["export_id"]) == 204


def test_a_key_lives_as_long_as_its_file(start: Start) -> None:
    """Once the file is over the key is new, even before the file has gone."""
    server = start(JOB_TTL_SECONDS="2")
    first = post(server).headers["X-Export-Id"]
    server.until(lambda: content(server, first).status_code == 410)
    again = post(server)
    assert (again.status_code, again.headers["X-Export-Id"] != first) == (200, True)


def test_keys_are_a_callers_own(start: Start) -> None:
    """Another caller's key of the same text is another key."""
    server = start(API_KEYS="a=one,b=two")
    ids = set()
    for key in ("one", "two", "one"):
        fields = KEY | {"Authorization": f"Bearer {key}"}
        ids.add(httpx.post(f"{server.url}/export", json=TRADES, headers=fields).headers["X-Export-Id"])
    assert len(ids) == 2


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
def test_no_key(server: Server, key: str) -> None:
    """What is no key is refused, not ignored."""
    answer = server.export(TRADES, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["field"]) == (422, "Idempotency-Key")


def test_keys_outlast_the_process(start: Start, tmp_path: Path) -> None:
    """After a kill and a start the key has its answer still."""
    server = start(SPOOL_DIR=str(tmp_path))
    first = post(server)
    server.process.kill()
    server.process.wait()
    port = int(server.url.rpartition(":")[2])
    again = post(start(port, SPOOL_DIR=str(tmp_path)))
    assert (again.headers["X-Export-Id"], again.content) == (first.headers["X-Export-Id"], first.content)
    assert json.loads(again.request.content) == TRADES
