"""Turns: whose it is, and how long it is until one's own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spark_export.admission.turns import Turns

PLACES = st.lists(st.tuples(st.sampled_from("abc"), st.integers()), unique_by=lambda each: each[1])


def turns_of(places: list[tuple[str, int]]) -> Turns[int]:
    """Turns with these places."""
    turns: Turns[int] = Turns()
    for caller, item in places:
        turns.add(caller, item)
    return turns


@given(PLACES)
def test_a_place_is_the_number_of_turns_until_it(places: list[tuple[str, int]]) -> None:
    """Whoever has place n is the n-th to be taken."""
    turns = turns_of(places)
    told = {item: turns.place(caller, item) for caller, item in places}
    taken = [turns.take() for _ in places]
    assert {item: count for count, item in enumerate(taken, 1)} == told
    assert (turns.take(), len(turns)) == (None, 0)


def test_turns_go_round_the_callers() -> None:
    """A caller with many places does not hold back one with few, and keeps the order of its own."""
    turns = turns_of([("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("c", 6)])
    assert [turns.take() for _ in range(6)] == [1, 4, 5, 2, 6, 3]


@given(PLACES, st.data())
def test_a_place_that_is_given_up_is_nobodys(places: list[tuple[str, int]], data: st.DataObject) -> None:
    """What was removed is never taken, and the others are taken in the order that they had."""
    turns = turns_of(places)
    gone = data.draw(st.sampled_from(places)) if places else ("a", 0)
    assert turns.remove(*gone) == bool(places)
    assert not turns.remove(*gone)
    assert turns.place(*gone) is None
    assert sorted(turns) == sorted(item for _, item in places if item != gone[1])


def test_who_holds_most() -> None:
    """The greediest is named, but for the one who is not to be."""
    turns = turns_of([("a", 1), ("b", 2), ("b", 3), ("c", 4)])
    assert (turns.greediest(but="a"), turns.greediest(but="b")) in {("b", "a"), ("b", "c")}
    assert turns.take_last("b") == 3
    assert (turns.held_by("b"), Turns[int]().greediest(but="a")) == (1, None)
