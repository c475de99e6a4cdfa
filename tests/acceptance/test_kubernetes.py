"""docs/kubernetes.yaml is valid for Kubernetes, and right for the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml

from tests.acceptance.kinds import settings_of
from tests.integration.conftest import Start, free_port, start  # noqa: F401 - a fixture

MANIFEST: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "docs" / "kubernetes.yaml").read_text(encoding="utf-8")
)
POD = MANIFEST["spec"]["template"]["spec"]
EXPORT = next(each for each in POD["containers"] if each["name"] == "spark-export")
VARIABLES: dict[str, str] = {each["name"]: each["value"] for each in EXPORT["env"]}


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.37"])
def test_it_is_valid(version: str) -> None:
    """It fits the strict schema of that version, where every field is known."""
    kubernetes_validate.validate(MANIFEST, version, strict=True)


def test_a_misspelt_field_is_not() -> None:
    """The schema is one that knows what a container may hold."""
    wrong = {**MANIFEST, "spec": {**MANIFEST["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(wrong, "1.33", strict=True)


def test_it_may_end_in_peace() -> None:
    """The pod has longer than the hook and the drain together take."""
    hook = EXPORT["lifecycle"]["preStop"]["exec"]["command"]
    drain_seconds = settings_of(VARIABLES).drain_seconds
    assert POD["terminationGracePeriodSeconds"] > float(hook[-1]) + drain_seconds


def test_it_may_write_where_it_must() -> None:
    """The root is read-only, and the folder for temporary files is a volume."""
    context, mounts = EXPORT["securityContext"], {each["mountPath"]: each["name"] for each in EXPORT["volumeMounts"]}
    assert (context["readOnlyRootFilesystem"], context["runAsNonRoot"], context["runAsUser"]) == (True, True, 10001)
    assert mounts["/tmp"] in {each["name"] for each in POD["volumes"]}  # noqa: S108 - the container's


def test_the_probes_are_answered(start: Start) -> None:  # noqa: F811
    """A service with these variables answers each probe on the port of the probe, and exports on loopback alone."""
    given = settings_of(VARIABLES)
    ports = {each["name"]: each["containerPort"] for each in EXPORT["ports"]}
    probes = [EXPORT[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")]
    assert {ports[each["port"]] for each in probes} == {given.ops_port}
    assert given.host == "127.0.0.1"
    variables = {name.removeprefix("SPARK_EXPORT_"): value for name, value in VARIABLES.items()}
    port = free_port()
    server = start(**variables | {"OPS_PORT": str(port)})
    for each in probes:
        assert httpx.get(f"http://127.0.0.1:{port}{each['path']}").status_code == 200
    assert server.get("/export?dataset=trades&limit=1").status_code == 200
    assert server.get("/metrics").status_code == 404
