"""The container's health check against a service, without the container."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.parse import urlsplit

from tests.integration.conftest import Server, Start, free_port


def check(**settings: str) -> subprocess.CompletedProcess[str]:
    """The health check with these settings."""
    environment = os.environ | {f"SPARK_EXPORT_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "spark_export.health"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_living_service_is_healthy(server: Server) -> None:
    """Status 0, and not a word."""
    found = check(PORT=str(urlsplit(server.url).port))
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_health_moves_with_the_ops_port(start: Start) -> None:
    """It is asked on OPS_PORT; the main port has no health then, which is told."""
    ops = str(free_port())
    port = str(urlsplit(start(OPS_PORT=ops).url).port)
    assert check(PORT=port, OPS_PORT=ops).returncode == 0
    wrong = check(PORT=port)
    assert wrong.returncode == 1
    assert f"127.0.0.1:{port}: 404" in wrong.stderr


def test_nobody_there_is_unhealthy() -> None:
    """Status 1, and one line that says where was asked."""
    port = str(free_port())
    found = check(PORT=port)
    assert found.returncode == 1
    assert found.stderr.startswith(f"127.0.0.1:{port}: ")
    assert found.stderr.count("\n") == 1
