"""The Grafana dashboard, and what provisions it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from spark_export.model import Format
from spark_export.outcome import State
from tests.promql import exposed_families, exposed_names, names_in
from tests.unit.test_rules import RULES, RUNBOOK_URL

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "grafana-export-dashboard.json").read_text(encoding="utf-8"))
MONITORING = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")

PANELS = {
    "Requests and outcomes": ("Requests by outcome", "Failures and rejections by reason"),
    "Latency: p50, p95, p99 and heatmap": ("Latency p50, p95, p99", "Latency heatmap"),
    "Running and queue": ("Running", "Queue"),
    "Throughput and bytes": ("Throughput", "Bytes"),
    "Memory and success rate": ("Memory", "Success rate"),
}
UNITS = {
    "Requests by outcome": "reqps",
    "Failures and rejections by reason": "reqps",
    "Latency p50, p95, p99": "ms",
    "Latency heatmap": "ms",
    "Running": "short",
    "Queue": "short",
    "Throughput": "ops",
    "Bytes": "Bps",
    "Memory": "bytes",
    "Success rate": "percentunit",
}


def read(name: str) -> Any:
    """A YAML file of grafana/."""
    return yaml.safe_load((GRAFANA / name).read_text(encoding="utf-8"))


def graphs() -> dict[str, dict[str, Any]]:
    """The graphs by title: whatever is not a row."""
    return {each["title"]: each for each in DASHBOARD["panels"] if each["type"] != "row"}


def queries() -> list[str]:
    """The query of every line, bar and cell."""
    return [target["expr"] for graph in graphs().values() for target in graph["targets"]]


def threshold(name: str) -> float:
    """The number that an alert's expression must be above."""
    found = re.search(r"> ([\d.]+)", RULES[name]["expr"])
    assert found
    return float(found[1])


def documented() -> dict[str, list[str]]:
    """The labels of every series in the documentation's table, by its name."""
    table = MONITORING.partition("## Series")[2].partition("## Dashboard")[0]
    cells = " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    return {name: labels.split(", ") if labels else [] for name, labels in re.findall(r"`(\w+)(?:{(.*?)})?`", cells)}


def mounts() -> dict[str, str]:
    """Where the documentation mounts the files, by their names."""
    return dict(re.findall(r"^\| `(.+?)` \| `(/etc/.+?)`", MONITORING, re.MULTILINE))


def overrides(graph: dict[str, Any], matcher: str) -> dict[str, dict[str, Any]]:
    """What a graph overrides, by what the matcher asks for: values by property."""
    return {
        each["matcher"]["options"]: {one["id"]: one["value"] for one in each["properties"]}
        for each in graph["fieldConfig"]["overrides"]
        if each["matcher"]["id"] == matcher
    }


def test_five_panels() -> None:
    """There are five panels, open rows one below another, each with its two halves side by side."""
    shown: dict[str, list[str]] = {}
    for each in sorted(DASHBOARD["panels"], key=lambda each: (each["gridPos"]["y"], each["gridPos"]["x"])):
        if each["type"] == "row":
            assert each["collapsed"] is False
            shown[each["title"]] = []
        else:
            shown[list(shown)[-1]].append(each["title"])
    assert {row: tuple(halves) for row, halves in shown.items()} == PANELS
    assert list(shown) == list(PANELS)


def test_no_graph_covers_another() -> None:
    """Every cell of the grid of 24 columns belongs to one graph or row at most, and every id to one."""
    cells = [
        (x, y)
        for place in (each["gridPos"] for each in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    ids = [each["id"] for each in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_fixed_name() -> None:
    """An import replaces the dashboard that is there, since its uid is fixed and its number is not."""
    assert (DASHBOARD["uid"], DASHBOARD["title"], DASHBOARD["id"]) == ("spark-export-v1", "spark-export", None)


def test_variables() -> None:
    """The data source and the instances, several or all, are chosen at the top."""
    source, instance = DASHBOARD["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert (instance["name"], instance["type"]) == ("instance", "query")
    assert instance["multi"]
    assert instance["includeAll"]
    assert instance["query"] == "label_values(export_requests_total, instance)"


def test_queries_obey_the_variables() -> None:
    """Every query goes to the chosen data source and asks for the chosen instances, at Grafana's own interval."""
    for graph in graphs().values():
        assert {each["datasource"]["uid"] for each in [graph, *graph["targets"]]} == {"${datasource}"}
    for query in queries():
        series = re.findall(r"(?:spark_)?export_\w+(\{[^}]*\})?", query)
        assert series
        assert all(each.startswith('{instance=~"$instance"') for each in series), query
        assert set(re.findall(r"\[(.*?)\]", query)) <= {"$__rate_interval"}


def test_queries_ask_for_what_there_is() -> None:
    """Every series in a query is one that the service exposes."""
    for query in queries():
        asked = names_in(query)
        assert asked
        assert asked <= exposed_names()


def test_the_nine_series_are_shown() -> None:
    """No series of the nine is left out."""
    asked = {name.removesuffix("_bucket") for query in queries() for name in names_in(query)}
    assert {name for name in documented() if not name.startswith("spark_")} <= asked
    assert len([name for name in asked if not name.startswith("spark_")]) == 9


def test_thresholds_are_the_alerts() -> None:
    """A line is drawn just where an alert begins."""
    for title, value in (
        ("Latency p50, p95, p99", threshold("ExportLatencyHigh")),
        ("Success rate", 1 - threshold("ExportErrorRateHigh")),
    ):
        field = graphs()[title]["fieldConfig"]["defaults"]
        assert [step["value"] for step in field["thresholds"]["steps"]] == [None, pytest.approx(value)]
        assert field["custom"]["thresholdsStyle"]["mode"] == "dashed"
    for title, name in (("Queue", "ExportQueueBacklog"), ("Memory", "ExportMemoryHigh")):
        (line,) = [each["expr"] for each in graphs()[title]["targets"] if each["legendFormat"].endswith("(alert)")]
        assert line.endswith(f" * {threshold(name)}")


def test_turned_away_is_what_the_alert_counts() -> None:
    """Who is shown as turned away for want of room is who the alert counts."""
    reasons = 'reason=~"queue_full|queue_timeout|memory_full"'
    assert reasons in RULES["ExportQueueBacklog"]["expr"]
    assert any(reasons in each["expr"] for each in graphs()["Queue"]["targets"])


def test_units() -> None:
    """Every graph has the unit of what it shows; where two meet, the other one has an axis of its own."""
    shown = {
        title: graph["options"]["yAxis"] if graph["type"] == "heatmap" else graph["fieldConfig"]["defaults"]
        for title, graph in graphs().items()
    }
    assert {title: where["unit"] for title, where in shown.items()} == UNITS
    others = [
        each for graph in graphs().values() for each in overrides(graph, "byFrameRefID").values() if "unit" in each
    ]
    assert [(each["unit"], each["custom.axisPlacement"]) for each in others] == [("reqps", "right")]


def test_colours_are_fixed() -> None:
    """Each outcome, each quantile and each format has a colour of its own, whatever is shown beside it."""
    for title, names in (
        ("Requests by outcome", {each.value for each in State}),
        ("Latency p50, p95, p99", {"p50", "p95", "p99"}),
        ("Bytes", {each.value for each in Format}),
    ):
        colours = {name: each["color"]["fixedColor"] for name, each in overrides(graphs()[title], "byName").items()}
        assert set(colours) == names
        assert len(set(colours.values())) == len(names)


def test_overrides_meet_a_line() -> None:
    """No override waits for a name or a query that its graph has not."""
    for graph in graphs().values():
        legends = {each["legendFormat"] for each in graph["targets"]}
        if legends == {"{{outcome}}"}:
            legends = {each.value for each in State}
        elif legends == {"{{format}}"}:
            legends = {each.value for each in Format}
        assert set(overrides(graph, "byName")) <= legends
        assert set(overrides(graph, "byFrameRefID")) <= {each["refId"] for each in graph["targets"]}


def test_graphs_explain_themselves() -> None:
    """Every graph says what it shows and links to the runbook's section of an alert; together they link to all five."""
    linked: set[str] = set()
    for graph in graphs().values():
        assert graph["description"]
        assert graph["links"]
        for link in graph["links"]:
            assert link["url"] == f"{RUNBOOK_URL}#{link['title'].removeprefix('Runbook: ').lower()}"
            linked.add(link["title"].removeprefix("Runbook: "))
    assert linked == set(RULES)
    assert [link["url"] for link in DASHBOARD["links"]] == [RUNBOOK_URL]


def test_data_source() -> None:
    """The data source that is provisioned is the default, has a fixed uid, and knows how often Prometheus scrapes."""
    (source,) = read("provisioning/datasources/prometheus.yml")["datasources"]
    assert (source["type"], source["uid"], source["isDefault"]) == ("prometheus", "spark-export-prometheus", True)
    assert source["url"] == "http://prometheus:9090"
    assert source["jsonData"]["timeInterval"] == read("prometheus.yml")["global"]["scrape_interval"] == "5s"


def test_provider() -> None:
    """Grafana reads dashboards from where the dashboard is mounted."""
    (provider,) = read("provisioning/dashboards/export.yml")["providers"]
    assert (provider["type"], provider["options"]["path"]) == ("file", "/etc/grafana/dashboards")


def test_scrape() -> None:
    """Prometheus scrapes the service under the name that the alerts ask for, and loads the rules."""
    config = read("prometheus.yml")
    (scrape,) = config["scrape_configs"]
    assert (scrape["job_name"], scrape["static_configs"]) == ("spark-export", [{"targets": ["export:4001"]}])
    assert config["rule_files"] == ["/etc/prometheus/rules/export.yml"]


def test_the_mounts_are_there() -> None:
    """Every file that the documentation mounts exists, and goes where the configurations look for it."""
    assert [name for name in mounts() if not (ROOT / name).is_file()] == []
    assert mounts()["rules/export.yml"] in read("prometheus.yml")["rule_files"]
    folder = read("provisioning/dashboards/export.yml")["providers"][0]["options"]["path"]
    assert mounts()["grafana/grafana-export-dashboard.json"].startswith(f"{folder}/")


def test_compose_mounts_them() -> None:
    """The compose file mounts, itself or with its folder, every file that the documentation mounts."""
    services = yaml.safe_load((ROOT / "docker-compose.export.yml").read_text(encoding="utf-8"))["services"]
    volumes = [each.split(":")[:2] for name in ("prometheus", "grafana") for each in services[name]["volumes"]]
    for name, place in mounts().items():
        assert place in {f"./{name}".replace(host, target, 1) for host, target in volumes}


def test_every_series_is_documented() -> None:
    """The documentation's table has every series that the service exposes, with its labels, and no other."""
    exposed = {
        f"{family.name}_total" if family.type == "counter" else family.name: sorted(
            {label for sample in family.samples for label in sample.labels} - {"le"}
        )
        for family in exposed_families()
    }
    assert {name: sorted(labels) for name, labels in documented().items()} == exposed
