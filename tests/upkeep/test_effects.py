"""The plan of an erasure says what will differ, which is what differs afterwards, and what stays."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.archive import creation, tidying
from esctl.errors import EsctlError
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.points.marks import set_mark
from esctl.states import folding
from esctl.states.snapshot_care import take
from esctl.upkeep import copies, effects, erasure
from tests.conftest import write_empty_log
from tests.logs import event, hold, put, run

LEDGER = """
[aggregate.account]
streams = "account-*"
initial = { status = "none", balance = 0 }
on.Opened.set = { status = "open", full_name = "$.name" }
on.Moved.add = { balance = "$.amount" }
on.Moved.set = { "last.by" = "$.name" }
[event.Moved]
schema = 2
[[event.Moved.upcast]]
from = 1
drop = true
when = "new.data ->> 'amount' = 0"
[[event.Both.upcast]]
from = 1
split = [{ type = "Opened" }, { type = "Moved", schema = 2 }]
[projection.balances]
table = "create table balances(account text primary key, balance)"
on.Opened = "insert or ignore into balances values (new.stream, 0)"
on.Moved = "update balances set balance = balance + (new.data ->> 'amount') where account = new.stream"
[projection.moves]
table = "create table moves(name text, amount)"
on.Moved = "insert into moves values (new.data ->> 'name', new.data ->> 'amount')"
"""
TABLES = ("balances", "moves")

happening = st.tuples(
    st.sampled_from(["account-a", "account-b", "note-a"]),
    st.sampled_from(["Opened", "Moved", "Both"]),
    st.fixed_dictionaries({"name": st.sampled_from(["Ada", "Bob"]), "amount": st.integers(0, 3)}),
)


def states(log: EventLog) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for stream, _ in list(log.store.facts().matching("*")):
        try:
            found[stream] = json.loads(folding.state(log, Query(stream=stream), saved=False).state)
        except EsctlError as error:
            found[stream] = error.kind
    return found


def rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(apsw.Connection(str(path))) as connection:
        return {t: sorted(connection.execute(f"select * from {t}"), key=str) for t in TABLES}


def surplus(one: list[Any], other: list[Any]) -> list[Any]:
    """The rows that occur more often in one list."""
    return list((Counter(one) - Counter(other)).elements())


def planned(log: EventLog, positions: list[int]) -> tuple[erasure.Plan, effects.Effects]:
    plan = erasure.named(log, [str(position) for position in positions], force=True)
    found = effects.Effects()
    for _ in effects.compare(log, plan, found):
        pass
    return plan, found


@settings(max_examples=30)
@given(
    happened=st.lists(happening, min_size=1, max_size=12),
    erased=st.sets(st.integers(1, 12), min_size=1),
    archived=st.integers(0, 8),
    snapshots=st.booleans(),
)
def test_what_will_differ_is_what_differs_afterwards(
    happened: list[tuple[str, str, dict[str, Any]]], erased: set[int], archived: int, snapshots: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        write_empty_log(path)
        with EventLog(path, write=True) as log:
            put(log, *(event(*one, schema=1) for one in happened))
            hold(log, LEDGER)
            run(log)
            if snapshots:
                take(log, happened[0][0])
            if archived:
                list(creation.create(log, [(1, min(archived, len(happened)))]))
            plan, found = planned(log, [n for n in erased if n <= len(happened)] or [1])
            before, rows_before = states(log), rows(path)
            list(erasure.erase(log, plan.positions, "asked"))
            erasure.scrub(log)
            after, rows_after = states(log), rows(path)
        differing = {stream for stream in before if before[stream] != after[stream]}
        assert {change.stream for change in found.first_states} == differing
        assert found.states == len(differing)
        was, is_ = dict(rows_before["balances"]), dict(rows_after["balances"])
        assert {(c.key["account"], c.change) for c in found.first_rows if c.table == "balances"} == {
            (account, "gone" if account not in is_ else "added" if account not in was else "changed")
            for account in {*was, *is_}
            if (account in was, was.get(account)) != (account in is_, is_.get(account))
        }
        gone = surplus(rows_before["moves"], rows_after["moves"])
        assert sorted(tuple(c.key.values()) for c in found.first_rows if c.table == "moves") == sorted(gone)
        assert found.rows == len(found.first_rows)


def test_a_state_is_described_by_the_paths_that_differ(log: EventLog) -> None:
    put(log, event("account-a", "Opened", {"name": "Ada"}), event("account-a", "Moved", {"amount": 5, "name": "Ada"}))
    put(log, event("note-a", "Written", {"long_text": "x"}))
    hold(log, LEDGER)
    _, found = planned(log, [1, 3])
    assert [(c.stream, c.aggregate) for c in found.first_states] == [("note-a", None), ("account-a", "account")]
    assert found.first_states[0].paths == ["long_text"]
    assert "full_name" in found.first_states[1].paths
    assert "balance" not in found.first_states[1].paths


def test_an_event_that_could_not_be_folded_changes_its_state_when_it_is_erased(log: EventLog) -> None:
    put(log, event("account-a", "Moved", {"amount": 5}), event("account-a", "Moved", {"amount": "much"}))
    hold(log, LEDGER.partition("[projection")[0])
    assert planned(log, [2])[1].first_states == [effects.StateChange("account-a", "account", [])]
    assert planned(log, [1])[1].states == 0  # it cannot be folded either way


def test_everything_is_counted_and_the_first_are_listed(log: EventLog) -> None:
    put(log, *(event(f"account-{n:03}", "Opened", {"name": "x"}) for n in range(100)))
    hold(log, LEDGER)
    _, found = planned(log, list(range(1, 101)))
    assert found.states == 100
    assert [change.stream for change in found.first_states] == [f"account-{n:03}" for n in range(effects.FIRST)]
    assert found.rows in (0, 100)  # whether handlers get erased events is the model's matter


def test_a_projection_that_a_handler_stops_is_named_and_the_others_are_compared(log: EventLog) -> None:
    put(log, event("account-a", "Opened", {"name": "Ada"}), event("account-a", "Moved", {"amount": 1, "name": "x"}))
    strict = '[projection.strict]\ntable = "create table strict(a not null)"\n'
    hold(log, LEDGER + strict + "on.Moved = \"insert into strict values (new.data ->> 'none')\"\n")
    _, found = planned(log, [2])
    assert list(found.unknown) == ["strict"]
    assert {change.projection for change in found.first_rows} == {"balances", "moves"}


def test_a_key_may_be_a_blob_or_null(log: EventLog) -> None:
    put(log, event("account-a", "Moved", {"amount": 1, "name": "x"}))
    hold(
        log,
        '[projection.blobs]\ntable = "create table blobs(b, n)"\n'
        "on.Moved = \"insert into blobs values (cast(new.data ->> 'name' as blob), null)\"\n",
    )
    rows_: Any = planned(log, [1])[1].record()["first_rows"]
    assert json.loads(json.dumps(rows_)) == [
        {"projection": "blobs", "table": "blobs", "change": "gone", "key": {"b": "78", "n": None}}
    ]


def test_nothing_is_written(log: EventLog, log_path: Path) -> None:
    put(log, event("account-a", "Opened", {"name": "Ada"}))
    hold(log, LEDGER)
    log.close()
    before = log_path.read_bytes()
    with EventLog(log_path) as reader:
        planned(reader, [1])
        effects.look(reader, ["Ada"], "asked", effects.Effects())
    assert log_path.read_bytes() == before


# What stays


def remaining(
    log: EventLog, *sought: str, reason: str = "asked", positions: Sequence[int] = ()
) -> list[tuple[str, str]]:
    found = effects.Effects()
    effects.look(log, sought, reason, found, positions)
    assert found.remains == len(found.first_remains)
    return [(one.kind, one.name) for one in found.first_remains]


def named(stream: str, id_: str) -> NewEvent:
    return NewEvent(stream, "Seen", id_, None, 1, "{}", "{}", None)


@pytest.mark.parametrize("archived", [False, True])
def test_names_that_hold_the_value_as_a_word_are_found(log: EventLog, archived: bool) -> None:
    put(log, named("user-Ada@Example.org", "e-1"), named("order-1", "by:ada@example.org/1"))
    put(log, named("user-nada@example.org", "e-2"), named("order-2", "ada@example.organic"))
    set_mark(log, "ada@example.org", 1)
    set_mark(log, "adaptation", 1)
    list(erasure.erase(log, [4], "for ada@example.org"))
    if archived:
        list(creation.create(log, [(1, 4)]))
    assert remaining(log, "ada@example.org", reason="request of ADA@example.org") == [
        ("stream", "user-Ada@Example.org"), ("id", "by:ada@example.org/1"), ("mark", "ada@example.org"),
        ("reason", "for ada@example.org"), ("reason", "request of ADA@example.org"),
    ]  # fmt: skip


def test_several_texts_find_a_name_once(log: EventLog) -> None:
    put(log, named("user-ada", "user-ada/1"), named("cart-ada", "e-1"))
    assert remaining(log, *effects.sought_in("user-ada")) == [
        ("stream", "user-ada"), ("id", "user-ada/1"), ("stream", "cart-ada"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("stream", "sought"),
    [("user-ada@x.org", ["user-ada@x.org", "ada@x.org"]), ("order-207", ["order-207"]), ("lone", ["lone"])],
)
def test_a_streams_subject_is_named_by_what_follows_the_category(stream: str, sought: list[str]) -> None:
    assert effects.sought_in(stream) == sought


def test_copies_that_esctl_made_beside_the_log_are_named(log: EventLog, log_path: Path) -> None:
    name = log_path.name
    ours = [f"{name}.v3.bak", f".{name}.0123456789ab.new", ".backup.db.0123456789ab.new"]
    for file in (*ours, "other.v3.bak", "notes.new", f"{name}.bak", ".hidden"):
        (log_path.parent / file).touch()
    assert sorted(remaining(log)) == sorted(("file", file) for file in ours)


def test_files_of_segments_that_another_log_may_use_are_named(log: EventLog, tmp_path: Path) -> None:
    put(log, *(named("order-1", f"e-{n}") for n in range(1, 9)))
    first, second = creation.create(log, [(1, 8)], most=4, to=tmp_path / "cold")
    assert remaining(log, positions=[2]) == []
    copies.backup(log, tmp_path / "thin.db", segments=False)
    link = ("segment", f"cold/kept-for-copies/{first.file}")
    assert remaining(log, positions=[2]) == [link]
    list(erasure.erase(log, [6], "asked"))
    assert remaining(log, positions=[6]) == [("segment", f"cold/kept-for-copies/{second.file}")]
    with EventLog(tmp_path / "thin.db") as thin:
        assert remaining(thin, positions=[2]) == [link]


def test_a_copy_by_hand_names_the_files_of_its_original(log: EventLog, log_path: Path, tmp_path: Path) -> None:
    put(log, named("order-1", "e-1"))
    (made,) = creation.create(log, [(1, 1)], to=tmp_path / "cold")
    log.close()
    shutil.copy(log_path, tmp_path / "copy.db")
    with EventLog(tmp_path / "copy.db", write=True) as copy:
        for _ in range(2):
            assert remaining(copy, positions=[1]) == [("segment", f"cold/{made.file}")]
            tidying.tidy(copy)
        list(erasure.erase(copy, [1], "asked"))
        assert remaining(copy, positions=[1]) == []
