"""The smoke scripts against a real service, and against one that is broken in each way that they look for."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import itertools
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import assert_export
import pikepdf
import pytest
import seed_export
import smoke
from scenarios import Scenario
from series import SERIES, Scrape, scrape
from smoke import Export

from tests.broken import Altered, Answer, Changed, Fault, Misread, broken_service

from .conftest import Server, Start, free_port

SCRIPTS = Path(__file__).parents[2] / "scripts"
DOCS = SCRIPTS.parent / "docs" / "smoke.md"
SHORT_BATCH = tuple(Scenario(100, form, dataset) for form in ("csv", "pdf") for dataset in (None, "trades"))
KEY = "a-key-of-thirty-two-characters-or-so"


@pytest.fixture(scope="module")
def service(start: Start, data: Path) -> Server:
    """A service of the smoke tests' own: its metrics must move by nothing else."""
    return start(DATASETS=str(data / "datasets.toml"))


@dataclass
class Clock:
    """The real one, which can be put forward."""

    ahead: float = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return time.monotonic() + self.ahead


@dataclass
class Ran:
    """What a script did.

    Attributes:
        status: it exited with.
        out: its JSON document.
    """

    status: int
    out: dict[str, Any]

    @property
    def failed(self) -> set[int]:
        """The numbers of the assertions that do not hold."""
        return {number for number, each in enumerate(self.out["assertions"], 1) if not each["passed"]}

    def measured(self, number: int) -> str:
        """What an assertion found."""
        found: str = self.out["assertions"][number - 1]["measured"]
        return found


Assert = Callable[..., Ran]


@pytest.fixture
def assert_six(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Assert:
    """Runs the six assertions with small files."""
    monkeypatch.setattr(assert_export, "ROWS", 200)
    monkeypatch.setattr(smoke, "BATCH", SHORT_BATCH)

    def run(url: str, *arguments: str, clock: Callable[[], float] = time.monotonic) -> Ran:
        status = assert_export.main(["--url", url, "--requests", "2", "--json", *arguments], clock)
        return Ran(status, json.loads(capsys.readouterr().out))

    return run


def script(name: str, *arguments: str | Path) -> list[str | Path]:
    """The command that runs a script."""
    return [sys.executable, SCRIPTS / name, *arguments]


def run_script(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A script's exit status and what it wrote."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_EXPORT_")}
    return subprocess.run(script(name, *arguments), capture_output=True, text=True, timeout=60, env=environment)


def test_six_assertions_hold(service: Server) -> None:
    """Of a service that works, each is printed with what was measured, and the exit status is 0."""
    ran = run_script("assert_export.py", "--url", service.url, "--requests", "3")
    assert (ran.returncode, ran.stdout.count("PASS")) == (0, 6), ran.stdout + ran.stderr
    assert re.search(r"^PASS 1 CSV of 10,000 rows: p95 \d+\.\d{3} s of 3 ", ran.stdout, re.MULTILINE)
    assert "five files in parallel\n" in ran.stderr
    assert "\r" not in ran.stderr


def slow(clock: Clock, seconds: float, file_format: str, *, inline: bool) -> Fault:
    """Files of a kind take so long."""

    def change(answer: Answer) -> None:
        clock.ahead += seconds if answer.is_of(file_format, inline=inline) else 0

    return Changed(by=change)


def test_a_slow_export_fails(service: Server, assert_six: Assert) -> None:
    """CSV files that take 11 s each are too slow, PDF files that take 31 s make the batch too slow."""
    clock = Clock()
    with broken_service(service.url, slow(clock, 11, "csv", inline=False)) as url:
        ran = assert_six(url, clock=clock)
    assert (ran.status, ran.failed) == (1, {1})
    assert ran.out["assertions"][0]["figures"]["p95_seconds"] >= 11
    with broken_service(service.url, slow(clock, 31, "pdf", inline=False)) as url:
        assert assert_six(url, clock=clock).failed == {2}


def test_failed_exports_fail(service: Server, assert_six: Assert) -> None:
    """One export of eight that fails is too many."""
    places = itertools.count()

    def change(answer: Answer) -> None:
        if answer.is_file and next(places) == 7:
            answer.status, answer.body = 500, b'{"detail": "no luck"}'

    with broken_service(service.url, Changed(by=change)) as url:
        ran = assert_six(url)
    assert (ran.status, ran.failed) == (1, {3, 4, 6})
    assert ran.measured(3).startswith("87.5% (least 95%), 7 of 8 whole; export_success_rate says 100.0%; 1 x pdf")
    assert ran.measured(6) == "500: no luck"


def altered(metrics: str, pattern: str, text: str) -> bytes:
    """What /metrics says with lines that say something else."""
    changed, count = re.subn(pattern, text, metrics, flags=re.MULTILINE)
    assert count
    return changed.encode()


def altered_metrics(pattern: str, text: str) -> Fault:
    """From the second scrape on, lines of /metrics say something else."""
    scrapes = itertools.count()

    def change(answer: Answer) -> None:
        if answer.path == "/metrics" and next(scrapes):
            answer.body = altered(answer.body.decode(), pattern, text)

    return Changed(by=change)


@dataclass(frozen=True)
class Counted:
    """What the metrics said before and after some exports.

    Attributes:
        url: of the service.
        before: as scraped.
        exports: in between.
        after: as a text.
    """

    url: str
    before: Scrape
    exports: list[Export]
    after: str

    def judged(self, pattern: str, text: str) -> assert_export.Assertion:
        """What is made of the nine metrics where lines of what they said after the exports are altered."""
        body = altered(self.after, pattern, text)
        with broken_service(self.url, Changed(by=lambda answer: setattr(answer, "body", body))) as url:
            after = asyncio.run(scrape(url + "/metrics"))
        return assert_export.assert_metrics(self.before, after, self.exports, refusals=0)


@pytest.fixture(scope="module")
def counted(service: Server) -> Counted:
    """Two files of each format, and nothing else meanwhile."""

    async def run() -> tuple[Scrape, list[Export]]:
        async with smoke.open_session(service.url, None, time.monotonic) as session:
            return await scrape(service.url + "/metrics"), (await session.batch())[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smoke, "BATCH", SHORT_BATCH)
        before, exports = asyncio.run(run())
    return Counted(service.url, before, exports, service.get("/metrics").text)


def test_metrics_that_count_rightly_hold(counted: Counted) -> None:
    """What the service says as it stands is judged well."""
    found = counted.judged("^", "")
    assert (found.passed, found.measured.partition(", ")[0]) == (True, "9 of 9; moved by 2 CSV")


@pytest.mark.parametrize("name", SERIES)
def test_a_missing_or_mistyped_metric_fails(counted: Counted, name: str) -> None:
    """Each of the nine is missed where it has no sample, and told where it has another type."""
    missing = counted.judged(rf"^{name}(_bucket|_sum|_count)?[{{ ].*\n", "")
    assert (missing.passed, f"8 of 9; {name} is missing" in missing.measured) == (False, True)
    mistyped = counted.judged(rf"^# TYPE {name} .*", f"# TYPE {name} untyped")
    assert not mistyped.passed
    # Without their type the samples of a histogram are three other families.
    assert re.search(rf"8 of 9; {name} is (of type unknown, not {SERIES[name]}|missing)", mistyped.measured)


@pytest.mark.parametrize(
    ("pattern", "text", "told"),
    [
        (
            r'^(export_requests_total{format="csv",outcome="completed"}) .*',
            r"\1 1000000",
            "outcome=completed} moved by",
        ),
        (r'^(export_requests_total{format="none",outcome="invalid"}) .*', r"\1 1e6", "outcome=invalid} moved by"),
        (r'^(export_requests_total{format="pdf",outcome="rejected"}) .*', r"\1 1e6", "{outcome=rejected} moved by"),
        (r'^(export_bytes_total{format="pdf"}) .*', r"\1 7", "export_bytes_total{format=pdf} moved by"),
        (r'^(export_latency_ms_count{format="pdf"}) .*', r"\1 0", "export_latency_ms_count{format=pdf} moved by"),
        (r'^(export_latency_ms_bucket{format="csv",le="\+Inf"}) .*', r"\1 0", "_bucket{format=csv,le=+Inf} moved by"),
        (r'^(export_fail_total{reason="[a-z_]+"}) .*', r"\1 1e6", "export_fail_total{reason="),
        ("^(export_concurrent_running) .*", r"\1 1", "export_concurrent_running is 1 after"),
        ("^(export_queue_depth) .*", r"\1 2", "export_queue_depth is 2 after"),
        ("^(export_memory_bytes) .*", r"\1 0", "export_memory_bytes is 0 after"),
        ("^(export_throughput_ops_per_sec) .*", r"\1 0", "export_throughput_ops_per_sec is 0 after"),
        ("^(export_success_rate) .*", r"\1 NaN", "export_success_rate is nan after"),
        ("^# HELP export_bytes_total", "export_bytes_total{", "does not parse"),
    ],
    ids=lambda each: each if " " in each else "",
)
def test_a_metric_that_counts_wrongly_fails(counted: Counted, pattern: str, text: str, told: str) -> None:
    """Each counter must move by what was exported, each gauge show what can be."""
    found = counted.judged(pattern, text)
    assert (found.passed, told in found.measured) == (False, True), found.measured


@pytest.mark.parametrize(
    ("pattern", "text", "told"),
    [
        ("^export_queue_depth .*\n", "", "8 of 9; export_queue_depth is missing"),
        ("^(export_success_rate) .*", r"\1 NaN", "export_success_rate is nan after"),
        (r'^(export_bytes_total{format="pdf"}) .*', r"\1 7", "export_bytes_total{format=pdf} moved by"),
    ],
    ids=["missing", "gauge", "counter"],
)
def test_wrong_metrics_fail_nothing_else(
    service: Server, assert_six: Assert, pattern: str, text: str, told: str
) -> None:
    """What the metrics say decides one of the six, and the exit status."""
    with broken_service(service.url, altered_metrics(pattern, text)) as url:
        ran = assert_six(url)
    assert (ran.status, ran.failed) == (1, {4})
    assert told in ran.measured(4)


def test_somebody_elses_exports_fail(service: Server, assert_six: Assert) -> None:
    """The metrics may move by nothing else meanwhile."""

    def change(answer: Answer) -> None:
        if answer.is_of("pdf", inline=True):
            service.export({"dataset": "trades", "limit": 1})

    with broken_service(service.url, Changed(by=change)) as url:
        ran = assert_six(url)
    assert ran.failed == {4}
    assert "export_latency_ms_count{format=csv} moved by 7 instead of 5" in ran.measured(4)


def swap_lines(answer: Answer) -> bytes:
    """Two rows of a CSV change places."""
    if not answer.is_of("csv", inline=True):
        return answer.body
    header, first, second, *rest = answer.body.split(b"\r\n")
    return b"\r\n".join([header, second, first, *rest])


def drop_line(answer: Answer) -> bytes:
    """A row of a CSV is missing."""
    lines = answer.body.split(b"\r\n")
    return b"\r\n".join(lines[:50] + lines[51:]) if answer.is_of("csv", inline=True) else answer.body


def test_a_csv_with_other_rows_fails(service: Server, assert_six: Assert) -> None:
    """Rows in another order, another header or another cell are seen, though the receipt says that all is well."""
    with broken_service(service.url, Altered(by=swap_lines)) as url:
        ran = assert_six(url)
    assert (ran.status, ran.failed) == (1, {5})
    assert ran.measured(5).startswith("TRD-0000001: ")
    for old, new in ((b"symbol", b"sYmbol"), (b"TRD-0000200", b"TRD-0000201"), (b"pairs", b"peers"), (b'"', b"'")):
        with broken_service(service.url, Altered(by=lambda answer: answer.body.replace(old, new))) as url:  # noqa: B023
            assert 5 in assert_six(url).failed, old


def test_a_csv_without_a_row_fails(service: Server, assert_six: Assert) -> None:
    """A missing row is seen by the receipt, and where the receipt agrees with the file by the number of rows."""
    for fault in (Changed(by=lambda answer: setattr(answer, "body", drop_line(answer))), Altered(by=drop_line)):
        with broken_service(service.url, fault) as url:
            assert assert_six(url).failed == {2, 3, 4, 5}
    with broken_service(service.url, Misread(by=lambda rows: rows[:-1], file_format="csv")) as url:
        ran = assert_six(url)
    assert 5 in ran.failed
    assert ran.measured(5) == "rows: the receipt says 200, found 199"


def test_an_answer_that_breaks_off_fails(service: Server, assert_six: Assert) -> None:
    """Where every connection ends in the middle of its file nothing holds."""

    def change(answer: Answer) -> None:
        answer.cut = answer.is_file

    with broken_service(service.url, Changed(by=change)) as url:
        ran = assert_six(url)
    assert (ran.status, ran.failed) == (1, {1, 2, 3, 4, 5, 6})
    assert all("broke off after" in ran.measured(number) for number in (1, 2, 3, 5, 6))


def of_pdf(change: Callable[[bytes], bytes]) -> Fault:
    """PDF files of rows in the body are altered, and so are their receipts."""
    return Altered(by=lambda answer: change(answer.body) if answer.is_of("pdf", inline=True) else answer.body)


def without_page(body: bytes) -> bytes:
    """A valid PDF without its second page."""
    saved = io.BytesIO()
    with pikepdf.open(io.BytesIO(body)) as document:
        del document.pages[1]
        document.save(saved)
    return saved.getvalue()


@pytest.mark.parametrize(
    ("fault", "failed", "told"),
    [
        (of_pdf(without_page), {4, 6}, "4 pages with the numbers [('1', '5')]; [('3', '5')]"),
        (of_pdf(lambda body: body[: len(body) // 2]), {4, 6}, "cannot be read|qpdf complains"),
        (of_pdf(lambda body: body.replace(b"startxref\n", b"startxref\n9")), {4, 6}, "qpdf complains"),
        (of_pdf(lambda _: b"no PDF"), {4, 6}, "cannot be read"),
        (Misread(by=lambda rows: [*rows[:99], *rows[100:]]), {6}, "199 rows on 5 pages, not the 200"),
        (Misread(by=lambda rows: [*rows[1::-1], *rows[2:]]), {6}, "200 rows on 5 pages, not the 200"),
    ],
    ids=["page", "half", "xref", "text", "row", "order"],
)
def test_a_broken_pdf_fails(service: Server, assert_six: Assert, fault: Fault, failed: set[int], told: str) -> None:
    """A missing page, a missing row, another order, a damaged or cut file: the receipt says that all is well."""
    with broken_service(service.url, fault) as url:
        ran = assert_six(url)
    assert (ran.status, ran.failed) == (1, failed)
    assert re.search(told if "|" in told else re.escape(told), ran.measured(6)), ran.measured(6)


def test_metrics_on_a_port_of_their_own(start: Start, assert_six: Assert) -> None:
    """--metrics-url says where they are; without it they are missed."""
    ops_port = free_port()
    service = start(OPS_PORT=str(ops_port), API_KEYS=f"smoke={KEY}")
    assert assert_six(service.url, "--api-key", KEY).failed == {4}
    ran = assert_six(service.url, "--api-key", KEY, "--metrics-url", f"http://127.0.0.1:{ops_port}/metrics")
    assert (ran.status, ran.failed) == (0, set())
    ran = assert_six(service.url, "--api-key", "another", "--metrics-url", f"http://127.0.0.1:{ops_port}/metrics")
    assert ran.failed == {1, 2, 3, 4, 5, 6}
    assert ran.measured(5).startswith("401: ")


@pytest.mark.parametrize("dataset", [None, "trades", "book"])
def test_seed_keeps_a_whole_file(service: Server, tmp_path: Path, dataset: str | None) -> None:
    """The file is what the receipt says, with as many rows as asked for or as there are."""
    path = tmp_path / "rows.csv"
    of = [] if dataset is None else ["--dataset", dataset]
    ran = run_script("seed_export.py", "--url", service.url, "--rows", "150", "--output", path, "--json", *of)
    assert ran.returncode == 0, ran.stderr
    (export,) = json.loads(ran.stdout)["exports"]
    body = path.read_bytes()
    assert (export["bytes"], export["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    receipt = service.get(f"/exports/{export['export_id']}").json()
    assert (receipt["bytes"], receipt["sha256"], receipt["rows"]) == (len(body), export["sha256"], export["rows"])
    with path.open(encoding="utf-8", newline="") as file:
        assert sum(1 for _ in csv.reader(file)) - 1 == export["rows"] == (100 if dataset == "book" else 150)
    assert list(tmp_path.iterdir()) == [path]


def test_the_commands_of_the_docs_run(service: Server, tmp_path: Path) -> None:
    """Each command in docs/smoke.md exits with 0, and makes the file that it names."""
    blocks = re.findall(r"```sh\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) >= 4
    for command in commands:
        python, name, *arguments = command.split()
        assert python == ".venv/bin/python"
        ran = [sys.executable, SCRIPTS.parent / name, *arguments, "--url", service.url]
        subprocess.run(ran, cwd=tmp_path, check=True, timeout=60, capture_output=True)
    assert {path.name for path in tmp_path.iterdir()} == set(re.findall(r"--output (\S+)", "\n".join(commands)))


def test_seed_runs_five_in_parallel(service: Server) -> None:
    """--batch prints a table of five whole exports: 1k, 10k and 50k rows as CSV, 1k and 10k as PDF."""
    ran = run_script("seed_export.py", "--url", service.url, "--batch")
    assert ran.returncode == 0, ran.stderr
    found = re.findall(r"^(csv|pdf) \w+ (?:inline|of trades) +([\d,]+) .* whole$", ran.stdout, re.MULTILINE)
    assert found == [("csv", "1,000"), ("csv", "10,000"), ("csv", "50,000"), ("pdf", "1,000"), ("pdf", "10,000")]
    assert ran.stdout.splitlines()[-1].startswith("5 of 5 whole after ")


def cut_csv(answer: Answer) -> None:
    """CSV files break off."""
    answer.cut = answer.is_of("csv", inline=True)


def lose_byte(answer: Answer) -> None:
    """CSV files have a byte less than their receipts say."""
    answer.body = answer.body[:-1] if answer.is_of("csv", inline=True) else answer.body


def change_byte(answer: Answer) -> None:
    """CSV files have another byte than their receipts say."""
    if answer.is_of("csv", inline=True):
        answer.body = answer.body.replace(b"TRD-0000001", b"TRD-0000007")


def lose_receipt(answer: Answer) -> None:
    """There are no receipts."""
    answer.status = 404 if answer.path.startswith("/exports/") else answer.status


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (cut_csv, "broke off after"),
        (lose_byte, "bytes: the receipt says"),
        (change_byte, "SHA-256: the receipt says"),
        (lose_receipt, "no receipt: 404"),
    ],
)
def test_seed_keeps_no_broken_file(
    service: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Answer], None],
    told: str,
) -> None:
    """A file that is not whole is not there, what was there before is, and the exit status is 1."""
    path = tmp_path / "rows.csv"
    monkeypatch.setattr(smoke, "RECEIPT_SECONDS", 0)
    with broken_service(service.url, Changed(by=change)) as url:
        assert seed_export.main(["--url", url, "--rows", "100", "--output", str(path)]) == 1
        assert list(tmp_path.iterdir()) == []
        path.write_text("before")
        assert seed_export.main(["--url", url, "--rows", "100", "--output", str(path)]) == 1
    assert path.read_text() == "before"
    assert capsys.readouterr().out.count(f"NOT WHOLE: {told}") == 2


def test_seed_tells_which_of_five_is_broken(
    service: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are whole all the same."""
    monkeypatch.setattr(smoke, "BATCH", SHORT_BATCH)
    with broken_service(service.url, Changed(by=cut_csv)) as url:
        assert seed_export.main(["--url", url, "--batch", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [each["fault"] is None for each in found["exports"]] == [False, True, True, True]
    assert found["ok"] is False


def refusing(times: int, after: str) -> Fault:
    """The first so many exports are refused, and asked to come again."""
    places = itertools.count()

    def change(answer: Answer) -> None:
        if answer.path == "/export" and next(places) < times:
            answer.status, answer.headers, answer.body = 503, {"Retry-After": after}, b'{"detail": "the queue is full"}'

    return Changed(by=change)


@pytest.mark.parametrize(
    ("times", "after", "status", "asked"), [(2, "0", 0, 3), (99, "0", 1, smoke.REFUSALS_MOST + 1), (1, "3600", 1, 1)]
)
def test_seed_comes_again(
    service: Server, capsys: pytest.CaptureFixture[str], times: int, after: str, status: int, asked: int
) -> None:
    """A full service is asked again when it says, a few times, and not where it says in an hour."""
    fault = refusing(times, after)
    with broken_service(service.url, fault) as url:
        assert seed_export.main(["--url", url, "--rows", "10"]) == status
    assert len(fault.asked) == asked
    assert ("503: the queue is full" in capsys.readouterr().out) == bool(status)


@pytest.mark.parametrize("name", ["seed_export.py", "assert_export.py"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:{}", "127.0.0.1:{}", "http://127.0.0.1:x"])
def test_an_unreachable_service_is_one_line(name: str, url: str) -> None:
    """Exit status 1, and a line that names the URL; a JSON document all the same."""
    url = url.format(free_port())
    ran = run_script(name, "--url", url, "--json")
    assert ran.returncode == 1
    line = ran.stderr.splitlines()[-1]
    assert line.startswith(name.removesuffix(".py") + ": ")
    assert url in line
    assert "Traceback" not in ran.stderr
    assert json.loads(ran.stdout)["ok"] is False


def test_ctrl_c_is_one_line(service: Server, tmp_path: Path) -> None:
    """Interrupted in the middle of an export a script says so, and leaves nothing."""
    asked, interrupted = threading.Event(), threading.Event()

    def change(answer: Answer) -> None:
        if answer.path == "/export":
            asked.set()
            interrupted.wait(30)
            answer.cut = True

    command = script("seed_export.py", "--rows", "10", "--output", tmp_path / "rows.csv")
    with broken_service(service.url, Changed(by=change)) as url:
        run = subprocess.Popen([*command, "--url", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert asked.wait(30)
        run.send_signal(signal.SIGINT)
        out, said = run.communicate(timeout=30)
        interrupted.set()
    assert (run.returncode, out) == (130, "")
    assert said == "exporting csv 10 inline\nseed_export: interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_progress_on_a_terminal(service: Server) -> None:
    """On a terminal one line changes, and is gone at the end; what was found is all of standard output."""
    terminal, other = pty.openpty()
    with os.fdopen(terminal, "rb", buffering=0) as shown:
        command = script("seed_export.py", "--url", service.url, "--rows", "10")
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=other, check=True, timeout=60)
        os.close(other)
        said = shown.read(65_536)
    assert said.startswith(b"\r\x1b[Kexporting csv 10 inline")
    assert said.endswith(b"\r\x1b[K")
    assert run.stdout.startswith(b"csv 10 inline: 10 rows, ")


def test_wrong_arguments_are_told(service: Server, tmp_path: Path) -> None:
    """Exit status 2 and the reason, before anything is asked of the service."""
    for arguments in (
        ["--batch", "--rows", "5"],
        ["--rows", "0"],
        ["--output", "/dev/null"],
        ["--output", str(tmp_path / "missing" / "rows.csv")],
    ):
        with pytest.raises(SystemExit) as ended:
            seed_export.main(["--url", service.url, *arguments])
        assert ended.value.code == 2
