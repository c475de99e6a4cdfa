"""The folder for temporary files: one's own, and never left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spark_export.spool import PREFIX, open_spool

HOLD = """
import sys, pathlib
from spark_export.spool import open_spool
with open_spool(pathlib.Path(sys.argv[1])) as folder:
    (folder / "spilled").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_removed_at_the_end(tmp_path: Path) -> None:
    """The folder is there while the block runs, and gone after it, also where it failed."""

    def fill() -> None:
        with open_spool(tmp_path) as folder:
            (folder / "spilled").write_bytes(b"x")
            assert folder.parent == tmp_path
            raise KeyError

    with pytest.raises(KeyError):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """The next start removes the folder of a process that was killed, and leaves that of one that lives, and others."""
    (tmp_path / f"{PREFIX}notes").mkdir()
    (tmp_path / f"{PREFIX}file").write_bytes(b"")
    holders = [
        subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    folders = []
    for holder in holders:
        assert holder.stdout is not None
        folders.append(Path(holder.stdout.readline().decode().strip()))
    holders[0].kill()
    holders[0].wait()
    assert (folders[0] / "spilled").exists()
    with open_spool(tmp_path) as own:
        assert not folders[0].exists()
        assert (folders[1] / "spilled").exists()
        assert {each.name for each in tmp_path.iterdir()} == {
            own.name, folders[1].name, f"{PREFIX}notes", f"{PREFIX}file"}  # fmt: skip
    for holder in holders:
        holder.communicate()
    assert not folders[1].exists()
