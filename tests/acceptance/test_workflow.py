"""The workflow holds no mistake that its checks know, and they do know some."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "export-ci.yml"
USES = re.compile(r"uses: (\S+)(.*)")
PINNED = re.compile(r"actions/[a-z-]+@[0-9a-f]{40}")


def check(workflow: Path) -> subprocess.CompletedProcess[str]:
    """What scripts/check_workflow says of a file."""
    return subprocess.run([ROOT / "scripts/check_workflow", workflow], capture_output=True, text=True)


def test_nothing_is_found() -> None:
    """The workflow passes, in silence."""
    found = check(WORKFLOW)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("line", "mistake", "complaint"),
    [
        ("${{ matrix.python }}", "${{ matrix.pyton }}", "pyton"),
        ("runs-on: ubuntu-24.04", "runs-on: ubuntu-99.04", "ubuntu-99.04"),
        ('>> "$GITHUB_STEP_SUMMARY"', ">> $GITHUB_STEP_SUMMARY", "SC2086"),
        ("permissions: {}", "permissions: write-all", "excessive-permissions"),
        ("persist-credentials: false", "fetch-depth: 1", "artipacked"),
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1", "@v7", "unpinned-uses"),
        ("run: scripts/test\n", "run: echo ${{ github.head_ref }}\n", "github.head_ref"),
    ],
)
def test_a_mistake_is_found(tmp_path: Path, line: str, mistake: str, complaint: str) -> None:
    """Each of these mistakes fails the check, which names it."""
    text = WORKFLOW.read_text(encoding="utf-8")
    assert line in text
    (tmp_path / "export-ci.yml").write_text(text.replace(line, mistake), encoding="utf-8")
    found = check(tmp_path / "export-ci.yml")
    assert found.returncode != 0
    assert complaint in found.stdout + found.stderr


def test_every_action_is_pinned() -> None:
    """Each action has a full commit, and the version that it is beside it; the same action the same everywhere."""
    used = USES.findall(WORKFLOW.read_text(encoding="utf-8"))
    assert used
    for action, comment in used:
        assert PINNED.fullmatch(action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action
    assert len(set(used)) == len({action.partition("@")[0] for action, _ in used})


def test_a_pipe_fails_with_its_parts() -> None:
    """Steps run in the shell of which the platform sets pipefail: what is piped to tee fails the job."""
    assert "\ndefaults:\n  run:\n    shell: bash\n" in WORKFLOW.read_text(encoding="utf-8")


def test_what_it_runs_is_there() -> None:
    """Each script of the project that a step runs exists."""
    scripts = set(re.findall(r"scripts/\w+(?:\.py)?", WORKFLOW.read_text(encoding="utf-8")))
    assert len(scripts) > 5
    assert {each for each in scripts if not (ROOT / each).is_file()} == set()
