"""A real Prometheus that a script starts, with the project's rules, and asks."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from service import STOP_SECONDS, free_port, until_ready

JOB = "spark-export"
"""The scrape job that rules and dashboard speak of."""
TARGETS = "targets.json"
"""File of service discovery."""


class Prometheus:
    """A running Prometheus.

    Attributes:
        url: where it answers.
    """

    def __init__(self, client: httpx.Client, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self.url = str(client.base_url)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query, now.

        Raises:
            httpx.HTTPStatusError: it does not parse.
        """
        return list(self._ask("/api/v1/query", query=expression)["result"])

    def alerts(self) -> list[dict[str, Any]]:
        """Each alert that is pending or firing, with `state`, `labels` and `annotations`."""
        return list(self._ask("/api/v1/alerts")["alerts"])

    def scrape(self, targets: Sequence[str]) -> None:
        """Have service discovery find these and no others; Prometheus looks every five seconds."""
        write_targets(self._folder, targets)

    def _ask(self, path: str, **parameters: str) -> dict[str, Any]:
        answer = self._client.get(path, params=parameters).raise_for_status()
        data: dict[str, Any] = answer.json()["data"]
        return data


@contextmanager
def running_prometheus(
    folder: Path, targets: Sequence[str], rules: Path, interval_seconds: int = 1
) -> Iterator[Prometheus]:
    """One that scrapes and evaluates every few seconds.

    Args:
        folder: for its configuration and series.
        targets: `host:port` of each service.
        rules: file of alert rules.
        interval_seconds: between scrapes, and between evaluations.
    """
    port, every = free_port(), f"{interval_seconds}s"
    config = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(rules.resolve())],
        "scrape_configs": [{"job_name": JOB, "file_sd_configs": [{"files": [str(folder / TARGETS)]}]}],
    }
    write_targets(folder, targets)
    (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    command = [
        "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    with (
        (folder / "prometheus.log").open("wb") as log,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        process = subprocess.Popen(command, stderr=log)
        try:
            until_ready(client, "/-/ready", process)
            yield Prometheus(client, folder)
        finally:
            process.terminate()
            process.wait(timeout=STOP_SECONDS)


def write_targets(folder: Path, targets: Sequence[str]) -> None:
    """Put the file of service discovery there, in one piece: it is read whenever it changes."""
    new = folder / f"{TARGETS}.new"
    new.write_text(json.dumps([{"targets": list(targets)}]), encoding="utf-8")
    new.replace(folder / TARGETS)
