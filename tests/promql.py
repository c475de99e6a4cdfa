"""Names of series: those that an expression asks for, and those that the service exposes."""

from __future__ import annotations

import re
import time

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from spark_export.admission.gate import Gate
from spark_export.memory import MemoryBound
from spark_export.metrics import Metrics

NO_NAMES = re.compile(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)')
"""Where an expression has names of labels, or no names: texts, matchers, ranges, groupings."""
NAME = re.compile(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()")
WORDS = {"and", "or", "unless", "bool", "offset", "Inf", "NaN"}


def names_in(expression: str) -> set[str]:
    """The series that a PromQL expression asks for."""
    return {name for name in NAME.findall(NO_NAMES.sub(" ", expression)) if name not in WORDS}


def exposed_names() -> set[str]:
    """Every series that Prometheus has of a service: those on its /metrics, and `up`."""
    return {"up", *(sample.name for family in exposed_families() for sample in family.samples)}


def exposed_families() -> list[Metric]:
    """What a service shows on its /metrics before the first export."""
    metrics = Metrics(Gate(1, 1, 1.0, time.monotonic), MemoryBound(None), time.monotonic)
    metrics.show_jobs(lambda: 0, lambda: 0, lambda: 0)
    return list(text_string_to_metric_families(metrics.render().decode()))
