"""Builds the container image, runs it as its users do, and holds it to what is promised.

    .venv/bin/python scripts/check_image.py

Needs a Docker engine, port 4001, and no container named spark-export-v17 that runs. The two lines of
docs/deployment.md come first, as they stand, and the smoke scripts run against that container. Then a hardened one,
one that is stopped in the middle of an export, one that cannot start, docker-compose.export.yml, and every other block
of the docs that needs Docker. Prints a line a check with what was measured; exit status 0 where all hold.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
BASE = "python:3.12-slim-bookworm"
IMAGE = "spark-export:v1.7"
NAME = "spark-export-v17"
URL = "http://127.0.0.1:4001"
BUILD = f"docker build -f Dockerfile.export -t {IMAGE} ."
RUN = f"docker run -d --name {NAME} -p 4001:4001 {IMAGE}"
HARDENED = "--read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --memory 512m --stop-timeout 40"
LITTLE_ENGINE = "-e SPARK_EXPORT_DUCKDB_MEMORY_BYTES=67108864"
"""A sort of LONG_ROWS, 110 MB, then needs /tmp."""
COMPOSE = "docker compose -f docker-compose.export.yml"
SMOKE = ("seed_export.py --batch", "assert_export.py")

SIZE_MOST_MB = 300
HEALTHY_MOST_SECONDS = 3.0
STARTS = 3
"""Of which the fastest counts: what else the machine does only adds to it."""
IDLE_MOST_MB = 150
PATIENCE_SECONDS = 60
LONG_ROWS = 1_000_000
LONG_EXPORT = f'/export?dataset=trades&params={{"rows":{LONG_ROWS}}}'
LABEL = "org.opencontainers.image."
COMPILERS = ("gcc", "cc", "g++", "clang", "make", "ld")
PACKAGES = "/opt/spark-export/lib/python3.12/site-packages"
LARGEST = 12
"""Packages whose size is told."""


@dataclass(frozen=True)
class Check:
    """Something that was looked at.

    Attributes:
        name: what.
        holds: whether it is as promised.
        found: what was measured.
    """

    name: str
    holds: bool
    found: str


def main() -> None:
    """Run all checks."""
    broken = 0
    for check in iter_checks():
        print("ok    " if check.holds else "FAILED", f"{check.name}: {check.found}", flush=True)
        broken += not check.holds
    sys.exit(bool(broken))


def iter_checks() -> Iterator[Check]:
    """Every check, in the order in which a user meets them."""
    yield from check_build()
    yield from check_first_run()
    yield from check_hardened()
    yield from check_bad_setting()
    yield from check_compose()
    yield from check_docs()


def check_build() -> Iterator[Check]:
    """The image is built by the line that the docs show, small, without a compiler, for a user without rights."""
    began = time.monotonic()
    built = run(BUILD)
    yield Check(BUILD, built.returncode == 0, f"{time.monotonic() - began:.1f} s")
    if built.returncode:
        sys.exit(built.stdout + built.stderr)
    size, base = (inspect(image)["Size"] / 1e6 for image in (IMAGE, BASE))
    yield Check("size over the base", size - base <= SIZE_MOST_MB, f"{size - base:.0f} MB ({size:.0f} less {base:.0f})")
    yield Check("largest packages", True, package_sizes())
    inside = run(f"docker run --rm --entrypoint sh {IMAGE} -c", f"id -u; command -v {' '.join(COMPILERS)}; true")
    yield Check("user, no compiler", inside.stdout.split() == ["10001"], " ".join(inside.stdout.split()))
    config = inspect(IMAGE)["Config"]
    labels = sorted(name for name in config["Labels"] if name.startswith(LABEL))
    yield Check("labels", len(labels) >= 5, ", ".join(name.removeprefix(LABEL) for name in labels))
    yield Check("health check", bool(config.get("Healthcheck")), " ".join(config["Healthcheck"]["Test"]))


def package_sizes() -> str:
    """What the largest packages take, with the libraries that they bring."""
    listed = run(f"docker run --rm --entrypoint sh {IMAGE} -c", f"cd {PACKAGES} && du -sk *").stdout.splitlines()
    sizes = sorted(((int(kib), name) for kib, name in (line.split("\t") for line in listed)), reverse=True)
    return ", ".join(f"{name} {kib / 1000:.0f} MB" for kib, name in sizes[:LARGEST])


def check_first_run() -> Iterator[Check]:
    """The container that the docs show becomes healthy soon, holds little, and passes the smoke scripts."""
    starts = []
    for _ in range(STARTS - 1):
        with container(RUN) as began:
            starts.append(seconds_until_healthy(began))
    with container(RUN) as began:
        starts.append(seconds_until_healthy(began))
        ready, healthy = min(starts)
        yield Check(RUN, healthy < HEALTHY_MOST_SECONDS, f"answers after {ready:.2f} s, healthy after {healthy:.2f} s")
        idle = resident_mb()
        yield Check("idle memory", idle < IDLE_MOST_MB, f"{idle:.0f} MB resident")
        for script in SMOKE:
            smoke = run(f"{sys.executable} scripts/{script} --url {URL}")
            yield Check(script, smoke.returncode == 0, "\n" + smoke.stdout.rstrip())


def check_hardened() -> Iterator[Check]:
    """It works on a file system that is not written to, and ends after the export that runs, with status 0."""
    with container(RUN.replace("-p 4001", f"{HARDENED} {LITTLE_ENGINE} -p 4001")) as began:
        seconds_until_healthy(began)
        yield Check("hardened", spills(), f"a sort that spills to /tmp works with {HARDENED}")
        with httpx.stream("GET", URL + LONG_EXPORT, timeout=PATIENCE_SECONDS) as response:
            lines = response.iter_lines()
            next(lines)
            stopping = subprocess.Popen(["docker", "stop", NAME], stdout=subprocess.DEVNULL)
            rows = sum(1 for _ in csv.reader(lines))
        stopping.wait(PATIENCE_SECONDS)
        status = inspect(NAME)["State"]["ExitCode"]
        ran = "draining: 1 exports " in run(f"docker logs {NAME}").stderr
        found = f"{rows:,} of {LONG_ROWS:,} rows came, status {status}" + ("" if ran else ", but nothing ran any more")
        yield Check("SIGTERM drains", ran and (rows, status) == (LONG_ROWS, 0), found)


def spills() -> bool:
    """Whether a sort gives every row."""
    query = {"dataset": "trades", "params": json.dumps({"rows": LONG_ROWS}), "order_by": "-note"}
    body = httpx.get(f"{URL}/export", params=query, timeout=PATIENCE_SECONDS).raise_for_status().text
    return body.count("\r\n") == LONG_ROWS + 1


def check_bad_setting() -> Iterator[Check]:
    """A setting that cannot be used ends the container with one line that names it."""
    ended = run(f"docker run --rm -e SPARK_EXPORT_MAX_CONCURRENT=0 {IMAGE}")
    said = ended.stderr.strip()
    named = ended.returncode == 1 and "SPARK_EXPORT_MAX_CONCURRENT" in said and "\n" not in said
    yield Check("bad setting", named, f"status {ended.returncode}, {said}")


def check_compose() -> Iterator[Check]:
    """Compose brings the service up with the sample's datasets; the monitoring profile is well formed."""
    config = run(f"{COMPOSE} --profile monitoring config --services")
    services = sorted(config.stdout.split())
    yield Check("compose config", services == ["export", "grafana", "prometheus"], ", ".join(services) or config.stderr)
    try:
        up = run(f"{COMPOSE} up -d --wait export")
        yield Check("compose up", up.returncode == 0, last_line(up.stderr))
        rows = httpx.get(f"{URL}/export?dataset=fills").raise_for_status().text.count("\r\n") - 1
        yield Check("compose datasets", rows > 0, f"{rows} rows of the sample")
        limit = sample(httpx.get(f"{URL}/metrics").text, "spark_export_memory_limit_bytes")
        yield Check("compose memory limit", limit < float("inf"), f"exports wait beyond {limit / 1e6:.0f} MB")
    finally:
        run(f"{COMPOSE} down --timeout 5 --volumes")


def check_docs() -> Iterator[Check]:
    """What the docs do with Docker works as it stands."""
    tests = run(f"{sys.executable} -m pytest -q -p no:cacheprovider tests/acceptance/test_docs.py -k docker_blocks")
    ran = tests.returncode == 0 and "skipped" not in tests.stdout
    yield Check("docker blocks of docs", ran, "every one runs" if ran else tests.stdout)


@contextmanager
def container(line: str) -> Iterator[float]:
    """A container named NAME that the line starts, removed at the end; gives when it was started."""
    run(f"docker rm {NAME}")  # What a check that was killed has left. One that runs is somebody's, and is not removed.
    began = time.monotonic()
    started = run(line)
    if started.returncode:
        sys.exit(started.stderr.strip())
    try:
        yield began
    finally:
        run(f"docker rm -f {NAME}").check_returncode()


def seconds_until_healthy(began: float) -> tuple[float, float]:
    """Until it answers, and until Docker calls it healthy."""
    while not is_ready():
        give_up_after(began)
        time.sleep(0.02)
    ready = time.monotonic() - began
    while inspect(NAME)["State"]["Health"]["Status"] != "healthy":
        give_up_after(began)
        time.sleep(0.02)
    return ready, time.monotonic() - began


def give_up_after(began: float) -> None:
    """End, with the container's log, where it takes too long."""
    if time.monotonic() - began > PATIENCE_SECONDS:
        sys.exit("not healthy in time:\n" + run(f"docker logs {NAME}").stderr)


def is_ready() -> bool:
    """Whether new exports are welcome."""
    try:
        return httpx.get(f"{URL}/readyz").is_success
    except httpx.TransportError:
        return False


def resident_mb() -> float:
    """Of the service's process, by its own metrics."""
    return sample(httpx.get(f"{URL}/metrics").text, "export_memory_bytes") / 1e6


def sample(exposition: str, name: str) -> float:
    """The value of a series without labels."""
    return float(re.findall(rf"^{name} (\S+)$", exposition, re.MULTILINE)[0])


def run(line: str, *more: str) -> subprocess.CompletedProcess[str]:
    """A command, split at blanks; `more` arguments are not."""
    return subprocess.run([*line.split(), *more], cwd=ROOT, capture_output=True, text=True, check=False)


def inspect(name: str) -> Any:
    """What Docker knows of an image or container."""
    return json.loads(run(f"docker inspect {name}").stdout)[0]


def last_line(text: str) -> str:
    """The last line that says something."""
    return text.strip().rpartition("\n")[2].strip()


if __name__ == "__main__":
    main()
