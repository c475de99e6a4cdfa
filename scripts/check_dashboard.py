"""Checks the dashboard against Grafana's own types, and each of its queries against a real Prometheus.

    .venv/bin/python scripts/check_dashboard.py

Installs what is missing: Prometheus by apt-get, Grafana's types (`@grafana/schema`) and the compiler by npm. The
compiler must accept the dashboard, and refuse it with any one key misspelt. Then a Prometheus scrapes the service while
it exports, fails, lets wait and refuses, and each query, its variables filled in, must find a value above zero: a line
a query says its panel, its legend, how many series it found and the greatest of their last values. Exit status 0 when
all of it holds.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus import Prometheus, running_prometheus
from service import Service, running_service

ROOT = Path(__file__).parents[1]
DASHBOARD = ROOT / "grafana" / "grafana-export-dashboard.json"
PROMETHEUS_CONFIG = ROOT / "grafana" / "prometheus.yml"
TYPES = ROOT / "tests" / "dashboard"
"""Folder of the npm packages and of the types, made of Grafana's, that the dashboard has."""

VARIABLES = {"$instance": ".*", "$__rate_interval": "1m"}
DATASETS = "[datasets.broken]\nsql = \"SELECT error('broken') AS x\"\n"
MEMORY_BYTES = 2**31
TRADES = "/export?dataset=trades"
ENDLESS = '/export?dataset=trades&params={"rows":1000000000}'
WAIT_SECONDS = 30


def main() -> None:
    """Check it; print what was found."""
    install()
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    check_version(dashboard)
    check_types(dashboard)
    subprocess.run(
        ["promtool", "check", "config", "--syntax-only", PROMETHEUS_CONFIG], check=True, stdout=subprocess.DEVNULL
    )
    with tempfile.TemporaryDirectory() as name, seeded(Path(name)) as prometheus:
        check_variables(dashboard, prometheus)
        silent = [query for panel in dashboard["panels"] for query in silent_queries(panel, prometheus)]
    if silent:
        sys.exit("\n".join(["no value above zero:", *silent]))


def install() -> None:
    """Have the tools, and the npm packages as the lock names them."""
    subprocess.run([ROOT / "scripts" / "need", "node:nodejs", "npm", "prometheus", "promtool:prometheus"], check=True)
    lock, installed = TYPES / "package-lock.json", TYPES / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=TYPES, check=True)


def check_version(dashboard: dict[str, Any]) -> None:
    """Have the dashboard be in the schema of these types, not in one that Grafana would have to migrate."""
    ask = ["node", "-p", "require('@grafana/schema').defaultDashboard.schemaVersion"]
    current = int(subprocess.check_output(ask, cwd=TYPES))
    if dashboard["schemaVersion"] != current:
        sys.exit(f"schemaVersion is {dashboard['schemaVersion']}, Grafana's is {current}")


def check_types(dashboard: dict[str, Any]) -> None:
    """Have the compiler accept the dashboard, and no copy of it in which one key is misspelt."""
    copies = misspelt(dashboard)
    refused, said = compile_dashboards([dashboard, *copies.values()])
    if 0 in refused:
        sys.exit(f"{DASHBOARD.name} is not what @grafana/schema says:\n{said[0]}")
    unnoticed = [path for index, path in enumerate(copies, start=1) if index not in refused]
    if unnoticed:
        sys.exit(f"misspelt, and yet accepted: {', '.join(unnoticed)}")
    print(f"types: accepted as it is, refused with any of {len(copies)} keys misspelt")


def misspelt(value: Any, path: str = "") -> dict[str, Any]:
    """Copies of a value with one key misspelt each, by the key's path; items of one type are one path."""
    copies = {}
    for key, item, place in items_of(value, path):
        if isinstance(value, dict):
            copies[place] = {f"{name}_" if name == key else name: each for name, each in value.items()}
        for inner, copy in misspelt(item, place).items():
            copies[inner] = replaced(value, key, copy)
    return copies


def items_of(value: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    """Key or index, item and path of each item of an object or a list."""
    if isinstance(value, dict):
        yield from ((key, item, f"{path}.{key}") for key, item in value.items())
    elif isinstance(value, list):
        for index, item in enumerate(value):
            kind = (item.get("type") or item.get("id") or "") if isinstance(item, dict) else ""
            yield index, item, f"{path}[{kind}]"


def replaced(value: Any, key: Any, item: Any) -> Any:
    """A copy of an object or a list with another item."""
    copy = value.copy()
    copy[key] = item
    return copy


def compile_dashboards(dashboards: list[dict[str, Any]]) -> tuple[set[int], list[str]]:
    """Indexes of those that the compiler refuses, and the lines it says.

    Literals are checked for keys too many only where they stand in the source, hence a source of them, one a line.
    """
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "dashboards.ts"
        lines = [f"export const d{index}: Dashboard = {json.dumps(each)};" for index, each in enumerate(dashboards)]
        source.write_text("\n".join([*lines, f"import type {{ Dashboard }} from '{TYPES}/dashboard';"]))
        said = subprocess.run(
            [
                TYPES / "node_modules" / ".bin" / "tsc", "--noEmit", "--strict", "--skipLibCheck", "--pretty", "false",
                "--module", "preserve", "--moduleResolution", "bundler", source,
            ],
            check=False, cwd=name, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    found = said.stdout.splitlines()
    refused = {int(line) - 1 for line in re.findall(r"^dashboards\.ts\((\d+),", said.stdout, re.MULTILINE)}
    if bool(said.returncode) != bool(refused) or len(dashboards) in refused:
        sys.exit(said.stdout)
    return refused, found


@contextmanager
def seeded(folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that has seen exports of each kind; one of them runs, and one waits."""
    (folder / "datasets.toml").write_text(DATASETS, encoding="utf-8")
    (folder / "rules.yml").write_text("groups: []\n", encoding="utf-8")
    with (
        running_service(
            folder, folder / "log", MAX_CONCURRENT="1", MAX_QUEUE="1", MAX_MEMORY_BYTES=str(MEMORY_BYTES)
        ) as service,
        running_prometheus(folder, [service.url.split("//")[1]], folder / "rules.yml") as prometheus,
        ThreadPoolExecutor(1) as threads,
    ):
        until(prometheus, "export_requests_total")  # a rate needs the zero before
        export(service)
        with service.client.stream("GET", ENDLESS):
            threads.submit(service.get, TRADES)
            until(prometheus, "export_queue_depth == 1")
            service.client.get(TRADES)
            until(prometheus, "sum(export_requests_total) == 4")
            yield prometheus


def export(service: Service) -> None:
    """One CSV, one PDF, one failure."""
    service.get(TRADES)
    service.get(f"{TRADES}&format=pdf")
    service.client.get("/export?dataset=broken")


def until(prometheus: Prometheus, expression: str) -> None:
    """Wait until the query finds something.

    Raises:
        TimeoutError: it took too long.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while not prometheus.query(expression):
        if time.monotonic() > deadline:
            raise TimeoutError(expression)
        time.sleep(0.1)


def check_variables(dashboard: dict[str, Any], prometheus: Prometheus) -> None:
    """Have the list of instances name the one there is, and the annotations' query parse."""
    query = next(each["query"] for each in dashboard["templating"]["list"] if each["name"] == "instance")
    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups()  # type: ignore[union-attr]
    found = [each["metric"][label] for each in prometheus.query(f"group by ({label}) ({metric})")]
    if len(found) != 1:
        sys.exit(f"{query}: {found}")
    for annotation in dashboard["annotations"]["list"]:
        prometheus.query(annotation["target"]["expr"])


def silent_queries(panel: dict[str, Any], prometheus: Prometheus) -> Iterator[str]:
    """Those of the panel's queries that find no value above zero; each is printed with what it finds."""
    for target in panel.get("targets", []):
        values = [float(each["value"][1]) for each in prometheus.query(filled_in(target["expr"]))]
        greatest = max(values, default=0)
        print(f"{panel['title']:33} {target['legendFormat']:26} {len(values):3} series {greatest:16,.6g}")
        if not greatest > 0:  # NaN is not
            yield target["expr"]


def filled_in(expression: str) -> str:
    """The query with a value for each variable."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


if __name__ == "__main__":
    main()
