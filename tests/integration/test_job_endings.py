"""What follows a job's end: its caller is told, and its file is where it was asked to be."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.integration.conftest import Server, Start
from tests.integration.test_job_recovery import killed
from tests.integration.test_jobs import ENDLESS, TRADES, content, job, remove
from tests.receiver import receiving
from tests.s3 import BUCKET, CREDENTIALS, S3, running_s3

KEY = base64.b64encode(bytes(range(32))).decode()
SECRET = f"whsec_{KEY}"
SHOWN = f"s3://{BUCKET}/exports"


@pytest.fixture(scope="module")
def telling(start: Start, data: Path) -> Server:
    """A service that may call back on loopback."""
    return start(
        DATASETS=str(data / "datasets.toml"), CALLBACK_SECRET=SECRET, CALLBACK_ALLOW="127.0.0.1", JOB_TTL_SECONDS="600"
    )


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    """An S3 endpoint."""
    with running_s3() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def delivering(start: Start, data: Path, s3: S3) -> Iterator[Server]:
    """A service that may deliver below a prefix, and to presigned URLs."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (CREDENTIALS | {"AWS_ENDPOINT_URL": s3.url}).items():
            patch.setenv(name, value)
        yield start(DATASETS=str(data / "datasets.toml"), DELIVER_ALLOW=f"{SHOWN}/,{s3.url}/{BUCKET}/put/")


def told(server: Server, export_id: str) -> dict[str, object]:
    """What the receipt says of the callback, once it is over."""
    server.until(lambda: server.receipt(export_id)["callback"]["state"] in {"delivered", "failed"}, 30)
    found: dict[str, object] = server.receipt(export_id)["callback"]
    return found


def attempts_by_state(server: Server) -> Counter[str]:
    """How many attempts the service has counted."""
    states = ("delivered", "pending", "failed")
    return Counter({each: int(server.metric(f'spark_export_callbacks_total{{state="{each}"}}')) for each in states})


def test_told_of_the_end(telling: Server) -> None:
    """The receipt is posted once, signed over id, time and body (Standard Webhooks), and the receipt records it."""
    with receiving() as receiver:
        export_id = telling.export(TRADES | {"callback_url": receiver.url}).headers["X-Export-Id"]
        assert told(telling, export_id)["state"] == "delivered"
    ((fields, body),) = receiver.received
    signed = b".".join([fields["webhook-id"].encode(), fields["webhook-timestamp"].encode(), body])
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), signed, "sha256")).decode()
    assert fields["webhook-signature"] == f"v1,{signature}"
    assert (fields["webhook-id"], abs(time.time() - int(fields["webhook-timestamp"])) < 60) == (export_id, True)
    sent, receipt = json.loads(body), telling.receipt(export_id)
    assert {name: sent[name] for name in ("export_id", "state", "sha256", "rows", "content")} == {
        name: receipt[name] for name in ("export_id", "state", "sha256", "rows", "content")
    }
    assert [attempt["status"] for attempt in receipt["callback"]["attempts"]] == [204]


def test_a_callback_makes_a_job(telling: Server) -> None:
    """Who asks to be told is answered at once, whatever it prefers."""
    with receiving() as receiver:
        answer = telling.export(TRADES | {"callback_url": receiver.url})
        assert (answer.status_code, "Preference-Applied" in answer.headers) == (202, False)
        told(telling, answer.headers["X-Export-Id"])


@pytest.mark.parametrize(("request_", "state"), [({"dataset": "late"}, "failed"), (ENDLESS, "cancelled")])
def test_told_of_other_ends(telling: Server, request_: dict[str, object], state: str) -> None:
    """A job that failed or was cancelled is told of too."""
    with receiving() as receiver:
        export_id = job(telling, request_ | {"callback_url": receiver.url})
        if state == "cancelled":
            remove(telling, export_id)
        assert told(telling, export_id)["state"] == "delivered"
    assert json.loads(receiver.received[0][1])["state"] == state


def test_told_again(telling: Server) -> None:
    """An attempt that failed is made once more, later and later, under the same id with a new signature; all count."""
    before = attempts_by_state(telling)
    with receiving(500, 503, 200) as receiver:
        export_id = job(telling, TRADES | {"callback_url": receiver.url})
        callback = told(telling, export_id)
    attempts = callback["attempts"]
    assert isinstance(attempts, list)
    assert [attempt["status"] for attempt in attempts] == [500, 503, 200]
    assert attempts[1]["at"] - attempts[0]["at"] < attempts[2]["at"] - attempts[1]["at"]
    assert {fields["webhook-id"] for fields, _ in receiver.received} == {export_id}
    assert len({fields["webhook-timestamp"] for fields, _ in receiver.received}) == 3
    assert attempts_by_state(telling) - before == Counter(pending=2, delivered=1)


def test_told_when_the_receiver_wants(telling: Server) -> None:
    """A receiver that says when to come again is asked no sooner."""
    with receiving(503, 200) as receiver:
        receiver.retry_after = "3"
        callback = told(telling, job(telling, TRADES | {"callback_url": receiver.url}))
    attempts = callback["attempts"]
    assert isinstance(attempts, list)
    assert attempts[1]["at"] - attempts[0]["at"] >= 3


def test_a_token_of_the_url_is_shown_to_nobody(telling: Server) -> None:
    """The query of a callback's URL is sent to its receiver, and stands in no receipt."""
    with receiving() as receiver:
        export_id = job(telling, TRADES | {"callback_url": receiver.url + "?token=t0p"})
        assert told(telling, export_id)["url"] == receiver.url
    assert b"t0p" not in receiver.received[0][1]
    assert "t0p" not in telling.log.read_text()


def test_told_no_more(telling: Server) -> None:
    """A receiver that is gone (410) is not asked again."""
    before = attempts_by_state(telling)
    with receiving(410) as receiver:
        export_id = job(telling, TRADES | {"callback_url": receiver.url})
        callback = told(telling, export_id)
    assert (callback["state"], len(receiver.received)) == ("failed", 1)
    assert attempts_by_state(telling) - before == Counter(failed=1)


def test_a_secret_that_is_gone(start: Start, data: Path, tmp_path: Path) -> None:
    """A job that was accepted is made though nobody can be told of it any more; the callback waits for a secret."""
    settings = {"SPOOL_DIR": str(tmp_path), "MAX_CONCURRENT": "1", "DATASETS": str(data / "datasets.toml")}
    server = start(CALLBACK_SECRET=SECRET, CALLBACK_ALLOW="127.0.0.1", **settings)
    running = job(server, ENDLESS)
    with receiving() as receiver:
        queued = job(server, TRADES | {"callback_url": receiver.url})
        server = start(killed(server), **settings)
        remove(server, running)
        receipt = server.until_ended(queued)
        assert (receipt["state"], receipt["callback"]["state"]) == ("completed", "pending")
        server = start(killed(server), CALLBACK_SECRET=SECRET, CALLBACK_ALLOW="127.0.0.1", **settings)
        assert told(server, queued)["state"] == "delivered"


def test_told_after_a_kill(start: Start, tmp_path: Path) -> None:
    """What was to be told is told by the next start."""
    settings = {"SPOOL_DIR": str(tmp_path), "CALLBACK_SECRET": SECRET, "CALLBACK_ALLOW": "127.0.0.1"}
    server = start(**settings)
    with receiving(500, 200) as receiver:
        export_id = job(server, TRADES | {"callback_url": receiver.url})
        server.until(lambda: len(receiver.received) == 1)
        server.until(lambda: bool(server.receipt(export_id)["callback"]["attempts"]))
        server = start(killed(server), **settings)
        assert told(server, export_id)["state"] == "delivered"
    assert len(receiver.received) == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "10.1.2.3", "169.254.169.254"])  # noqa: S104
def test_an_address_that_is_not_public(start: Start, host: str) -> None:
    """An address that may not be reached is refused at once, with the setting that would allow it."""
    server = start(CALLBACK_SECRET=SECRET)
    refused = server.submit(TRADES | {"callback_url": f"http://{host}:9/"})
    assert (refused.status_code, refused.json()["field"]) == (422, "callback_url")
    assert "CALLBACK_ALLOW" in refused.json()["detail"]


@pytest.mark.parametrize("host", ["localhost", "2130706433"])
def test_not_to_loopback(start: Start, host: str) -> None:
    """By default nobody on this machine or a private network is reached, by whatever name; the receipt says so."""
    server = start(CALLBACK_SECRET=SECRET)
    with receiving() as receiver:
        export_id = job(server, TRADES | {"callback_url": receiver.url.replace("127.0.0.1", host)})
        server.until(lambda: bool(server.receipt(export_id)["callback"]["attempts"]), 30)
    ((attempt, *_),) = [server.receipt(export_id)["callback"]["attempts"]]
    assert (receiver.received, attempt["status"]) == ([], None)
    assert "CALLBACK_ALLOW" in attempt["detail"] or "connect" in attempt["detail"]


def test_not_through_a_redirect(telling: Server) -> None:
    """A receiver that may be reached cannot send the receipt on to one that may not."""
    with receiving(307) as receiver:
        receiver.location = "http://127.0.0.2:1/"  # an address that is not among those of CALLBACK_ALLOW
        export_id = job(telling, TRADES | {"callback_url": receiver.url})
        telling.until(lambda: bool(telling.receipt(export_id)["callback"]["attempts"]), 30)
        assert "is not public" in telling.receipt(export_id)["callback"]["attempts"][0]["detail"]


def read(s3: S3, key: str) -> bytes:
    """The object's bytes."""
    found: bytes = s3.filesystem.open_input_stream(f"{BUCKET}/{key}").read()
    return found


def client_of(s3: S3) -> Any:
    """boto3's client of the endpoint."""
    return boto3.client(
        "s3",
        endpoint_url=s3.url,
        region_name=CREDENTIALS["AWS_REGION"],
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )


def test_to_a_bucket(delivering: Server, s3: S3) -> None:
    """The file goes to the bucket while it is made; the receipt has its digest and tag, and nothing stays here."""
    request = {"dataset": "trades", "params": {"rows": 300_000}}
    export_id = delivering.export(request | {"deliver": {"url": f"{SHOWN}/big.csv"}}).headers["X-Export-Id"]
    receipt = delivering.until_ended(export_id, 60)
    assert (receipt["state"], receipt["delivered_to"]) == ("completed", f"{SHOWN}/big.csv")
    found = read(s3, "exports/big.csv")
    assert (len(found), hashlib.sha256(found).hexdigest()) == (receipt["bytes"], receipt["sha256"])
    head = client_of(s3).head_object(Bucket=BUCKET, Key="exports/big.csv")
    assert (head["ETag"], head["ContentType"]) == (receipt["object_tag"], "text/csv; charset=utf-8; header=present")
    assert "trades.csv" in head["ContentDisposition"]
    assert content(delivering, export_id).json()["type"] == "urn:spark-export:problem:no-content"


def test_delivered_in_time(delivering: Server) -> None:
    """Who waits for a delivery has the receipt, with the status of what is done."""
    request = TRADES | {"deliver": {"url": f"{SHOWN}/soon.csv"}}
    done = delivering.submit(request, Prefer="respond-async, wait=60")
    assert (done.status_code, done.json()["state"], done.json()["delivered_to"]) == (
        200,
        "completed",
        f"{SHOWN}/soon.csv",
    )


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
def test_nothing_half_in_the_bucket(delivering: Server, s3: S3, how: str) -> None:
    """A job that does not come to its end leaves neither an object nor parts of one."""
    key = f"exports/{how.replace(' ', '-')}.csv"
    request = {"dataset": "late"} if how == "fails" else ENDLESS
    export_id = job(delivering, request | {"deliver": {"url": f"s3://{BUCKET}/{key}"}})
    if how == "is cancelled":
        delivering.until(lambda: delivering.receipt(export_id)["bytes"] > 30_000_000, 30)
        began = time.monotonic()
        assert remove(delivering, export_id) == 204
        assert time.monotonic() - began < 1
    receipt = delivering.until_ended(export_id)
    assert receipt["state"] == ("failed" if how == "fails" else "cancelled")
    client = client_of(s3)
    delivering.until(lambda: not client.list_multipart_uploads(Bucket=BUCKET).get("Uploads"))
    assert key not in {each["Key"] for each in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])}


@pytest.mark.parametrize(
    "url", [f"s3://{BUCKET}/other/x.csv", f"s3://{BUCKET}/exports/../x.csv", "s3://elsewhere/exports/x.csv"]
)
def test_only_where_it_may(delivering: Server, url: str) -> None:
    """What is not below an allowed prefix is refused at once."""
    refused = delivering.export(TRADES | {"deliver": {"url": url}})
    assert (refused.status_code, refused.json()["field"]) == (403, "deliver.url")


def test_delivered_once(start: Start, s3: S3, tmp_path: Path) -> None:
    """A delivery has no file here that could give way, whatever is started anew; its key still has its answer."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (CREDENTIALS | {"AWS_ENDPOINT_URL": s3.url}).items():
            patch.setenv(name, value)
        settings = {"SPOOL_DIR": str(tmp_path), "DELIVER_ALLOW": f"{SHOWN}/", "SPOOL_MAX_BYTES": str(2**20)}
        server = start(**settings)
        request = TRADES | {"deliver": {"url": f"{SHOWN}/once.csv"}}
        first = job(server, request, Idempotency_Key="once")
        assert server.until_ended(first)["state"] == "completed"
        server = start(killed(server), **settings)
    for _ in range(6):
        server.until_ended(job(server))
    assert server.receipt(first)["state"] == "completed"
    assert job(server, request, Idempotency_Key="once") == first


def test_to_a_presigned_url(delivering: Server, s3: S3) -> None:
    """The file goes to the URL in one PUT; the URL's signature is shown to nobody."""
    url = client_of(s3).generate_presigned_url(
        "put_object", Params={"Bucket": BUCKET, "Key": "put/x.csv"}, ExpiresIn=600
    )
    export_id = job(delivering, TRADES | {"deliver": {"url": url}})
    receipt = delivering.until_ended(export_id)
    assert (receipt["state"], receipt["delivered_to"]) == ("completed", url.partition("?")[0])
    assert hashlib.sha256(read(s3, "put/x.csv")).hexdigest() == receipt["sha256"]
    said = json.dumps(receipt) + delivering.log.read_text()
    assert "Signature" not in said


def test_a_url_that_refuses(start: Start) -> None:
    """A PUT that is refused fails the job, and says with what status."""
    with receiving(403) as receiver:
        server = start(DELIVER_ALLOW=receiver.url)
        receipt = server.until_ended(job(server, TRADES | {"deliver": {"url": receiver.url + "?Signature=x"}}))
    assert (receipt["state"], receipt["reason"]) == ("failed", "delivery_failed")
    assert "403" in receipt["detail"]
