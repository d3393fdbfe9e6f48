"""`esctl projection`: every command, option, format and exit code, on the shop of the sample data."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest

from esctl import open_log
from esctl.cli import main
from esctl.projections import freshness
from tests.conftest import ESCTL, SAMPLE, environment
from tests.logs import alter

COLUMNS = {
    "customer_orders": ["customer_id", "orders", "open", "spent", "last_order"],
    "daily_revenue": ["day", "payments", "received", "refunded", "revenue"],
    "payments_by_status": ["status", "payments", "amount"],
}
LISTED = ["projection", "version", "state", "inline", "tables", "position", "lag"]
STATUS = [
    "projection", "version", "state", "rows", "position", "lag", "lag_seconds", "bytes", "fingerprint", "reducer",
    "failed", "handler", "error", "failed_at"
]  # fmt: skip
RUN = ["projection", "version", "position", "read", "switched"]
CELLS = ["table", "change", "key", "column", "before", "after"]
HEAD = 419  # of the sample's log, its model applied
# Runs the rest of its arguments with the terminal on stdin as the one whose Ctrl-C is for the process.
ON_TERMINAL = "import fcntl,os,sys,termios;fcntl.ioctl(0,termios.TIOCSCTTY,0);os.execv(sys.argv[1],sys.argv[1:])"


class Done(NamedTuple):
    """How a run ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """What a run that succeeded in silence printed, line by line."""
        assert (self.code, self.err) == (0, "")
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Done]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's log with its model; nothing of it has been projected. It is copied, never used."""
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    with open_log(path, write=True, create=True) as log:
        lines = (SAMPLE / "orders.ndjson").read_text(encoding="utf-8").splitlines()
        log.append_all(json.loads(line) for line in lines)
        log.apply_model(SAMPLE / "shop.toml")
    return path


def runs_in(folder: Path, log: Path) -> Run:
    """A way to run esctl on a log without starting a process."""

    def run(*arguments: str) -> Done:
        out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline=""), io.StringIO()
        with chdir(folder), redirect_stdout(out), redirect_stderr(err):
            code = main.run([*arguments, "-l", str(log)])
        out.flush()
        raw = out.buffer
        assert isinstance(raw, io.BytesIO)
        return Done(code, raw.getvalue().decode(), err.getvalue())

    return run


@pytest.fixture(autouse=True)
def plain_environment() -> Iterator[None]:
    """A terminal of 120 columns, no options from the environment, and the signals as they were."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ESCTL_LOG", "ESCTL_FORMAT", "NO_COLOR", "FORCE_COLOR"):
            patch.delenv(name, raising=False)
        patch.setenv("COLUMNS", "120")
        yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def log(shop: Path, tmp_path: Path) -> Path:
    """A shop of one's own."""
    path = tmp_path / "esctl.db"
    shutil.copy(shop, path)
    return path


@pytest.fixture
def run(log: Path, tmp_path: Path) -> Run:
    return runs_in(tmp_path, log)


def append(log: Path, stream: str, type_: str, data: dict[str, Any]) -> None:
    with open_log(log, write=True) as opened:
        opened.append(stream, type_, data)


@contextlib.contextmanager
def locked(log: Path) -> Iterator[None]:
    """While another process writes to a log."""
    code = "import sqlite3,sys;c=sqlite3.connect(sys.argv[1]);c.execute('begin immediate');print(flush=True);input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(log)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdout.readline()
        yield
        writer.stdin.close()


def told(done: Done, code: int) -> dict[str, Any]:
    """What a failure said in one line, and that it printed no data."""
    assert (done.code, done.out) == (code, ""), done.err
    said: dict[str, Any] = json.loads(done.err.splitlines()[-1])
    assert said["exit"] == code
    return said


# show


@pytest.mark.parametrize("name", COLUMNS)
def test_a_projection_is_shown_after_it_has_caught_up(run: Run, name: str) -> None:
    rows = run("projection", "show", name).records
    assert rows
    assert all(list(row) == COLUMNS[name] for row in rows)
    keys = [row[COLUMNS[name][0]] for row in rows]
    assert keys == sorted(keys)


def test_what_happened_since_is_in_the_rows_of_the_next_show(run: Run, log: Path) -> None:
    assert run("projection", "show", "daily_revenue").code == 0
    append(log, "order-2001", "OrderPlaced", {"order_id": "2001", "customer_id": "999", "total_amount": 7.5})
    (row,) = run("projection", "show", "customer_orders", "--where", "customer_id = '999'").records
    assert (row["orders"], row["open"], row["spent"]) == (1, 1, 0.0)


@pytest.mark.parametrize(
    ("format_", "printed"),
    [
        ("ndjson", '{"day":"2026-01-02","payments":1,"received":248.1,"refunded":0.0,"revenue":248.1}\n'),
        ("json", '[\n{"day":"2026-01-02","payments":1,"received":248.1,"refunded":0.0,"revenue":248.1}\n]\n'),
        ("csv", "day,payments,received,refunded,revenue\n2026-01-02,1,248.1,0.0,248.1\n"),
        ("tsv", "day\tpayments\treceived\trefunded\trevenue\n2026-01-02\t1\t248.1\t0.0\t248.1\n"),
        ("raw", "2026-01-02\t1\t248.1\t0.0\t248.1\n"),
        (
            "table",
            "Day         Payments  Received  Refunded  Revenue\n2026-01-02         1    248.10      0.00   248.10\n",
        ),
    ],
)
def test_a_row_in_every_format_says_the_same(run: Run, format_: str, printed: str) -> None:
    done = run("projection", "show", "daily_revenue", "--limit", "1", "-o", format_)
    assert done == (0, printed, "")


@pytest.mark.parametrize(
    ("format_", "printed"),
    [("ndjson", ""), ("json", "[]\n"), ("csv", "status,payments,amount\n"), ("raw", ""),
     ("table", "Status  Payments  Amount\n")],
)  # fmt: skip
def test_no_rows_are_empty_in_every_format(run: Run, format_: str, printed: str) -> None:
    for nothing in (["--where", "0"], ["--limit", "0"], ["--until", "#0"]):
        done = run("projection", "show", "payments_by_status", *nothing, "-o", format_)
        assert done == (0, printed, "")


def test_rows_are_chosen_ordered_and_counted(run: Run) -> None:
    rows = run(
        "projection", "show", "daily_revenue", "--where", "day < '2026-02' and received > 100",
        "--order-by", "RECEIVED desc, day", "--limit", "3",
    ).records  # fmt: skip
    everything = run("projection", "show", "daily_revenue").records
    kept = [row for row in everything if row["day"] < "2026-02" and row["received"] > 100]
    assert rows == sorted(kept, key=lambda row: (-row["received"], row["day"]))[:3]


def test_of_several_tables_one_is_chosen(run: Run) -> None:
    rows = run("projection", "show", "customer_orders", "--table", "order_history", "--limit", "2").records
    assert [row["order_id"] for row in rows] == ["1001", "1002"]
    said = told(run("projection", "show", "customer_orders", "--table", "order_histroy", "--error-format", "json"), 3)
    assert "order_history" in said["why"]


@pytest.mark.parametrize(
    "condition",
    ["nope = 1", "1 =", "", "day > (select 1)", "day > ?", "random() > 0", "1); drop table daily_revenue; --",
     "day in (select stream from log)", "max(received) > 1", "1 union select * from events"],
)  # fmt: skip
def test_a_condition_that_is_none_is_a_wrong_command_line(run: Run, condition: str) -> None:
    for point in ([], ["--until", "#100"]):
        done = run("projection", "show", "daily_revenue", "--where", condition, *point, "--error-format", "json")
        assert "bug" not in told(done, 2)["why"]


def test_a_condition_that_fails_on_a_row_is_a_wrong_command_line(run: Run) -> None:
    said = told(run("projection", "show", "daily_revenue", "--where", "json(day)", "--error-format", "json"), 2)
    assert "malformed JSON" in said["what"]


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--order-by", "revenu", "did you mean revenue?"), ("--order-by", "day; drop table x", "it has day"),
        ("--order-by", "revenue down", ""), ("--order-by", "day,", ""), ("--order-by", "1", "it has day"),
        ("--total", "recieved", "did you mean received?"), ("--total", "x", "it has day"),
        ("--bars", "x", "it has day"), ("--limit", "-1", ""), ("--limit", "x", ""),
        ("--until", "garbage", ""), ("--until", "v3", ""), ("--as-of", "garbage", ""), ("--as-of", "", ""),
    ],
)  # fmt: skip
def test_a_wrong_option_is_told_and_prints_no_data(run: Run, option: str, value: str, why: str) -> None:
    said = told(run("projection", "show", "daily_revenue", option, value, "--error-format", "json"), 2)
    assert said["why"].startswith(why)


# Sums and bars


def test_a_sum_stands_below_the_table_under_a_rule(run: Run) -> None:
    done = run("projection", "show", "daily_revenue", "--limit", "2", "--total", "Received", "-o", "table")
    assert (done.code, done.err) == (0, "")
    assert [line.rstrip() for line in done.out.splitlines()] == [
        "Day         Payments  Received  Refunded  Revenue",
        "2026-01-02         1    248.10      0.00   248.10",
        "2026-01-04         1     50.00      0.00    50.00",
        "──────────  ────────  ────────  ────────  ───────",
        "                        298.10",
    ]


@pytest.mark.parametrize("format_", ["ndjson", "json", "csv", "tsv", "raw"])
def test_elsewhere_a_sum_is_told_beside_the_data(run: Run, format_: str) -> None:
    plain = run("projection", "show", "daily_revenue", "--limit", "2", "-o", format_)
    done = run("projection", "show", "daily_revenue", "--limit", "2", "-o", format_, "--total", "payments")
    assert done == (0, plain.out, "total payments: 2\n")
    assert run("projection", "show", "daily_revenue", "-o", format_, "--bars", "revenue").err == ""


def test_a_sum_is_of_the_rows_that_are_shown(run: Run) -> None:
    chosen = ["--where", "day < '2026-02'", "--order-by", "received desc", "--limit", "5"]
    rows = run("projection", "show", "daily_revenue", *chosen).records
    done = run("projection", "show", "daily_revenue", *chosen, "--total", "received", "--total", "payments")
    spoken = dict(line.removeprefix("total ").split(": ") for line in done.err.splitlines())
    assert {name: round(float(value), 2) for name, value in spoken.items()} == {
        "received": round(sum(row["received"] for row in rows), 2),
        "payments": sum(row["payments"] for row in rows),
    }


def test_the_sum_of_no_rows_is_nothing_in_every_format(run: Run) -> None:
    empty = ["projection", "show", "daily_revenue", "--where", "0", "--total", "payments"]
    assert run(*empty).err == "total payments: 0\n"
    assert run(*empty, "-o", "table").out.splitlines()[-1].split() == ["0"]


def test_texts_are_not_added_up(run: Run) -> None:
    said = told(run("projection", "show", "daily_revenue", "--total", "day", "--error-format", "json"), 2)
    assert "day" in said["what"]


def test_bars_are_drawn_in_the_cells_and_as_long_as_the_values_are(run: Run) -> None:
    done = run("projection", "show", "customer_orders", "--order-by", "spent desc", "--bars", "SPENT", "-o", "table")
    lengths = [line.count("█") for line in done.out.splitlines()[1:]]
    assert lengths[0] == 12
    assert lengths == sorted(lengths, reverse=True)
    assert done.out.splitlines()[0].split() == ["Customer", "orders", "open", "Spent", "Last", "order"]


def test_the_head_of_a_column_with_bars_is_whole(run: Run) -> None:
    done = run("projection", "show", "daily_revenue", "--where", "0", "--bars", "revenue", "-o", "table")
    assert done.out.split() == ["Day", "Payments", "Received", "Refunded", "Revenue"]


# Points


@pytest.mark.parametrize(
    ("until", "days"),
    [("#0", 0), ("#5", 0), ("#100", 11), ("2026-02-01", 17), ("2026-02-01T23:59:59Z", 17), ("2025-12-31", 0),
     ("audited", 11), ("#99999", 43), ("now", 43)],
)  # fmt: skip
def test_the_past_is_shown_at_every_kind_of_point(run: Run, until: str, days: int) -> None:
    assert run("mark", "audited", "#100").code == 0
    rows = run("projection", "show", "daily_revenue", "--until", until).records
    assert len(rows) == days


@pytest.mark.parametrize(("as_of", "days"), [("#100", 11), ("1970-01-01", 0), ("now", 43), ("audited", 11)])
def test_the_log_as_it_stood_then_is_shown(run: Run, as_of: str, days: int) -> None:
    assert run("mark", "audited", "#100").code == 0
    assert len(run("projection", "show", "daily_revenue", "--as-of", as_of).records) == days


def test_the_past_at_the_head_is_what_is_now_and_neither_changes_the_log(run: Run, log: Path) -> None:
    now = {name: run("projection", "show", name).out for name in COLUMNS}
    before = log.read_bytes()
    for name, printed in now.items():
        assert run("projection", "show", name, "--until", f"#{HEAD}").out == printed
        assert run("projection", "show", name, "--as-of", "now").out == printed
        assert run("projection", "show", name, "--until", "#100").out != printed
        assert run("projection", "show", name).out == printed
    assert log.read_bytes() == before


def test_options_hold_for_the_past_as_for_the_present(run: Run) -> None:
    done = run(
        "projection", "show", "customer_orders", "--table", "order_history", "--until", "#100",
        "--where", "total_amount > 100", "--order-by", "total_amount desc", "--limit", "1", "--total", "total_amount",
    )  # fmt: skip
    (row,) = [json.loads(line) for line in done.out.splitlines()]
    assert done.err == f"total total_amount: {row['total_amount']}\n"


@pytest.mark.parametrize("option", ["--fresh", "--watch"])
@pytest.mark.parametrize("point", [["--until", "#5"], ["--as-of", "now"]], ids=["until", "as-of"])
def test_the_past_can_be_neither_freshened_nor_watched(run: Run, option: str, point: list[str]) -> None:
    told(run("projection", "show", "daily_revenue", option, *point, "--error-format", "json"), 2)


# How far it is behind


def test_what_is_far_behind_is_shown_as_it_is_with_a_note(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "FEW_EVENTS", 100)
    done = run("projection", "show", "daily_revenue")
    assert (done.code, done.out) == (0, "")
    assert done.err == (
        "note: daily_revenue is not built yet: 418 events behind   (esctl projection run daily_revenue)\n"
    )
    assert run("projection", "show", "daily_revenue", "-q").err == ""
    fresh = run("projection", "show", "daily_revenue", "--fresh")
    assert (fresh.code, fresh.err) == (0, "")
    assert len(fresh.out.splitlines()) == 43


@pytest.mark.parametrize(("few", "caught_up"), [(418, False), (419, True)])
def test_fewer_than_so_many_are_caught_up(
    run: Run, few: int, monkeypatch: pytest.MonkeyPatch, *, caught_up: bool
) -> None:
    monkeypatch.setattr(freshness, "FEW_EVENTS", few)
    assert (run("projection", "show", "daily_revenue").out != "") is caught_up


def test_fewer_than_ten_thousand_is_few() -> None:
    assert freshness.FEW_EVENTS == 10_000


def test_a_log_that_another_process_writes_to_is_shown_as_it_is(run: Run, log: Path) -> None:
    assert run("projection", "run").code == 0
    append(log, "order-2001", "OrderPlaced", {"order_id": "2001", "customer_id": "999", "total_amount": 7.5})
    with locked(log):
        done = run("projection", "show", "daily_revenue", "--limit", "1", "--timeout", "0.5")
        assert (done.code, len(done.out.splitlines())) == (0, 1)
        assert "it did not catch up" in done.err
        assert "1 event behind" in done.err
        told(run("projection", "show", "daily_revenue", "--fresh", "--timeout", "0.5", "--error-format", "json"), 8)
        assert run("projection", "show", "daily_revenue", "--until", "#100", "--timeout", "5").code == 0
        assert run("projection", "list", "--timeout", "5").code == 0
        assert run("projection", "status", "--timeout", "5").code == 0
        assert run("projection", "verify", "--timeout", "5").code == 0
        assert run("projection", "diff", "daily_revenue", "--from", "#1", "--timeout", "5").code == 10
        for changing in (["run"], ["rebuild", "daily_revenue"], ["drop", "daily_revenue", "--yes"]):
            said = run("projection", *changing, "--timeout", "0.5", "--error-format", "json")
            assert told(said, 8)["error"] == "unavailable"


def test_quiet_is_quiet_about_a_log_that_another_process_writes_to(run: Run, log: Path) -> None:
    with locked(log):
        done = run("projection", "show", "daily_revenue", "-q", "--timeout", "0.5")
    assert (done.code, done.err) == (0, "")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_log_that_cannot_be_written_to_is_shown_as_it_is(run: Run, log: Path) -> None:
    assert run("projection", "run", "daily_revenue").code == 0
    log.chmod(0o444)
    log.parent.chmod(0o555)
    try:
        assert len(run("projection", "show", "daily_revenue").out.splitlines()) == 43
    finally:
        log.parent.chmod(0o755)


def test_watching_is_for_terminals(run: Run) -> None:
    said = told(run("projection", "show", "daily_revenue", "--watch", "--error-format", "json"), 2)
    assert "terminal" in said["what"]


# list, status


def test_the_list_has_a_record_a_version(run: Run) -> None:
    records = run("projection", "list").records
    assert [list(record) for record in records] == [LISTED] * 3
    assert [(record["projection"], record["state"], record["inline"]) for record in records] == [
        ("customer_orders", "live", False), ("daily_revenue", "live", False), ("payments_by_status", "live", True),
    ]  # fmt: skip
    assert records[0]["tables"] == "customer_orders,order_history"
    assert (records[0]["position"], records[0]["lag"]) == (0, 418)
    assert run("projection", "run").code == 0
    assert [(r["position"], r["lag"]) for r in run("projection", "list").records] == [(HEAD, 0)] * 3


def test_the_status_tells_rows_checkpoint_lag_and_size(run: Run) -> None:
    assert run("projection", "run", "daily_revenue").code == 0
    behind, ahead, _ = run("projection", "status").records
    assert list(behind) == list(ahead) == STATUS
    assert (behind["rows"], behind["lag"]) == (0, 418)
    assert (ahead["rows"], ahead["position"], ahead["lag"], ahead["lag_seconds"]) == (43, HEAD, 0, 0)
    assert ahead["bytes"] > 0
    assert len(ahead["fingerprint"]) == 64
    assert [record["projection"] for record in run("projection", "status", "daily_revenue").records] == [
        "daily_revenue"
    ]


@pytest.mark.parametrize(("verb", "names"), [("list", LISTED), ("status", STATUS)])
@pytest.mark.parametrize("format_", ["ndjson", "json", "csv", "table", "raw"])
def test_a_log_without_projections_has_an_empty_list(tmp_path: Path, verb: str, names: list[str], format_: str) -> None:
    path = tmp_path / "bare.db"
    with open_log(path, write=True, create=True):
        pass
    empty = {"json": "[]\n", "csv": ",".join(names) + "\n"}.get(format_, "")
    assert runs_in(tmp_path, path)("projection", verb, "-o", format_) == (0, empty, "")


# Names that are not there, misuse

NAMED = ["show", "run", "status", "rebuild", "rollback", "verify", "drop"]


@pytest.mark.parametrize("verb", [*NAMED, "diff"])
def test_a_name_that_is_not_there_is_exit_3_with_what_was_meant(run: Run, log: Path, verb: str) -> None:
    before = log.read_bytes()
    more = {"diff": ["--from", "#1"], "drop": ["--yes"]}.get(verb, [])
    said = told(run("projection", verb, "dayly_revenue", *more, "--error-format", "json"), 3)
    assert said["what"] == "there is no projection dayly_revenue"
    assert said["why"] == "did you mean daily_revenue?"
    assert "customer_orders" in told(run("projection", verb, "zzz", *more, "--error-format", "json"), 3)["why"]
    assert log.read_bytes() == before


@pytest.mark.parametrize(
    "words",
    ["", "nope", "show", "rebuild", "rollback", "diff", "drop", "show a b", "rebuild a b", "list a", "show --nope a",
     "diff daily_revenue", "diff daily_revenue --to #5", "diff daily_revenue --from #1 --model x",
     "diff daily_revenue --from", "diff daily_revenue --from garbage", "diff daily_revenue --from v1",
     "diff daily_revenue --model x --to #1", "run --reducer shop:f", "run --reducer shop:f a b",
     "run --reducer shop daily_revenue", "run --reducer shop:f daily_revenue", "status -o cloudevents",
     "show daily_revenue --timeout -1"],
)  # fmt: skip
def test_a_wrong_command_line_is_exit_2_and_prints_no_data(run: Run, words: str) -> None:
    done = run("projection", *words.split())
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err


def test_what_a_misuse_names_is_the_command_that_was_typed(run: Run) -> None:
    said = told(run("projection", "show", "daily_revenue", "-o", "cloudevents", "--error-format", "json"), 2)
    assert said["why"] == "esctl projection show prints none"


# run


def test_a_run_brings_all_to_the_head_and_tells_how_far_it_went(run: Run) -> None:
    records = run("projection", "run").records
    assert [list(record) for record in records] == [RUN] * 3
    assert [(r["projection"], r["position"], r["read"], r["switched"]) for r in records] == [
        (name, HEAD, HEAD, False) for name in COLUMNS
    ]
    assert [record["read"] for record in run("projection", "run").records] == [0, 0, 0]


def test_a_quiet_run_is_done_and_prints_nothing(run: Run) -> None:
    assert run("projection", "run", "-q") == (0, "", "")
    assert {record["position"] for record in run("projection", "list").records} == {HEAD}


def test_a_run_of_some_leaves_the_others(run: Run) -> None:
    records = run("projection", "run", "daily_revenue", "daily_revenue", "customer_orders").records
    assert [record["projection"] for record in records] == ["daily_revenue", "customer_orders"]
    assert [record["position"] for record in run("projection", "list").records] == [HEAD, HEAD, 0]


def test_a_run_is_a_table_on_a_terminal(run: Run) -> None:
    header, *rows = run("projection", "run", "-o", "table").out.splitlines()
    assert header.split() == RUN
    assert len(rows) == 3


def test_a_log_without_projections_has_nothing_to_run(tmp_path: Path) -> None:
    path = tmp_path / "bare.db"
    with open_log(path, write=True, create=True):
        pass
    assert runs_in(tmp_path, path)("projection", "run") == (0, "", "")


# Handlers that fail

FRAGILE = """
[projection.strict]
table = "create table strict(n integer primary key)"
on.T = "insert into strict values (new.data ->> 'n')"
[projection.lenient]
table = "create table lenient(n integer primary key)"
on."*" = "insert or ignore into lenient values (new.data ->> 'n')"
"""


@pytest.fixture
def fragile(tmp_path: Path) -> Run:
    """Runs on a log in whose fourth event a handler fails."""
    path = tmp_path / "fragile.db"
    (tmp_path / "model.toml").write_text(FRAGILE, encoding="utf-8")
    with open_log(path, write=True, create=True) as opened:
        opened.apply_model(tmp_path / "model.toml")
        for n in (1, 2, 1, 3):
            opened.append("s-1", "T", {"n": n})
    return runs_in(tmp_path, path)


def test_a_handler_that_fails_stops_its_projection_and_no_other(fragile: Run) -> None:
    done = fragile("projection", "run", "--error-format", "json")
    assert done.code == 9
    records = {r["projection"]: r["position"] for r in map(json.loads, done.out.splitlines())}
    assert records == {"strict": 3, "lenient": 5}
    said = json.loads(done.err.splitlines()[-1])
    assert (said["exit"], said["projection"], said["position"], said["type"]) == (9, "strict", 4, "T")
    assert "UNIQUE" in said["error"]


def test_the_status_names_the_event_the_handler_and_the_message_with_exit_9(fragile: Run) -> None:
    assert fragile("projection", "status").code == 0
    assert fragile("projection", "run").code == 9
    for format_ in ("ndjson", "table", "csv"):
        done = fragile("projection", "status", "-o", format_)
        assert done.code == 9
        assert "UNIQUE" in done.out
        assert "stopped at position 4" in done.err
    (record,) = [
        r for r in map(json.loads, fragile("projection", "status").out.splitlines()) if r["projection"] == "strict"
    ]
    assert (record["failed"], record["position"], record["rows"], record["lag"]) == (4, 3, 2, 2)
    assert "T" in record["handler"]
    assert record["failed_at"] is not None
    assert fragile("projection", "status", "lenient").code == 0


def test_what_is_stopped_is_shown_as_far_as_it_is_with_a_warning(fragile: Run) -> None:
    assert fragile("projection", "run").code == 9
    done = fragile("projection", "show", "strict")
    assert (done.code, done.out) == (0, '{"n":1}\n{"n":2}\n')
    assert "stopped at position 4" in done.err
    assert "2 events behind" in done.err


def test_after_a_mend_the_run_goes_on(fragile: Run, tmp_path: Path) -> None:
    assert fragile("projection", "run").code == 9
    assert fragile("projection", "run").code == 9
    (tmp_path / "model.toml").write_text(FRAGILE.replace("insert into strict", "insert or ignore into strict"))
    assert fragile("model", "apply", "model.toml").code == 0
    assert fragile("projection", "run").code == 0
    assert [row["n"] for row in fragile("projection", "show", "strict").records] == [1, 2, 3]
    assert fragile("projection", "status").code == 0


def test_the_past_before_the_event_that_stops_it_can_be_shown(fragile: Run) -> None:
    assert [row["n"] for row in fragile("projection", "show", "strict", "--until", "#3").records] == [1, 2]
    said = told(fragile("projection", "show", "strict", "--until", "#4", "--error-format", "json"), 9)
    assert "UNIQUE" in said["why"]


# Rebuild, roll back, drop


def test_a_rebuild_makes_the_next_version_and_tells_that_it_is_live(run: Run) -> None:
    assert run("projection", "run").code == 0
    rows = run("projection", "show", "daily_revenue").out
    (record,) = run("projection", "rebuild", "daily_revenue").records
    assert record == {"projection": "daily_revenue", "version": 4, "position": HEAD, "read": HEAD, "switched": True}
    states = [
        (r["version"], r["state"]) for r in run("projection", "list").records if r["projection"] == "daily_revenue"
    ]
    assert states == [(4, "live"), (2, "previous")]
    assert run("projection", "show", "daily_revenue").out == rows
    (record,) = run("projection", "rebuild", "daily_revenue", "--from-scratch").records
    assert (record["version"], record["switched"]) == (5, True)


def test_a_rollback_brings_the_version_before_back(run: Run) -> None:
    assert run("projection", "run").code == 0
    told(run("projection", "rollback", "daily_revenue", "--error-format", "json"), 3)
    assert run("projection", "rebuild", "daily_revenue").code == 0
    (record,) = run("projection", "rollback", "daily_revenue").records
    assert (record["version"], record["switched"]) == (2, True)
    assert run("projection", "verify").code == 0


def test_a_drop_asks_has_a_plan_and_is_told(run: Run) -> None:
    assert run("projection", "run").code == 0
    plan = run("projection", "drop", "customer_orders", "--dry-run")
    assert plan.records == [{"projection": "customer_orders", "version": 1, "tables": "customer_orders,order_history"}]
    refused = run("projection", "drop", "customer_orders")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.endswith(" --yes\n")
    assert run("projection", "show", "customer_orders").code == 0
    done = run("projection", "drop", "customer_orders", "--yes")
    assert (done.code, done.out) == (0, plan.out)
    assert "order_history" in done.err
    assert told(run("projection", "drop", "customer_orders", "--yes", "--error-format", "json"), 3)
    assert told(run("projection", "drop", "customer_orders", "--dry-run", "--error-format", "json"), 3)


def test_what_was_dropped_comes_back_only_when_it_is_named(run: Run) -> None:
    assert run("projection", "run").code == 0
    rows = run("projection", "show", "daily_revenue").out
    assert run("projection", "drop", "daily_revenue", "--yes", "-q").err == ""
    assert "daily_revenue" not in [record["projection"] for record in run("projection", "run").records]
    said = told(run("projection", "show", "daily_revenue", "--error-format", "json"), 3)
    assert re.fullmatch(r"esctl projection run --log \S+ daily_revenue", said["fix"])
    assert run("projection", "status").code == 0
    assert run("projection", "verify").code == 0
    assert len(run("projection", "show", "daily_revenue", "--until", "#100").records) == 11
    assert run("projection", "run", "daily_revenue").code == 0
    assert run("projection", "show", "daily_revenue").out == rows


# diff


def test_differences_between_two_points_are_told_cell_by_cell_with_exit_10(run: Run) -> None:
    done = run("projection", "diff", "customer_orders", "--from", "#100", "--to", "#110")
    assert (done.code, done.err) == (10, "")
    cells = [json.loads(line) for line in done.out.splitlines()]
    assert all(list(cell) == CELLS for cell in cells)
    assert {"table": "customer_orders", "change": "changed", "key": {"customer_id": "203"}, "column": "orders",
            "before": 2, "after": 3} in cells  # fmt: skip
    assert {"added", "changed"} == {cell["change"] for cell in cells}
    assert {cell["table"] for cell in cells} == {"customer_orders", "order_history"}
    back = run("projection", "diff", "customer_orders", "--from", "#110", "--to", "#100")
    assert {"gone", "changed"} == {json.loads(line)["change"] for line in back.out.splitlines()}


@pytest.mark.parametrize(
    ("format_", "empty"), [("ndjson", ""), ("json", "[]\n"), ("csv", ",".join(CELLS) + "\n"), ("table", "")]
)
def test_no_differences_are_empty_in_every_format(run: Run, format_: str, empty: str) -> None:
    done = run("projection", "diff", "daily_revenue", "--from", "#100", "--to", "#100", "-o", format_)
    assert done == (0, empty, "")


def test_a_difference_reaches_to_the_head_unless_it_is_said(run: Run) -> None:
    one = run("projection", "diff", "daily_revenue", "--from", "2026-03-15")
    assert (one.code, one.out) == (
        10,
        run("projection", "diff", "daily_revenue", "--from", "2026-03-15", "--to", "now").out,
    )


def test_the_key_of_a_difference_is_an_object_or_a_text(run: Run) -> None:
    csv = run("projection", "diff", "daily_revenue", "--from", "#1", "--to", "#20", "-o", "csv").out.splitlines()
    assert csv[1].split(",")[:4] == ["daily_revenue", "added", "2026-01-02", "payments"]
    table = run("projection", "diff", "daily_revenue", "--from", "#1", "--to", "#20", "-o", "table").out.splitlines()
    assert table[0].split() == CELLS


def test_another_definition_is_compared_without_being_applied(run: Run, log: Path, tmp_path: Path) -> None:
    assert run("projection", "run").code == 0
    before = log.read_bytes()
    text = (SAMPLE / "shop.toml").read_text(encoding="utf-8")
    (tmp_path / "same.toml").write_text(text, encoding="utf-8")
    assert run("projection", "diff", "daily_revenue", "--model", "same.toml") == (0, "", "")
    (tmp_path / "new.toml").write_text(text.replace("payments = payments + 1,", "payments = payments + 2,"))
    done = run("projection", "diff", "daily_revenue", "--model", "new.toml")
    assert done.code == 10
    assert {json.loads(line)["column"] for line in done.out.splitlines()} == {"payments"}
    assert log.read_bytes() == before


@pytest.mark.parametrize(("name", "code"), [("none.toml", 3), ("bad.toml", 5)])
def test_a_model_that_cannot_be_read_is_told(run: Run, tmp_path: Path, name: str, code: int) -> None:
    (tmp_path / "bad.toml").write_text("[projection.x]\nnope = 1\n")
    told(run("projection", "diff", "daily_revenue", "--model", name, "--error-format", "json"), code)


# verify


def test_sound_projections_verify(run: Run) -> None:
    assert run("projection", "run").code == 0
    assert run("projection", "verify") == (0, "", "3 projections verified\n")
    assert run("projection", "verify", "-q") == (0, "", "")
    assert run("projection", "verify", "daily_revenue").err.startswith("1 projection")


def test_a_cell_that_somebody_changed_is_found_with_exit_6(run: Run, log: Path) -> None:
    assert run("projection", "run").code == 0
    alter(log, "update daily_revenue set received = 1 where day = '2026-01-02'")
    done = run("projection", "verify", "--error-format", "json")
    assert done.code == 6
    cells = {cell["column"]: cell for cell in map(json.loads, done.out.splitlines())}
    assert (cells["received"]["before"], cells["received"]["after"]) == (1.0, 248.1)
    said = json.loads(done.err.splitlines()[-1])
    assert said["error"] == "verification"
    assert re.fullmatch(r"esctl projection rebuild --log \S+ daily_revenue", said["fix"])
    assert run("projection", "verify", "customer_orders").code == 0
    assert run("projection", "rebuild", "daily_revenue").code == 0
    assert run("projection", "verify").code == 0


@pytest.mark.parametrize(
    ("sql", "change"),
    [
        ("delete from daily_revenue where day = '2026-01-02'", "added"),
        ("insert into daily_revenue(day) values ('2030-01-01')", "gone"),
    ],
)
def test_a_row_that_somebody_took_or_added_is_found(run: Run, log: Path, sql: str, change: str) -> None:
    assert run("projection", "run").code == 0
    alter(log, sql)
    done = run("projection", "verify")
    assert done.code == 6
    assert {json.loads(line)["change"] for line in done.out.splitlines()} == {change}


# Python reducers

REDUCED = """
[projection.tally]
table = "create table tally(type text primary key, n integer not null default 0, last text)"
[projection.other]
table = "create table other(n integer primary key)"
on.T1 = "insert into other values (new.position)"
"""
REDUCER = """
def count(rows, event):
    row = rows.get(event.type, {"n": 0})
    rows[event.type] = {"n": row["n"] + 1, "last": event.stream}

def broken(rows, event):
    if event.type == "T3":
        raise ValueError("no third")
    count(rows, event)

def leaves(rows, event):
    raise SystemExit(0)

no_function = 1
"""


@pytest.fixture
def reduced(tmp_path: Path) -> Run:
    """Runs on a log with a projection that a function keeps and one that SQL keeps; with a module of its own name."""
    path = tmp_path / "reduced.db"
    (tmp_path / "model.toml").write_text(REDUCED, encoding="utf-8")
    with open_log(path, write=True, create=True) as opened:
        for n in (1, 2, 3, 1):
            opened.append(f"s-{n}", f"T{n}", {})
        opened.apply_model(tmp_path / "model.toml")

    def run(*arguments: str) -> Done:
        sys.modules.pop("tally_by_hand", None)
        path_before = list(sys.path)
        sys.dont_write_bytecode = True
        try:
            return runs_in(tmp_path, path)(*arguments)
        finally:
            sys.path[:] = path_before

    (tmp_path / "tally_by_hand.py").write_text(REDUCER, encoding="utf-8")
    return run


def reduce(run: Run, function: str = "count", *more: str) -> Done:
    return run("projection", "run", "--reducer", f"tally_by_hand:{function}", "tally", *more)


def test_a_function_keeps_a_projection(reduced: Run) -> None:
    (record,) = reduce(reduced).records
    assert (record["projection"], record["position"], record["read"]) == ("tally", 5, 5)
    rows = [{"type": "T1", "n": 2, "last": "s-1"}, {"type": "T2", "n": 1, "last": "s-2"},
            {"type": "T3", "n": 1, "last": "s-3"}]  # fmt: skip
    assert reduced("projection", "show", "tally").records == rows
    assert reduce(reduced).records[0]["read"] == 0
    status = {record["projection"]: record for record in reduced("projection", "status").records}
    assert status["tally"]["reducer"].startswith("tally_by_hand:count")


def test_a_module_that_changed_makes_a_new_version(reduced: Run, tmp_path: Path) -> None:
    first = reduce(reduced).records[0]["version"]
    (tmp_path / "tally_by_hand.py").write_text(REDUCER.replace('row["n"] + 1', 'row["n"] + 10'), encoding="utf-8")
    (record,) = reduce(reduced).records
    assert (record["version"] > first, record["read"], record["switched"]) == (True, 5, True)
    assert [row["n"] for row in reduced("projection", "show", "tally").records] == [20, 10, 10]


@pytest.mark.parametrize(
    ("function", "position", "why"), [("broken", 3, "ValueError: no third"), ("leaves", 1, "SystemExit: 0")]
)
def test_a_function_that_fails_stops_at_the_event_which_is_named(
    reduced: Run, function: str, position: int, why: str
) -> None:
    done = reduce(reduced, function, "--error-format", "json")
    assert done.code == 9
    said = json.loads(done.err.splitlines()[-1])
    assert (said["projection"], said["position"], said["error"]) == ("tally", position, why)
    assert reduced("projection", "status").code == 9
    assert reduce(reduced, "count").code == 0
    assert [row["n"] for row in reduced("projection", "show", "tally").records] == [2, 1, 1]
    assert reduced("projection", "status").code == 0


def test_a_function_that_failed_leaves_the_rows_of_the_one_before_and_nothing_behind(reduced: Run) -> None:
    rows = [reduce(reduced), reduced("projection", "show", "tally")][1].out
    assert reduce(reduced, "leaves").code == 9
    assert reduced("projection", "show", "tally").out == rows
    assert reduce(reduced).code == 0
    assert reduced("projection", "status").code == 0


@pytest.mark.parametrize(
    ("name", "code"),
    [("nope", 2), (":", 2), ("tally_by_hand:", 2), ("tally_by_hand:no_function", 2), ("tally_by_hand:none", 3),
     ("no_such_module:f", 3)],
)  # fmt: skip
def test_a_function_that_is_not_there_is_told(reduced: Run, name: str, code: int) -> None:
    told(reduced("projection", "run", "--reducer", name, "tally", "--error-format", "json"), code)
    assert [r["state"] for r in reduced("projection", "list").records if r["projection"] == "tally"] == ["live"]


def test_only_a_projection_without_handlers_is_kept_by_a_function(reduced: Run) -> None:
    said = told(reduced("projection", "run", "--reducer", "tally_by_hand:count", "other", "--error-format", "json"), 2)
    assert re.fullmatch(r"esctl projection run --log \S+ other", said["fix"])
    told(reduced("projection", "run", "--reducer", "tally_by_hand:count", "nope", "--error-format", "json"), 3)


def test_what_only_a_function_keeps_is_told_apart_where_it_cannot_run(reduced: Run) -> None:
    done = reduced("projection", "run")
    assert (done.code, [json.loads(line)["projection"] for line in done.out.splitlines()]) == (0, ["other"])
    assert "--reducer MODULE:FUNCTION tally" in done.err
    assert reduce(reduced).code == 0
    assert reduced("projection", "run").code == 0
    for refused in (["show", "tally", "--until", "#2"], ["diff", "tally", "--from", "#2"]):
        said = told(reduced("projection", *refused, "--error-format", "json"), 9)
        assert "--reducer" in said["why"]


def test_what_only_a_function_keeps_is_not_rebuilt_without_it(reduced: Run) -> None:
    rows = [reduce(reduced), reduced("projection", "show", "tally")][1].out
    done = reduced("projection", "rebuild", "tally", "--error-format", "json")
    assert "--reducer" in json.loads(done.err.splitlines()[-1])["why"]
    assert [r["state"] for r in reduced("projection", "list").records if r["projection"] == "tally"] == ["live"]
    assert reduced("projection", "show", "tally").out == rows


def test_what_only_a_function_keeps_does_not_keep_others_from_being_verified(reduced: Run) -> None:
    assert reduce(reduced).code == 0
    assert reduced("projection", "run").code == 0
    done = reduced("projection", "verify")
    assert (done.code, done.out) == (0, "")
    assert "view" not in done.err


def test_a_note_about_what_a_function_keeps_names_what_helps(reduced: Run) -> None:
    done = reduced("projection", "show", "tally")
    assert done.code == 0
    assert "4 events behind" in done.err
    assert "--fresh" not in done.err
    assert "--reducer" in done.err


# Following


def test_following_takes_events_as_they_come_and_ends_by_the_signal(log: Path, tmp_path: Path) -> None:
    command = [ESCTL, "projection", "run", "--follow", "-l", str(log)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=environment(), text=True
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        first = [json.loads(following.stdout.readline()) for _ in COLUMNS]
        assert [record["position"] for record in first] == [HEAD] * 3
        append(log, "payment-9", "PaymentCreated", {"order_id": "1", "amount": 1.5})
        more = [json.loads(following.stdout.readline()) for _ in ("customer_orders", "daily_revenue")]
        assert {(record["projection"], record["position"], record["read"]) for record in more} == {
            ("customer_orders", HEAD + 1, 1), ("daily_revenue", HEAD + 1, 1),
        }  # fmt: skip
        following.send_signal(signal.SIGINT)
        said = following.stderr.read()
        assert following.wait(timeout=10) == -signal.SIGINT
    assert "Traceback" not in said
    connection = apsw.Connection(str(log), flags=apsw.SQLITE_OPEN_READONLY)
    assert connection.execute("select sum(payments) from payments_by_status where status = 'Created'").get == 2
    connection.close()


def test_following_stops_one_that_fails_and_goes_on_with_the_others(fragile: Run, tmp_path: Path) -> None:
    del fragile
    path = tmp_path / "fragile.db"
    command = [ESCTL, "projection", "run", "--follow", "-l", str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=environment(), text=True
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        assert {json.loads(following.stdout.readline())["projection"] for _ in range(2)} == {"strict", "lenient"}
        assert "stopped at position 4" in following.stderr.readline()
        append(path, "s-2", "T", {"n": 7})
        record = json.loads(following.stdout.readline())
        assert (record["projection"], record["position"]) == ("lenient", 6)
        following.send_signal(signal.SIGTERM)
        assert following.wait(timeout=10) == -signal.SIGTERM


# Pipes


def test_a_pipe_that_closes_ends_it_in_silence(log: Path, tmp_path: Path) -> None:
    alter(
        log,
        "with recursive n(x) as (select 1 union all select x + 1 from n limit 50000)"
        " insert into daily_revenue(day) select x from n;",
    )
    command = [ESCTL, "projection", "show", "daily_revenue", "-l", str(log)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=environment()
    ) as shown:
        assert shown.stdout is not None
        assert shown.stderr is not None
        assert shown.stdout.readline()
        shown.stdout.close()
        said = shown.stderr.read()
        assert (shown.wait(timeout=20), said) == (-signal.SIGPIPE, b"")


# On a terminal


@contextlib.contextmanager
def on_a_terminal(log: Path, columns: int, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run esctl on a terminal of so many columns and 12 lines, that sends Ctrl-C as terminals do."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 12, columns, 0, 0))
    env = environment(TERM="xterm-256color", COLUMNS=str(columns), LINES="12")
    command = [sys.executable, "-c", ON_TERMINAL, ESCTL, *arguments, "-l", str(log)]
    with subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, cwd=log.parent, env=env, start_new_session=True
    ) as process:
        os.close(slave)
        try:
            yield process, master
        finally:
            process.kill()
            os.close(master)


def seen(master: int, wanted: str) -> str:
    """What a terminal gets until a text is in it."""
    got, deadline = b"", time.monotonic() + 10
    while wanted.encode() not in got:
        assert time.monotonic() < deadline, got
        if select.select([master], [], [], 0.1)[0]:
            got += os.read(master, 65536)
    return got.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [60, 140])
def test_watching_paints_anew_as_events_come_and_ends_by_ctrl_c(log: Path, columns: int) -> None:
    asked = ("payments_by_status", "--watch", "--bars", "amount", "--total", "amount", "--color", "never")
    with on_a_terminal(log, columns, "projection", "show", *asked) as (process, master):
        first = seen(master, "6,410.82")
        clear, picture = first[:6], first[6:]
        assert clear == "\x1b[H\x1b[J"
        assert max(map(len, picture.splitlines())) <= columns
        append(log, "payment-9", "PaymentCreated", {"order_id": "1", "amount": 1000})
        second = seen(master, "7,410.82")
        assert "\x1b[H\x1b[J" in second
        os.write(master, b"\x03")
        assert process.wait(timeout=10) == -signal.SIGINT


def test_watching_never_paints_more_lines_than_the_terminal_has(log: Path) -> None:
    with on_a_terminal(log, 80, "projection", "show", "daily_revenue", "--watch", "--color", "never") as (_, master):
        picture = seen(master, "2026-01-15")
        time.sleep(0.2)
        while select.select([master], [], [], 0.1)[0]:
            picture += os.read(master, 65536).decode()
        assert len(picture.splitlines()) <= 12


@pytest.mark.parametrize("option", [["--bars", "x"], ["--total", "x"], ["--order-by", "x"], ["--where", "x"]])
def test_watching_refuses_what_showing_refuses(log: Path, option: list[str]) -> None:
    with on_a_terminal(log, 80, "projection", "show", "daily_revenue", "--watch", *option) as (process, master):
        assert "error: " in seen(master, "error: ")
        assert process.wait(timeout=10) == 2
