"""Has each alert fire in a real Prometheus by really causing it, and come to rest again.

    .venv/bin/python scripts/check_alerts.py

Five services, one for each alert, are scraped every second. The rules are those of rules/export.yml with every
duration divided by 30: five minutes become ten seconds; what they compare with stays. Prints a line an alert with the
seconds from its cause to firing, and from the cause's end to rest. Exit status 0 when all five fired and rested, and
none fired where nothing was wrong.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from prometheus import Prometheus, running_prometheus
from service import free_port, running_service

ROOT = Path(__file__).parents[1]
SCALE = 30
PATIENCE_SECONDS = 180
POLL_SECONDS = 0.2
DATASETS = """
[datasets.broken]
sql = "SELECT CASE WHEN i = 200000 THEN error('broken on purpose') ELSE i END AS i FROM range(300000) r(i)"
"""
FAILING_EVERY_SECONDS = 0.2
SLOW_SECONDS = 11
SLOW_EVERY_SECONDS = 2
LONG_EXPORT = "/export?dataset=trades&params=" + quote('{"rows":300000}')
"""Some 30 MB: more than lies between the service and a client that does not read."""
BODY = json.dumps({"rows": [{"id": i, "note": "n" * 200} for i in range(200_000)]}).encode()
BODIES = 3


class Target:
    """A service of its own.

    Attributes:
        port: where it listens, whenever it runs.
    """

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self._folder = folder
        self._settings = settings
        self._running = ExitStack()
        self.port = free_port()

    @property
    def instance(self) -> str:
        """Its name in Prometheus."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Run it."""
        self._running.enter_context(
            running_service(self._folder, self._folder / "log", port=self.port, **self._settings)
        )

    def stop(self) -> None:
        """End it."""
        self._running.close()

    def ask(self, path: str, body: bytes | None = None) -> http.client.HTTPConnection:
        """A connection with a request sent, and nothing read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        connection.request("GET" if body is None else "POST", path, body, {"Content-Type": "application/json"})
        return connection


@contextmanager
def no_service(target: Target) -> Iterator[None]:
    """The service does not run."""
    target.stop()
    yield
    target.start()


@contextmanager
def failing_exports(target: Target) -> Iterator[None]:
    """Every export breaks in its middle."""

    def fail() -> None:
        connection = target.ask("/export?dataset=broken")
        try:
            connection.getresponse().read()
        except http.client.IncompleteRead:
            connection.close()

    with repeated(fail, FAILING_EVERY_SECONDS):
        yield


@contextmanager
def slow_exports(target: Target) -> Iterator[None]:
    """Every export takes eleven seconds, since its client pauses."""

    def pause() -> None:
        connection = target.ask(LONG_EXPORT)
        time.sleep(SLOW_SECONDS)
        connection.getresponse().read()

    with ThreadPoolExecutor() as clients, repeated(lambda: clients.submit(pause), SLOW_EVERY_SECONDS):
        yield


@contextmanager
def full_queue(target: Target) -> Iterator[None]:
    """One export holds the only slot, and the queue is full."""
    connections = [target.ask(LONG_EXPORT) for _ in range(5)]
    yield
    for connection in connections:
        connection.close()


@contextmanager
def large_bodies(target: Target) -> Iterator[None]:
    """Some exports of rows in their bodies, of 45 MB each, whose clients do not read."""
    connections = [target.ask("/export", BODY) for _ in range(BODIES)]
    yield
    for connection in connections:
        connection.close()


@contextmanager
def repeated(run: Callable[[], object], every_seconds: float) -> Iterator[None]:
    """Run it again and again, in a thread."""
    stopped = threading.Event()

    def loop() -> None:
        while not stopped.wait(every_seconds):
            run()

    with ThreadPoolExecutor(1) as thread:
        looping = thread.submit(loop)
        yield
        stopped.set()
        looping.result()


@dataclass(frozen=True)
class Case:
    """An alert and what causes it.

    Attributes:
        alert: its name.
        cause: in whose block it must fire, and after which it must rest; the docstring tells it.
        settings: of the service.
    """

    alert: str
    cause: Callable[[Target], AbstractContextManager[None]]
    settings: dict[str, str] = field(default_factory=dict)


CASES = (
    Case("ExportTargetDown", no_service),
    Case("ExportErrorRateHigh", failing_exports),
    Case("ExportLatencyHigh", slow_exports, {"MAX_CONCURRENT": "16"}),
    Case("ExportQueueBacklog", full_queue, {"MAX_CONCURRENT": "1", "MAX_QUEUE": "4", "QUEUE_TIMEOUT_SECONDS": "600"}),
    Case("ExportMemoryHigh", large_bodies, {"MAX_MEMORY_BYTES": str(2**28)}),
)


def main() -> None:
    """Cause all five at once."""
    subprocess.run([ROOT / "scripts" / "need", "prometheus"], check=True)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        rules = folder / "rules.yml"
        rules.write_text(scaled((ROOT / "rules" / "export.yml").read_text(encoding="utf-8")), encoding="utf-8")
        targets = {}
        for case in CASES:
            targets[case.alert] = target = Target(folder_of(case, folder), case.settings)
            target.start()
            stack.callback(target.stop)
        instances = {alert: target.instance for alert, target in targets.items()}
        watch = Watch(stack.enter_context(running_prometheus(folder, list(instances.values()), rules)), instances)
        until(watch.all_up, "not every service is scraped")
        with ThreadPoolExecutor(len(CASES)) as threads:
            list(threads.map(lambda case: check(case, targets[case.alert], watch), CASES))
    for line in sorted(watch.unexpected):
        print("FAILED", line)
    sys.exit(bool(watch.unexpected))


def folder_of(case: Case, folder: Path) -> Path:
    """A folder with the datasets file and the log of the alert's service."""
    own = folder / case.alert
    own.mkdir()
    (own / "datasets.toml").write_text(DATASETS, encoding="utf-8")
    return own


def scaled(rules: str) -> str:
    """The rules with shorter durations, in seconds."""
    return re.sub(r"(for: |\[)(\d+)m", lambda found: f"{found[1]}{int(found[2]) * 60 // SCALE}s", rules)


@dataclass
class Watch:
    """What Prometheus says of the alerts.

    Attributes:
        prometheus: asked.
        instances: the service that each alert is about.
        unexpected: alerts that fired for another one.
    """

    prometheus: Prometheus
    instances: dict[str, str]
    unexpected: set[str] = field(default_factory=set)

    def all_up(self) -> bool:
        """Whether every service is scraped."""
        return len(self.prometheus.query("up == 1")) == len(self.instances)

    def is_firing(self, alert: str) -> bool:
        """Whether it fires for its own service."""
        return self._state(alert) == "firing"

    def is_resting(self, alert: str) -> bool:
        """Whether it neither fires nor is about to."""
        return self._state(alert) is None

    def _state(self, alert: str) -> str | None:
        states = {}
        for each in self.prometheus.alerts():
            name, instance = each["labels"]["alertname"], each["labels"]["instance"]
            if instance == self.instances[name]:
                states[name] = each["state"]
            elif each["state"] == "firing":
                self.unexpected.add(
                    f"{name} fired for the service of another alert: {each['annotations']['description']}"
                )
        return states.get(alert)


def check(case: Case, target: Target, watch: Watch) -> None:
    """Cause it, end the cause, and tell how long each took.

    Raises:
        TimeoutError: it did not fire, or does not rest.
    """
    began = time.monotonic()
    with case.cause(target):
        until(lambda: watch.is_firing(case.alert), f"{case.alert} does not fire")
        fired = time.monotonic()
    ended = time.monotonic()
    until(lambda: watch.is_resting(case.alert), f"{case.alert} does not rest")
    rested = time.monotonic()
    caused = (case.cause.__doc__ or "").rstrip(".")
    print(
        f"{case.alert:20} fires after {fired - began:5.1f} s, rests after {rested - ended:5.1f} s: {caused}", flush=True
    )


def until(true: Callable[[], bool], otherwise: str) -> None:
    """Wait until it is.

    Raises:
        TimeoutError: it took too long; says what is otherwise.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
