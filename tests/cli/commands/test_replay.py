"""`esctl replay`: which events, in which order, in which form; and that none of them acts on a terminal."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from esctl import open_log
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.points.points import query_of
from tests.cli.commands.conftest import FIELDS
from tests.conftest import ESCTL, SAMPLE, Esctl, succeeded
from tests.logs import alter

EVENTS = [  # position, stream, type, day of January 2026
    (1, "order-1", "Placed", "01T00:00:00Z"),
    (2, "order-2", "Placed", "02T00:00:00Z"),
    (3, "order-1", "Paid", "05T00:00:00Z"),
    (4, "order", "Placed", "03T23:59:59.999999Z"),
    (5, "orders-9", "Placed", "04T00:00:00Z"),
    (6, "stock-1", "Counted", "06T12:00:00Z"),
    (7, "order-1", "Closed", "07T00:00:00Z"),
]
TEXT = "".join(
    f'{{"stream":"{stream}","type":"{type_}","id":"e-{position}","time":"2026-01-{day}",'
    f'"data":{{"n": {position}.0, "é":"a,b\\n\\"q\\""}},"meta":{{"m":{position}}}}}\n'
    for position, stream, type_, day in EVENTS
)


@pytest.fixture(scope="module")
def shop_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of the events above, to be read only."""
    path = tmp_path_factory.mktemp("shop") / "log.db"
    for command in (["init"], ["append"]):
        subprocess.run([ESCTL, *command, "--log", str(path)], input=TEXT.encode(), check=True, capture_output=True)
    return path


@pytest.fixture
def shop(esctl: Esctl, shop_log: Path) -> Esctl:
    """Run esctl on the log of the events above."""

    def on_shop(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return esctl(*arguments, env={"ESCTL_LOG": str(shop_log), **(env or {})})

    return on_shop


def positions(done: subprocess.CompletedProcess[str]) -> list[int]:
    return [json.loads(line)["position"] for line in succeeded(done).splitlines()]


# Which events


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("", [1, 2, 3, 4, 5, 6, 7]),
        ("order-1", [1, 3, 7]),
        ("order", [4]),
        ("--category order", [1, 2, 3, 4, 7]),
        ("--category stock", [6]),
        ("--category nothing", []),
        ("--type Placed", [1, 2, 4, 5]),
        ("--type Paid --type Closed", [3, 7]),
        ("--type Paid --type Nothing", [3]),
        ("--type Nothing", []),
        ("order-1 --type Placed", [1]),
        ("--since #3", [3, 4, 5, 6, 7]),
        ("--until #3", [1, 2, 3]),
        ("--since #3 --until #5", [3, 4, 5]),
        ("--since #5 --until #3", []),
        ("--since #8", []),
        ("--until #0", []),
        ("--until #99", [1, 2, 3, 4, 5, 6, 7]),
        ("--since 2026-01-05", [3, 6, 7]),
        ("--until 2026-01-03", [1, 2, 4]),
        ("--since 2026-01-04 --until 2026-01-05", [3, 5]),
        ("--since 2026-01-06T12:00:00Z", [6, 7]),
        ("--since 2026-01-06T12:00:00.000001Z", [7]),
        ("--until 2026-01-06T12:00:00Z", [1, 2, 3, 4, 5, 6]),
        ("--until 2026-01-06T11:59:59.999999Z", [1, 2, 3, 4, 5]),
        ("--since 2026-01-06T13:00:00+01:00", [6, 7]),
        ("--since 2026-01-06T12:00:00", [6, 7]),
        ("--since 2026-01-05 --until #6", [3, 6]),
        ("order-1 --since v2", [3, 7]),
        ("order-1 --until v2", [1, 3]),
        ("order-1 --since v2 --until v2", [3]),
        ("order-1 --until v0", []),
        ("order-1 --until v99", [1, 3, 7]),
        ("order-1 --since #2 --until #6", [3]),
        ("order-1 --until 2026-01-05", [1, 3]),
        ("--as-of #4", [1, 2, 3, 4]),
        ("--as-of #4 --until #2", [1, 2]),
        ("order-1 --as-of #3", [1, 3]),
        ("order-1 --as-of v1", [1]),
        ("--as-of 2026-01-01", []),
        ("--as-of 9998-01-01", [1, 2, 3, 4, 5, 6, 7]),
        ("--limit 2", [1, 2]),
        ("--limit 0", []),
        ("--limit 99", [1, 2, 3, 4, 5, 6, 7]),
        ("--last 2", [6, 7]),
        ("--last 0", []),
        ("--last 99", [1, 2, 3, 4, 5, 6, 7]),
        ("--reverse", [7, 6, 5, 4, 3, 2, 1]),
        ("--reverse --limit 2", [7, 6]),
        ("--last 2 --reverse", [7, 6]),
        ("--last 3 --limit 2", [5, 6]),
        ("--last 3 --reverse --limit 1", [7]),
        ("order-1 --last 2", [3, 7]),
        ("order-1 --last 1 --until v2", [3]),
        ("order-1 --reverse", [7, 3, 1]),
        ("--category order --type Placed --last 2 --reverse", [4, 2]),
        ("--system", [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_a_filter_keeps_these_positions(shop: Esctl, filters: str, expected: list[int]) -> None:
    assert positions(shop("replay", *filters.split())) == expected


def test_an_event_is_one_line_with_the_contracts_keys_in_order(shop: Esctl) -> None:
    first, *_ = succeeded(shop("replay")).splitlines()
    event = json.loads(first)
    assert list(event) == FIELDS
    assert {key: value for key, value in event.items() if key != "recorded"} == {
        "position": 1,
        "stream": "order-1",
        "version": 1,
        "id": "e-1",
        "type": "Placed",
        "schema": 1,
        "time": "2026-01-01T00:00:00.000000Z",
        "data": {"n": 1.0, "é": 'a,b\n"q"'},
        "meta": {"m": 1},
    }


def test_as_of_is_the_log_as_it_stood_then(run: Esctl) -> None:
    run("append", "s", "T", "--time", "2030-01-01T00:00:00Z")
    run("append", "s", "T")
    then = json.loads(succeeded(run("replay", "--last", "1")))["recorded"]
    time.sleep(0.01)
    run("append", "s", "T", "--time", "2000-01-01T00:00:00Z")
    assert positions(run("replay", "--as-of", then)) == [1, 2]
    assert positions(run("replay", "s", "--as-of", then, "--reverse")) == [2, 1]
    before = datetime.fromisoformat(then) - timedelta(microseconds=1)
    assert positions(run("replay", "--as-of", before.isoformat())) == [1]


def test_a_date_and_a_time_without_zone_are_local(shop: Esctl) -> None:
    east = {"TZ": "XXX-3"}  # three hours before UTC, in the notation of POSIX
    assert positions(shop("replay", "--since", "2026-01-06T15:00:00", env=east)) == [6, 7]
    assert positions(shop("replay", "--since", "2026-01-06T15:00:01", env=east)) == [7]
    assert positions(shop("replay", "--since", "2026-01-04", "--until", "2026-01-04", env=east)) == [4, 5]


@pytest.mark.parametrize(
    "option",
    [
        *["--since=garbage", "--since=", "--since=#", "--since=#-1", "--since=#1x", "--since=#1e3", "--since=v"],
        *["--since=vx", "--since=2026-02-30", "--since=2026-13-01", "--since=2026-01-01T25:00:00Z", "--since=1-1-2026"],
        *["--until=garbage", "--as-of=garbage"],
    ],
)
def test_a_point_that_is_none_is_refused(shop: Esctl, option: str) -> None:
    done = shop("replay", option)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "bug" not in done.stderr


def test_a_version_is_a_point_in_one_stream_only(shop: Esctl) -> None:
    done = shop("replay", "--until", "v2")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no stream is named" in done.stderr


@pytest.mark.parametrize("option", ["--limit", "--last"])
def test_a_number_of_events_is_a_number(shop: Esctl, option: str) -> None:
    for text in ("-1", "x", "1.5", ""):
        assert shop("replay", f"{option}={text}").returncode == 2
    done = shop("replay", option, "9" * 30)
    assert done.returncode in (0, 2)
    assert "bug" not in done.stderr


def test_a_stream_that_is_not_there_is_refused_and_a_near_one_suggested(shop: Esctl) -> None:
    for form in ([], ["-o", "csv"]):
        done = shop("replay", "ordre-1", *form)
        assert (done.returncode, done.stdout) == (3, "")
        assert "there is no stream ordre-1" in done.stderr
        assert "did you mean order-1" in done.stderr
    assert "did you mean" not in shop("replay", "zzz").stderr


@pytest.mark.parametrize(
    ("format_", "printed"),
    [
        ("ndjson", ""),
        ("json", "[]\n"),
        ("csv", ",".join(FIELDS) + "\n"),
        ("tsv", "\t".join(FIELDS) + "\n"),
        ("raw", ""),
    ],
)
def test_nothing_found_is_no_failure(run: Esctl, shop: Esctl, format_: str, printed: str) -> None:
    done = shop("replay", "--type", "Nothing", "-o", format_)
    assert succeeded(done).replace("[\n]", "[]") == printed
    assert run("replay", "--since", "#99", "-o", "table").returncode == 0


def test_an_empty_log_has_no_events(run: Esctl) -> None:
    assert succeeded(run("replay")) == ""
    assert succeeded(run("replay", "--reverse", "--last", "5")) == ""


def test_many_events_of_many_streams_come_whole_and_in_order_in_every_window(run: Esctl) -> None:
    text = "".join(f'{{"stream":"s-{i % 7}","type":"T","data":{i}}}\n' for i in range(5003))
    assert run("append", input=text).returncode == 0
    for filters, expected in (
        ([], range(5003)),
        (["--reverse"], reversed(range(5003))),
        (["s-3"], range(3, 5003, 7)),
        (["--since", "#999", "--until", "#3001"], range(998, 3001)),
        (["--limit", "1001"], range(1001)),
        (["--last", "2001"], range(3002, 5003)),
        (["--reverse", "--limit", "1500"], range(5002, 3502, -1)),
    ):
        assert succeeded(run("replay", "-o", "raw", *filters)).split() == [str(i) for i in expected], filters


# In which form


def test_ndjson_is_what_a_pipe_gets(shop: Esctl) -> None:
    assert succeeded(shop("replay", "-o", "ndjson")) == succeeded(shop("replay"))
    assert succeeded(shop("replay", "-o", "auto")) == succeeded(shop("replay"))


@pytest.mark.parametrize("options", [[], ["--hash"], ["order-1", "--reverse"], ["--limit", "1"]])
def test_json_holds_the_same_as_ndjson(shop: Esctl, options: list[str]) -> None:
    lines = [json.loads(line) for line in succeeded(shop("replay", *options)).splitlines()]
    assert json.loads(succeeded(shop("replay", *options, "-o", "json"))) == lines
    assert lines


@pytest.mark.parametrize(("format_", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_csv_and_tsv_hold_the_same_as_ndjson(shop: Esctl, format_: str, delimiter: str) -> None:
    for options in ([], ["--hash"]):
        lines = [json.loads(line) for line in succeeded(shop("replay", *options)).splitlines()]
        text = succeeded(shop("replay", *options, "-o", format_))
        assert "\r" not in text
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
        assert [list(row) for row in rows] == [list(line) for line in lines]
        for row, line in zip(rows, lines, strict=True):
            assert json.loads(row.pop("data")) == line.pop("data")
            assert json.loads(row.pop("meta")) == line.pop("meta")
            assert row == {key: str(value) for key, value in line.items()}


def test_raw_is_the_payloads_alone_byte_for_byte(shop: Esctl) -> None:
    expected = "".join(f'{{"n": {position}.0, "é":"a,b\\n\\"q\\""}}\n' for position, *_ in EVENTS)
    assert succeeded(shop("replay", "-o", "raw")) == expected


def test_hash_adds_salt_and_hash_at_the_end_of_each_line(shop: Esctl) -> None:
    lines = [json.loads(line) for line in succeeded(shop("replay", "--hash")).splitlines()]
    for line in lines:
        assert list(line) == [*FIELDS, "salt", "hash"]
        assert re.fullmatch("[0-9a-f]{32}", line["salt"])
        assert re.fullmatch("[0-9a-f]{64}", line["hash"])
    assert len({line["hash"] for line in lines}) == len({line["salt"] for line in lines}) == 7
    assert succeeded(shop("head")) == f"7:{lines[-1]['hash']}\n"


def test_names_that_json_escapes_come_back_whole(run: Esctl) -> None:
    names = ['quo"te', "back\\slash", "Ünïcödé \U0001f600", "{a}%s", "a b", "'; drop table events; --"]
    for name in names:
        assert run("append", name, name, "--id", name).returncode == 0
    lines = [json.loads(line) for line in succeeded(run("replay")).splitlines()]
    assert [(line["stream"], line["type"], line["id"]) for line in lines] == [(name,) * 3 for name in names]
    for name in names:
        assert [json.loads(line)["id"] for line in succeeded(run("replay", name)).splitlines()] == [name]
        assert [json.loads(line)["id"] for line in succeeded(run("replay", "--type", name)).splitlines()] == [name]
    rows = list(csv.DictReader(io.StringIO(succeeded(run("replay", "-o", "csv")), newline="")))
    assert [row["stream"] for row in rows] == names


# Fields and templates

PICKED = "position,id,data.n,data.who.name,meta.m"


@pytest.mark.parametrize(
    ("format_", "printed"),
    [
        (
            "ndjson",
            """{"position":1,"id":"a","data.n":1.50,"data.who.name":"Zoë, \\"Z\\"","meta.m":true}
{"position":2,"id":"b","data.n":null,"data.who.name":null,"meta.m":null}
{"position":3,"id":"c","data.n":null,"data.who.name":null,"meta.m":null}
""",
        ),
        ("csv", f'{PICKED}\n1,a,1.50,"Zoë, ""Z""",true\n2,b,,,\n3,c,,,\n'),
        ("tsv", PICKED.replace(",", "\t") + '\n1\ta\t1.50\t"Zoë, ""Z"""\ttrue\n2\tb\t\t\t\n3\tc\t\t\t\n'),
        ("raw", '1\ta\t1.50\tZoë, "Z"\ttrue\n2\tb\t\t\t\n3\tc\t\t\t\n'),
    ],
)
def test_fields_picks_columns_and_paths_in_every_format(three: Esctl, format_: str, printed: str) -> None:
    done = three("replay", "--fields", PICKED, "-o", format_)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", printed)


def test_picked_fields_are_the_same_in_json_as_in_ndjson(three: Esctl) -> None:
    lines = [json.loads(line) for line in three("replay", "--fields", PICKED).stdout.splitlines()]
    assert json.loads(three("replay", "--fields", PICKED, "-o", "json").stdout) == lines


def test_picked_fields_have_no_form_of_a_cloudevent(three: Esctl) -> None:
    done = three("replay", "--fields", "id", "-o", "cloudevents")
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(
    ("template", "printed"),
    [
        ("{position} {data.n}", "1 1.50\n2 \n3 \n"),
        (r"{id}\t{{{type}}}", "a\t{A}\nb\t{B}\nc\t{C}\n"),
        ("{data.who.name}|{data.who}", 'Zoë, "Z"|{"name":"Zoë, \\"Z\\""}\n|\n|{}\n'),
        ("-", "-\n-\n-\n"),
    ],
)
def test_a_template_is_filled_line_by_line(three: Esctl, template: str, printed: str) -> None:
    done = three("replay", "--template", template)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", printed)


@pytest.mark.parametrize(
    "options",
    [
        ["--fields", "nothing"],
        ["--fields", "data."],
        ["--fields", "stream.x"],
        ["--fields", "id", "--template", "{id}"],
        ["--fields", "id", "--hash"],
        ["--template", "{nothing}"],
        ["--template", "{"],
        ["--template", "}"],
        ["--template", "{}"],
    ],
)
def test_fields_and_templates_that_are_none_are_refused(three: Esctl, options: list[str]) -> None:
    done = three("replay", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


def test_a_number_of_any_length_can_be_picked(run: Esctl) -> None:
    run("append", input=f'{{"stream":"s","type":"T","data":{{"n":{"7" * 5000}}}}}\n')
    for format_ in ("table", "csv", "raw"):
        done = run("replay", "--fields", "data.n", "-o", format_, "--wide")
        assert (done.returncode, done.stderr) == (0, "")
        assert "7" * 5000 in done.stdout


# Exit codes and conditions


@pytest.mark.parametrize("form", [[], ["-o", "json"], ["-o", "csv"], ["--fields", "id"], ["--template", "{id}"]])
def test_fail_empty_tells_by_its_exit_code_whether_anything_matched(esctl: Esctl, path: Path, form: list[str]) -> None:
    for type_, code in (("Nothing", 10), ("Paid", 0)):
        done = esctl("replay", "--type", type_, "--fail-empty", *form, "-l", str(path))
        assert done.returncode == code, done.stderr
        assert done.stderr.startswith("error: no event matches") == (code == 10)


REFUSED = {
    "(select 1)": "subqueries",
    "random() > 0": "non-deterministic",
    "time > datetime('now')": "non-deterministic",
    "type = ?": "parameters",
    "count(*) > 1": "aggregate",
    "1; delete from events": "syntax",
    "customer = 'a'": "no such column",
    "": "syntax",
}


@pytest.mark.parametrize("follow", [[], ["--follow", "--limit", "1"]], ids=["replay", "follow"])
@pytest.mark.parametrize("condition", REFUSED)
def test_a_condition_that_is_none_is_refused_before_anything_is_read(
    esctl: Esctl, path: Path, condition: str, follow: list[str]
) -> None:
    done = esctl("replay", "--where", condition, *follow, "-l", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --where ")
    assert REFUSED[condition] in done.stderr


def test_a_condition_that_fails_on_some_event_is_no_damage_to_the_log(run: Esctl) -> None:
    for value in ("1", "not json"):
        run("append", "s", "T", f"inner={value}")
    done = run("replay", "--where", "json(data ->> 'inner') = 1")
    assert done.returncode == 2, done.stderr
    assert "damaged" not in done.stderr
    assert "malformed JSON" in done.stderr


# The head that was read up to


def test_emit_head_prints_the_head_that_was_read_up_to_on_stderr(three: Esctl) -> None:
    head = three("head").stdout
    for filters in ([], ["s-1"], ["--type", "Nothing"], ["--limit", "1"], ["--fields", "id"], ["-o", "csv"]):
        done = three("replay", *filters, "--emit-head")
        assert (done.returncode, done.stderr) == (0, head), filters


# Parts of split events

SPLIT = """
[[event.Cart.upcast]]
from = 1
split = [ { type = "OrderPlaced", set = { order = 1 } }, { type = "CartEmptied", remove = ["total"] } ]
"""


@pytest.fixture
def split(esctl: Esctl, tmp_path: Path) -> Esctl:
    """Runs esctl where a log has one event that is read as two, and one that is not."""
    (tmp_path / "split.toml").write_text(SPLIT)
    esctl("init", "--model", "split.toml")
    esctl("append", "cart-1", "Cart", "total:=5", "--id", "a")
    esctl("append", "cart-1", "Other", "--id", "b")
    return esctl


def test_the_parts_of_a_split_event_are_told_apart_in_every_form(split: Esctl) -> None:
    lines = [json.loads(line) for line in split("replay").stdout.splitlines()]
    assert [(line["version"], line.get("part"), line["type"]) for line in lines] == [
        (1, 1, "OrderPlaced"), (1, 2, "CartEmptied"), (2, None, "Other"),
    ]  # fmt: skip
    assert list(lines[0])[:5] == ["position", "stream", "version", "part", "id"]
    assert split("replay", "--template", "{version}.{part}").stdout.split() == ["1.1", "1.2", "2."]
    assert [json.loads(line) for line in split("replay", "--fields", "part").stdout.splitlines()] == [
        {"part": 1}, {"part": 2}, {"part": None},
    ]  # fmt: skip
    ids = [json.loads(line)["id"] for line in split("replay", "-o", "cloudevents").stdout.splitlines()]
    assert ids == ["a/1", "a/2", "b"]
    table = split("replay", "-o", "table").stdout.splitlines()
    assert [line.split()[4] for line in table[1:]] == ["1/1", "1/2", "2"]


Line = dict[str, Any]
STREAMS = ("order-1", "order-2", "order-2-b", "order", "orders-9", "order.x", "stock-1", "漢字-1")
CATEGORIES = ("order", "orders", "stock", "漢字", "nothing", "order-2")
TYPES = ("Placed", "Paid", "Closed", 'Quo"ted')
COUNT = 1300  # more than a store reads at once


def times(day: int, minute: int) -> str:
    return f"2026-01-{day:02}T09:{minute:02}:00.000000Z"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many events in many transactions, times out of order, marks in between (the log's own events)."""
    path = tmp_path_factory.mktemp("filters") / "log.db"
    random = Random(3)
    with open_log(path, write=True, create=True) as written:
        left = COUNT
        while left > 0:
            batch = [_event(random) for _ in range(min(left, random.choice((1, 3, 40, 200))))]
            left -= len(batch)
            written.append_all(batch)
            written.mark(random.choice(("early", "middle", "late")))
    return path


def _event(random: Random) -> Line:
    data: Line = {"n": random.randrange(20)} if random.random() < 0.8 else {}
    if random.random() < 0.3:
        data["vip"] = random.random() < 0.5
    return {
        "stream": random.choice(STREAMS),
        "type": random.choice(TYPES),
        "time": times(random.randint(1, 28), random.randrange(60)),
        "schema": random.choice((1, 1, 2)),
        "data": data,
        "meta": {"actor": random.choice(("web", "shop"))} if random.random() < 0.5 else {},
    }


@pytest.fixture(scope="module")
def everything(path: Path) -> list[Line]:
    """The whole replay, the log's own events included, decoded."""
    with EventLog(path) as log:
        return decoded(b"".join(log.lines(Query(system=True))))


def decoded(lines: bytes) -> list[Line]:
    return [json.loads(line) for line in lines.splitlines()]


# On a terminal


def on_a_terminal(log: Path, *arguments: str, **changes: str) -> str:
    """What a run prints to a terminal, stderr included."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ESCTL_") and k not in ("NO_COLOR", "FORCE_COLOR")}
    env = {**kept, "TERM": "xterm-256color", "COLUMNS": "100", "TZ": "UTC", "ESCTL_LOG": str(log), **changes}
    terminal, side = pty.openpty()
    with subprocess.Popen([ESCTL, *arguments], stdin=subprocess.DEVNULL, stdout=side, stderr=side, env=env):
        os.close(side)
        printed = b""
        while True:
            try:
                more = os.read(terminal, 65536)
            except OSError:  # how Linux says that the other side is closed
                break
            if not more:
                break
            printed += more
    os.close(terminal)
    return printed.decode()


def without_styles(text: str) -> str:
    """The text without what colours it."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_terminal_gets_a_table_of_the_same_events_in_the_same_order(shop: Esctl, shop_log: Path) -> None:
    assert succeeded(shop("replay", "--reverse")).count("\n") == 7
    printed = without_styles(on_a_terminal(shop_log, "replay", "--reverse"))
    header, *rows = [line for line in printed.splitlines() if line.strip()]
    assert header.split()[:1] == ["position"]
    assert {"stream", "version", "type", "data"} <= set(header.split())
    assert [int(row.split()[0]) for row in rows if row.split()[0].isdigit()] == [7, 6, 5, 4, 3, 2, 1]
    for row, (position, stream, type_, _) in zip(rows, reversed(EVENTS), strict=False):
        assert {str(position), stream, type_} <= set(row.split())


def test_a_table_fits_the_terminal(run: Esctl, log_path: Path) -> None:
    run("append", "a-very-long-stream-name-" + "x" * 200, "T" * 100, '"' + "y" * 5000 + '"')
    run("append", "short", "T", "wide=漢字漢字漢字" + "漢" * 100)
    for columns in (60, 80, 200):
        printed = without_styles(on_a_terminal(log_path, "replay", COLUMNS=str(columns)))
        for line in printed.splitlines():
            width = sum(2 if "\u2e80" <= c <= "\u9fff" else 1 for c in line.rstrip())
            assert width <= columns, (columns, line)


BAD_NAMES = ["[bold]x[/bold]", "[/]", "[link=http://evil]x", "right\u202eto\u2066left", "line\u2028end"]
BAD_DATA = [
    r'"\u001b[31mred\u001b]0;title\u0007\u0000"',
    '"C1 \u009b31m \u0085 \u0090q DEL \u007f"',
    '"bidi \u202e \u2066 \u200f \u061c separators \u2028 \u2029"',
    '"[bold red]markup[/bold red] [/] [/x] [link=http://evil]y[/link] :smiley:"',
    '{"\u009b2J":"\u009d0;t\u009c"}',
]
ACTS = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def test_nothing_in_an_event_acts_on_the_terminal(run: Esctl, log_path: Path) -> None:
    events = [{"stream": name, "type": name, "id": name} for name in BAD_NAMES]
    text = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
    text += "".join(f'{{"stream":"s-1","type":"T","data":{data}}}\n' for data in BAD_DATA)
    assert succeeded(run("append", input=text)) != ""
    printed = on_a_terminal(log_path, "replay", COLUMNS="250")
    assert ACTS.findall(without_styles(printed)) == []
    assert "\x1b[31m" not in printed
    for shown in ("[bold]x[/bold]", "[/]", "[link=http://evil]x", "[bold red]markup", ":smiley:"):
        assert shown in printed
    assert "\\x9b31m" in printed
    assert "\\u202e" in printed


@pytest.mark.parametrize("name", ["\x1b[31mred", "\x1b]0;title\x07", "\u009b31m", "a\u202eb", "a\nb", "[bold]x"])
@pytest.mark.parametrize("format_", ["auto", "csv"])
def test_an_error_about_a_name_does_not_act_on_the_terminal(log_path: Path, name: str, format_: str) -> None:
    printed = on_a_terminal(log_path, "replay", name, "-o", format_)
    assert "there is no stream" in printed
    assert ACTS.findall(printed) == []


def test_a_table_in_a_pipe_has_no_styles_unless_they_are_asked_for(shop: Esctl) -> None:
    assert "\x1b" not in succeeded(shop("replay", "-o", "table"))
    assert "\x1b[" in succeeded(shop("replay", "-o", "table", "--color", "always"))
    assert "\x1b[" in succeeded(shop("replay", "-o", "table", env={"FORCE_COLOR": "1", "TERM": "xterm"}))


@pytest.mark.parametrize(
    ("arguments", "env"), [(["--color", "never"], {}), ([], {"TERM": "dumb"})], ids=["--color never", "TERM=dumb"]
)
def test_a_table_without_colours_has_no_escape_at_all(
    shop_log: Path, arguments: list[str], env: dict[str, str]
) -> None:
    printed = on_a_terminal(shop_log, "replay", *arguments, **env)
    assert "position" in printed
    assert "\x1b" not in printed


def test_no_color_has_no_colours(shop_log: Path) -> None:
    printed = on_a_terminal(shop_log, "replay", NO_COLOR="1")
    assert "position" in printed
    assert not re.search(r"\x1b\[[0-9;]*(3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]", printed)


def test_a_type_that_no_event_has_is_noted_with_what_comes_near(esctl: Esctl, log_path: Path) -> None:
    assert esctl("append", "order-1", "OrderPlaced", "--log", str(log_path)).returncode == 0
    done = esctl("replay", "--type", "OrderPlace", "--log", str(log_path))
    told = "note: no event has the type OrderPlace; did you mean OrderPlaced?\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", told)
    assert esctl("replay", "--type", "OrderPlace", "-q", "--log", str(log_path)).stderr == ""


def test_types_that_are_joined_by_a_comma_are_noted_with_the_way_to_name_them(esctl: Esctl, log_path: Path) -> None:
    for type_ in ("Placed", "Paid"):
        assert esctl("append", "order-1", type_, "--log", str(log_path)).returncode == 0
    done = esctl("replay", "--type", "Placed,Paid", "--log", str(log_path))
    assert done.stderr == (
        "note: no event has the type Placed,Paid; give --type once for each: --type Placed --type Paid\n"
    )


def test_a_pattern_of_streams_is_refused_with_the_command_that_takes_it(esctl: Esctl, log_path: Path) -> None:
    assert esctl("append", "order-1", "Placed", "--log", str(log_path)).returncode == 0
    done = esctl("replay", "order-*", "--log", str(log_path))
    assert (done.returncode, done.stderr.splitlines()[-1]) == (3, f"fix: esctl streams --log {log_path} 'order-*'")


@pytest.mark.parametrize(
    ("category", "near"),
    [("ordr", "order"), ("Order", "order"), ("order-itm", "order-item"), ("order", ""), ("order-item", ""),
     ("solo", ""), ("sol", "solo"), ("$esctl", ""), ("zzz", "")],
)  # fmt: skip
def test_a_category_that_no_stream_is_in_is_noted_with_what_comes_near(
    esctl: Esctl, log_path: Path, category: str, near: str
) -> None:
    lines = "".join(f'{{"stream":"{stream}","type":"T"}}\n' for stream in ("order-1", "order-item-1", "solo"))
    assert esctl("append", "--log", str(log_path), input=lines).returncode == 0
    assert esctl("mark", "m", "--log", str(log_path)).returncode == 0
    done = esctl("replay", "--category", category, "--log", str(log_path))
    noted = f"note: no event has the category {category}; did you mean {near}?\n" if near else ""
    assert (done.returncode, done.stderr) == (0, noted)
    assert esctl("replay", "--category", category, "-q", "--log", str(log_path)).stderr == ""


@pytest.mark.parametrize("levels", [985, 1000])
def test_fields_and_templates_of_the_deepest_payload_are_printed(esctl: Esctl, log_path: Path, levels: int) -> None:
    deep = '{"a":' * levels + "1" + "}" * levels
    line = f'{{"stream":"d","type":"T","data":{deep},"meta":{deep}}}\n'
    assert esctl("append", "--log", str(log_path), input=line).returncode == 0
    inner = deep[5:-1]
    for words, printed in (
        (("--fields", "data.a"), f'{{"data.a":{inner}}}\n'),
        (("--template", "{data.a}{meta.b}"), f"{inner}\n"),
        (("--fields", "meta.a", "-o", "csv"), None),
    ):
        found = succeeded(esctl("replay", *words, "--log", str(log_path)))
        assert printed in (None, found)
    state = succeeded(esctl("state", "d", "--fields", "state.a", "--log", str(log_path)))
    assert state == f'{{"state.a":{inner}}}\n'
    assert esctl("state", "d", "-o", "table", "--log", str(log_path)).returncode == 0
    assert esctl("show", "1", "--trace", "--log", str(log_path)).returncode == 0


def test_debug_tells_the_sql_and_verbose_the_log(esctl: Esctl, log_path: Path) -> None:
    assert esctl("append", "order-1", "OrderPlaced", "--log", str(log_path)).returncode == 0
    told = esctl("replay", "order-1", "--debug", "-v", "--log", str(log_path)).stderr.splitlines()
    assert told[0] == f"log: {log_path}"
    assert any(line.startswith("sql: select cast(printf(") for line in told)


# Out of one log and into another

ODD = [
    '{"stream":"quo\\"te-1","type":"back\\\\slash","id":"id \\"1\\"","data":{"n": 1.0, "big": 1E400},"meta":{"a" : 1}}',
    '{"stream":"漢字-1","type":"😀","data":"\\u001b[31m \\ud83d\\ude00 é","schema":7}',
    '{"stream":"order-1","type":"T","data":[12345678901234567890123, -0.0, null],"time":"1999-12-31T23:59:59.9Z"}',
]


def test_a_replay_appended_to_a_new_log_has_the_same_events(esctl: Esctl, tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    for path in (old, new):
        assert esctl("init", "-l", str(path)).returncode == 0
    assert esctl("mark", "start", "-l", str(old)).returncode == 0  # an event that a replay leaves out
    text = "\n".join(ODD) + "\n" + (SAMPLE / "orders.ndjson").read_text()
    assert esctl("append", "-l", str(old), input=text).returncode == 0
    appended = esctl("append", "-l", str(new), input=esctl("replay", "-l", str(old)).stdout)
    assert json.loads(appended.stdout)["appended"] == text.count("\n")

    def content(path: Path) -> list[tuple[Any, ...]]:
        """Stream, version, id, type, schema, time, and data and meta as text, byte for byte."""
        with EventLog(path) as log:
            return [(*e[1:7], e[8], e[9]) for e, _, _ in log.read(Query())]

    assert content(new) == content(old)
    assert len(content(new)) == text.count("\n")


# Any filters

CONDITIONS: dict[str, Callable[[Line], bool]] = {
    "data ->> 'n' > 9": lambda e: e["data"].get("n", 0) > 9,
    "type = 'Placed' or type = 'Quo\"ted'": lambda e: e["type"] in ("Placed", 'Quo"ted'),
    "stream glob 'order-*'": lambda e: e["stream"].startswith("order-"),
    "version % 2 = 0 -- even": lambda e: e["version"] % 2 == 0,
    "meta ->> 'actor' is null": lambda e: e["meta"].get("actor") is None,
    "data ->> 'vip'": lambda e: bool(e["data"].get("vip")),
    "schema > 1 and position > 600": lambda e: e["schema"] > 1 and e["position"] > 600,
    "date(time) = '2026-01-05'": lambda e: e["time"].startswith("2026-01-05"),
    "recorded < time": lambda e: e["recorded"] < e["time"],
    "0": lambda _: False,
}


class RowFilter(NamedTuple):
    """Filters as a user gives them."""

    stream: str | None
    filters: dict[str, Any]


@st.composite
def questions(draw: DrawFn) -> RowFilter:
    """Any combination of filters; a version is a point only where a stream is named."""
    kind = draw(st.sampled_from(("all", "stream", "category")))
    stream = draw(st.sampled_from((*STREAMS, "$esctl"))) if kind == "stream" else None
    point = st.builds("#{}".format, st.integers(0, COUNT + 60)) | st.sampled_from(("early", "middle", "late"))
    if stream:
        point |= st.builds("v{}".format, st.integers(0, 200))
    moment = st.builds(times, st.integers(1, 28), st.integers(0, 59))
    filters = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "since": point | moment,
                "until": point | moment,
                "as_of": point | st.integers(0, COUNT - 1).map(lambda n: f"recorded of {n}"),
                "types": st.lists(st.sampled_from((*TYPES, "MarkSet", "Nothing")), max_size=3).map(tuple),
                "where": st.sampled_from(list(CONDITIONS)),
                "limit": st.integers(0, 20) | st.integers(900, 1400),
                "last": st.integers(0, 20) | st.integers(900, 1400),
                "reverse": st.booleans(),
                "system": st.booleans(),
            },
        )
    )
    return RowFilter(stream, filters | ({"category": draw(st.sampled_from(CATEGORIES))} if kind == "category" else {}))


def resolved(asked: RowFilter, everything: list[Line]) -> RowFilter:
    """The same question with the moment at which some event was recorded filled in."""
    as_of = asked.filters.get("as_of", "")
    if not as_of.startswith("recorded of "):
        return asked
    return RowFilter(asked.stream, asked.filters | {"as_of": everything[int(as_of.split()[-1])]["recorded"]})


def in_python(asked: RowFilter, everything: list[Line]) -> list[Line]:
    """What the filters mean, over the whole replay."""
    filters = asked.filters
    marked = {e["data"]["name"]: e["data"]["position"] for e in everything if e["type"] == "MarkSet"}

    def bound(name: str, clock: str, line: Line) -> tuple[Any, Any] | None:
        """What is compared: the line's side and the point's; None where there is no such bound."""
        text = filters.get(name)
        if text is None:
            return None
        if text in marked:
            return line["position"], marked[text]
        sides = {"#": line["position"], "v": line["version"]}
        return (sides[text[0]], int(text[1:])) if text[0] in sides else (line[clock], text)

    def kept(line: Line) -> bool:
        if asked.stream is not None:
            named = line["stream"] == asked.stream
        elif "category" in filters:
            named = line["stream"] == filters["category"] or line["stream"].startswith(f"{filters['category']}-")
        else:
            named = filters.get("system", False) or not line["stream"].startswith("$")
        since, until, as_of = (
            bound(name, clock, line) for name, clock in (("since", "time"), ("until", "time"), ("as_of", "recorded"))
        )
        return (
            named
            and (not filters.get("types") or line["type"] in filters["types"])
            and ("where" not in filters or CONDITIONS[filters["where"]](line))
            and (since is None or since[0] >= since[1])
            and (until is None or until[0] <= until[1])
            and (as_of is None or as_of[0] <= as_of[1])
        )

    found = [line for line in everything if kept(line)]
    if "last" in filters:
        found = found[max(0, len(found) - filters["last"]) :]
    if filters.get("reverse"):
        found.reverse()
    return found[: filters.get("limit")]


@settings(max_examples=250)
@given(asked=questions())
def test_any_combination_of_filters_equals_the_same_filters_in_python(
    path: Path, everything: list[Line], asked: RowFilter
) -> None:
    asked = resolved(asked, everything)
    expected = in_python(asked, everything)
    with EventLog(path) as log:
        query = query_of(log, asked.stream, **asked.filters)
        assert decoded(b"".join(log.lines(query))) == expected
        assert [event[0] for event, _, _ in log.read(query)] == [line["position"] for line in expected]


COMMAND_LINES: list[tuple[str, dict[str, Any]]] = [
    ("", {}),
    ("--category order --type Placed --type Paid --where data->>'n'>9", {"where": "data ->> 'n' > 9"}),
    ("--since #200 --until late --last 30 --reverse --limit 20", {}),
    ("--as-of #900 --where data->>'vip' --system", {"where": "data ->> 'vip'"}),
    ("order-2 --since v5 --until v30 --reverse", {}),
    ("--since 2026-01-05 --until 2026-01-05 --type Nothing", {}),
]


def asked_by(arguments: str, changed: dict[str, Any]) -> RowFilter:
    """The question of a command line, without Typer."""
    words = arguments.split()
    stream = words.pop(0) if words and not words[0].startswith("-") else None
    filters: dict[str, Any] = {}
    while words:
        name = words.pop(0).removeprefix("--").replace("-", "_")
        if name in ("reverse", "system"):
            filters[name] = True
        elif name == "type":
            filters["types"] = (*filters.get("types", ()), words.pop(0))
        else:
            filters[name] = int(words.pop(0)) if name in ("limit", "last") else words.pop(0)
    return RowFilter(stream, filters | changed)


@pytest.mark.parametrize(("arguments", "changed"), COMMAND_LINES)
def test_the_command_line_means_what_its_filters_mean_and_json_holds_what_ndjson_does(
    esctl: Esctl, path: Path, arguments: str, changed: dict[str, Any]
) -> None:
    ndjson, json_ = (
        esctl("replay", *arguments.split(), "-o", format_, "-l", str(path)) for format_ in ("ndjson", "json")
    )
    asked = asked_by(arguments, changed)
    with EventLog(path) as log:
        expected = decoded(b"".join(log.lines(query_of(log, asked.stream, **asked.filters))))
    assert (ndjson.returncode, ndjson.stderr, json_.returncode, json_.stderr) == (0, "", 0, "")
    assert decoded(ndjson.stdout.encode()) == expected
    assert json.loads(json_.stdout) == expected


def test_what_is_whole_of_a_damaged_log_is_printed_and_what_is_missing_is_said(on_200: Esctl, tmp_path: Path) -> None:
    whole = succeeded(on_200("replay")).splitlines()
    assert succeeded(on_200("replay", "--skip-damaged")).splitlines() == whole
    alter(tmp_path / "esctl.db", "delete from events where position = 7 or position between 20 and 29")
    done = on_200("replay", "--skip-damaged")
    assert done.returncode == 6
    assert done.stdout.splitlines() == [*whole[:6], *whole[7:19], *whole[29:]]
    assert "position 7 is missing" in done.stderr
    assert "positions 20 to 29 are missing" in done.stderr
    assert "11 of its 200 positions are missing" in done.stderr
    assert "fix: esctl restore --salvage " in done.stderr


def test_a_damaged_log_is_not_followed(on_200: Esctl) -> None:
    assert on_200("replay", "--skip-damaged", "--follow").returncode == 2
