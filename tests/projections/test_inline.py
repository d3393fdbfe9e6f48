"""Projections that appends keep: rows are there when the event is, and what cannot have its row is not there at all."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from esctl.append.ingest import Options, Tally, ingest
from esctl.append.inputs import Inputs
from esctl.errors import ConflictError, EsctlError, RefusedError
from esctl.events.event import NewEvent
from esctl.events.lines import Defaults
from esctl.evolution import rewriting
from esctl.log import EventLog
from esctl.projections import admin, inline
from esctl.store import projections as projection_tables
from esctl.upkeep import copies
from esctl.upkeep.verify import verify
from tests.conftest import write_empty_log, writer_of
from tests.logs import IDS, hold, put, run

# A business rule over all streams: nobody else may have the name
NAMES = """
[projection.names]
table = "create table names(name text primary key, stream text not null)"
inline = true
[projection.names.on]
Named = "insert into names values (new.data ->> 'name', new.stream)"
Left = "delete from names where stream = new.stream"
"""
LATER = NAMES.replace("inline = true\n", "")
COUNT = """
[projection.count]
table = "create table count(type text primary key, n integer)"
inline = true
[projection.count.on]
"*" = "insert into count values (new.type, 1) on conflict do update set n = n + 1"
"""


def named(name: str, stream: str = "", *, type_: str = "Named", id_: str | None = None) -> NewEvent:
    data = json.dumps({"name": name})
    return NewEvent(stream or f"user-{name}", type_, id_ or next(IDS), None, 0, data, "{}", None)


def rows(log: EventLog, table: str = "names") -> list[tuple[Any, ...]]:
    return list(log.store.projections().select(f"select * from {table} order by 1"))


def names(log: EventLog) -> list[str]:
    return [name for name, _ in rows(log)]


def position(log: EventLog, name: str = "names") -> int:
    return next(v.position for v in log.store.projections().versions() if (v.name, v.state) == (name, "live"))


# Rows with their events


def test_rows_are_there_as_soon_as_their_events_are(log: EventLog) -> None:
    hold(log, NAMES)
    put(log, named("Ann"), named("Bo"))
    with EventLog(log.path) as reader:
        assert names(reader) == ["Ann", "Bo"]
        assert position(reader) == 3
    put(log, named("", "user-Ann", type_="Left"))
    assert names(log) == ["Bo"]


def test_rows_are_there_within_the_transaction_that_brings_the_event(log: EventLog) -> None:
    hold(log, NAMES)
    with log.transaction():
        writer_of(log).append([named("Ann")])
        assert names(log) == ["Ann"]
        writer_of(log).append([named("Bo")])
        assert names(log) == ["Ann", "Bo"]


def test_a_transaction_that_is_rolled_back_leaves_no_row(log: EventLog) -> None:
    hold(log, NAMES)
    with suppress(RuntimeError), log.transaction():
        writer_of(log).append([named("Ann")])
        raise RuntimeError
    with log.transaction(keep=False):
        writer_of(log).append([named("Bo")])
    assert (names(log), position(log), log.head()[0]) == ([], 0, 1)
    put(log, named("Ann"))
    assert names(log) == ["Ann"]


def test_an_append_that_another_reason_refuses_leaves_no_row(log: EventLog) -> None:
    hold(log, NAMES)
    put(log, named("Ann"))
    with pytest.raises(ConflictError):
        put(log, named("Cy"), named("Bo", "user-Ann")._replace(expect=7))
    assert names(log) == ["Ann"]


def test_a_duplicate_makes_no_second_row(log: EventLog) -> None:
    hold(log, NAMES + COUNT)
    put(log, named("Ann", id_="a"))
    put(log, named("Ann", id_="a"), named("Bo", id_="b"), named("Bo", id_="b"))
    assert (names(log), rows(log, "count")) == (["Ann", "Bo"], [("Named", 2)])


def test_a_run_has_nothing_left_to_do(log: EventLog) -> None:
    hold(log, NAMES)
    put(log, named("Ann"))
    assert run(log).records[0]["read"] == 0


def test_events_of_several_writers_are_each_taken_once(log: EventLog) -> None:
    hold(log, COUNT)
    with EventLog(log.path, write=True) as other:
        for _ in range(3):
            put(log, named("Ann"))
            put(other, named("Bo"), named("Cy"))
    assert rows(log, "count") == [("Named", 9)]


def test_one_that_is_built_anew_is_kept_until_it_is_replaced_and_then_the_new_one_is(log: EventLog) -> None:
    hold(log, NAMES)
    put(log, named("Ann"))
    hold(log, NAMES.replace("'name',", "'name' || '!',"))
    put(log, named("Bo"))
    assert names(log) == ["Ann", "Bo"]
    run(log)
    put(log, named("Cy"))
    assert names(log) == ["Ann!", "Bo!", "Cy!"]


def test_events_of_the_log_itself_are_no_rows_and_no_lag(log: EventLog) -> None:
    hold(log, COUNT)
    put(log, named("Ann"))
    hold(log, COUNT + "# another\n")
    put(log, named("Bo"))
    assert (rows(log, "count"), position(log, "count")) == ([("Named", 2)], 4)


# Refusals


def test_an_event_whose_row_cannot_be_is_refused_whatever_its_stream(log: EventLog) -> None:
    hold(log, NAMES)
    put(log, named("Ann", "user-1"))
    with pytest.raises(RefusedError) as raised:
        put(log, named("Ann", "user-2"))
    assert raised.value.what == "Named in user-2 is refused: UNIQUE constraint failed: names.name"
    details = {key: raised.value.details[key] for key in ("index", "stream", "type", "projection", "handler")}
    assert details == {
        "index": 0,
        "stream": "user-2",
        "type": "Named",
        "projection": "names",
        "handler": "on.Named",
    }
    assert (rows(log), log.head()[0]) == ([("Ann", "user-1")], 2)
    assert verify(log, full=True, expect_head=None).ok
    put(log, named("", "user-1", type_="Left"))
    put(log, named("Ann", "user-2"))
    assert rows(log) == [("Ann", "user-2")]


@pytest.mark.parametrize("window", [1, 2, 256])
@pytest.mark.parametrize("behind", [0, 3])
@pytest.mark.parametrize("verb", ["insert", "insert or abort", "insert or fail"])
def test_the_event_that_is_refused_is_named_whatever_came_with_it(
    log: EventLog, verb: str, behind: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And all is as it was before, for the projection too, which was behind by some events."""
    monkeypatch.setattr(projection_tables, "POSITIONS_PER_FEED", window)
    model = NAMES.replace("insert", verb)
    hold(log, model.replace("inline = true", "inline = false"))
    put(log, *(named(f"before-{n}") for n in range(behind)))
    hold(log, model)
    head, state = log.head()[0], (rows(log), position(log))
    with pytest.raises(RefusedError) as raised:
        put(log, named("Ann"), named("Bo"), named("Cy"), named("Ann", "user-2"), named("Di"))
    assert (log.head()[0], (rows(log), position(log))) == (head, state)
    assert (raised.value.details.get("index"), raised.value.details["stream"]) == (3, "user-2")
    assert "UNIQUE constraint failed" in raised.value.what
    put(log, named("Ann"), named("Bo"))
    assert names(log) == ["Ann", "Bo", *(f"before-{n}" for n in range(behind))]
    assert verify(log, full=True, expect_head=None).ok


def test_duplicates_before_it_do_not_move_the_index_of_what_is_refused(log: EventLog) -> None:
    hold(log, NAMES)
    put(log, named("Ann", id_="a"), named("Bo", id_="b"))
    with pytest.raises(RefusedError) as raised:
        put(log, named("Ann", id_="a"), named("Cy"), named("Bo", id_="b"), named("Bo", "user-2"))
    assert raised.value.details["index"] == 3


def test_the_rule_holds_among_events_of_one_append(log: EventLog) -> None:
    hold(log, NAMES)
    with pytest.raises(RefusedError) as raised:
        put(log, named("Ann", "user-1"), named("Ann", "user-2"))
    assert (raised.value.details["index"], names(log)) == (1, [])


def test_a_handler_that_runs_away_refuses_the_event(log: EventLog) -> None:
    endless = "(with recursive c(x) as (select 1 union all select x + 1 from c) select max(x) from c)"
    hold(log, NAMES.replace("new.stream)", f"iif(new.data ->> 'name' = 'Bo', {endless}, new.stream))"))
    log.store.patience.seconds = 0.05
    with pytest.raises(
        RefusedError, match=r"Named in user-Bo is refused: it ran for more than 0\.05 seconds"
    ) as raised:
        put(log, named("Ann"), named("Bo"))
    assert raised.value.details["index"] == 1
    assert (names(log), log.head()[0]) == ([], 1)


def test_rules_that_are_not_asked_do_not_free_an_event_of_its_row(log: EventLog) -> None:
    """What was appended under other rules may come in; but the rows have to be right."""
    hold(log, NAMES)
    writer_of(log).asks_rules = False
    put(log, named("Ann", "user-1"))
    with pytest.raises(RefusedError):
        put(log, named("Ann", "user-2"))


def skipping(log: EventLog, lines: list[dict[str, Any]], **options: Any) -> tuple[Tally, list[EsctlError]]:
    """Ingest lines, going on past those that are refused."""
    tally, skipped = Tally(), list[EsctlError]()
    with tempfile.TemporaryFile() as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        file.seek(0)
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        for _ in ingest(
            writer_of(log),
            Inputs([file.fileno()]),
            Defaults(),
            Options(skip_invalid=True, **options),
            tally,
            skipped.append,
        ):
            pass
    return tally, skipped


@pytest.mark.parametrize("window", [2, 256])
def test_a_run_that_skips_what_is_refused_stores_all_the_others(
    log: EventLog, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection_tables, "POSITIONS_PER_FEED", window)
    hold(log, NAMES + COUNT)
    lines = [{"stream": f"user-{n}", "type": "Named", "data": {"name": f"n{n % 30}"}} for n in range(40)]
    tally, skipped = skipping(log, lines, batch=16)
    assert [error.details["line"] for error in skipped] == list(range(31, 41))
    assert (len(names(log)), rows(log, "count"), log.head()[0]) == (30, [("Named", 30)], 31)
    assert tally.invalid == 10


# Those that are not at the head


def test_one_that_comes_with_a_model_takes_what_was_there_with_the_next_event(log: EventLog) -> None:
    put(log, named("Ann"), named("Bo"))
    hold(log, NAMES)
    assert position(log) == 0
    put(log, named("Cy"))
    assert names(log) == ["Ann", "Bo", "Cy"]


def test_one_that_is_far_behind_waits_for_a_run(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline, "MOST_BEHIND", 4)
    put(log, named("Ann"), named("Bo"))
    hold(log, NAMES)
    put(log, named("Cy"), named("Di"))
    assert (names(log), position(log)) == ([], 0)
    run(log)
    put(log, named("Ed"))
    assert (names(log), position(log)) == (["Ann", "Bo", "Cy", "Di", "Ed"], 6)
    with pytest.raises(RefusedError):
        put(log, named("Ed", "user-2"))


def test_one_that_was_stopped_waits_until_it_is_mended(log: EventLog) -> None:
    put(log, named("Ann", "user-1"), named("Ann", "user-2"))
    hold(log, NAMES)
    assert [failure.details["position"] for failure in run(log).failures] == [2]
    put(log, named("Bo"))
    assert names(log) == ["Ann"]
    hold(log, NAMES.replace("insert", "insert or replace"))
    run(log).end()
    put(log, named("Cy"))
    assert rows(log) == [("Ann", "user-2"), ("Bo", "user-Bo"), ("Cy", "user-Cy")]


def test_an_old_event_that_has_no_row_does_not_stand_in_the_way_of_new_ones(log: EventLog) -> None:
    """No writer can mend what was stored before the projection was thought of."""
    put(log, named("Ann", "user-1"), named("Ann", "user-2"))
    hold(log, NAMES)
    put(log, named("Bo"))
    assert log.head()[0] == 4


def test_one_that_was_dropped_is_kept_no_more(log: EventLog) -> None:
    hold(log, NAMES)
    put(log, named("Ann", "user-1"))
    admin.drop(log, "names")
    put(log, named("Ann", "user-2"))
    assert log.head()[0] == 3


# Copies of a log


def test_the_rule_holds_in_a_copy_of_the_log(log: EventLog, tmp_path: Path) -> None:
    hold(log, NAMES)
    put(log, named("Ann"), named("Bo"))
    copies.backup(log, tmp_path / "copy.db")
    with EventLog(tmp_path / "copy.db", write=True) as copy, pytest.raises(RefusedError):
        put(copy, named("Ann", "user-2"))


def test_the_rule_holds_in_a_fork_of_the_log(log: EventLog, tmp_path: Path) -> None:
    hold(log, NAMES)
    put(log, named("Ann"))
    put(log, named("Bo"))
    copies.fork(log, tmp_path / "fork.db", 2)
    with EventLog(tmp_path / "fork.db", write=True) as fork:
        put(fork, named("Bo"))
        with pytest.raises(RefusedError):
            put(fork, named("Ann", "user-2"))
        assert names(fork) == ["Ann", "Bo"]


def test_the_rule_holds_in_a_log_that_was_rewritten(log: EventLog, tmp_path: Path) -> None:
    hold(log, NAMES)
    put(log, named("Ann"))
    rewriting.rewrite(log, tmp_path / "new.db", lambda events, _: events)
    with EventLog(tmp_path / "new.db", write=True) as new, pytest.raises(RefusedError):
        put(new, named("Ann", "user-2"))


def test_a_log_of_a_model_without_inline_projections_never_loads_what_keeps_them(tmp_path: Path) -> None:
    write_empty_log(tmp_path / "plain.db")
    with EventLog(tmp_path / "plain.db", write=True) as log:
        hold(log, LATER)
        assert not log.definitions.keeps_inline
        put(log, named("Ann"))
        assert (names(log), position(log)) == ([], 0)
