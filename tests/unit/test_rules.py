"""The alert rules and the runbook, as files; `scripts/check_rules` and `scripts/check_alerts.py` hold what they do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from spark_export.errors import error_reasons
from spark_export.settings import PREFIX, Settings, variable_of
from tests.promql import exposed_names, names_in

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "docs" / "runbook.md"
RUNBOOK_URL = "https://github.com/spark-export/spark-export/blob/main/docs/runbook.md"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load((ROOT / "rules" / "export.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}


def sections() -> dict[str, str]:
    """The runbook's sections by their anchors, as GitHub makes them."""
    parts = re.split(r"^## (.+)$", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-"): text
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    }


def test_five_alerts() -> None:
    """The target, errors, latency, the queue and memory each have an alert."""
    assert list(RULES) == [
        "ExportTargetDown",
        "ExportErrorRateHigh",
        "ExportLatencyHigh",
        "ExportQueueBacklog",
        "ExportMemoryHigh",
    ]


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_what_is_wrong(name: str) -> None:
    """Every alert has a severity, a time to wait, texts that say where, and its own section of the runbook."""
    rule = RULES[name]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["for"]
    assert "$labels.instance" in rule["annotations"]["summary"]
    assert "$labels.instance" in rule["annotations"]["description"]
    assert rule["annotations"]["description"].endswith(".")
    url, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert (url, anchor) == (RUNBOOK_URL, name.lower())
    assert anchor in sections()


@pytest.mark.parametrize("name", RULES)
def test_an_alert_asks_for_what_there_is(name: str) -> None:
    """Every series in an expression is one that the service exposes."""
    asked = names_in(RULES[name]["expr"])
    assert asked
    assert asked <= exposed_names()


def test_names_in_an_expression() -> None:
    """Functions, labels, matchers and words are no series."""
    asked = names_in('sum by (le) (rate(a_bucket{b="c", d=~"e|f"}[5m])) > 0.5 * on (g) h or absent(i) and bool == 1e3')
    assert asked == {"a_bucket", "h", "i"}


@pytest.mark.parametrize("name", RULES)
def test_a_section_says_what_to_look_at(name: str) -> None:
    """Every alert's section has queries of what there is, and says when it is no problem."""
    section = sections()[name.lower()]
    queries = re.findall(r"^```promql\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    asked = {series for query in queries for series in names_in(query)}
    assert asked
    assert asked <= exposed_names()
    assert "\nNo problem: " in section


def test_the_runbook_names_what_there_is() -> None:
    """Every setting that the runbook names is one, with the prefix or without."""
    settings = {variable_of(name) for name in Settings.model_fields}
    named = re.findall(r"`([A-Z]+_[A-Z_]+)[`=]", RUNBOOK.read_text(encoding="utf-8"))
    assert named
    assert {PREFIX + name.removeprefix(PREFIX) for name in named} <= settings


def test_the_runbook_names_every_reason() -> None:
    """Its table has each reason that `export_fail_total` and `spark_export_rejections_total` may show, and no other."""
    assert sorted(re.findall(r"^\| `(\w+)` \|", sections()["reasons"], re.MULTILINE)) == sorted(error_reasons())
