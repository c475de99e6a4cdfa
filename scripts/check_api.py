"""Has schemathesis ask the service everything that its OpenAPI document allows, and much that it does not.

    .venv/bin/python scripts/check_api.py [--seed 1] [--max-examples 40]

Starts the service on a free port, runs all checks in all phases over all of /openapi.json, prints how many cases were
run and how many checks failed, by what the service said. Further arguments go to `schemathesis run`.
Exit status 0 when nothing did.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from service import running_service

CONFIG = """
# What a schema cannot say: whether a column is in the rows, a name is a time zone, a filter fits its column's type,
# bytes are CSV or Parquet.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 400, 401, 403, 404, 406, 413, 422, 429, 503]
# A request that breaks the schema may break a bound on its size first.
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 413, 415, 422, 429, 503]
"""
BIN = Path(sys.executable).parent
RUN_SECONDS = 540
REQUEST_SECONDS = 30
DETAIL_CHARACTERS = 90


def main(arguments: Sequence[str]) -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-examples", type=int, default=40)
    given, more = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory() as name, running_service(log=(log := Path(name) / "log")) as service:
        events, config = Path(name) / "events.ndjson", Path(name) / "schemathesis.toml"
        config.write_text(CONFIG, encoding="utf-8")
        command: list[str | Path] = [
            BIN / "schemathesis", "--config-file", config, "--no-color", "run", f"{service.url}/openapi.json",
            "--checks", "all", "--phases", "examples,coverage,fuzzing,stateful", "--mode", "all",
            "--seed", str(given.seed), "--max-examples", str(given.max_examples), "--continue-on-failure",
            "--request-timeout", str(REQUEST_SECONDS), "--suppress-health-check", "all",
            "--generation-database", "none", "--output-sanitize", "false",
            "--report", "ndjson", "--report-ndjson-path", events, *more,
        ]  # fmt: skip
        # Its own report is shown only where something failed: its last line reads like a test run's without tests.
        said = subprocess.run(
            command, check=False, timeout=RUN_SECONDS, cwd=name, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        cases, failed = counts_of(events)
        logged = log.read_text(encoding="utf-8")
    if said.returncode:
        print(said.stdout.decode())
    for what, times in failed.most_common():
        print(f"{times:5} {what}")
    print(f"{cases} cases, {sum(failed.values())} failed checks of {len(failed)} kinds")
    if "Traceback" in logged:
        print(logged)
        return 1
    return said.returncode


def counts_of(events: Path) -> tuple[int, Counter[str]]:
    """How many cases were sent, and the failures by check, operation and what the service said.

    Args:
        events: schemathesis' own record of the run, a JSON object a line.
    """
    cases, failed = 0, Counter[str]()
    for line in events.read_text(encoding="utf-8").splitlines():
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        interactions = recorder.get("interactions", {})
        cases += len(interactions)
        for case, checks in recorder.get("checks", {}).items():
            said = summary_of(interactions.get(case, {}))
            failed.update(f"{check['name']}: {said}" for check in checks if check["status"] == "failure")
    return cases, failed


def summary_of(interaction: dict[str, Any]) -> str:
    """Method, path, status and the problem's detail."""
    request, response = interaction.get("request", {}), interaction.get("response") or {}
    content = response.get("content") or ""
    text = base64.b64decode(content["$base64"]).decode(errors="replace") if isinstance(content, dict) else str(content)
    try:
        detail = json.loads(text)["detail"]
    except (ValueError, KeyError, TypeError):
        detail = text
    path = urlsplit(request.get("uri", "")).path
    return f"{request.get('method')} {path} {response.get('status_code')} {str(detail)[:DETAIL_CHARACTERS]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
