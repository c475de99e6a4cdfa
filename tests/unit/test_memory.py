"""What memory the process holds, and what it may."""

from __future__ import annotations

from pathlib import Path

import pytest

from spark_export import memory


@pytest.mark.parametrize(
    ("text", "limit"),
    [("1073741824\n", 912_680_550), ("max\n", None), ("9223372036854771712\n", None), ("", None), (None, None)],
)
def test_the_containers_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, limit: int | None
) -> None:
    """The share of the limit of either version of cgroups; none where there is none."""
    first, second = tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes"
    monkeypatch.setattr(memory, "CGROUP_LIMITS", (str(first), str(second)))
    if text is not None:
        second.write_text(text, encoding="ascii")
    assert memory.container_limit_bytes() == limit
    if limit is not None:
        first.write_text(str(2**29), encoding="ascii")
        assert memory.container_limit_bytes() == int(2**29 * memory.SHARE_OF_LIMIT)


def test_resident_memory_is_this_processs() -> None:
    """It grows by what is held."""
    before = memory.resident_bytes()
    held = bytearray(b"x") * 50_000_000
    assert memory.resident_bytes() - before > 40_000_000
    assert len(held) == 50_000_000


def test_no_bound_holds() -> None:
    """Without a bound there is always room."""
    assert memory.MemoryBound(None).holds()


def test_over_the_bound_freed_memory_goes_back_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is really held counts; memory is not given back more than once a second."""
    now, resident, trims = [0.0], [150], []

    def trim() -> None:
        trims.append(now[0])
        resident[0] -= 100

    monkeypatch.setattr(memory, "resident_bytes", lambda: resident[0])
    monkeypatch.setattr(memory, "trim", trim)
    bound = memory.MemoryBound(100, lambda: now[0])
    assert (bound.holds(), trims) == (True, [0.0])
    resident[0] = 350
    assert (bound.holds(), trims) == (False, [0.0])
    now[0] = 1.0
    assert (bound.holds(), trims) == (False, [0.0, 1.0])
    resident[0] = 100
    assert bound.holds()


def test_trim_returns() -> None:
    """Giving back may be asked for at any time."""
    memory.trim()
