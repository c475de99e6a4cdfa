"""How slow a client may be, by arithmetic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spark_export.api.pace import CREDIT_BYTES, GRACE_SECONDS, Pace


def seconds_until_lost(least: float, moved_bytes: int, every: int = 1, most: int = 1000) -> int | None:
    """After how many seconds a client that moves so many bytes every so many seconds is too slow."""
    pace = Pace(least)
    for second in range(1, most):
        if not pace.is_kept(1.0, moved_bytes if second % every == 0 else 0):
            return second
    return None


def test_who_stands_still_is_lost_after_the_grace() -> None:
    """A client that moves nothing has the grace and no more."""
    assert seconds_until_lost(500, 0) == GRACE_SECONDS + 1


def test_who_is_fast_enough_stays() -> None:
    """A client at the least speed stays for ever, however unevenly its bytes come."""
    assert seconds_until_lost(1000, 1000) is None
    assert seconds_until_lost(1000, 25_000, every=25) is None


def test_half_the_speed_is_too_slow() -> None:
    """A client at half the least speed is lost after twice the grace."""
    assert seconds_until_lost(1000, 500) == 2 * GRACE_SECONDS + 1


@given(st.integers(1, 10_000_000), st.integers(0, 10**12))
def test_credit_is_bounded(least: int, before: int) -> None:
    """Whoever was fast once may stand still for the grace and what the credit is worth, whatever it was before."""
    pace = Pace(least)
    assert pace.is_kept(1.0, before + least)
    assert not pace.is_kept(GRACE_SECONDS + CREDIT_BYTES / least + 0.001, 0) or before == 0


def test_who_has_everything_owes_nothing() -> None:
    """While a source is slow its client is not."""
    pace = Pace(1000)
    assert pace.is_kept(GRACE_SECONDS, 0)
    pace.owes_nothing()
    assert pace.is_kept(GRACE_SECONDS, 0)


def test_any_speed() -> None:
    """Without a bound nobody is too slow."""
    assert Pace(None).is_kept(1e9, 0)
