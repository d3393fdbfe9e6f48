"""The short way in does what the long one does, or hands over before anything is done."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esctl import open_log, projections
from esctl.cli import app, fast
from esctl.events import Event, NewEvent
from esctl.log import EventLog
from esctl.query import Query
from esctl.stores import migrations

Esctl = Callable[..., "CompletedProcess[str]"]
Outcome = tuple[int | None, str, str]
"""Exit code (None: handed over), stdout, stderr."""

MADE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
DEEP = "[" * 1000 + "]" * 1000
STORED: list[NewEvent] = [
    ("order-1", "Placed", "e1", "2026-01-31T09:30:00.000000Z", 1, '{"total": 1.10}', "{}", None),
    ("order-2", "Placed", "e2", None, 2, '"é"', '{"actor":"web"}', None),
    ("order-1", "Paid", "e3", None, 1, "{}", "{}", None),
    ('quo"te', "Back\\slash", "e4", None, 1, "[1]", "{}", None),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with logs and what only looks like one; it is copied, never used."""
    made = tmp_path_factory.mktemp("fast")
    migrations.create(made / "esctl.db")
    with EventLog(made / "esctl.db", write=True) as log, log.transaction():
        log.append(STORED)
    migrations.create(made / "empty.db")
    (made / "text.db").write_text("no log")
    _with_projections(made)
    (made / "data.json").write_text('{"from":"file"}')
    (made / "folder").mkdir()
    return made


PROJECTED = """
[projection.names]
table = "create table names(stream text primary key, events integer not null)"
on."*" = "insert into names values (new.stream, 1) on conflict do update set events = events + 1"
[projection.strict]
table = "create table strict(stream text primary key)"
on.Placed = "insert into strict values (new.stream)"
"""


def _with_projections(folder: Path) -> None:
    """Logs with projections: all at the head but for one event, one never run, one stopped, one dropped."""
    (folder / "projected.toml").write_text(PROJECTED)
    for name, after, ways in (
        ("projected.db", "s-9", [[]]), ("never.db", "s-9", []), ("stopped.db", "order-1", [[]]),
        ("dropped.db", "s-9", [[], ["drop"]]),
    ):  # fmt: skip
        shutil.copy(folder / "esctl.db", folder / name)
        with open_log(folder / name, write=True) as log:
            log.apply_model(folder / "projected.toml")
        with EventLog(folder / name, write=True) as events:
            for way in ways:
                if way:
                    projections.drop(events, "strict")
                else:
                    for _ in projections.run(events, [], projections.Run()):
                        pass
            with events.transaction():
                events.append([(after, "Placed", "e5", None, 1, "{}", "{}", None)])


@pytest.fixture(autouse=True)
def plain_environment() -> Iterator[None]:
    """Nothing in the environment sends a command line the long way; and the signals are as they were."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ESCTL_LOG", "ESCTL_FORMAT", "ESCTL_MAX_EVENT"):
            patch.delenv(name, raising=False)
        yield
    signal.signal(signal.SIGTERM, before)


def short(argv: list[str]) -> int | None:
    """The short way, and what `main` does of an error."""
    try:
        return fast.run(argv)
    except Exception as error:  # noqa: BLE001 - told by the same code as everything else
        return app.ended_by(error, argv)


def run_in(folder: Path, way: Callable[[list[str]], int | None], argv: list[str]) -> Outcome:
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline=""), io.StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(err):
        code = way(argv)
        out.flush()
    raw = out.buffer
    assert isinstance(raw, io.BytesIO)
    return code, raw.getvalue().decode().replace(str(folder), "…"), err.getvalue().replace(str(folder), "…")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def events_in(folder: Path) -> dict[str, list[Event]]:
    stored = {}
    for name in ("esctl.db", "empty.db"):
        with EventLog(folder / name) as log:
            stored[name] = [event for event, _, _ in log.read(Query(system=True))]
    return stored


def without_chance(events: dict[str, list[Event]]) -> object:
    """Events without what differs from run to run: of those that are new, made ids and times."""
    old = {event[2] for event in STORED}
    return {
        name: [
            event
            if event[3] in old
            else (*event[:3], MADE.sub("new", event[3]), *event[4:6], event[6] == event[7], *event[8:])
            for event in found
        ]
        for name, found in events.items()
    }


def compare(folder: Path, argv: list[str]) -> Outcome:
    """Run a command line both ways on copies of a folder: equal in all, or handed over with nothing done."""
    with tempfile.TemporaryDirectory() as parent:
        here, there = (Path(parent).resolve() / name for name in ("a", "b"))
        for copy in (here, there):
            shutil.copytree(folder, copy)
        one = run_in(here, short, argv)
        if one[0] is None:
            assert one[1:] == ("", "")
            assert events_in(here) == events_in(there)
            return one
        other = run_in(there, app.run, argv)
        assert (one[0], MADE.sub("new", one[1]), one[2]) == (other[0], MADE.sub("new", other[1]), other[2])
        assert without_chance(events_in(here)) == without_chance(events_in(there))
        assert names_in(here) == names_in(there) == names_in(folder)
        return one


TAKEN: dict[str, tuple[list[str], int]] = {
    "append": (["append", "order-1", "Shipped"], 0),
    "append data": (["append", "order-1", "Shipped", '{"a":1}'], 0),
    "append with an id": (["append", "order-1", "Shipped", '{"a":1}', "--id", "x"], 0),
    "append with options first": (["append", "--id", "x", "--expect", "2", "order-1", "Shipped", "{}"], 0),
    "append with options between": (["append", "order-1", "--id", "x", "Shipped", "--expect", "any", "{}"], 0),
    "append to another log": (["append", "s", "T", "--log", "empty.db"], 0),
    "append to another log, short": (["append", "-l", "empty.db", "s", "T"], 0),
    "append to a new stream": (["append", "new", "T", "--expect", "none"], 0),
    "append to a stream that exists": (["append", "order-2", "T", "--expect", "exists"], 0),
    "append at version 0": (["append", "new", "T", "--expect", "0"], 0),
    "append at 007": (["append", "order-1", "T", "--expect", "002"], 0),
    "append an array": (["append", "s", "T", "[1, 2]"], 0),
    "append a string": (["append", "s", "T", '"text"'], 0),
    "append what is not ASCII": (["append", "ä-1", "Größe", '{"ü":"😀"}', "--id", "é"], 0),
    "append escapes": (["append", "s", "T", '{"a":"\\u00e9\\n\\\\"}'], 0),
    "append long numbers": (["append", "s", "T", '{"a":123456789012345678901234567890,"b":1.10,"a":-0}'], 0),
    "append with blanks inside": (["append", "s", "T", '{ "a" :  [ 1 , 2 ] }'], 0),
    "append with a blank behind": (["append", "s", "T", '{"a":1} ', "--id", "x"], 0),
    "append 1000 levels": (["append", "s", "T", DEEP], 0),
    "append names with quotes": (["append", 'a"b\\c', 'd"e', "{}", "--id", 'f"\\g'], 0),
    "append long names": (["append", "s" * 512, "é" * 256, "{}", "--id", "i" * 512], 0),
    "append a duplicate": (["append", "order-1", "Placed", '{"total": 1.10}', "--id", "e1"], 0),
    "append a duplicate that expects what has passed": (
        ["append", "order-1", "Placed", '{"total": 1.10}', "--id", "e1", "--expect", "0"],
        0,
    ),
    "append a taken id with other data": (["append", "order-1", "Placed", '{"total":1.10}', "--id", "e1"], 4),
    "append a taken id with another type": (["append", "order-1", "Paid", '{"total": 1.10}', "--id", "e1"], 4),
    "append a taken id with other meta": (["append", "order-2", "Placed", '"é"', "--id", "e2"], 4),
    "append against a version": (["append", "order-1", "T", "--expect", "1"], 4),
    "append against none": (["append", "order-1", "T", "--expect", "none"], 4),
    "append against exists": (["append", "new", "T", "--expect", "exists"], 4),
    "append to no log": (["append", "s", "T", "--log", "nothing.db"], 3),
    "append to a text": (["append", "s", "T", "--log", "text.db"], 7),
    "append to a folder": (["append", "s", "T", "--log", "folder"], 2),
    "replay": (["replay"], 0),
    "replay a stream": (["replay", "order-1"], 0),
    "replay a stream with a quote": (["replay", 'quo"te'], 0),
    "replay another log": (["replay", "--log", "empty.db"], 0),
    "replay with an empty name of the log": (["replay", "--log", ""], 0),
    "replay a stream of another log": (["replay", "-l", "empty.db", "order-1"], 3),
    "replay a near miss": (["replay", "order-11"], 3),
    "replay no stream at all": (["replay", ""], 3),
    "replay the log's own": (["replay", "$esctl"], 3),
    "replay no log": (["replay", "--log", "nothing.db"], 3),
    "replay a text": (["replay", "--log", "text.db"], 7),
    "projection run": (["projection", "run", "--log", "projected.db"], 0),
    "projection run, the log first": (["projection", "run", "-l", "projected.db", "names"], 0),
    "projection run of some": (["projection", "run", "strict", "--log", "projected.db"], 0),
    "projection run of two": (["projection", "run", "strict", "names", "--log", "projected.db"], 0),
    "projection run on no log": (["projection", "run", "-l", "nothing.db"], 3),
    "projection run on a text": (["projection", "run", "-l", "text.db"], 7),
    "projection run where one was dropped": (["projection", "run", "-l", "dropped.db"], 0),
    "head": (["head"], 0),
    "head of another log": (["head", "--log", "empty.db"], 0),
    "head of no log": (["head", "-l", "nothing.db"], 3),
}

HANDED_OVER: dict[str, list[str]] = {
    # plain words, but not a plain event
    "items": ["append", "s", "T", "a=1"],
    "an item of JSON": ["append", "s", "T", "a:=1"],
    "a file": ["append", "s", "T", "@data.json"],
    "an empty payload": ["append", "s", "T", ""],
    "a number": ["append", "s", "T", "5"],
    "a literal": ["append", "s", "T", "null"],
    "a blank before": ["append", "s", "T", " {}"],
    "a newline": ["append", "s", "T", '{"a":\n1}'],
    "a carriage return": ["append", "s", "T", '{"a":\r1}'],
    "a tab": ["append", "s", "T", '{"a":\t1}'],
    "a no-break space": ["append", "s", "T", '{"a":"\u00a0"}'],
    "an escaped surrogate": ["append", "s", "T", r'"\ud800"'],
    "an escaped pair": ["append", "s", "T", r'"\uD83D\uDE00"'],
    "no JSON": ["append", "s", "T", "{a:1}"],
    "JSON cut short": ["append", "s", "T", '{"a":1'],
    "something behind": ["append", "s", "T", "{}x"],
    "NaN": ["append", "s", "T", "[NaN]"],
    "a leading zero": ["append", "s", "T", "[01]"],
    "1001 levels": ["append", "s", "T", f"[{DEEP}]"],
    "a long payload": ["append", "s", "T", '"' + "x" * 1024 * 1024 + '"'],
    "an empty stream": ["append", "", "T"],
    "an empty type": ["append", "s", ""],
    "an empty id": ["append", "s", "T", "--id", ""],
    "the log's own stream": ["append", "$esctl", "T"],
    "a stream with a newline": ["append", "a\nb", "T"],
    "a type with a blank behind": ["append", "s", "T "],
    "an id with an escape": ["append", "s", "T", "--id", "\x1b"],
    "a name of 513 bytes": ["append", "s" * 513, "T"],
    "a name that is not UTF-8": ["append", "\udcff", "T"],
    "no expectation": ["append", "s", "T", "--expect", "some"],
    "an empty expectation": ["append", "s", "T", "--expect", ""],
    "a log without projections": ["projection", "run"],
    "a projection that is not there": ["projection", "run", "nmaes", "-l", "projected.db"],
    "a projection that is not there among others": ["projection", "run", "names", "x", "-l", "projected.db"],
    "a projection that will stop": ["projection", "run", "-l", "stopped.db"],
    "a projection that was dropped": ["projection", "run", "strict", "-l", "dropped.db"],
}
NOT_PLAIN: list[list[str]] = [
    [],
    [""],
    ["init"],
    ["verify"],
    ["nonsense"],
    ["Append", "s", "T"],
    ["--help"],
    ["--version"],
    ["append"],
    ["append", "s"],
    ["append", "events.ndjson"],
    ["append", "s", "T", "{}", "more"],
    ["append", "s", "T", "-"],
    ["append", "-", "T"],
    ["append", "s", "T", "--id"],
    ["append", "s", "T", "--id", "--log"],
    ["append", "s", "T", "--id", "-1"],
    ["append", "s", "T", "--id", "a", "--id", "b"],
    ["append", "s", "T", "--log", "a", "-l", "b"],
    ["append", "s", "T", "--id=a"],
    ["append", "s", "T", "--log=a"],
    ["append", "s", "T", "-la"],
    ["append", "s", "T", "--"],
    ["append", "--", "s", "T"],
    ["append", "s", "T", "--expect", "-1"],
    ["append", "s", "T", "--schema", "2"],
    ["append", "s", "T", "--time", "now"],
    ["append", "s", "T", "--meta", "a=b"],
    ["append", "s", "T", "--dry-run"],
    ["append", "s", "T", "-q"],
    ["append", "s", "T", "-o", "json"],
    ["append", "s", "T", "--help"],
    ["append", "--receipts"],
    ["--log", "esctl.db", "append", "s", "T"],
    ["-l", "esctl.db", "head"],
    ["replay", "a", "b"],
    ["replay", "--id", "a"],
    ["replay", "--limit", "1"],
    ["replay", "--last", "1"],
    ["replay", "--hash"],
    ["replay", "-h"],
    ["replay", "-o", "csv"],
    ["replay", "--lo", "esctl.db"],
    ["projection"],
    ["projection", "show", "names"],
    ["projection", "run", "--follow"],
    ["projection", "run", "names", "--reducer", "m:f"],
    ["projection", "run", "-o", "json"],
    ["projection", "run", "-q"],
    ["projection", "run", "--log"],
    ["projection", "--log", "esctl.db", "run"],
    ["--log", "esctl.db", "projection", "run"],
    ["run", "projection"],
    ["head", "x"],
    ["head", "--format", "json"],
    ["head", "--log"],
    ["head", "--expect", "any"],
]


@pytest.mark.parametrize(("argv", "code"), TAKEN.values(), ids=TAKEN)
def test_a_plain_command_line_does_what_it_does_the_long_way(argv: list[str], code: int, folder: Path) -> None:
    assert compare(folder, argv)[0] == code


@pytest.mark.parametrize("argv", HANDED_OVER.values(), ids=HANDED_OVER)
def test_what_is_out_of_the_ordinary_is_handed_over_with_nothing_done(argv: list[str], folder: Path) -> None:
    assert fast.parse(argv) is not None
    assert compare(folder, argv) == (None, "", "")


@pytest.mark.parametrize("argv", NOT_PLAIN, ids=" ".join)
def test_a_command_line_that_is_not_plain_is_not_parsed(argv: list[str], folder: Path) -> None:
    assert fast.parse(argv) is None
    assert run_in(folder, fast.run, argv) == (None, "", "")


@pytest.mark.parametrize(
    ("name", "value", "argv"),
    [
        ("ESCTL_FORMAT", "json", ["replay"]),
        ("ESCTL_FORMAT", "", ["head"]),
        ("ESCTL_FORMAT", "csv", ["append", "s", "T"]),
        ("ESCTL_FORMAT", "csv", ["projection", "run", "-l", "projected.db"]),
        ("ESCTL_MAX_EVENT", "5", ["append", "s", "T"]),
        ("ESCTL_MAX_EVENT", "x", ["append", "s", "T"]),
    ],
)
def test_an_environment_that_changes_the_outcome_is_seen_to_by_the_long_way(
    name: str, value: str, argv: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert compare(folder, argv) == (None, "", "")


def test_the_log_of_the_environment_is_the_log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESCTL_LOG", "empty.db")
    assert compare(folder, ["append", "s", "T"])[1].startswith('{"position":1,')
    assert compare(folder, ["append", "s", "T", "--log", "esctl.db"])[1].startswith('{"position":5,')


def test_on_a_terminal_events_are_shown_the_long_way(folder: Path) -> None:
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal, chdir(folder), redirect_stdout(terminal):
        assert fast.run(["replay"]) is None
    os.close(master)


def projected(path: Path) -> object:
    """What a log keeps of its projections, rows and checkpoints, without when it was made."""
    with EventLog(path) as log:
        store = log.store.projections()
        versions = [(v.name, v.version, v.state, v.position, v.failed) for v in store.versions()]
        tables = {v.name: list(store.select(f"select * from {v.name} order by 1")) for v in store.versions()}
    return versions, tables


@pytest.mark.parametrize("names", [[], ["names"], ["strict", "names"]], ids=["all", "one", "two"])
def test_a_run_the_short_way_keeps_the_same_rows_and_checkpoints(
    folder: Path, tmp_path: Path, names: list[str]
) -> None:
    argv = ["projection", "run", *names, "--log", "projected.db"]
    kept = []
    for number, way in enumerate((short, app.run)):
        copy = tmp_path / str(number)
        shutil.copytree(folder, copy)
        assert run_in(copy, way, argv)[0] == 0
        kept.append(projected(copy / "projected.db"))
    assert kept[0] == kept[1] != projected(folder / "projected.db")


def test_a_run_that_has_little_to_do_does_not_load_the_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    monkeypatch.setattr(EventLog, "definitions", property(lambda _: pytest.fail("the model is loaded")))
    code, out, err = run_in(copy, short, ["projection", "run", "-l", "projected.db"])
    assert (code, len(out.splitlines()), err) == (0, 2, "")


def test_a_plain_command_line_is_read_as_it_stands() -> None:
    plain = fast.parse(["append", "--id", "x", "s", "-l", "a.db", "T", "--expect", "7", "{}"])
    assert plain is not None
    assert (plain.verb, plain.arguments) == ("append", ["s", "T", "{}"])
    assert plain.options == {"id": "x", "log": "a.db", "expect": "7"}


@pytest.mark.parametrize("argv", [["replay", "\udcff"], ["replay", "\udcff", "-q"]], ids=["short", "long"])
def test_a_stream_that_is_not_utf_8_is_no_bug(argv: list[str], esctl: Esctl, log_path: Path) -> None:
    done = esctl(*argv, "--log", str(log_path))
    assert done.returncode in (2, 3, 5)
    assert "bug" not in done.stderr
    assert "Traceback" not in done.stderr


PAYLOADS = ["{}", '{"total": 1.10}', '{"a":1} ', "[1]", '"x"', "[", "a=1", "5", "", "@data.json"]
NAMES = ["s", "order-1", "order-11", "T", "Placed", "ä", "e1", "e9", "$x", "a b", " a", "a\tb"]
WORDS = st.sampled_from([*PAYLOADS, *NAMES, "any", "none", "exists", "0", "1", "2"])
OPTIONS = st.tuples(
    st.sampled_from(
        ["--id", "--expect", "--log", "-l", "--type", "--limit", "-o", "-q", "--hash", "--id=x", "--", "-"]
    ),
    st.sampled_from(
        ["e1", "e9", "any", "none", "exists", "0", "1", "2", "esctl.db", "empty.db", "nothing.db", "json", ""]
    ),
)
LINES = st.builds(
    lambda verb, stream, type_, parts: [verb, *stream, *type_, *(word for part in parts for word in part)],
    st.sampled_from(["append", "append", "append", "replay", "head"]),
    st.sampled_from([[], ["s"], ["order-1"]]),
    st.sampled_from([[], ["T"], ["Placed"]]),
    st.lists(st.tuples(WORDS) | OPTIONS, max_size=3),
)


@settings(max_examples=150)
@given(argv=LINES)
@example(argv=["append", "order-1", "Placed", '{"total": 1.10}', "--id", "e1", "--expect", "none"])
def test_whatever_the_short_way_takes_it_does_as_the_long_way_does(folder: Path, argv: list[str]) -> None:
    code, out, _ = compare(folder, argv)
    assert code is not None or out == ""


@given(
    st.lists(WORDS | st.sampled_from(["append", "replay", "--id", "--log", "-l", "--expect", "-q", "--"]), max_size=8)
)
def test_every_word_of_a_plain_command_line_is_used(argv: list[str]) -> None:
    plain = fast.parse(argv)
    if plain is not None:
        used = [plain.verb, *plain.arguments, *plain.options.values()]
        names = [word for word in argv if word.startswith("-")]
        assert sorted(used + names) == sorted(argv)
        assert len(names) == len(plain.options)


def test_the_fast_way_reads_the_arguments_of_this_process(esctl: Esctl, log_path: Path) -> None:
    done = esctl("append", "s", "T", '{"a":1}', "--id", "x", "--log", str(log_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == '{"position":1,"stream":"s","version":1,"id":"x","duplicate":false}\n'
