"""What changed between two points, and the event that did it, are what folds in Python find."""

from __future__ import annotations

import json
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.errors import DifferenceError, MisfitError, UsageError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.states import differences, folding, snapshot_care
from tests.logs import day, event, fresh, hold, put
from tests.states.conftest import ORDER, value

# Differences


def leaves(state: Any, path: str = "") -> dict[str, Any]:
    """Path -> value of what a state holds; empty objects and arrays are values."""
    if isinstance(state, dict) and state:
        inner = [(f"{path}.{name}" if path else name, value) for name, value in state.items()]
    elif isinstance(state, list) and state:
        inner = [(f"{path}[{n}]", value) for n, value in enumerate(state)]
    else:
        return {path: state}
    return {key: leaf for where, value in inner for key, leaf in leaves(value, where).items()}


def followed(state: Any, path: str) -> Any:
    """The JSON text of what stands at a path, `$` being all of it; None where nothing does."""
    path = path.removeprefix("$")
    for part in path.replace("[", ".[").split(".") if path else ():
        try:
            if part.startswith("["):
                if not isinstance(state, list):
                    return None
                state = state[int(part[1:-1])]
            else:
                if not isinstance(state, dict):
                    return None
                state = state[part]
        except (KeyError, IndexError):
            return None
    return json.dumps(state, separators=(",", ":"))


JOURNAL = """
[aggregate.journal]
streams = "j-*"
[aggregate.journal.on.Set]
merge = "$"
[aggregate.journal.on.Noted]
append = { notes = "$.a" }
[aggregate.journal.on.Gone]
remove = ["a", "b"]
"""
entry = st.tuples(
    st.sampled_from(["Set", "Set", "Noted", "Gone"]),
    st.dictionaries(
        st.sampled_from("abc"), st.integers(0, 2) | st.dictionaries(st.sampled_from("xy"), st.integers(0, 2))
    ),
)


@settings(max_examples=60)
@given(entries=st.lists(entry, min_size=1, max_size=8), low=st.integers(0, 8), high=st.integers(0, 8))
def test_a_difference_names_the_event_after_which_the_path_kept_its_value(
    entries: list[tuple[str, dict[str, Any]]], low: int, high: int
) -> None:
    low, high = sorted((min(low, len(entries)), min(high, len(entries))))
    with fresh() as log:
        hold(log, JOURNAL)
        put(log, *(event("j-1", *one) for one in entries))
        states = [{}, *(value(s) for s in folding.each(log, Query(stream="j-1")))]
        changes = differences.diff(log, Query(stream="j-1", until_version=low), Query(stream="j-1", until_version=high))
        before, after = states[low], states[high]
        differing = {p for p in {*leaves(before), *leaves(after)} if p and followed(before, p) != followed(after, p)}
        starts = {p: {(followed(state, p) or "")[:1] for state in (before, after)} for p in differing}
        emptied = {p for p in differing if starts[p] in ({"{"}, {"["})}  # what was in it is told instead
        assert {change.path for change in changes} >= {p for p in differing - emptied if p in leaves(after)}
        assert bool(changes) == (before != after)
        for change in changes:
            assert (change.before, change.after) == (followed(before, change.path), followed(after, change.path))
            seen = [followed(state, change.path) == change.after for state in states[: high + 1]]
            made = max(n for n, (had, has) in enumerate(pairwise(seen), 1) if not had and has)
            assert (change.position, change.type) == (made + 1, entries[made - 1][0])


def test_between_equal_states_there_is_no_difference(shop: EventLog) -> None:
    assert differences.diff(shop, Query(stream="order-1"), Query(stream="order-1")) == []


@pytest.mark.parametrize(
    ("opening", "closing", "step"), [('{"a b":', "}", '."a b"'), ("[", "]", "[0]"), ('{"k":', "}", ".k")]
)
def test_states_of_1000_levels_are_compared(log: EventLog, opening: str, closing: str, step: str) -> None:
    deep = [f'{{"n":{opening * 999}{value}{closing * 999}}}' for value in ("1.50", '"x"', "2")]
    put(log, *(event("s-1")._replace(data=data) for data in deep))
    (change,) = differences.diff(log, Query(stream="s-1", until_version=1), Query(stream="s-1", until_version=2))
    assert (change.before, change.after, change.position) == ("1.50", '"x"', 2)
    assert change.path == "n" + step * 999


def test_a_difference_can_be_looked_at_backwards(shop: EventLog) -> None:
    found = differences.diff(shop, Query(stream="order-1"), Query(stream="order-1", until_version=2))
    assert [tuple(change) for change in found] == [("paid", "30", "10", 5, "Paid")]


def test_a_difference_between_times_is_of_what_happened_by_then(shop: EventLog) -> None:
    since, until = (Query(stream="order-1", until_time=day(n)) for n in (1, 4))
    found = differences.diff(shop, since, until)
    assert [tuple(change) for change in found] == [
        ("paid", None, "20", 6, "Paid"), ("status", '"Placed"', '"Paid"', 6, "Paid")
    ]  # fmt: skip


# Bisection


@settings(max_examples=40)
@given(
    numbers=st.lists(st.integers(1, 3), min_size=1, max_size=12),
    bound=st.integers(1, 20),
    taken=st.sets(st.integers(1, 12)),
)
def test_bisect_finds_the_first_event_after_which_what_stays_true_is_true(
    numbers: list[int], bound: int, taken: set[int]
) -> None:
    with fresh() as log:
        hold(log, ORDER)
        for n, number in enumerate(numbers, 1):
            put(log, event("order-1", "Paid", {"amount": number}))
            if n in taken:
                snapshot_care.take(log, "order-1")
        states = [(s.version, s.state) for s in folding.each(log, Query(stream="order-1"))]
        expected = next(((v, s) for v, s in states if json.loads(s)["paid"] >= bound), None)
        for monotonic in (True, False):
            when = f"state ->> 'paid' >= {bound}"
            try:
                found = differences.bisect(log, Query(stream="order-1"), when, monotonic=monotonic)
            except DifferenceError:
                assert expected is None
            else:
                assert (found.version, found.state) == expected


@settings(max_examples=40)
@given(
    numbers=st.lists(st.integers(-9, 9), min_size=1, max_size=12),
    bound=st.integers(-9, 9),
    taken=st.sets(st.integers(1, 12)),
)
def test_bisect_finds_the_first_event_of_all_whatever_snapshots_there_are(
    numbers: list[int], bound: int, taken: set[int]
) -> None:
    with fresh() as log:
        hold(log, ORDER)
        for n, number in enumerate(numbers, 1):
            put(log, event("order-1", "Paid", {"amount": number}))
            if n in taken:
                snapshot_care.take(log, "order-1")
        sums = list(accumulate(numbers))
        expected = next((version for version, paid in enumerate(sums, 1) if paid < bound), None)
        try:
            found = differences.bisect(log, Query(stream="order-1"), f"state ->> 'paid' < {bound}")
        except DifferenceError:
            assert expected is None
        else:
            assert (found.version, found.looked, found.folded) == (expected, 0, expected)


def test_monotonic_bisect_with_snapshots_folds_little(log: EventLog) -> None:
    hold(log, ORDER)
    for _ in range(8):
        put(log, *(event("order-1", "Paid", {"amount": 1}) for _ in range(10)))
        snapshot_care.take(log, "order-1")
    found = differences.bisect(log, Query(stream="order-1"), "state ->> 'paid' >= 55", monotonic=True)
    assert (found.version, found.folded) == (55, 5)
    assert 0 < found.looked <= 4


def test_bisect_without_snapshots_finds_what_was_true_for_a_moment(log: EventLog) -> None:
    put(log, *(event("s-1", "T", {"n": n}) for n in (1, 2, 9, 3)))
    assert differences.bisect(log, Query(stream="s-1"), "state ->> 'n' = 9").version == 3


def test_bisect_looks_no_further_than_its_point(log: EventLog) -> None:
    put(log, *(event("s-1", "T", {"n": n}) for n in (1, 2, 9)))
    with pytest.raises(DifferenceError, match="after no event of s-1"):
        differences.bisect(log, Query(stream="s-1", until_version=2), "state ->> 'n' = 9")


def test_bisect_takes_every_column_that_it_says_a_condition_is_over(log: EventLog) -> None:
    put(log, *(event("s-1", "T", {"n": n}) for n in range(5)))
    asked = "stream = 's-1' and version >= 3 and position >= 3 and time > '2026' and state ->> 'n' > 0"
    assert differences.bisect(log, Query(stream="s-1"), asked).version == 3


@pytest.mark.parametrize("condition", ["state ->>", "nothing = 1", "(select 1)", "random() > 0", "1; select 1"])
def test_bisect_refuses_what_is_no_condition(log: EventLog, condition: str) -> None:
    put(log, event("s-1"))
    with pytest.raises(UsageError, match="--when"):
        differences.bisect(log, Query(stream="s-1"), condition)


def test_a_condition_that_fails_on_some_state_is_the_users_to_mend(log: EventLog) -> None:
    put(log, event("s-1", "T", {"n": -(2**63)}))
    with pytest.raises(UsageError, match="overflow"):
        differences.bisect(log, Query(stream="s-1"), "abs(state ->> 'n') > 5")


def test_a_condition_need_not_be_decidable_after_the_first_event_that_meets_it(log: EventLog) -> None:
    put(log, *(event("s-1", "T", {"n": n}) for n in (1, 9, -(2**63))))
    assert differences.bisect(log, Query(stream="s-1"), "abs(state ->> 'n') > 5").version == 2


# Misfits

SUMS = """
[aggregate.sum]
streams = "s-*"
[aggregate.sum.on.T]
add = { n = "$.v" }
compute = { parsed = "json(new.data ->> 's')" }
"""
MISFITS = [{"v": "x"}, {"v": 1, "s": "{"}]


def misfitting(log: EventLog, before: int, misfit: dict[str, object], after: int = 2) -> None:
    """A stream whose event of version `before` + 1 cannot be folded."""
    put(log, *(event("s-1", "T", {"v": 1}) for _ in range(before)))
    put(log, event("s-1", "T", misfit), *(event("s-1", "T", {"v": 1}) for _ in range(after)))
    hold(log, SUMS)


@pytest.mark.parametrize("monotonic", [True, False])
@pytest.mark.parametrize("misfit", MISFITS)
@pytest.mark.parametrize(("before", "wanted"), [(2, 1), (2, 2), (300, 299), (300, 300), (260, 3)])
def test_bisect_finds_what_lies_before_an_event_that_cannot_be_folded(
    log: EventLog, before: int, wanted: int, misfit: dict[str, object], monotonic: bool
) -> None:
    misfitting(log, before, misfit)
    found = differences.bisect(log, Query(stream="s-1"), f"state ->> 'n' >= {wanted}", monotonic=monotonic)
    assert (found.version, json.loads(found.state)["n"]) == (wanted, wanted)


@pytest.mark.parametrize("misfit", MISFITS)
@pytest.mark.parametrize("before", [0, 2, 300])
def test_bisect_names_the_event_that_cannot_be_folded_if_nothing_holds_before_it(
    log: EventLog, before: int, misfit: dict[str, object]
) -> None:
    misfitting(log, before, misfit)
    with pytest.raises(MisfitError) as caught:
        differences.bisect(log, Query(stream="s-1"), f"state ->> 'n' > {before}")
    assert f"the event at position {before + 1}" in caught.value.what
    assert caught.value.details["position"] == before + 1
    step = "add.n" if misfit["v"] == "x" else "compute.parsed"
    assert caught.value.details["field"] == f"aggregate.sum.on.T.{step}"


def test_a_difference_between_points_before_a_misfit_is_found(log: EventLog) -> None:
    misfitting(log, 3, {"v": "x"})
    since, until = (Query(stream="s-1", until_version=version) for version in (1, 3))
    assert [change[:4] for change in differences.diff(log, since, until)] == [("n", "1", "3", 3)]
    with pytest.raises(MisfitError, match="the event at position 4") as caught:
        differences.diff(log, since, Query(stream="s-1"))
    assert caught.value.details["position"] == 4
