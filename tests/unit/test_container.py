"""The container's files, by the tools of their formats; `scripts/check_image.py` builds and runs the image."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from spark_export import __version__
from spark_export.health import address_of

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
DOCKERFILE = ROOT / "Dockerfile.export"
COMPOSE = ROOT / "docker-compose.export.yml"
EVERY = "0.0.0.0"  # noqa: S104 - what a container listens on


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """A tool, with what it says."""
    return subprocess.run(command, capture_output=True, text=True, check=False)


def compose_schema_says(path: Path) -> subprocess.CompletedProcess[str]:
    """The compose specification's own schema, on a file."""
    return run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)


def test_the_dockerfile_is_clean() -> None:
    """Nothing is found by hadolint."""
    found = run(BIN / "hadolint", DOCKERFILE)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_compose_file_is_valid() -> None:
    """It fits the compose specification's schema."""
    found = compose_schema_says(COMPOSE)
    assert found.returncode == 0, found.stdout


def test_the_compose_schema_is_looked_at(tmp_path: Path) -> None:
    """A misspelt key is found."""
    broken = tmp_path / "compose.yml"
    broken.write_text(COMPOSE.read_text(encoding="utf-8").replace("read_only:", "readonly:"), encoding="utf-8")
    assert "readonly" in compose_schema_says(broken).stdout


def test_the_image_has_the_version() -> None:
    """The image's label and name, the distribution and the package speak of one version."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    label = re.findall(r'image\.version="(.*?)"', DOCKERFILE.read_text(encoding="utf-8"))
    assert [version, *label] == [__version__, __version__]
    assert f"image: spark-export:v{__version__.rpartition('.')[0]}\n" in COMPOSE.read_text(encoding="utf-8")


def test_the_base_is_the_same_in_both_stages() -> None:
    """What is compiled for one Python runs on the same, and nothing asks for a frontend that would be pulled."""
    lines = DOCKERFILE.read_text(encoding="utf-8").splitlines()
    assert {line.split()[1] for line in lines if line.startswith("FROM")} == {"python:3.12-slim-bookworm"}
    assert "syntax=" not in lines[0]


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, ("127.0.0.1", 4001)),
        ({"HOST": EVERY}, ("127.0.0.1", 4001)),
        ({"HOST": "::", "PORT": "80"}, ("::1", 80)),
        ({"HOST": "10.0.0.7", "PORT": ""}, ("10.0.0.7", 4001)),
        ({"PORT": "tcp://10.0.0.7:4001"}, ("127.0.0.1", 4001)),
        ({"HOST": EVERY, "OPS_PORT": "9000"}, ("127.0.0.1", 9000)),
        ({"HOST": "10.0.0.7", "OPS_PORT": "9000", "OPS_HOST": "127.0.0.1"}, ("127.0.0.1", 9000)),
        ({"HOST": "10.0.0.7", "OPS_HOST": "127.0.0.1"}, ("10.0.0.7", 4001)),
    ],
)
def test_the_health_check_asks_where_health_is(variables: dict[str, str], address: tuple[str, int]) -> None:
    """The health check follows the settings, and reaches what listens on every address by loopback."""
    assert address_of({f"SPARK_EXPORT_{name}": value for name, value in variables.items()}) == address
