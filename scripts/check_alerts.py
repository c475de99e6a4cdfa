"""Brings each alert to firing in a real Prometheus, by really causing it, and to rest again.

    .venv/bin/python scripts/check_alerts.py

Installs Prometheus by apt-get where it is missing. Each cause has a service of its own, all of them at the same time,
and one Prometheus scrapes them every second. So that two minutes will do, each `for:` and each range of
rules/export.yml is 20 times shorter, but no shorter than 5 s. The thresholds are as they stand: an export that is slow
takes more than ten seconds here too. A line a cause says how long it took from its beginning to `pending` and to
`firing`, and from its end to rest.

While an alert fires, its labels and annotations must be those of its rule, and a query of its section in
docs/runbook.md must find something. No other alert may fire there, and none at a service whose callers are beyond their
rate, ask for what cannot be, or leave. In the end service discovery loses every target. Exit status 0 where all of it
holds.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from causes import CASES, DATASETS, HARMLESS, harmless
from prometheus import JOB, Prometheus, running_prometheus
from service import Service, running_service

ROOT = Path(__file__).parents[1]
RULES = (ROOT / "rules" / "export.yml").read_text(encoding="utf-8")
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
FASTER = 20
LEAST_SECONDS = 5
"""Of a shorter time: a busy machine may miss a scrape or two."""
WAIT_SECONDS = 120
POLL_SECONDS = 0.2
HARMLESS_LEAST = 10
"""Requests of each kind at the service where nothing is wrong."""


@dataclass(frozen=True)
class Proof:
    """An alert that is to fire and to rest.

    Attributes:
        alert: its name.
        cause: in words.
        causing: the block in which the cause lasts.
        instance: where it is to fire; None for an alert without one.
        prometheus: by which it is seen.
    """

    alert: str
    cause: str
    causing: AbstractContextManager[None]
    instance: str | None
    prometheus: Prometheus

    def take(self) -> list[str]:
        """Cause it, end that, print how long it took; what does not hold."""
        try:
            self._until(lambda: self._is_scraped() and not self.found(), "not at rest before")
            pending, firing, faults, ended = self._cause()
            self._until(lambda: not self.found(), "not at rest after")
        except TimeoutError as error:
            return [f"{self.alert}, {self.cause}: {error}"]
        rest = time.monotonic() - ended
        print(
            f"{self.alert:20} {self.cause:40} pending {pending:5.1f} s, firing {firing:5.1f} s, rest {rest:5.1f} s",
            flush=True,
        )
        return [f"{self.alert}, {self.cause}: {fault}" for fault in faults]

    def _cause(self) -> tuple[float, float, list[str], float]:
        """Seconds to pending and to firing, what is wrong with the alert, and when the cause's end began."""
        began = time.monotonic()
        with self.causing:
            self._until(lambda: bool(self.found()), "not pending")
            pending = time.monotonic() - began
            self._until(lambda: self.found().get("state") == "firing", "not firing")
            firing = time.monotonic() - began
            return pending, firing, list(self._faults()), time.monotonic()

    def found(self) -> dict[str, Any]:
        """The alert while it is active; nothing while it rests."""
        for each in self.prometheus.alerts():
            if (each["labels"]["alertname"], each["labels"].get("instance")) == (self.alert, self.instance):
                return each
        return {}

    def _is_scraped(self) -> bool:
        of_instance = f', instance="{self.instance}"' if self.instance else ""
        return bool(self.prometheus.query(f'up{{job="{JOB}"{of_instance}}} == 1'))

    def _until(self, true: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not true():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{otherwise} within {WAIT_SECONDS} s")
            time.sleep(POLL_SECONDS)

    def _faults(self) -> Iterator[str]:
        """What is wrong with the alert that fires."""
        found, rule = self.found(), rule_of(self.alert)
        labels = {"alertname": self.alert, "job": JOB, **rule["labels"]}
        if self.instance:
            labels["instance"] = self.instance
        if found.get("labels") != labels:
            yield f"labels {found.get('labels')}, not {labels}"
        annotations = found.get("annotations", {})
        if not all(
            is_filled_in(text, annotations.get(name, ""), self.instance) for name, text in rule["annotations"].items()
        ):
            yield f"annotations {annotations}"
        # Where there is no instance the runbook's query finds nothing, as it says.
        answers = [self.prometheus.query(query) for query in queries_of(self.alert, self.instance or "")]
        if any(answers) != bool(self.instance):
            yield f"the runbook's queries find {answers}"


def main() -> None:
    """Prove each alert; print what does not hold."""
    subprocess.run([ROOT / "scripts" / "need", "prometheus"], check=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "datasets.toml").write_text(DATASETS, encoding="utf-8")
        (folder / "rules.yml").write_text(shorter(RULES), encoding="utf-8")
        services = [
            stack.enter_context(running_service(folder, folder / "log", **settings))
            for settings in (*(case.settings for case in CASES), HARMLESS)
        ]
        targets = [instance_of(each) for each in services]
        prometheus = stack.enter_context(running_prometheus(folder, targets, folder / "rules.yml"))
        with harmless(services[-1]):
            faults = take_all(services, prometheus)
        faults += faults_of_others(targets, prometheus) + faults_of_harmless(targets[-1], prometheus)
        lost = vanished(targets, prometheus)
        faults += Proof("ExportTargetDown", "no target is left", lost, None, prometheus).take()
    print(f"{time.monotonic() - began:.0f} s, each time of the rules {FASTER} times shorter")
    if faults:
        sys.exit("\n".join(faults))


def take_all(services: Sequence[Service], prometheus: Prometheus) -> list[str]:
    """Prove all cases at the same time; what does not hold."""
    proofs = [
        Proof(case.alert, case.cause, case.causing(service), instance_of(service), prometheus)
        for case, service in zip(CASES, services, strict=False)
    ]
    with ThreadPoolExecutor(len(proofs)) as threads:
        return [fault for faults in threads.map(Proof.take, proofs) for fault in faults]


@contextmanager
def vanished(targets: Sequence[str], prometheus: Prometheus) -> Iterator[None]:
    """Service discovery finds no target any more."""
    prometheus.scrape([])
    yield
    prometheus.scrape(targets)


def shorter(rules: str) -> str:
    """The rules with shorter times."""

    def seconds(found: re.Match[str]) -> str:
        return f"{found[1]}{max(LEAST_SECONDS, int(found[2]) * 60 // FASTER)}s"

    return re.sub(r"(for: |\[)(\d+)m", seconds, rules)


def instance_of(service: Service) -> str:
    """Its label in Prometheus."""
    return service.url.partition("//")[2].rstrip("/")


def rule_of(alert: str) -> dict[str, Any]:
    """The alert's rule."""
    (group,) = yaml.safe_load(RULES)["groups"]
    rule: dict[str, Any] = next(each for each in group["rules"] if each["alert"] == alert)
    return rule


def is_filled_in(template: str, text: str, instance: str | None) -> bool:
    """Whether a text is what Prometheus makes of an annotation: what it begins with, the instance, and no error."""
    begins = template.partition("{{")[0]
    if begins == template:
        return text == template
    return text.startswith(begins) and (instance or "") in text and not re.search("{{|<error|<no value|NaN", text)


def queries_of(alert: str, instance: str) -> list[str]:
    """Those of the alert's section in the runbook, a line each."""
    section = RUNBOOK.partition(f"\n## {alert}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```promql\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [line.replace("…", instance) for block in blocks for line in block.splitlines()]


def faults_of_others(targets: Sequence[str], prometheus: Prometheus) -> list[str]:
    """Alerts that fired, at any time, where nothing caused them."""
    caused = {(target, case.alert) for target, case in zip(targets, CASES, strict=False)}
    fired = prometheus.query('count_over_time(ALERTS{alertstate="firing", instance!=""}[1h])')
    found = {(each["metric"]["instance"], each["metric"]["alertname"]) for each in fired}
    return [f"{alert} fired at {target} without a cause" for target, alert in sorted(found - caused)]


def faults_of_harmless(target: str, prometheus: Prometheus) -> list[str]:
    """What must not fire, but was not even there."""
    series: Mapping[str, str] = {
        "beyond their rate": f'spark_export_rejections_total{{instance="{target}", reason="quota_exceeded"}}',
        "that left": f'sum(export_requests_total{{instance="{target}", outcome="cancelled"}})',
        "that asked for what cannot be": f'sum(export_requests_total{{instance="{target}", outcome="invalid"}})',
    }
    lacking = [each for each, query in series.items() if not prometheus.query(f"{query} >= {HARMLESS_LEAST}")]
    return [f"fewer than {HARMLESS_LEAST} callers {each}" for each in lacking]


if __name__ == "__main__":
    main()
