"""The filters of `replay`, combined in any way; what they print; and appending on a condition over what was read."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
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
from tests.conftest import ESCTL, SAMPLE, Esctl

Line = dict[str, Any]

ORDERS = SAMPLE / "orders.ndjson"
STREAMS = ("order-1", "order-2", "order-2-b", "order", "orders-9", "order.x", "stock-1", "漢字-1")
CATEGORIES = ("order", "orders", "stock", "漢字", "nothing", "order-2")
TYPES = ("Placed", "Paid", "Closed", 'Quo"ted')
EVENTS = 1300  # more than a store reads at once


def times(day: int, minute: int) -> str:
    return f"2026-01-{day:02}T09:{minute:02}:00.000000Z"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many events in many transactions, times out of order, marks in between (the log's own events)."""
    path = tmp_path_factory.mktemp("filters") / "log.db"
    random = Random(3)
    with open_log(path, write=True, create=True) as written:
        left = EVENTS
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


# The law

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
    point = st.builds("#{}".format, st.integers(0, EVENTS + 60)) | st.sampled_from(("early", "middle", "late"))
    if stream:
        point |= st.builds("v{}".format, st.integers(0, 200))
    moment = st.builds(times, st.integers(1, 28), st.integers(0, 59))
    filters = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "since": point | moment,
                "until": point | moment,
                "as_of": point | st.integers(0, EVENTS - 1).map(lambda n: f"recorded of {n}"),
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
    text = "\n".join(ODD) + "\n" + ORDERS.read_text()
    assert esctl("append", "-l", str(old), input=text).returncode == 0
    appended = esctl("append", "-l", str(new), input=esctl("replay", "-l", str(old)).stdout)
    assert json.loads(appended.stdout)["appended"] == text.count("\n")

    def content(path: Path) -> list[tuple[Any, ...]]:
        """Stream, version, id, type, schema, time, and data and meta as text, byte for byte."""
        with EventLog(path) as log:
            return [(*e[1:7], e[8], e[9]) for e, _, _ in log.read(Query())]

    assert content(new) == content(old)
    assert len(content(new)) == text.count("\n")


# Which events, as exit codes


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


# In which form


@pytest.fixture
def three(run: Esctl) -> Esctl:
    """A log of three events."""
    lines = [
        '{"stream":"s-1","type":"A","id":"a","data":{"n":1.50,"who":{"name":"Zoë, \\"Z\\""}},"meta":{"m":true}}',
        '{"stream":"s-2","type":"B","id":"b","data":[1,2]}',
        '{"stream":"s-1","type":"C","id":"c","data":{"n":null,"who":{}}}',
    ]
    assert run("append", input="\n".join(lines)).returncode == 0
    return run


FIELDS = "position,id,data.n,data.who.name,meta.m"


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
        ("csv", f'{FIELDS}\n1,a,1.50,"Zoë, ""Z""",true\n2,b,,,\n3,c,,,\n'),
        ("tsv", FIELDS.replace(",", "\t") + '\n1\ta\t1.50\t"Zoë, ""Z"""\ttrue\n2\tb\t\t\t\n3\tc\t\t\t\n'),
        ("raw", '1\ta\t1.50\tZoë, "Z"\ttrue\n2\tb\t\t\t\n3\tc\t\t\t\n'),
    ],
)
def test_fields_picks_columns_and_paths_in_every_format(three: Esctl, format_: str, printed: str) -> None:
    done = three("replay", "--fields", FIELDS, "-o", format_)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", printed)


def test_picked_fields_are_the_same_in_json_as_in_ndjson(three: Esctl) -> None:
    lines = [json.loads(line) for line in three("replay", "--fields", FIELDS).stdout.splitlines()]
    assert json.loads(three("replay", "--fields", FIELDS, "-o", "json").stdout) == lines


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


# Read, decide, append


def test_emit_head_prints_the_head_that_was_read_up_to_on_stderr(three: Esctl) -> None:
    head = three("head").stdout
    for filters in ([], ["s-1"], ["--type", "Nothing"], ["--limit", "1"], ["--fields", "id"], ["-o", "csv"]):
        done = three("replay", *filters, "--emit-head")
        assert (done.returncode, done.stderr) == (0, head), filters


def test_a_condition_that_an_event_meets_is_a_conflict_that_names_the_events(three: Esctl) -> None:
    done = three("append", "s-3", "A", "--if-none-match", "type in ('A', 'C')", "--error-format", "json")
    told = json.loads(done.stderr.splitlines()[-1])
    assert (done.returncode, done.stdout, told["positions"]) == (4, "", [1, 3])
    assert "#1 A in s-1, #3 C in s-1" in told["why"]
    assert three("replay").stdout.count("\n") == 3


@pytest.mark.parametrize("lines", [False, True], ids=["one event", "lines"])
def test_what_was_there_when_one_read_is_no_conflict(three: Esctl, *, lines: bool) -> None:
    condition = ["--if-none-match", "data ->> 'n' is not null or type = 'A'"]
    events = {"input": '{"stream":"s-3","type":"A"}\n'} if lines else {}
    arguments = [] if lines else ["s-3", "A"]
    assert three("append", *arguments, *condition, **events).returncode == 4
    head = three("replay", "--emit-head").stderr.strip()
    assert three("append", *arguments, *condition, "--after", head, **events).returncode == 0
    late = three("append", *arguments, *condition, "--after", head, **events)
    assert late.returncode == 4
    assert "#4 A in s-3" in late.stderr
    for after in ("4", "#4"):
        assert three("append", "s-9", "B", *condition, "--after", after).returncode == 0


def test_the_events_of_a_batch_do_not_stand_in_its_own_way(run: Esctl) -> None:
    two = '{"stream":"s","type":"T"}\n{"stream":"s","type":"T"}\n'
    assert json.loads(run("append", "--if-none-match", "type = 'T'", input=two).stdout)["appended"] == 2
    assert run("append", "--if-none-match", "type = 'T'", input=two).returncode == 4
    assert run("replay").stdout.count("\n") == 2


@pytest.mark.parametrize("lines", [False, True], ids=["one event", "lines"])
def test_a_conditional_append_that_is_tried_again_is_a_duplicate(run: Esctl, *, lines: bool) -> None:
    condition = ["--if-none-match", "type = 'Seated'"]
    for duplicate in (False, True):
        if lines:
            done = run("append", *condition, "--receipts", input='{"stream":"seat-1","type":"Seated","id":"once"}\n')
        else:
            done = run("append", "seat-1", "Seated", "--id", "once", *condition)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["duplicate"] is duplicate
    assert run("append", "seat-1", "Seated", "--id", "twice", *condition).returncode == 4


@pytest.mark.parametrize(
    "options",
    [
        ["--after", "3"],
        ["--if-none-match", "1", "--after", "x"],
        ["--if-none-match", "1", "--after", "-1"],
        ["--if-none-match", "(select 1)"],
        ["--if-none-match", "time < datetime('now')"],
        ["--if-none-match", "1; drop table events"],
    ],
)
def test_a_condition_that_is_none_stores_nothing(run: Esctl, options: list[str]) -> None:
    for arguments in (["s", "T"], []):
        done = run("append", *arguments, *options, input='{"stream":"s","type":"T"}\n')
        assert (done.returncode, done.stdout) == (2, "")
    assert run("replay").stdout == ""


def test_a_conditional_append_is_one_transaction_and_excludes_many(run: Esctl) -> None:
    for way in (["--each"], ["--batch", "2"]):
        assert run("append", "--if-none-match", "0", *way, input='{"stream":"s","type":"T"}\n').returncode == 2


def test_of_two_that_append_on_the_same_condition_exactly_one_wins(log_path: Path) -> None:
    for seat in range(4):
        condition = f"data ->> 'seat' = {seat}"
        command = [ESCTL, "append", "--if-none-match", condition, "--timeout", "30", "-l", str(log_path)]
        racers = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for _ in range(2)
        ]
        for i, racer in enumerate(racers):
            assert racer.stdin is not None
            racer.stdin.write(f'{{"stream":"guest-{i}","type":"Seated","data":{{"seat":{seat}}}}}\n'.encode())
            racer.stdin.close()
        for racer in racers:
            racer.wait(timeout=60)
        assert sorted(racer.returncode for racer in racers) == [0, 4]
    with EventLog(log_path) as log:
        seats = [json.loads(event[8])["seat"] for event, _, _ in log.read(Query())]
    assert seats == [0, 1, 2, 3]
