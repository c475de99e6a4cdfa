"""Receipts in bounded memory."""

from __future__ import annotations

from dataclasses import replace

from spark_export.model import Format
from spark_export.outcome import Outcome, State
from spark_export.receipts import Receipts


def outcome(number: int, caller: str = "a") -> Outcome:
    """An outcome that can be told from others."""
    return Outcome(f"e{number}", f"r{number}", caller, "::1", Format.CSV, None, "", State.COMPLETED, float(number))


def test_oldest_goes_first() -> None:
    """No more than the capacity is kept, and the oldest goes first."""
    receipts = Receipts(3, 60.0, lambda: 0.0)
    for number in range(5):
        receipts.finished(outcome(number))
    found = [receipts.get(f"e{number}") for number in range(5)]
    assert [each and each.export_id for each in found] == [None, None, "e2", "e3", "e4"]
    assert repr(receipts) == "<Receipts 3/3>"


def test_latest_of_a_caller() -> None:
    """A caller sees its own, newest first, and no more than it asks for."""
    receipts = Receipts(10, 60.0, lambda: 0.0)
    for number in range(6):
        receipts.finished(outcome(number, "ab"[number % 2]))
    assert [each.export_id for each in receipts.iter_of("a")][:2] == ["e4", "e2"]
    assert [each.export_id for each in receipts.iter_of("b")] == ["e5", "e3", "e1"]
    assert list(receipts.iter_of("c")) == []


def test_running_has_none() -> None:
    """Bytes on their way leave no receipt."""
    receipts = Receipts(1, 60.0, lambda: 0.0)
    receipts.wrote(Format.CSV, 5)
    assert (receipts.get("e0"), list(receipts.iter_of("a"))) == (None, [])


def test_too_old_is_forgotten() -> None:
    """A receipt is kept for its time, whether or not new ones come."""
    now = [0.0]
    receipts = Receipts(10, 60.0, lambda: now[0])
    receipts.finished(outcome(1))
    now[0] = 50.0
    receipts.finished(outcome(2))
    now[0] = 61.0
    assert (receipts.get("e1"), [each.export_id for each in receipts.iter_of("a")]) == (None, ["e2"])
    assert repr(receipts) == "<Receipts 1/10>"


def test_who_has_no_key_displaces_nothing() -> None:
    """However many requests come without a key, the receipts of the others stay."""
    receipts = Receipts(1, 60.0, lambda: 0.0)
    receipts.finished(outcome(1))
    receipts.finished(replace(outcome(2), state=State.INVALID, reason="unauthorized"))
    assert receipts.get("e1") is not None
    assert receipts.get("e2") is None
