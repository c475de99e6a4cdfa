"""The README does what it says."""

from __future__ import annotations

import csv
import re
import subprocess
from pathlib import Path

from spark_export.settings import Settings, variable_of
from tests.integration.conftest import Server, Start, start  # noqa: F401 - a fixture

README = Path(__file__).parents[2] / "README.md"


def test_the_curls_export(start: Start, tmp_path: Path) -> None:  # noqa: F811
    """Each curl of the README makes the file that it names."""
    server: Server = start()
    block = next(
        each for each in re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL) if "curl" in each
    )
    script = block.replace("http://127.0.0.1:4001", server.url).replace("curl ", "curl -sSf ")
    subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, check=True)
    with (tmp_path / "trades.csv").open(encoding="utf-8", newline="") as file:
        assert sum(1 for _ in csv.reader(file)) == 10_001
    subprocess.run(["qpdf", "--check", "trades.pdf"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "orders.csv").read_bytes() == "id,note\r\n1,İlk emir\r\n2,\r\n".encode()


def test_the_settings_table_is_of_the_settings() -> None:
    """What the README's table says of a setting is its description."""
    shown = re.findall(r"^\| `([A-Z]\w+)` \| .*? \| (.*) \|$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(shown) > 4
    assert set(shown) <= {(variable_of(name), field.description) for name, field in Settings.model_fields.items()}
