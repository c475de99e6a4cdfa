"""Runs every check that measures, and writes what each said as one Markdown report.

    scripts/evidence [--only image,smoke] [evidence.md]

Exit status 0 where all of them ran and held; a step that could not run is told as such, and is no success.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from service import running_service

ROOT = Path(__file__).parents[1]
PYTHON = sys.executable
TOLD = ("pyarrow", "duckdb", "fastapi", "uvicorn", "uvloop", "uharfbuzz", "isal")
"""Packages whose version decides the figures."""
STEP_SECONDS = 3600
NOT_RUN = 77
"""Exit status of a step that could not run (automake's)."""
RESULTS = {0: "held", NOT_RUN: "NOT RUN"}


@dataclass(frozen=True)
class Step:
    """A command to be run.

    Attributes:
        name: by which `--only` chooses it.
        title: of its section.
        run: gives its exit status and what it said.
    """

    name: str
    title: str
    run: Callable[[], tuple[int, str]]


@dataclass(frozen=True)
class Finding:
    """A step's end.

    Attributes:
        step: which.
        status: 0 where all held.
        said: its output.
        seconds: that it took.
    """

    step: Step
    status: int
    said: str
    seconds: float

    @property
    def result(self) -> str:
        """In a word or two."""
        return RESULTS.get(self.status, "FAILED")


def main() -> None:
    """Run the steps, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=Path("evidence.md"))
    parser.add_argument("--only", type=lambda names: names.split(","), default=[step.name for step in STEPS])
    given = parser.parse_args()
    if unknown := set(given.only) - {step.name for step in STEPS}:
        parser.error(f"--only: no step {min(unknown)!r}; there are {', '.join(step.name for step in STEPS)}")
    findings = []
    for step in (step for step in STEPS if step.name in given.only):
        findings.append(take(step))
        print(f"{findings[-1].result:7} {step.title} ({findings[-1].seconds:.0f} s)", flush=True)
        # After each step: what was found is not lost when a later one never ends.
        given.file.write_text("\n".join(iter_report(findings)) + "\n", encoding="utf-8")
    sys.exit(any(finding.status for finding in findings))


def take(step: Step) -> Finding:
    """Run one."""
    began = time.monotonic()
    status, said = step.run()
    return Finding(step, status, said, time.monotonic() - began)


def iter_report(findings: Sequence[Finding]) -> Iterator[str]:
    """The report's lines."""
    yield "# Evidence"
    yield ""
    yield f"Measured {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC by `scripts/evidence`, commit {commit()}."
    yield ""
    yield from machine()
    yield ""
    yield "| step | result | seconds |"
    yield "|---|---|---:|"
    for finding in findings:
        yield f"| {finding.step.title} | {finding.result} | {finding.seconds:.0f} |"
    for finding in findings:
        yield from ["", f"## {finding.step.title}", "", "```text", finding.said.strip() or "(no output)", "```"]


def machine() -> Iterator[str]:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield f"- {platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB"
    yield f"- Python {platform.python_version()}; {', '.join(f'{name} {version(name)}' for name in TOLD)}"


def commit() -> str:
    """The checkout's commit, and whether it was changed."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def command(*words: str | Path) -> Callable[[], tuple[int, str]]:
    """A step that is one command in the checkout."""
    return lambda: call(*words)


def call(*words: str | Path) -> tuple[int, str]:
    """Exit status and output, errors included, after the line that was called."""
    done = subprocess.run(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=STEP_SECONDS
    )
    shown = " ".join(str(word).replace(PYTHON, ".venv/bin/python") for word in words)
    return done.returncode, f"$ {shown}\n{done.stdout}"


def image() -> tuple[int, str]:
    """The container, where there is an engine."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        return NOT_RUN, "no Docker engine answers"
    return call(PYTHON, "scripts/check_image.py")


def smoke() -> tuple[int, str]:
    """Both smoke scripts against a service of this checkout."""
    with running_service() as service:
        url = service.url.rstrip("/")
        seeded = call(PYTHON, "scripts/seed_export.py", "--url", url, "--batch")
        asserted = call(PYTHON, "scripts/assert_export.py", "--url", url)
    return seeded[0] or asserted[0], f"{seeded[1]}\n{asserted[1]}"


STEPS = (
    Step("image", "Container image", image),
    Step("smoke", "Smoke scripts", smoke),
    Step("rules", "Alert rules", command("scripts/check_rules")),
    Step("alerts", "Alerts in a real Prometheus", command(PYTHON, "scripts/check_alerts.py")),
    Step("dashboard", "Dashboard's queries", command(PYTHON, "scripts/check_dashboard.py")),
    Step("csv", "CSV against DuckDB's COPY", command("scripts/bench", "csv")),
    Step("service", "Memory, first byte, health under load", command("scripts/bench", "service")),
    Step("postgres", "PostgreSQL against COPY and PostgREST", command("scripts/bench", "postgres")),
    Step("upload", "Bodies that are rows: memory", command("scripts/bench", "upload")),
    Step("pdf", "PDF against Cairo, ReportLab and Chromium", command("scripts/bench", "pdf")),
)

if __name__ == "__main__":
    main()
