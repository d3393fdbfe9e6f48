"""Whether the stored events fit a model: counts, failures with position and reason, samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl import open_log
from esctl.errors import MisfitError
from esctl.events.event import SealedEvent
from esctl.events.query import Query
from esctl.evolution import conformance
from esctl.evolution.conformance import Failure, Row
from esctl.log import EventLog
from tests.conftest import write_empty_log
from tests.models import CONVERTED, NUMBERS

COMPUTED = "[[event.Paid.upcast]]\nfrom = 1\ncompute = { x = \"json_extract(new.data ->> 'json', '$.a')\" }\n"


def checked(log: EventLog, folder: Path, model: str, sample: int | None = None) -> list[Row]:
    """What a check of a log against a model finds."""
    (folder / "model.toml").write_text(model, encoding="utf-8")
    with open_log(log.path, write=True) as other:
        other.apply_model(folder / "model.toml")
    log.store.changed()
    return conformance.check(log, log.definitions, sample)


@pytest.fixture
def log(log_path: Path) -> Iterator[EventLog]:
    """Payments over a number, a text that is one, and a text; and something else."""
    with open_log(log_path, write=True) as written:
        for amount in (5, "12", "much"):
            written.append("p", "Paid", {"amount": amount})
        written.append("q", "Other", schema=2)
    with EventLog(log_path) as opened:
        yield opened


def test_without_a_model_every_event_is_read_as_it_is_stored(log: EventLog) -> None:
    assert conformance.check(log, log.definitions) == [
        Row("Other", 2, 1, "Other 2", 0, {}, ()),
        Row("Paid", 1, 3, "Paid 1", 0, {}, ()),
    ]


def test_a_log_without_events_has_nothing_to_check(log_path: Path) -> None:
    with EventLog(log_path) as log:
        assert conformance.check(log, log.definitions) == []


def test_an_event_that_an_upcast_cannot_be_done_on_is_named_and_the_others_are_checked(
    log: EventLog, tmp_path: Path
) -> None:
    failure = Failure(3, "Paid", 1, "amount cannot be converted to number", "upcast")
    assert checked(log, tmp_path, CONVERTED)[1] == Row("Paid", 1, 3, "Paid 2", 1, {"upcast": 1}, (failure,))


def test_an_event_that_a_json_schema_does_not_accept_is_named_with_the_place(log: EventLog, tmp_path: Path) -> None:
    row = checked(log, tmp_path, NUMBERS)[1]
    assert (row.failed, [failure[:3] for failure in row.failures]) == (2, [(2, "Paid", 1), (3, "Paid", 1)])
    assert all(failure.kind == "json schema" and failure.reason.startswith("amount: ") for failure in row.failures)


ROTTEN = """
[[event.Paid.upcast]]
from = 1
rename = { amount = "sum" }
[event.Other]
schema = 3
[aggregate.p]
streams = "p"
on.Paid.add = { total = "$.sum" }
"""


def test_a_thorough_check_names_each_event_once_with_its_kind(log: EventLog, tmp_path: Path) -> None:
    checked(log, tmp_path, ROTTEN)
    with open_log(log.path, write=True) as writer:
        writer.append("p", "Paid", {"amount": 9})
    log.store.changed()
    assert not any(row.failed for row in conformance.check(log, log.definitions))
    other, _, newest = rows = conformance.check(log, log.definitions, thorough=True)
    assert [row.kinds for row in rows] == [{"no chain": 1}, {"fold": 1}, {"old shape": 1}]
    assert [failure.position for row in rows for failure in row.failures] == [4, 2, 6]
    assert (other.unreadable, newest.failed) == (0, 1)


def test_a_thorough_check_of_a_sample_folds_nothing(log: EventLog, tmp_path: Path) -> None:
    checked(log, tmp_path, ROTTEN)
    rows = conformance.check(log, log.definitions, 2, thorough=True)
    assert [row.kinds for row in rows] == [{"no chain": 1}, {}]


def test_a_json_schema_judges_what_the_upcasts_made(log: EventLog, tmp_path: Path) -> None:
    row = checked(log, tmp_path, f"[event.Paid]\nschema = 2\n{NUMBERS}{CONVERTED}")[1]
    assert [(failure.position, failure.kind) for failure in row.failures] == [(3, "upcast")]


def test_an_expression_that_fails_in_sqlite_is_a_failure_of_its_event(log: EventLog, tmp_path: Path) -> None:
    with open_log(log.path, write=True) as other:
        other.append("p", "Paid", {"json": "{"})
        other.append("p", "Paid", {"json": '{"a":1}'})
        other.append("p", "Paid", {"json": "["})
    row = checked(log, tmp_path, COMPUTED)[1]
    assert (row.events, row.failed, [failure.position for failure in row.failures]) == (6, 2, [5, 7])
    assert all("malformed JSON" in failure.reason for failure in row.failures)


@pytest.mark.parametrize(
    ("upcast", "read_as"),
    [
        ("drop = true", "nothing"),
        ('type = "Payment"\nschema = 1', "Payment 1"),
        ('split = [ { type = "A" }, { type = "B", schema = 1 } ]', "A 1 + B 1"),
        ("default = { x = 1 }", "Paid 2"),
        ("drop = true\nwhen = \"new.data ->> 'amount' = 5\"", "Paid 2"),
    ],
)
def test_what_events_are_read_as_is_told(log: EventLog, tmp_path: Path, upcast: str, read_as: str) -> None:
    row = checked(log, tmp_path, f"[[event.Paid.upcast]]\nfrom = 1\n{upcast}\n")[1]
    assert (row.events, row.read_as, row.failed) == (3, read_as, 0)


def test_a_part_of_a_split_that_its_json_schema_does_not_accept_is_a_failure_of_its_event(
    log: EventLog, tmp_path: Path
) -> None:
    text = '[[event.Paid.upcast]]\nfrom = 1\nsplit = [ { type = "A" }, { type = "B", remove = ["amount"] } ]\n'
    row = checked(log, tmp_path, f"{text}[event.B.json_schema]\nrequired = ['amount']\n")[1]
    assert (row.events, row.failed, [failure.position for failure in row.failures]) == (3, 3, [1, 2, 3])


def test_more_failures_than_are_named_are_counted(log: EventLog, tmp_path: Path) -> None:
    with open_log(log.path, write=True) as other:
        other.append_all({"stream": "p", "type": "Paid", "data": {"amount": "x"}} for _ in range(250))
    row = checked(log, tmp_path, CONVERTED)[1]
    assert (row.failed, len(row.failures)) == (251, conformance.MAX_FAILURES)
    assert [failure.position for failure in row.failures[:3]] == [3, 5, 6]


@pytest.mark.parametrize("sample", [1, 2, 3, 4, 100])
def test_a_sample_is_about_as_large_as_was_asked_for(log: EventLog, sample: int) -> None:
    counted = sum(row.events for row in conformance.check(log, log.definitions, sample))
    assert min(sample, 4) <= counted <= max(2 * sample, 1)


def test_a_check_reads_only_what_may_not_fit_and_says_how_far_it_is(log: EventLog, tmp_path: Path) -> None:
    checked(log, tmp_path, CONVERTED)
    seen: list[int] = []

    def watch(events: Iterable[SealedEvent], total: int) -> Iterator[SealedEvent]:
        for event in events:
            seen.append(total)
            yield event

    conformance.check(log, log.definitions, None, watch)
    assert seen == [3, 3, 3]


@settings(max_examples=15)
@given(amounts=st.lists(st.sampled_from([5, 1.5, "7", "much", None, True, [1]]), max_size=12))
def test_exactly_the_events_that_readers_cannot_read_fail(
    amounts: list[object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("log")
    write_empty_log(folder / "log.db")
    with open_log(folder / "log.db", write=True) as written:
        written.append_all({"stream": "p", "type": "Paid", "data": {"amount": amount}} for amount in amounts)
    with EventLog(folder / "log.db") as log:
        rows = checked(log, folder, CONVERTED)
        failed = {failure.position for row in rows for failure in row.failures}
        for position in range(1, len(amounts) + 1):
            try:
                list(log.read(Query(since=position, until=position)))
            except MisfitError:
                assert position in failed
            else:
                assert position not in failed


def test_more_misfits_than_are_named_are_counted_all_the_same(log_path: Path, tmp_path: Path) -> None:
    bad = 3 * conformance.MAX_FAILURES
    with open_log(log_path, write=True) as written:
        written.append_all({"stream": "p", "type": "Paid", "data": {"amount": "much"}} for _ in range(bad))
        written.append("p", "Paid", {"amount": "12"})
    with EventLog(log_path) as log:
        (row,) = checked(log, tmp_path, CONVERTED + NUMBERS)
    assert (row.failed, row.kinds, len(row.failures)) == (bad, {"upcast": bad}, conformance.MAX_FAILURES)


def test_a_split_event_that_does_not_fit_counts_once(log_path: Path, tmp_path: Path) -> None:
    with open_log(log_path, write=True) as written:
        written.append("p", "Paid", {"amount": "much"})
    parts = "{ type = 'A', convert = { amount = 'number' } }, { type = 'B', convert = { amount = 'number' } }"
    with EventLog(log_path) as log:
        (row,) = checked(log, tmp_path, f"[[event.Paid.upcast]]\nfrom = 1\nsplit = [ {parts} ]\n")
    assert (row.events, row.failed) == (1, 1)
