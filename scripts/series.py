"""The nine metrics of a service, before and after exports."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families
from smoke import Export, Unusable, reason_of

SERIES = {
    "export_requests_total": "counter",
    "export_latency_ms": "histogram",
    "export_bytes_total": "counter",
    "export_concurrent_running": "gauge",
    "export_queue_depth": "gauge",
    "export_fail_total": "counter",
    "export_memory_bytes": "gauge",
    "export_throughput_ops_per_sec": "gauge",
    "export_success_rate": "gauge",
}
COUNTED = (
    "export_requests_total",
    "export_bytes_total",
    "export_fail_total",
    "export_latency_ms_count",
    "export_latency_ms_bucket",
)

Sample = tuple[str, frozenset[tuple[str, str]]]
"""Name and labels."""


@dataclass(frozen=True)
class Scrape:
    """What /metrics said.

    Attributes:
        types: by the names of families that have a sample.
        samples: values by name and labels.
        fault: why there is nothing.
    """

    types: dict[str, str]
    samples: dict[Sample, float]
    fault: str | None = None

    def value(self, name: str) -> float:
        """The value of a sample without labels, NaN where there is none."""
        return self.samples.get((name, frozenset()), math.nan)


async def scrape(url: str) -> Scrape:
    """What /metrics says now.

    Raises:
        Unusable: nobody listens there.
    """
    try:
        async with httpx.AsyncClient() as client:  # it needs no key, and gets none
            response = (await client.get(url)).raise_for_status()
        families = list(text_string_to_metric_families(response.text))
    except httpx.HTTPStatusError as error:
        return Scrape({}, {}, f"{error.response.status_code} for {url}; --metrics-url names another")
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise Unusable(f"cannot reach {url}: {reason_of(error)}") from error
    except ValueError as error:
        return Scrape({}, {}, f"{url} does not parse: {reason_of(error)}")
    types = {name_of(family.name, family.type): family.type for family in families if family.samples}
    samples = [sample for family in families for sample in family.samples]
    return Scrape(types, {(each.name, frozenset(each.labels.items())): each.value for each in samples})


def name_of(family: str, metric_type: str) -> str:
    """A family's name as it is exposed: the parser takes `_total` from that of a counter."""
    return f"{family}_total" if metric_type == "counter" else family


def faults_of_series(before: Scrape, after: Scrape, exports: Sequence[Export], refusals: int) -> list[str]:
    """What is wrong with the nine, after the exports and so many refusals; nothing where all is right."""
    if unread := before.fault or after.fault:
        return [unread]
    return [*faults_of_types(after), *faults_of_moves(before, after, exports, refusals), *faults_of_gauges(after)]


def faults_of_types(scraped: Scrape) -> list[str]:
    """Which of the nine are not there, or of another type."""
    found = {name: scraped.types.get(name) or scraped.types.get(name.removesuffix("_total")) for name in SERIES}
    return [
        f"{name} is missing" if found[name] is None else f"{name} is of type {found[name]}, not {kind}"
        for name, kind in SERIES.items()
        if found[name] != kind
    ]


def faults_of_moves(before: Scrape, after: Scrape, exports: Sequence[Export], refusals: int) -> list[str]:
    """Which counters did not move by what was exported."""
    expected, moved = Counter[Sample](), Counter[Sample]()
    for each in exports:
        if each.fault is None:
            expected[sample("export_requests_total", format=each.format, outcome="completed")] += 1
            expected[sample("export_latency_ms_count", format=each.format)] += 1
            expected[sample("export_latency_ms_bucket", format=each.format, le="+Inf")] += 1
        expected[sample("export_bytes_total", format=each.format)] += each.bytes
    if refusals:
        expected[sample("export_requests_total", outcome="rejected")] = refusals
    for (name, labels), value in after.samples.items():
        if name in COUNTED and dict(labels).get("le", "+Inf") == "+Inf":
            # A refusal may come before or after the format is known.
            key = sample(name, outcome="rejected") if ("outcome", "rejected") in labels else (name, labels)
            moved[key] += int(value - before.samples.get((name, labels), 0))
    return [
        f"{text_of(each)} moved by {moved[each]:,} instead of {expected[each]:,}"
        for each in sorted(expected.keys() | moved.keys(), key=text_of)
        if moved[each] != expected[each]
    ]


def faults_of_gauges(scraped: Scrape) -> list[str]:
    """Which gauges show what cannot be, after the last export."""
    wanted: dict[str, Callable[[float], bool]] = {
        "export_concurrent_running": lambda value: value == 0,
        "export_queue_depth": lambda value: value == 0,
        "export_memory_bytes": lambda value: value > 0,
        "export_throughput_ops_per_sec": lambda value: value > 0,
        "export_success_rate": lambda value: 0 <= value <= 1,
    }
    values = {name: scraped.value(name) for name in wanted}
    return [f"{name} is {values[name]:g} after the last export" for name in wanted if not wanted[name](values[name])]


def sample(name: str, **labels: str) -> Sample:
    """A sample's key."""
    return name, frozenset(labels.items())


def text_of(key: Sample) -> str:
    """A sample as Prometheus writes it, less the quotes."""
    return f"{key[0]}{{{','.join(f'{name}={value}' for name, value in sorted(key[1]))}}}"
