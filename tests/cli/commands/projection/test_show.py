"""`esctl projection show`: the rows of a projection."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from esctl.projections import freshness
from tests.cli.commands.projection.conftest import COLUMNS, HEAD, Run, append, told
from tests.conftest import ESCTL, environment
from tests.logs import alter

# Rows


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


@pytest.mark.parametrize("totals", [["--total", "received", "--total", "payments"], ["--total", "received,payments"]])
def test_a_sum_is_of_the_rows_that_are_shown(run: Run, totals: list[str]) -> None:
    chosen = ["--where", "day < '2026-02'", "--order-by", "received desc", "--limit", "5"]
    rows = run("projection", "show", "daily_revenue", *chosen).records
    done = run("projection", "show", "daily_revenue", *chosen, *totals)
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
    assert done.err == "note: daily_revenue is not built yet: 418 events behind: esctl projection run daily_revenue\n"
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


def test_a_log_that_another_process_writes_to_is_shown_as_it_is(run: Run, log: Path) -> None:
    assert run("projection", "run").code == 0
    append(log, "order-2001", "OrderPlaced", {"order_id": "2001", "customer_id": "999", "total_amount": 7.5})
    with locked(log):
        done = run("projection", "show", "daily_revenue", "--limit", "1", "--timeout", "0.5")
        assert (done.code, len(done.out.splitlines())) == (0, 1)
        assert "did not catch up" in done.err
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
    assert said["why"] == "esctl projection show has no such format"


# Handlers that fail


def test_what_is_stopped_is_shown_as_far_as_it_is_with_a_warning(fragile: Run) -> None:
    assert fragile("projection", "run").code == 9
    done = fragile("projection", "show", "strict")
    assert (done.code, done.out) == (0, '{"n":1}\n{"n":2}\n')
    assert "stopped at position 4" in done.err
    assert "2 events behind" in done.err


def test_the_past_before_the_event_that_stops_it_can_be_shown(fragile: Run) -> None:
    assert [row["n"] for row in fragile("projection", "show", "strict", "--until", "#3").records] == [1, 2]
    said = told(fragile("projection", "show", "strict", "--until", "#4", "--error-format", "json"), 9)
    assert "UNIQUE" in said["why"]


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


# Runs the rest of its arguments with the terminal on stdin as the one whose Ctrl-C is for the process.
ON_TERMINAL = "import fcntl,os,sys,termios;fcntl.ioctl(0,termios.TIOCSCTTY,0);os.execv(sys.argv[1],sys.argv[1:])"


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
