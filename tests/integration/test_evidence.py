"""The report of measurements tells what was not measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EVIDENCE = Path(__file__).parents[2] / "scripts" / "evidence.py"


def report(folder: Path, docker: str) -> tuple[int, str]:
    """Exit status and report of the container's step, with such a `docker`."""
    tool = folder / "docker"
    tool.write_text(f"#!/bin/sh\n{docker}\n", encoding="utf-8")
    tool.chmod(0o700)
    command = [sys.executable, str(EVIDENCE), "--only", "image", str(folder / "evidence.md")]
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    return done.returncode, (folder / "evidence.md").read_text(encoding="utf-8")


def test_what_could_not_run_is_no_success(tmp_path: Path) -> None:
    """Without an engine the image's step is NOT RUN, and the status says so too."""
    status, text = report(tmp_path, "exit 1")
    assert status == 1
    assert "| Container image | NOT RUN |" in text
    assert "no Docker engine answers" in text


def test_what_failed_is_shown(tmp_path: Path) -> None:
    """A step that fails is FAILED, with its command and what it said."""
    status, text = report(tmp_path, '[ "$1" = info ] || { echo "no space left" >&2; exit 1; }')
    assert status == 1
    assert "| Container image | FAILED |" in text
    assert "$ .venv/bin/python scripts/check_image.py\nFAILED docker build -f Dockerfile.export" in text
