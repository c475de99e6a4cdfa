"""Asks a service on this machine whether it lives: the container's health check.

    python -m spark_export.health

Exit status 0 where it answers. Nothing but the standard library, since a container runs it every few seconds.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping

TIMEOUT_SECONDS = 4
LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on, not listening
DEFAULT_PORT = 4001


def main() -> None:
    """Ask; why it does not answer is the health check's output."""
    host, port = address_of(os.environ)
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/livez")
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"{host}:{port}: {error}")
    if answer.status != http.HTTPStatus.OK:
        sys.exit(f"{host}:{port}: {answer.status} {answer.read().decode(errors='replace').strip()}")


def address_of(environment: Mapping[str, str]) -> tuple[str, int]:
    """Where a service with these variables answers health checks."""

    def setting(name: str) -> str:
        return environment.get(f"SPARK_EXPORT_{name}", "")

    host = setting("OPS_HOST") if setting("OPS_PORT") else ""
    host = host or setting("HOST") or "127.0.0.1"
    port = setting("OPS_PORT") or setting("PORT")
    # Kubernetes sets SPARK_EXPORT_PORT=tcp://… beside a Service named spark-export: no setting, see settings.py.
    return LOOPBACK_OF.get(host, host), int(port) if port.isdigit() else DEFAULT_PORT


if __name__ == "__main__":
    main()
