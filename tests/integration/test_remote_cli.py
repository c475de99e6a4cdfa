"""The command that has a service make the export: the same file, ends and statuses as an export of its own."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from .conftest import COMMAND, Server, Start, free_port, until
from .proxy import Proxy
from .test_cli import ENVIRONMENT, EPOCH, ROWS, Begin, begin, dated, environment_of, run  # noqa: F401 - fixtures

TRADES = ("--dataset", "trades", "--param", "rows=30000")
KEY = "s3cret"


@pytest.fixture(scope="module")
def locked(start: Start) -> Server:
    """A service that has a key."""
    return start(API_KEYS=f"desk={KEY}")


def states(server: Server) -> list[str]:
    """How the exports of the service stand, the newest first."""
    return [each["state"] for each in server.get("/exports?limit=1000").json()]


@pytest.mark.parametrize("how", [(), ("--job",)], ids=["stream", "job"])
@pytest.mark.parametrize("form", ["csv", "pdf"])
@pytest.mark.parametrize(
    "asked",
    [
        ROWS,
        {"dataset": "trades", "params": {"rows": 3000}, "where": [{"column": "symbol", "op": "like", "value": "A%"}]},
    ],
    ids=["rows", "trades"],
)
def test_the_bytes_are_those_of_this_process(
    dated: Server,  # noqa: F811
    data: Path,
    tmp_path: Path,
    asked: dict[str, object],
    form: str,
    how: tuple[str, ...],
) -> None:
    """The same request makes the same file here, there as a stream, and there as a job; the last line tells of it."""
    text, mine, theirs = json.dumps(asked), tmp_path / f"mine.{form}", tmp_path / f"theirs.{form}"
    assert run("export", "--request", "-", "-o", mine, data=data, text=text, SOURCE_DATE_EPOCH=EPOCH).returncode == 0
    done = run("export", "--url", dated.url, *how, "--request", "-", "-o", theirs, data=data, text=text)
    assert (done.returncode, done.stdout) == (0, b"")
    assert theirs.read_bytes() == mine.read_bytes()
    assert set(tmp_path.iterdir()) == {mine, theirs}
    assert f"sha256 {hashlib.sha256(mine.read_bytes()).hexdigest()}" in done.stderr.decode()


@pytest.mark.parametrize("how", [(), ("--job",)], ids=["stream", "job"])
def test_standard_output(server: Server, data: Path, tmp_path: Path, how: tuple[str, ...]) -> None:
    """Without a file's name the file goes there, and the receipt as JSON to standard error where it is asked for."""
    flags = [
        "--dataset",
        "above",
        "--param",
        "least=45",
        "--columns",
        "note,price",
        "--order-by=-price",
        "--limit",
        "3",
    ]
    done = run("export", "--url", server.url, *how, *flags, "--receipt", data=data)
    assert done.stdout == "note,price\r\nşirket 99,49.5\r\nşirket 98,49\r\nşirket 97,48.5\r\n".encode()
    assert json.loads(done.stderr)["sha256"] == hashlib.sha256(done.stdout).hexdigest()
    assert run("export", "--url", server.url, *how, *flags, "-q", "-o", tmp_path / "a.csv", data=data).stderr == b""


@pytest.mark.parametrize("how", [(), ("--job",)], ids=["stream", "job"])
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--dataset", "nothing"], "dataset: no dataset 'nothing'"),
        (["--dataset", "book", "--columns", "id,x"], "no column 'x'"),
        (["--dataset", "missing"], "the dataset's data cannot be read"),
        (["--dataset", "late"], "the dataset's query failed"),
        (["--dataset", "book", "-o", "/no/such/a.csv"], "cannot write /no/such/a.csv: "),
        (["--dataset", "book", "-o", "/dev/full"], "cannot write /dev/full: No space left"),
        (["--dataset", "book", "--key-file", "/no/such"], "--key-file: cannot read /no/such: No such file"),
        (["--options", "{}"], "dataset: give rows or a dataset"),
    ],
)
def test_a_failure_is_one_line(server: Server, data: Path, how: tuple[str, ...], flags: list[str], told: str) -> None:
    """What cannot be made ends with status 1 and what to change."""
    done = run("export", "--url", server.url, *how, *flags, data=data)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert done.stderr.decode().startswith("spark-export: ")
    assert told in done.stderr.decode()


@pytest.mark.parametrize("how", [(), ("--job",)], ids=["stream", "job"])
def test_a_failed_export_has_a_receipt(server: Server, data: Path, tmp_path: Path, how: tuple[str, ...]) -> None:
    """Where it is asked for, the receipt of a failure says so; nothing else is left."""
    flags = ("--dataset", "late", "--receipt", "-o", tmp_path / "late.csv")
    done = run("export", "--url", server.url, *how, *flags, data=data)
    receipt = json.loads(done.stderr.decode().splitlines()[-1])
    assert (done.returncode, receipt["state"], receipt["reason"]) == (1, "failed", "source_failed")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", [(), ("--job",)], ids=["stream", "job"])
def test_nobody_there(data: Path, how: tuple[str, ...]) -> None:
    """A service that does not answer is told at once, by its address."""
    url = f"http://127.0.0.1:{free_port()}"
    done = run("export", "--url", url, *how, "--dataset", "trades", data=data)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert done.stderr.decode().startswith(f"spark-export: no answer of {url}: ")


def test_the_key(locked: Server, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes out of a file, or of the environment; the file goes first, and no message shows it."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text(f"{KEY}\n")
    bad.write_text("other\n")
    asked = ("export", "--url", locked.url, "--dataset", "trades", "--limit", "1")
    assert run(*asked, data=data).returncode == 1
    assert run(*asked, "--key-file", good, data=data).returncode == 0
    monkeypatch.setitem(ENVIRONMENT, "EXPORT_API_KEY", KEY)
    assert run(*asked, data=data).returncode == 0
    done = run(*asked, "--key-file", bad, data=data)
    assert (done.returncode, b"other" in done.stderr) == (1, False)
    bad.write_text("not a key\n")
    done = run(*asked, "--key-file", bad, data=data)
    assert (done.returncode, b"not a key" in done.stderr) == (2, False)


def test_a_lost_connection_leaves_nothing(server: Server, data: Path, tmp_path: Path) -> None:
    """A stream that breaks under way is no file; what was there stays."""
    target = tmp_path / "a.csv"
    target.write_text("old")
    with Proxy(server.url, [500_000]).running() as proxy:
        done = run("export", "--url", proxy.url, *TRADES, "-o", target, data=data)
    assert (done.returncode, b"broke off after" in done.stderr) == (1, True)
    assert (target.read_text(), list(tmp_path.iterdir())) == ("old", [target])


def test_a_job_outlives_connections(server: Server, data: Path, tmp_path: Path) -> None:
    """Where they break the download goes on, to a file and to standard output."""
    outputs: list[list[str | Path]] = [["-o", tmp_path / "a.csv"], []]
    for output in outputs:
        with Proxy(server.url, [500_000, 700_000]).running() as proxy:
            done = run("export", "--url", proxy.url, "--job", *TRADES, *output, data=data)
            assert len(proxy.requests("/content")) == 3
        content = (tmp_path / "a.csv").read_bytes() if output else done.stdout
        assert hashlib.sha256(content).hexdigest() in done.stderr.decode()
    assert list(tmp_path.iterdir()) == [tmp_path / "a.csv"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_job(
    start: Start,
    begin: Begin,  # noqa: F811
    data: Path,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    """While it runs there: the signal's status, no file here, and a cancelled job there."""
    server = start(DATASETS=str(data / "datasets.toml"))
    process = begin("export", "--url", server.url, "--job", "--dataset", "endless", "-o", tmp_path / "made.csv")
    until(lambda: states(server) == ["running"], seconds=20)
    process.send_signal(number)
    assert process.wait(timeout=20) == 128 + number
    assert states(server) == ["cancelled"]
    assert list(tmp_path.iterdir()) == []
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_a_signal_leaves_a_job_with_a_key(
    start: Start,
    begin: Begin,  # noqa: F811
    data: Path,
    tmp_path: Path,
) -> None:
    """The same command finds it again, and has its file."""
    server = start(MAX_CONCURRENT="1", DATASETS=str(data / "datasets.toml"))
    blocking = server.submit({"dataset": "endless"}).headers["X-Export-Id"]
    flags = (
        "--url",
        server.url,
        "--job",
        "--idempotency-key",
        "night",
        "--dataset",
        "trades",
        "-o",
        tmp_path / "a.csv",
    )
    process = begin("export", *flags)
    until(lambda: states(server).count("queued") == 1, seconds=20)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 128 + signal.SIGTERM
    httpx.delete(f"{server.url}/exports/{blocking}").raise_for_status()
    assert run("export", *flags, data=data).returncode == 0
    assert sorted(states(server)) == ["cancelled", "completed"]


def test_a_failed_job_is_named(server: Server, data: Path, tmp_path: Path) -> None:
    """The field that is wrong and the job's id are said; and where its file cannot be written, the id."""
    flags = ("--url", server.url, "--job", "--dataset", "book", "-o", tmp_path / "a.csv")
    done = run("export", *flags, "--columns", "prize", data=data)
    assert done.returncode == 1
    assert re.fullmatch(rb"spark-export: columns\[0\]: no column 'prize'.*; export [0-9a-f]{32}\n", done.stderr)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("service", [True, False])
def test_closed_streams(server: Server, data: Path, tmp_path: Path, closed: str, service: bool) -> None:
    """A command whose standard streams are closed makes its file all the same."""
    where = f"--url {server.url}" if service else f"--datasets {data / 'datasets.toml'}"
    command = f"{COMMAND} export {where} --dataset book -o {tmp_path / 'a.csv'} {closed}"
    assert subprocess.run(["sh", "-c", command], check=False, timeout=60).returncode == 0
    assert (tmp_path / "a.csv").read_bytes().startswith(b"id,price,note\r\n")


@pytest.mark.parametrize(("variable", "value"), [("SSL_CERT_FILE", "/no/such"), ("ALL_PROXY", "socks5://127.0.0.1:1")])
def test_an_environment_that_cannot_be_used(server: Server, variable: str, value: str) -> None:
    """A line says so."""
    command = [COMMAND, "export", "--url", server.url, "--dataset", "book"]
    done = subprocess.run(command, env=ENVIRONMENT | {variable: value}, capture_output=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(b"spark-export export: what the environment says of proxies or certificates")


def test_a_signal_ends_the_stream(start: Start, begin: Begin, data: Path, tmp_path: Path) -> None:  # noqa: F811
    """In the middle of the file: nothing is left here, and the service stops."""
    server = start(DATASETS=str(data / "datasets.toml"))
    process = begin("export", "--url", server.url, "--dataset", "endless", "-o", tmp_path / "made.csv")
    until(lambda: any(each.stat().st_size > 0 for each in tmp_path.iterdir()), seconds=20)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 128 + signal.SIGINT
    assert list(tmp_path.iterdir()) == []
    server.until(lambda: states(server) == ["cancelled"])


def test_the_same_command_goes_on(start: Start, begin: Begin, data: Path, tmp_path: Path) -> None:  # noqa: F811
    """Under a key of one's own: killed in the middle of the file, or stopped there, the next one loads the rest."""
    server, target = start(), tmp_path / "made.csv"
    flags = ("--job", "--idempotency-key", "day-1", "--dataset", "trades", "--param", "rows=100000", "-o", target)
    with Proxy(server.url, [5_000_000, 3_000_000], stalls=True).running() as proxy:
        lefts = []
        for number, least in ((signal.SIGKILL, 3_000_000), (signal.SIGINT, 5_000_000)):
            process = begin("export", "--url", proxy.url, *flags)
            until(lambda least=least: any(each.stat().st_size > least for each in tmp_path.iterdir()), seconds=20)  # type: ignore[misc]
            process.send_signal(number)
            process.wait(timeout=20)
            lefts.append(next(tmp_path.iterdir()).stat().st_size)
        done = run("export", "--url", proxy.url, *flags, data=data)
        assert [each.get("range") for each in proxy.requests("/content")] == [
            None,
            *(f"bytes={each}-" for each in lefts),
        ]
    assert (done.returncode, states(server)) == (0, ["completed"])
    assert hashlib.sha256(target.read_bytes()).hexdigest() in done.stderr.decode()
    assert list(tmp_path.iterdir()) == [target]


def test_a_reader_that_leaves_ends_it_quietly(server: Server, begin: Begin) -> None:  # noqa: F811
    """As of `| head`: the status of a broken pipe, and not a word."""
    process = begin("export", "--url", server.url, "--dataset", "endless")
    assert process.stdout is not None
    assert process.stdout.readline() == b"i,h\r\n"
    process.stdout.close()
    assert process.wait(timeout=20) == 128 + signal.SIGPIPE
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_progress_is_for_terminals(start: Start, data: Path) -> None:
    """On a terminal the rows of a job are drawn while the service makes them, and its place while it waits."""
    server = start(DATASETS=str(data / "datasets.toml"), MAX_CONCURRENT="1")
    busy = [COMMAND, "export", "--url", server.url, "--job", "--dataset", "endless", "-o", "/dev/null"]
    blocking = subprocess.Popen(busy, env=environment_of(data), stderr=subprocess.DEVNULL)
    until(lambda: states(server) == ["running"], seconds=20)
    ours, theirs = pty.openpty()
    command = [COMMAND, "export", "--url", server.url, "--job", *TRADES[:3], "rows=100000000", "-o", "/dev/null"]
    process = subprocess.Popen(command, env=environment_of(data), stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    _drawn(ours, b"queued at place 1, ")
    blocking.send_signal(signal.SIGINT)
    assert blocking.wait(timeout=20) == 128 + signal.SIGINT
    _drawn(ours, b" of 100,000,000 rows")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 128 + signal.SIGINT
    os.close(ours)


def _drawn(terminal: int, text: bytes) -> None:
    drawn = b""
    while text not in drawn:
        assert len(drawn) < 20_000, drawn
        drawn += os.read(terminal, 1000)


def test_verify(server: Server, data: Path, tmp_path: Path) -> None:
    """One line: `ok` and status 0 for the file that the receipt states, `wrong` and 1 for another."""
    target = tmp_path / "a.csv"
    made = run("export", "--url", server.url, "--dataset", "book", "-o", target, data=data)
    export_id = made.stderr.decode().strip().rpartition(", export ")[2]
    asked = ("verify", target, "--receipt", export_id, "--url", server.url)
    done = run(*asked, data=data)
    size = target.stat().st_size
    assert (done.returncode, done.stdout.decode(), done.stderr) == (
        0, f"ok    {target}: 100 rows, {size:,} bytes\n", b""
    )  # fmt: skip
    target.write_bytes(target.read_bytes() + b"\n")
    done = run(*asked, data=data)
    assert (done.returncode, done.stderr, done.stdout.count(b"\n")) == (1, b"", 1)
    assert done.stdout.decode().startswith(f"wrong {target}: {size + 1} bytes with SHA-256 ")


def test_verify_cannot_tell(server: Server, locked: Server, data: Path, tmp_path: Path) -> None:
    """What keeps it from telling is a line on standard error, and status 1; wrong usage is 2."""
    file = tmp_path / "a.csv"
    file.touch()
    told = {
        ("--receipt", "nothing", "--url", server.url): (1, "spark-export: export_id: no receipt of that id"),
        ("--receipt", "nothing", "--url", locked.url): (1, "spark-export: "),
        ("--receipt", "nothing", "--url", server.url, "--key-file", "/no"): (
            1,
            "spark-export: --key-file: cannot read",
        ),
        ("--receipt", "../x", "--url", server.url): (2, "spark-export verify: --receipt: '../x' is no id"),
        ("--receipt", "nothing", "--url", "x"): (2, "spark-export verify: the service's URL"),
        ("--receipt", "nothing"): (2, "usage: "),
    }
    for flags, (status, says) in told.items():
        done = run("verify", file, *flags, data=data)
        assert (done.returncode, done.stdout) == (status, b"")
        assert done.stderr.decode().startswith(says), done.stderr
    receipt = run("export", "--url", server.url, "--dataset", "book", "-q", "--receipt", data=data).stderr
    export_id = json.loads(receipt)["export_id"]
    done = run("verify", "/no/such", "--receipt", export_id, "--url", server.url, data=data)
    assert (done.returncode, done.stderr) == (1, b"spark-export: cannot read /no/such: No such file or directory\n")


def test_it_is_there_at_once(server: Server, data: Path) -> None:
    """Nothing that exports is loaded by who has it done elsewhere."""
    script = (
        "import sys\nfrom spark_export.cli import main\n"
        "try: main()\nfinally: print({'pyarrow', 'duckdb', 'fastapi', 'uvicorn', 'numpy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script, "export", "--url", server.url, "--dataset", "book", "-o", "/dev/null"]
    done = subprocess.run(command, env=environment_of(data), capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"set()\n")
