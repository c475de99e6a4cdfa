"""Who is let in, to what, and what is told of it."""

from __future__ import annotations

import csv
import hashlib
import json
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from .conftest import COMMAND, Server, Start, free_port

KEYS = f"""
[keys.desk]
key = "key-of-desk"
datasets = ["trades", "book"]
max_rows = 50
rate_per_second = 1000
[keys.desk.columns]
book = ["id", "note"]
[keys.risk]
sha256 = "{hashlib.sha256(b"key-of-risk").hexdigest()}"
rate_per_second = 0.01
rate_burst = 2
[keys.all]
key = "key-of-all"
"""
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is tested
SECRETS = ("key-of", "wrong-key", hashlib.sha256(b"key-of-risk").hexdigest())


@pytest.fixture(scope="module")
def keyed(start: Start, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A service with keys of both kinds."""
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    path.write_text(KEYS, encoding="utf-8")
    return start(
        DATASETS=str(data / "datasets.toml"), API_KEYS_FILE=str(path), API_KEYS="ops=key-of-ops", LOG_FORMAT="json"
    )


def key(name: str) -> dict[str, str]:
    """The header of a key."""
    return {"X-API-Key": f"key-of-{name}"}


def audit(server: Server, export_id: str) -> dict[str, object]:
    """The log line of an export."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    (found,) = [line for line in lines if line.get("export_id") == export_id and line.get("action")]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("path", ["/export?dataset=trades", "/datasets", "/datasets/trades", "/exports", "/exports/x"])
def test_without_a_key_nothing_is_told(keyed: Server, path: str) -> None:
    """Without a known key: 401, whatever is asked; with one, in either header, an answer."""
    for headers in ({}, {"X-API-Key": "wrong-key"}, {"Authorization": "Bearer wrong-key"}, {"X-API-Key": ""}):
        answer = keyed.get(path, headers=headers)
        assert (answer.status_code, answer.json()["field"]) == (401, "Authorization")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    for headers in (key("all"), {"Authorization": "Bearer key-of-all"}, {"authorization": "bearer  key-of-ops"}):
        assert keyed.get(path, headers=headers).status_code in {200, 404}


def test_a_body_without_a_key_is_not_read(keyed: Server) -> None:
    """Whoever has no key is refused before a body is taken in, however large."""
    with socket.create_connection(("127.0.0.1", int(keyed.url.rpartition(":")[2]))) as client:
        client.sendall(b"POST /export HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n{")
        assert client.recv(100).startswith(b"HTTP/1.1 401")


def test_outside_its_datasets_a_key_sees_nothing(keyed: Server) -> None:
    """403 for every other name, whether or not there is such a dataset, and none of them is listed."""
    assert {each["name"] for each in keyed.get("/datasets", headers=key("desk")).json()} == {"trades", "book"}
    assert len(keyed.get("/datasets", headers=key("all")).json()) > 2
    for name in ("parquet", "nothing"):
        for path in (f"/export?dataset={name}", f"/datasets/{name}"):
            answer = keyed.get(path, headers=key("desk"))
            assert (answer.status_code, answer.json()["field"]) == (403, "dataset")
        posted = keyed.export({"dataset": name}, headers=key("desk"))
        assert posted.status_code == 403
    assert keyed.get("/export?dataset=nothing", headers=key("all")).status_code == 404


def test_columns_that_a_key_may_not_see_are_not_there(keyed: Server) -> None:
    """Neither in the file nor in the description, and they cannot be selected, filtered, sorted or summed by."""
    described = keyed.get("/datasets/book", headers=key("desk")).json()
    assert [column["name"] for column in described["columns"]] == ["id", "note"]
    lines = keyed.export({"dataset": "book", "limit": 1}, headers=key("desk")).text.splitlines()
    assert lines == ["id,note", "0,şirket 0"]
    for asked, field in (
        ({"columns": ["price"]}, "columns[0]"),
        ({"where": [{"column": "price", "op": "gt", "value": 1}]}, "where[0].column"),
        ({"order_by": ["-price"]}, "order_by[0]"),
        ({"format": "pdf", "pdf": {"totals": ["price"]}}, "pdf.totals[0]"),
    ):
        answer = keyed.export({"dataset": "book", "limit": 1} | asked, headers=key("desk"))
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert keyed.export({"dataset": "book", "limit": 1}, headers=key("all")).text.startswith("id,price,note")


def test_a_key_has_its_own_cap(keyed: Server) -> None:
    """Over its cap a key gets 413 where the count is known, a broken connection where not, the rows if it asks so."""
    known = keyed.get("/export?dataset=trades", headers=key("desk"))
    assert (known.status_code, known.json()["type"]) == (413, "urn:spark-export:problem:row-limit")
    unknown = keyed.get("/export?dataset=book", headers=key("desk"))
    assert unknown.status_code == 413  # a hundred rows are one batch: the cap is met before the first byte
    for dataset, total in (("trades", 10_000), ("book", 100)):
        cut = keyed.export({"dataset": dataset, "on_limit": "truncate"}, headers=key("desk"))
        assert (cut.status_code, cut.headers["x-export-truncated"]) == (200, "true")
        assert len(list(csv.reader(cut.text.splitlines()))) == 51
        receipt = keyed.get("/exports/" + cut.headers["x-export-id"], headers=key("desk")).json()
        assert (receipt["state"], receipt["rows"], receipt["truncated"]) == ("completed", 50, True)
        assert receipt["sha256"] == hashlib.sha256(cut.content).hexdigest()
        whole = keyed.export({"dataset": dataset, "on_limit": "truncate", "limit": 50}, headers=key("desk"))
        assert whole.headers["x-export-truncated"] == "false"
        free = keyed.export({"dataset": dataset, "on_limit": "truncate"}, headers=key("all"))
        assert (free.headers["x-export-truncated"], free.text.count("\n")) == ("false", total + 1)


def test_a_key_has_its_own_rate(keyed: Server) -> None:
    """A key with a rate is held to it; the others are not."""
    answers = [keyed.get("/export?dataset=book", headers=key("risk")).status_code for _ in range(3)]
    assert answers == [200, 200, 429]
    assert keyed.get("/export?dataset=book", headers=key("all")).status_code == 200


def test_a_receipt_is_its_callers(keyed: Server) -> None:
    """A caller reads its own receipts, those of refused requests too, and nobody else's."""
    good = keyed.get("/export?dataset=book&limit=1", headers=key("all")).headers["x-export-id"]
    bad = keyed.export({"dataset": "book", "typo": 1}, headers=key("all")).json()["export_id"]
    for export_id, state in ((good, "completed"), (bad, "invalid")):
        assert keyed.get(f"/exports/{export_id}", headers=key("all")).json()["state"] == state
        assert keyed.get(f"/exports/{export_id}", headers=key("desk")).status_code == 404
        assert export_id in {each["export_id"] for each in keyed.get("/exports", headers=key("all")).json()}
        assert export_id not in {each["export_id"] for each in keyed.get("/exports", headers=key("desk")).json()}


def test_one_audit_line_an_export(keyed: Server) -> None:
    """Who, from where, what, by which filters, how much and what came of it; no cell, and no secret anywhere."""
    asked = {
        "dataset": "book",
        "columns": ["id", "note"],
        "where": [{"column": "id", "op": "lt", "value": 3}],
        "order_by": ["-id"],
    }
    answer = keyed.export(asked, headers=key("all"))
    line = audit(keyed, answer.headers["x-export-id"])
    assert {name: line[name] for name in ("caller", "address", "dataset", "format", "state", "rows", "bytes")} == {
        "caller": "all", "address": "127.0.0.1", "dataset": "book", "format": "csv", "state": "completed", "rows": 3,
        "bytes": len(answer.content),
    }  # fmt: skip
    assert json.loads(str(line["asked"])) == {name: asked[name] for name in ("columns", "where", "order_by")}
    keyed.get("/export?dataset=book", headers={"Authorization": "Bearer wrong-key"})
    text = keyed.log.read_text() + keyed.get("/exports", headers=key("all")).text + keyed.get("/metrics").text
    assert "şirket" not in text
    assert not any(secret in text for secret in SECRETS)


@pytest.mark.parametrize(
    ("given", "serves"),
    [
        ({"HOST": EVERYWHERE}, False),
        ({"HOST": "::"}, False),
        ({"HOST": "some.host"}, False),
        ({"HOST": EVERYWHERE, "ALLOW_ANONYMOUS": "false"}, False),
        ({"HOST": EVERYWHERE, "ALLOW_ANONYMOUS": "true"}, True),
        ({"HOST": EVERYWHERE, "API_KEYS": "a=b"}, True),
        ({"HOST": "::1"}, True),
        ({"HOST": "localhost"}, True),
    ],
)
def test_nobody_is_served_by_accident(start: Start, given: dict[str, str], serves: bool) -> None:
    """Without keys the service binds to loopback only, unless it is told to serve anyone; then the log says so."""
    if given["HOST"] == "::1" and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    if serves:
        server = start(**given)
        assert ("whoever reaches" in server.log.read_text()) == ("API_KEYS" not in given)
        return
    environment = {f"SPARK_EXPORT_{name}": value for name, value in given.items()}
    run = subprocess.run([COMMAND, "serve"], env=environment, capture_output=True, timeout=30)
    assert run.returncode == 1
    assert run.stderr.startswith(b"spark-export: SPARK_EXPORT_ALLOW_ANONYMOUS: ")
    assert run.stderr.count(b"\n") == 1


def test_operations_on_a_port_of_their_own(start: Start) -> None:
    """With OPS_PORT metrics and health are there and only there, and no export is."""
    port = free_port()
    server = start(OPS_PORT=str(port))
    ops = f"http://127.0.0.1:{port}"
    for path in ("/metrics", "/livez", "/readyz", "/healthz"):
        assert httpx.get(ops + path).status_code == 200
        assert server.get(path).status_code == 404
    for path in ("/export?dataset=trades", "/datasets", "/exports"):
        assert httpx.get(ops + path).status_code == 404
    assert server.get("/export?dataset=trades&limit=3").status_code == 200
    assert 'export_requests_total{format="csv",outcome="completed"} 1.0' in httpx.get(ops + "/metrics").text
