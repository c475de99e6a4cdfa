"""The command as a process: exports without HTTP, its end whatever the way, check, print-config."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spark_export.settings import PREFIX, SOURCE_DATE_EPOCH, variable_of

from .conftest import COMMAND, Server, Start, until

MEMORY_RATIO_MOST = 1.15
EPOCH = "1767621780"
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(PREFIX) and name != SOURCE_DATE_EPOCH
}
ROWS = {"rows": [{"id": 1, "note": "İlk emir"}, {"id": 2, "note": "=1+1"}, {"id": 3, "note": None}]}

Process = subprocess.Popen[bytes]
Begin = Callable[..., Process]


def environment_of(data: Path, **settings: str) -> dict[str, str]:
    """The machine's environment with the tests' datasets and these settings."""
    given = {"DATASETS": str(data / "datasets.toml")} | settings
    return ENVIRONMENT | {variable_of(name): value for name, value in given.items()}


def run(
    *arguments: str | Path, data: Path, text: str | None = None, **settings: str
) -> subprocess.CompletedProcess[bytes]:
    """The command from its start to its end."""
    return subprocess.run(
        [COMMAND, *arguments],
        env=environment_of(data, **settings),
        input=None if text is None else text.encode(),
        stdin=subprocess.DEVNULL if text is None else None,
        capture_output=True,
        timeout=120,
    )


@pytest.fixture
def begin(data: Path) -> Iterator[Begin]:
    """Starts the command with pipes; what still runs at the end is killed."""
    processes: list[Process] = []

    def start(*arguments: str | Path, **settings: str) -> Process:
        process = subprocess.Popen(
            [COMMAND, *arguments],
            env=environment_of(data, **settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def dated(start: Start, data: Path) -> Server:
    """A service whose PDFs state the time that the command's state."""
    return start(DATASETS=str(data / "datasets.toml"), SOURCE_DATE_EPOCH=EPOCH)


@pytest.mark.parametrize("form", ["csv", "pdf"])
@pytest.mark.parametrize(
    "asked",
    [ROWS, {"dataset": "trades", "params": {"rows": 30_000}}, {"dataset": "parquet", "order_by": ["-id"]}],
    ids=["rows", "trades", "parquet"],
)
def test_the_bytes_are_those_of_http(
    dated: Server, data: Path, tmp_path: Path, asked: dict[str, object], form: str
) -> None:
    """The same request makes the same file, whether it comes by HTTP or from the command line."""
    request = asked | {"format": form, "timezone": "Europe/Istanbul"}
    by_http = dated.export(request)
    assert by_http.status_code == 200
    done = run("export", "--request", "-", "-o", tmp_path / "made", data=data, text=json.dumps(request),
               SOURCE_DATE_EPOCH=EPOCH)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made").read_bytes() == by_http.content


def test_flags_ask_what_a_request_asks(dated: Server, data: Path) -> None:
    """Each flag is the request's field; without a file's name the file goes to standard output."""
    asked = {
        "dataset": "above", "params": {"least": 45}, "columns": ["note", "price"], "order_by": ["-price"], "limit": 3,
        "where": [{"column": "id", "op": "in", "value": [95, 96, 97, 98]}], "csv": {"header": False},
    }  # fmt: skip
    done = run(
        "export", "--dataset", "above", "--param", "least=45", "--columns", "note,price", "--order-by=-price",
        "--limit", "3", "--where", "id in 95,96,97,98", "--options", '{"csv": {"header": false}}', data=data,
    )  # fmt: skip
    assert done.stdout == dated.export(asked).content == "şirket 98,49\r\nşirket 97,48.5\r\nşirket 96,48\r\n".encode()


def test_the_last_line_tells_what_was_made(data: Path, tmp_path: Path) -> None:
    """Rows, bytes, SHA-256 and what was changed stand on standard error; a receipt has the same; quiet has neither."""
    made = tmp_path / "made.csv"
    told = run("export", "--request", "-", "-o", made, data=data, text=json.dumps(ROWS)).stderr.decode()
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    assert told.startswith(f"3 rows, {made.stat().st_size} bytes, ")
    assert told.endswith(f" s, sha256 {digest}, 1 formulas escaped\n")
    done = run("export", "--request", "-", "-o", made, "--receipt", data=data, text=json.dumps(ROWS))
    receipt = json.loads(done.stderr)
    assert (receipt["rows"], receipt["sha256"], receipt["state"]) == (3, digest, "completed")
    assert run("export", "--dataset", "book", "-o", made, "-q", data=data).stderr == b""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--dataset", "nothing"], "dataset: no dataset 'nothing'"),
        (["--dataset", "book", "--columns", "id,x"], "columns[1]: no column 'x'"),
        (["--dataset", "book", "--where", "id eq x"], "where[0].value: "),
        (["--dataset", "trades", "--param", "rows=-1", "--limit", "1"], "params.rows: parameter 'rows' is at least 0"),
        (["--dataset", "book", "--options", "{"], "options takes a JSON object"),
        (["--request", "/no/such"], "--request: cannot read /no/such: No such file"),
        (["--options", "{}"], "dataset: give rows or a dataset"),
        (["--dataset", "book", "-o", "/no/such/a.csv"], "cannot write /no/such/a.csv: No such file"),
        (["--dataset", "book", "-o", "/dev/full"], "cannot write /dev/full: No space left"),
        (["--dataset", "book", "--max-rows", "5"], "limit: the export has more than the 5 rows"),
        (["--dataset", "endless", "-o", "/dev/null", "--export-timeout-seconds", "0.5"], "EXPORT_TIMEOUT_SECONDS: "),
        (["--dataset", "book", "--max-rows", "0"], "SPARK_EXPORT_MAX_ROWS: "),
    ],
)
def test_a_failure_is_one_line(data: Path, arguments: list[str], told: str) -> None:
    """What cannot be made ends with status 1 and the field or setting to change."""
    done = run("export", *arguments, data=data)
    assert (done.returncode, done.stderr.decode().count("\n")) == (1, 1)
    assert done.stderr.decode().startswith(f"spark-export: {told}")


def test_the_cause_of_a_failure_is_logged(data: Path) -> None:
    """What only the operator may know stands before that line, and no traceback."""
    done = run("export", "--dataset", "missing", data=data)
    cause, line = done.stderr.decode().splitlines()
    assert "source-unavailable: IO Error: No files found" in cause
    assert line == "spark-export: the dataset's data cannot be read; the log tells more"


def test_a_failed_export_has_a_receipt(data: Path, tmp_path: Path) -> None:
    """Where it is asked for, the receipt of a failure says so."""
    done = run("export", "--dataset", "late", "--receipt", "-o", tmp_path / "late.csv", data=data)
    receipt = json.loads(done.stderr.decode().splitlines()[-1])
    assert (receipt["state"], receipt["reason"], receipt["sha256"]) == ("failed", "source_failed", None)


def test_a_cap_may_cut(data: Path) -> None:
    """Where it is asked for, the rows up to the cap are the file, and the last line says that it was cut."""
    done = run("export", "--dataset", "book", "--max-rows", "5", "--on-limit", "truncate", data=data)
    assert (done.returncode, done.stdout.count(b"\r\n")) == (0, 6)
    assert done.stderr.endswith(b", cut at MAX_ROWS\n")


def test_a_file_is_replaced_when_the_new_one_is_whole(data: Path, tmp_path: Path) -> None:
    """A failure leaves what was there and nothing beside it; success keeps its mode, and a link to it."""
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    target.write_text("old")
    target.chmod(0o604)
    link.symlink_to(target.name)
    assert run("export", "--dataset", "late", "-o", link, data=data).returncode == 1
    assert (target.read_text(), set(tmp_path.iterdir())) == ("old", {link, target})
    assert run("export", "--dataset", "book", "-o", link, data=data).returncode == 0
    assert target.read_bytes().startswith(b"id,price,note\r\n")
    assert (link.is_symlink(), stat.S_IMODE(target.stat().st_mode)) == (True, 0o604)
    assert set(tmp_path.iterdir()) == {link, target}


def test_devices_and_pipes_stay(data: Path, tmp_path: Path) -> None:
    """What is no regular file is written to, never replaced."""
    assert run("export", "--dataset", "book", "-o", "/dev/null", data=data).returncode == 0
    assert Path("/dev/null").is_char_device()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    assert run("export", "--dataset", "book", "-o", pipe, data=data).returncode == 0
    reader.join()
    assert (pipe.is_fifo(), found[0].count(b"\r\n")) == (True, 101)


def test_a_reader_that_leaves_ends_it_quietly(begin: Begin) -> None:
    """As of `| head`: the status of a broken pipe, and not a word."""
    process = begin("export", "--dataset", "endless")
    assert process.stdout is not None
    assert process.stdout.readline() == b"i,h\r\n"
    process.stdout.close()
    assert process.wait(timeout=20) == 128 + signal.SIGPIPE
    assert process.stderr is not None
    assert process.stderr.read() == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("dataset", ["endless", "slow"])
def test_a_signal_leaves_nothing_behind(begin: Begin, tmp_path: Path, number: signal.Signals, dataset: str) -> None:
    """In the middle of a file or before its first byte: the signal's status, no file, not a word."""
    process = begin("export", "--dataset", dataset, "-o", tmp_path / "made.csv")
    until(lambda: any(dataset == "slow" or each.stat().st_size > 0 for each in tmp_path.iterdir()), seconds=20)
    process.send_signal(number)
    assert process.wait(timeout=20) == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_a_signal_ends_it_while_nobody_reads(begin: Begin) -> None:
    """A pipe that is full and not read holds up no signal."""
    process = begin("export", "--dataset", "endless")
    assert process.stdout is not None
    assert process.stdout.read(1)
    until(lambda: is_stuck(process), seconds=20)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 128 + signal.SIGTERM


def test_the_deadline_ends_it_while_nobody_reads(begin: Begin) -> None:
    """Nor does it hold up the deadline."""
    process = begin("export", "--dataset", "endless", EXPORT_TIMEOUT_SECONDS="1")
    assert process.wait(timeout=20) == 1
    assert process.stderr is not None
    assert b"EXPORT_TIMEOUT_SECONDS" in process.stderr.read()


def is_stuck(process: Process) -> bool:
    """Whether a thread of it waits for the pipe's reader."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return any("pipe" in (task / "wchan").read_text() for task in tasks)


def test_progress_is_for_terminals(data: Path) -> None:
    """On a terminal the rows of the total are drawn while the export runs."""
    ours, theirs = pty.openpty()
    command = [COMMAND, "export", "--dataset", "trades", "--param", "rows=1000000000", "-o", "/dev/null"]
    process = subprocess.Popen(command, env=environment_of(data), stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    drawn = b""
    while b" of 1,000,000,000 rows" not in drawn:
        assert len(drawn) < 10_000, drawn
        drawn += os.read(ours, 1000)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 128 + signal.SIGINT
    os.close(ours)


def test_a_pdf_is_not_for_a_terminal(data: Path) -> None:
    """A PDF to a terminal is refused."""
    ours, theirs = pty.openpty()
    command = [COMMAND, "export", "--dataset", "book", "--format", "pdf"]
    done = subprocess.run(command, env=environment_of(data), stdout=theirs, stderr=subprocess.PIPE, timeout=60)
    os.close(theirs)
    os.close(ours)
    assert (done.returncode, done.stderr) == (2, b"spark-export export: a PDF is not for a terminal: give --output\n")


@pytest.mark.parametrize(("form", "few", "many"), [("csv", 300_000, 3_000_000), ("pdf", 20_000, 200_000)])
def test_memory_does_not_grow_with_the_rows(data: Path, tmp_path: Path, form: str, few: int, many: int) -> None:
    """Peak resident memory at ten times the rows is at most 1.15 times that at the fewer rows."""
    script = (
        "import atexit, pathlib\n"
        "from spark_export.cli import main\n"
        "status = pathlib.Path('/proc/self/status')\n"
        "atexit.register(lambda: print(status.read_text().partition('VmHWM:')[2].split()[0]))\n"
        "main()"
    )
    peaks = []
    for rows in (few, many):
        output = tmp_path / f"made.{form}"
        arguments = ["export", "--dataset", "repeated", "--param", f"times={rows // 100}", "-o", str(output)]
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], env=environment_of(data), capture_output=True, timeout=120
        )
        assert done.stderr.startswith(f"{rows:,} rows".encode())
        peaks.append(int(done.stdout))
    assert peaks[1] <= MEMORY_RATIO_MOST * peaks[0]


def test_check_tells_the_columns(tmp_path: Path) -> None:
    """Where nothing is wrong: a line a dataset with its columns and types, and status 0."""
    file = tmp_path / "datasets.toml"
    file.write_text(
        "[datasets.one]\nsql = \"SELECT 1 AS a, 'x' AS b\"\n"
        "[datasets.picky]\nsql = \"SELECT $n AS n\"\nparams.n = { type = 'integer', required = true }\n"
        '[datasets.file]\nsql = "SELECT * FROM read_csv($name)"\nparams.name = { required = true }\n'
    )
    done = run("check", "--datasets", file, data=tmp_path)
    lines = done.stdout.decode().splitlines()
    assert (done.returncode, done.stderr) == (0, b"")
    assert lines[0].startswith("ok    trades: 10 columns: id int64, ts timestamp[us, tz=UTC], ")
    assert lines[1] == "ok    one: 2 columns: a int32, b string"
    assert lines[2].startswith("ok    picky: 1 columns: n ")
    assert lines[3] == "ok    file: not opened: name has no default"


def test_check_tells_every_problem(tmp_path: Path) -> None:
    """Settings, keys, fonts, logo, databases and datasets: all that is wrong is told at once, and no secret."""
    (tmp_path / "datasets.toml").write_text(
        '[databases]\nbook = "no.duckdb"\n'
        '[datasets.fine]\nsql = "SELECT 1 AS a"\n'
        "[datasets.gone]\nsql = \"SELECT * FROM 'no.parquet'\"\n"
        '[datasets.worse]\nsql = "DROP TABLE x"\n'
    )
    (tmp_path / "keys.toml").write_text("[keys.desk]\nkey = 's3cret'\ndatasets = ['fien']\n")
    done = run("check", data=tmp_path, PORT="x", MAX_QUEUE="-1", FONTS="/no/a.ttf,/no/b.ttf", LOGO="/no/logo.png",
               API_KEYS_FILE=str(tmp_path / "keys.toml"), API_KEYS="desk=s3cret2")  # fmt: skip
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 1
    assert [line[6:].partition(": ")[0] for line in lines if line.startswith("wrong ")] == [
        "SPARK_EXPORT_PORT", "SPARK_EXPORT_MAX_QUEUE", "databases.book", "datasets.worse.sql", "SPARK_EXPORT_FONTS",
        "SPARK_EXPORT_FONTS", "SPARK_EXPORT_LOGO", "API_KEYS_FILE", "keys.desk.datasets", "datasets.gone",
    ]  # fmt: skip
    assert "ok    fine: 1 columns: a int32" in lines
    assert "s3cret" not in done.stdout.decode() + done.stderr.decode()


def test_serve_names_every_problem(tmp_path: Path) -> None:
    """What stops the start is named as a whole, on one line."""
    (tmp_path / "datasets.toml").write_text("[datasets.a]\nsql = 'DROP'\n[datasets.b]\nsql = 'SELECT $x'\n")
    done = run("serve", data=tmp_path, LOGO="/no/logo.png")
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    for each in (b"datasets.a.sql: ", b"datasets.b.params.x: ", b"SPARK_EXPORT_LOGO: "):
        assert each in done.stderr


def test_print_config_hides_secrets(data: Path) -> None:
    """The settings as an environment file: what is given and the defaults, keys by their names alone."""
    done = run("print-config", "--port", "5000", data=data, API_KEYS="desk=s3cret,risk=sha256:" + 32 * "ab")
    lines = done.stdout.decode().splitlines()
    assert (done.returncode, done.stderr) == (0, b"")
    assert "SPARK_EXPORT_PORT=5000" in lines
    assert "# SPARK_EXPORT_API_KEYS=desk=***,risk=***" in lines
    assert "SPARK_EXPORT_MAX_CONCURRENT=4" in lines
    assert b"s3cret" not in done.stdout
    assert b"abab" not in done.stdout


@pytest.mark.parametrize("command", ["serve", "export", "verify", "check", "print-config"])
def test_help_is_there_at_once(data: Path, command: str) -> None:
    """Each command describes itself, and nothing that exports is loaded for it."""
    script = (
        "import sys\nfrom spark_export.cli import main\n"
        "try: main()\nfinally: print({'pyarrow', 'duckdb', 'fastapi', 'uvicorn', 'numpy', 'httpx'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, command, "--help"], env=environment_of(data), capture_output=True, timeout=60
    )
    assert done.stdout.startswith(f"usage: spark-export {command} ".encode())
    assert done.stdout.endswith(b"set()\n")
