"""`open_log(":memory:")`: a log in memory that does all that a log in a file does, and leaves no file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from esctl import open_log
from esctl.api import Log
from esctl.errors import ConflictError, RefusedError, UsageError

MODEL = """
[event.Paid]
schema = 2
[[event.Paid.upcast]]
from = 1
rename = { sum = "amount" }
[aggregate.order]
streams = "order-*"
initial = { total = 0 }
on.Paid.add = { total = "$.amount" }
accept.Paid = { rule = "new.data ->> 'amount' < 100", message = "too much" }
[projection.totals]
table = "create table totals(stream text primary key, total)"
on.Paid = '''insert into totals values (new.stream, new.data ->> 'amount')
on conflict do update set total = total + excluded.total'''
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """A log in memory with a model, in a working folder where only the model's file is."""
    (tmp_path / "m.toml").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    with open_log(":memory:") as opened:
        opened.append("order-1", "Paid", {"sum": 1.5}, schema=1)
        assert opened.apply_model("m.toml")
        yield opened
    assert [path.name for path in tmp_path.iterdir()] in (["m.toml"], ["m.toml", "copy.db"], ["copy.db", "m.toml"])


def test_it_appends_folds_judges_and_projects(log: Log) -> None:
    assert log.append("order-1", "Paid", {"amount": 2}, expect=1).version == 2
    with pytest.raises(ConflictError):
        log.append("order-1", "Paid", {"amount": 2}, expect=1)
    with pytest.raises(RefusedError, match="too much"):
        log.append("order-1", "Paid", {"amount": 200})
    assert [event.data for event in log.replay("order-1")] == [{"amount": 1.5}, {"amount": 2}]
    assert log.state("order-1").state == {"total": 3.5}
    assert log.state("order-1", until="v1").state == {"total": 1.5}
    assert log.rows("totals") == [{"stream": "order-1", "total": 3.5}]
    assert log.rows("totals", until=1) == [{"stream": "order-1", "total": 1.5}]
    assert log.project() == {"totals": 3}
    assert log.mark("m").position == 3
    assert (log.verify().ok, log.info()["events"], log.version("order-1")) == (True, 2, 2)
    assert log.show(1).id == next(log.replay(until="m")).id


def test_many_events_and_appends_while_they_are_read_are_fine(log: Log) -> None:
    log.append_all({"stream": f"order-{n % 9}", "type": "Noted", "data": {"n": n}} for n in range(5000))
    seen = 0
    for event in log.replay(types=["Noted"]):
        seen += 1
        if event.data["n"] % 1000 == 0:
            log.append("order-1", "Noted", {"n": -1})
            assert log.rows("totals")[0]["total"] == 1.5
    assert seen == 5000
    assert log.verify().ok


def test_rows_are_up_to_date_while_a_replay_of_large_events_is_unfinished(log: Log) -> None:
    large = "x" * 200_000  # such events are read a few at a time, from a statement that stays open
    log.append_all({"stream": "large-1", "type": "Large", "data": large} for _ in range(40))
    events = log.replay(types=["Large"])
    next(events)
    log.append("order-2", "Paid", {"amount": 7})
    assert log.rows("totals", where="stream = 'order-2'") == [{"stream": "order-2", "total": 7}]
    assert log.rows("totals", until="#1") == [{"stream": "order-1", "total": 1.5}]
    assert len([*events]) == 39


def test_it_is_backed_up_into_a_file(log: Log) -> None:
    log.backup("copy.db")
    with open_log("copy.db", write=True) as copy:
        assert (copy.head(), [*copy.replay(system=True)]) == (log.head(), [*log.replay(system=True)])
        copy.append("order-1", "Paid", {"amount": 1})
        assert copy.verify().ok


def test_each_is_a_log_of_its_own_that_ends_when_it_is_closed(log: Log) -> None:
    with open_log(":memory:", write=True, create=True) as other:
        assert other.log_id != log.log_id
        assert [*other.replay()] == []
    with pytest.raises(UsageError, match="the log is closed") as refused:
        other.append("s", "T")
    assert refused.value.why == "a log in memory ends with it"


def test_the_path_may_be_a_path(log: Log) -> None:
    with open_log(Path(":memory:")) as other:
        assert other.append("s", "T").position == 1
        assert other.log_id != log.log_id


def test_its_times_are_times(log: Log) -> None:
    now = datetime.now(UTC)
    assert abs(datetime.fromisoformat(log.show(1).recorded) - now) < timedelta(minutes=1)
