"""A failed export never looks finished: faults that are real, a service that is a process, clients that are foreign."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import duckdb
import httpx
import pytest
import zstandard

from tests.foreign import CLIENTS, TIMEOUT_SECONDS, WHOLE, Answer, Client, by_curl, by_httpx

from . import conftest
from .conftest import Server, Start

SECRETS = ("secret detail", "SELECT", "fills.", "Error", "faults")

ROWS = 300_000
LAST = ROWS - 1
MOST_ROWS = 350_000
HASHES = ", ".join(f"hash(i + {j}000000) AS h{j}" for j in range(20))
"""50 MB that do not compress: more than the service can cache, and than the buffers on the way to a client hold."""
DEFAULTS = {"at": -1, "rows": ROWS}
SQL = {
    "failing": "SELECT CASE WHEN i = $at THEN error('secret detail') ELSE i END AS x FROM range($rows) r(i)",
    "letters": "SELECT CASE WHEN i = $at THEN 'あ' ELSE 'ş' END AS x FROM range($rows) r(i)",
    "formulas": "SELECT CASE WHEN i % 3 = 0 THEN '=1+1' ELSE 'a=1' END x, '@' || i y, -i z FROM range($rows) r(i)",
    "slow": "SELECT count(*) AS n FROM range($rows) r(i) WHERE hash(i) % 7 = 3",
    "long": "SELECT i, hash(i) AS h FROM range($rows) r(i)",
    "sorted": "SELECT repeat(md5(i::VARCHAR), 5) AS h FROM range($rows) r(i)",
    "parquet": "SELECT * FROM 'fills.parquet' WHERE i < $rows",
    "stored": "SELECT * FROM fills WHERE i < $rows",
}
FILES = {"parquet": "fills.parquet", "stored": "fills.duckdb"}
SERVE_ON_A_TINY_DISK = """#!/bin/sh
if unshare -rm true; then
    exec unshare -rm sh -c 'mount -t tmpfs -o size=4m none {spool} && exec {command} "$@"' - "$@"
fi
ulimit -f 4096
exec {command} "$@"
"""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and what must be said of it.

    Attributes:
        dataset, params, more: what is asked for.
        status: of the answer: 200 where it comes after the first byte, None where it may come before or after it.
        reason: in the receipt.
        mended: parameters with which nothing goes wrong.
        harm: done to the dataset's file, before the request, or where the status is 200 once the head has come.
        service: which one is asked.
    """

    dataset: str
    params: Mapping[str, int]
    status: int | None
    reason: str
    mended: Mapping[str, int] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    harm: Callable[[Path], object] | None = None
    service: str = "cramped"

    def path(self, params: Mapping[str, int]) -> str:
        """Of the request, with these parameters."""
        return f"/export?{urlencode({'dataset': self.dataset, 'options': json.dumps({'params': params, **self.more})})}"


def empty(path: Path) -> None:
    """Take all bytes from the file, which may be open."""
    os.truncate(path, 0)


def spoil(path: Path) -> None:
    """Put garbage in place of the second half of the file, which may be open."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(path.stat().st_size // 2))


PDF: dict[str, Any] = {"format": "pdf"}
TURKISH = {"csv": {"encoding": "windows-1254"}}
FEW = {"rows": 5000}
ENDLESS = {"rows": 10**12}
FAULTS = {
    "source, row 0": Fault("failing", {"at": 0}, 500, "source_failed"),
    "source, row 1": Fault("failing", {"at": 1}, 500, "source_failed"),
    "source, first batch": Fault("failing", {"at": 10_000}, 500, "source_failed"),
    "source, last row": Fault("failing", {"at": LAST}, 200, "source_failed"),
    "source, last row, PDF": Fault("failing", {"at": LAST}, 200, "source_failed", FEW, PDF),
    "encoding, row 0": Fault("letters", {"at": 0}, 422, "unencodable", more=TURKISH),
    "encoding, last row": Fault("letters", {"at": LAST}, 200, "unencodable", more=TURKISH),
    "row cap": Fault("failing", {"rows": MOST_ROWS + 1}, 200, "row_limit", {"rows": MOST_ROWS}),
    "deadline, before": Fault("slow", ENDLESS, 504, "deadline_exceeded", service="hurried"),
    "deadline, after": Fault("long", ENDLESS, 200, "deadline_exceeded", service="hurried"),
    "disk full": Fault("sorted", {"rows": 10**6}, 503, "source_unavailable", FEW, {"order_by": ["h"]}),
    "Parquet emptied while read": Fault("parquet", {}, 200, "source_unavailable", FEW, harm=empty),
    "Parquet deleted": Fault("parquet", {}, 503, "source_unavailable", FEW, harm=Path.unlink),
    "Parquet spoiled": Fault("parquet", {}, 500, "source_failed", FEW, harm=spoil),
    "database emptied while read": Fault("stored", {}, 200, "source_unavailable", FEW, harm=empty),
    "database spoiled": Fault("stored", {}, None, "source_failed", FEW, harm=spoil),
}
CONTROLS = {fault.dataset + fault.more.get("format", ""): fault for fault in FAULTS.values()}
CONTROLS["formulas"] = Fault("formulas", {}, None, "")
SEEN_BY_ALL = {
    "source, row 0", "formulas", "failingpdf",
    *(name for name, fault in FAULTS.items() if fault.status in {200, None}),
}  # fmt: skip
"""What may look different to each client: all that breaks off; of problems and of whole files one of a kind."""


def seen_by(names: Iterable[str]) -> list[tuple[str, str]]:
    """Each with every client that is to see it."""
    return [(name, client) for name in names for client in (CLIENTS if name in SEEN_BY_ALL else ["httpx"])]


class Services:
    """One with little memory, less disk and a row cap, and one with a deadline, over the same folder of data."""

    def __init__(self, start: Start, folder: Path) -> None:
        self.folder = folder
        script = folder / "serve"
        script.write_text(SERVE_ON_A_TINY_DISK.format(spool=folder / "spool", command=conftest.COMMAND))
        script.chmod(0o755)
        common = {"DATASETS": str(folder / "datasets.toml"), "LOG_LEVEL": "error"}
        little = {"DUCKDB_MEMORY_BYTES": str(2**25), "DUCKDB_THREADS": "2", "MAX_ROWS": str(MOST_ROWS)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(conftest, "COMMAND", str(script))
            self.cramped = start(**common, **little, SPOOL_DIR=str(folder / "spool"))
        self.hurried = start(**common, EXPORT_TIMEOUT_SECONDS="0.5")
        self.asking = httpx.Client(timeout=TIMEOUT_SECONDS)

    def of(self, fault: Fault) -> Server:
        """The one to ask."""
        return self.hurried if fault.service == "hurried" else self.cramped

    def meet(self, fault: Fault, client: Client, coding: str = "identity") -> Answer:
        """Ask for what fails; what was harmed is whole again afterwards."""
        url = self.of(fault).url + fault.path(fault.params)
        if fault.harm is None:
            return client(url, coding, lambda: None)
        path, harm = self.folder / FILES[fault.dataset], fault.harm
        try:
            if fault.status == 200:
                return client(url, coding, lambda: harm(path))
            harm(path)
            return client(url, coding, lambda: None)
        finally:
            shutil.copyfile(self.folder / "whole" / path.name, path)

    def mended(self, fault: Fault, client: Client, coding: str = "identity") -> Answer:
        """Ask for the same without the fault."""
        return client(self.cramped.url + fault.path(fault.mended), coding, lambda: None)

    def receipt(self, service: Server, export_id: str) -> dict[str, Any]:
        """What the service says of an export."""
        found: dict[str, Any] = self.asking.get(f"{service.url}/exports/{export_id}").json()
        return found

    def check(self, fault: Fault, answer: Answer, broken: str) -> None:
        """It is a problem, or broke off; the receipt says why, and nothing tells what is inside."""
        assert answer.status == (fault.status or answer.status)
        export_id = answer.export_id
        if answer.status == 200:
            assert answer.report == broken
            assert not answer.body.rstrip().endswith(b"%%EOF")
        else:
            problem = json.loads(answer.body)
            assert (answer.report, problem["status"]) == (WHOLE, answer.status)
            export_id = problem["export_id"]
        receipt = self.receipt(self.of(fault), export_id)
        assert receipt["state"] == ("invalid" if 400 <= answer.status < 500 else "failed")
        assert receipt["reason"].startswith(fault.reason)
        assert receipt["sha256"] is None
        assert not [each for each in SECRETS if each in str(receipt) or each.encode() in answer.body]


@pytest.fixture(scope="module")
def services(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Both, with a datasets file and what it names, of which `whole` has copies."""
    folder = tmp_path_factory.mktemp("faults")
    for name in ("spool", "whole"):
        (folder / name).mkdir()
    with duckdb.connect(str(folder / "whole/fills.duckdb")) as book:
        book.execute(f"CREATE TABLE fills AS SELECT i, {HASHES} FROM range({ROWS}) r(i)")  # noqa: S608
        book.execute(f"COPY fills TO '{folder}/whole/fills.parquet' (ROW_GROUP_SIZE 10000)")
    shutil.copytree(folder / "whole", folder, dirs_exist_ok=True)
    lines = ['databases.book = "fills.duckdb"', 'datasets.stored.database = "book"']
    for name, sql in SQL.items():
        lines.append(f'datasets.{name}.sql = "{sql}"')
        given = re.findall(r"\$(\w+)", sql)
        lines += [f'datasets.{name}.params.{each} = {{type = "integer", default = {DEFAULTS[each]}}}' for each in given]
    (folder / "datasets.toml").write_text("\n".join(lines), encoding="utf-8")
    services = Services(start, folder)
    yield services
    services.asking.close()


@pytest.mark.parametrize(("name", "client"), seen_by(FAULTS))
def test_a_failed_export_never_looks_finished(services: Services, name: str, client: str) -> None:
    """Before the first byte it is a problem, after it the client reports that it broke off; the service goes on."""
    fault, (ask, broken) = FAULTS[name], CLIENTS[client]
    service = services.of(fault)
    services.check(fault, services.meet(fault, ask), broken)
    health = services.asking.get(service.url + "/healthz").json()
    assert (health["running"], health["waiting"]) == (0, 0)
    assert services.asking.post(service.url + "/export", json={"rows": [{"a": 1}]}).content == b"a\r\n1\r\n"
    assert "Traceback" not in service.log.read_text()


@pytest.mark.parametrize(("name", "client"), seen_by(CONTROLS))
def test_without_the_fault_it_ends_cleanly(services: Services, name: str, client: str) -> None:
    """The same export ends for each client, and its receipt states what the client has."""
    answer = services.mended(CONTROLS[name], CLIENTS[client][0])
    receipt = services.receipt(services.cramped, answer.export_id)
    assert (answer.status, answer.report, receipt["state"], receipt["reason"]) == (200, WHOLE, "completed", None)
    assert (receipt["bytes"], receipt["sha256"]) == (len(answer.body), hashlib.sha256(answer.body).hexdigest())
    if name.endswith("pdf"):
        assert answer.body.rstrip().endswith(b"%%EOF")
    else:
        rows = list(csv.reader(answer.body.decode("latin-1").splitlines()))
        escaped = sum(cell.startswith("'") for row in rows for cell in row)
        assert (receipt["rows"], receipt["escaped_cells"]) == (len(rows) - 1, escaped)
        assert (escaped > 0) == (name == "formulas")


@pytest.mark.parametrize("at", [2047, 2048, 16_383, 16_384, 65_536, 98_304, 131_071, 131_072, 196_608, 250_000])
def test_no_row_is_a_safe_one_to_fail_at(services: Services, at: int) -> None:
    """Wherever the source fails, the answer is a problem or breaks off."""
    fault, (ask, broken) = Fault("failing", {"at": at}, None, "source_failed"), CLIENTS["httpx"]
    services.check(fault, services.meet(fault, ask), broken)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.status == 200 and fault.more != PDF])
def test_no_decoder_finds_an_end(services: Services, name: str, coding: str) -> None:
    """What broke off is no whole stream of a content coding; without the fault it is."""
    ask = partial(by_httpx, raw=True)
    late, whole = services.meet(FAULTS[name], ask, coding), services.mended(FAULTS[name], ask, coding)
    assert (late.report, whole.report) == (CLIENTS["httpx"][1], WHOLE)
    for answer in (late, whole):
        decoder: Any = zlib.decompressobj(31) if coding == "gzip" else zstandard.ZstdDecompressor().decompressobj()
        file = decoder.decompress(answer.body)
        assert (len(file) > 0, decoder.eof) == (True, answer is whole)
    receipt = services.receipt(services.cramped, whole.export_id)
    assert (receipt["sha256"], receipt["sent_bytes"]) == (hashlib.sha256(file).hexdigest(), len(whole.body))


@pytest.mark.parametrize("client", CLIENTS)
def test_clients_that_decode_report_it_too(services: Services, client: str) -> None:
    """No client's own decoder hides that an answer broke off; curl's is `--compressed`."""
    fault, (ask, broken) = FAULTS["source, last row"], CLIENTS[client]
    services.check(fault, services.meet(fault, ask, "gzip"), broken)


def test_a_disk_that_others_fill_is_survived(services: Services) -> None:
    """A sort that cannot spill fails while the disk is full, and no longer; what need not spill goes on."""
    fault, service = FAULTS["disk full"], services.cramped
    spool = Path(f"/proc/{service.process.pid}/root{services.folder}/spool")
    if spool.stat().st_dev == services.folder.stat().st_dev:
        pytest.skip("needs a disk of its own to fill: `unshare -rm` must be allowed")
    services.check(fault, services.meet(fault, by_httpx), "")
    with suppress(OSError), (spool / "others").open("wb", buffering=0) as others:
        while others.write(bytes(4096)):
            pass
    try:
        services.check(replace(fault, status=503), services.meet(fault, by_httpx), "")
        assert "No space left on device" in service.log.read_text()
        assert services.mended(CONTROLS["formulas"], by_httpx).report == WHOLE
    finally:
        (spool / "others").unlink()
    assert services.mended(fault, by_httpx).status == 200


def test_a_service_that_is_killed_breaks_its_answers(start: Start, services: Services) -> None:
    """An answer whose service dies has no end either."""
    service, fault = start(DATASETS=str(services.folder / "datasets.toml")), FAULTS["deadline, after"]
    answer = by_curl(service.url + fault.path(fault.params), "identity", service.process.kill)
    assert (answer.status, answer.report) == (200, "exit 18")


def test_a_database_of_garbage_stops_the_start(tmp_path: Path) -> None:
    """A service whose database cannot be opened does not start; one line names its key."""
    (tmp_path / "book.duckdb").write_bytes(os.urandom(100_000))
    (tmp_path / "datasets.toml").write_text('databases.book = "book.duckdb"\ndatasets.x.sql = "SELECT 1"')
    environment = {"SPARK_EXPORT_DATASETS": str(tmp_path / "datasets.toml")}
    run = subprocess.run([conftest.COMMAND, "serve"], env=environment, capture_output=True, timeout=TIMEOUT_SECONDS)
    assert (run.returncode, b"databases.book" in run.stderr, run.stderr.count(b"\n")) == (1, True, 1)


NGINX = """
daemon off; master_process off; pid {folder}/pid; events {{}}
http {{
    access_log off; client_body_temp_path {folder}/1; proxy_temp_path {folder}/2;
    fastcgi_temp_path {folder}/3; uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{
        listen 127.0.0.1:{port} http2;
        location / {{ proxy_pass {url}; proxy_http_version 1.1; proxy_buffering off; }}
    }}
}}
"""


@pytest.fixture
def front(services: Services, tmp_path: Path) -> Iterator[str]:
    """The URL of nginx before the service."""
    command = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if command is None:
        pytest.skip("needs nginx: apt-get install nginx-light")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "conf").write_text(NGINX.format(folder=tmp_path, port=port, url=services.cramped.url))

    def listens() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    with subprocess.Popen([command, "-e", tmp_path / "log", "-c", tmp_path / "conf"]) as nginx:
        try:
            services.cramped.until(listens)
            yield f"http://127.0.0.1:{port}"
        finally:
            nginx.terminate()


def test_http_2_resets_the_stream(services: Services, front: str) -> None:
    """Behind a front that speaks HTTP/2 curl exits 92 for a late failure, and 0 for a whole file."""
    fault = FAULTS["source, last row"]
    late, whole = (
        by_curl(front + fault.path(params), "identity", lambda: None, "--http2-prior-knowledge")
        for params in (fault.params, fault.mended)
    )
    services.check(fault, late, "exit 92")
    assert (whole.status, whole.report) == (200, WHOLE)
