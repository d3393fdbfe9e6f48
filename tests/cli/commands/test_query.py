"""`esctl query`: questions in SQL, answered in every format, that can change nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from esctl.events.lines import Defaults, parser
from esctl.log import EventLog
from tests.cli.commands.conftest import FIELDS
from tests.conftest import Esctl, succeeded, writer_of


@pytest.fixture
def run(run: Esctl, log_path: Path) -> Esctl:
    """Run esctl on a log of three events."""
    lines = [f'{{"stream":"s-{n % 2}","type":"T{n}","id":"e{n}","data":{{"n":{n}.50}}}}\n' for n in range(1, 4)]
    parse = parser(Defaults())
    with EventLog(log_path, write=True) as log, log.transaction():
        writer_of(log).append([parse(line.encode()) for line in lines])
    return run


ASKED = "select 1 as n, 'a,b\"c' as text, null as none, 1.5 as real, x'00ff' as bytes"


@pytest.mark.parametrize(
    ("format_", "printed"),
    [
        ("csv", 'n,text,none,real,bytes\n1,"a,b""c",,1.5,00ff\n'),
        ("tsv", 'n\ttext\tnone\treal\tbytes\n1\t"a,b""c"\t\t1.5\t00ff\n'),
        ("raw", '1\ta,b"c\t\t1.5\t00ff\n'),
        ("ndjson", '{"n":1,"text":"a,b\\"c","none":null,"real":1.5,"bytes":"00ff"}\n'),
        ("table", 'n  text   none  real  bytes\n1  a,b"c     -   1.5  00ff \n'),
    ],
)
def test_an_answer_in_every_format_says_the_same(run: Esctl, format_: str, printed: str) -> None:
    assert succeeded(run("query", ASKED, "-o", format_)) == printed


def test_json_is_an_array_of_the_lines(run: Esctl) -> None:
    lines = [json.loads(line) for line in succeeded(run("query", "select * from log")).splitlines()]
    assert json.loads(succeeded(run("query", "select * from log", "-o", "json"))) == lines
    assert len(lines) == 3


def test_the_view_has_a_row_an_event_with_the_fields_of_replay(run: Esctl) -> None:
    replayed = [json.loads(line) for line in run("replay").stdout.splitlines()]
    rows = [json.loads(line) for line in succeeded(run("query", "select * from log")).splitlines()]
    assert [list(row) for row in rows] == [FIELDS] * 3
    for row in rows:
        row["data"], row["meta"] = json.loads(row["data"]), json.loads(row["meta"])
    assert rows == replayed


def test_streams_whose_state_does_not_fit_are_named_after_the_answer(run: Esctl, tmp_path: Path) -> None:
    steps = "on.T1.set = { n = 1 }\non.T2.append.n = 1\non.T3.append.n = 1"
    (tmp_path / "m.toml").write_text(f"[aggregate.s]\nstreams = 's-*'\n{steps}", encoding="utf-8")
    assert run("model", "apply", "m.toml", "--yes").returncode == 0
    done = run("query", "select stream, state from states", "-o", "raw")
    assert (done.returncode, done.stdout) == (6, 's-0\t{"n":[1]}\n')
    assert "in s-1 does not fit the model: n is not an array" in done.stderr


def test_an_upcast_that_fails_in_a_question_names_event_and_field(run: Esctl, tmp_path: Path) -> None:
    upcast = "[[event.T2.upcast]]\nfrom = 1\ncompute.c = \"json('{' || new.version)\"\n"
    (tmp_path / "m.toml").write_text(upcast, encoding="utf-8")
    assert run("model", "apply", "m.toml", "--yes").returncode == 0
    done = run("query", "select data from log", "--error-format", "json")
    error = json.loads(done.stderr)
    assert (done.returncode, error["position"], error["field"]) == (6, 2, "event.T2.upcast[1].compute.c")
    done = run("query", "select decimal_add(type, 1) from log")
    assert (done.returncode, "is not a number" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("select decimal_sum(data ->> 'n') from log", "7.5"),
        ("select decimal_add(0.1, 0.2)", "0.3"),
        ("select stream from log where decimal_cmp(data -> 'n', 3) > 0", "s-1"),
    ],
)
def test_decimals_are_exact_in_a_question(run: Esctl, sql: str, answer: str) -> None:
    assert succeeded(run("query", sql, "-o", "raw")) == f"{answer}\n"


def test_a_payload_keeps_its_text(run: Esctl) -> None:
    assert succeeded(run("query", "select data from log order by position", "-o", "raw")) == (
        '{"n":1.50}\n{"n":2.50}\n{"n":3.50}\n'
    )


@pytest.mark.parametrize(
    ("format_", "printed"),
    [("ndjson", ""), ("json", "[]\n"), ("csv", "position,type\n"), ("tsv", "position\ttype\n"), ("raw", ""),
     ("table", "position  type\n")],
)  # fmt: skip
def test_an_empty_answer_is_no_failure(run: Esctl, format_: str, printed: str) -> None:
    assert succeeded(run("query", "select position, type from log where 0", "-o", format_)) == printed


@pytest.mark.parametrize(
    "sql",
    [
        "delete from events",
        "select 1; pragma query_only = off; delete from events",
        "select position from log; pragma query_only = off; update events set data = '{}'",
        "select 1; attach 'evil.db' as evil; create table evil.x (y)",
        "select nothing from log",
        "",
    ],
)
def test_anything_but_one_select_is_refused_and_changes_nothing(
    run: Esctl, log_path: Path, tmp_path: Path, sql: str
) -> None:
    before = log_path.read_bytes()
    done = run("query", sql)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: the SQL cannot be run: ")
    assert log_path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [log_path]


def test_a_row_that_fails_is_a_wrong_question_and_no_bug_and_no_damage(run: Esctl) -> None:
    for position in (1, 3):
        done = run("query", f"select json(iif(position = {position}, '{{', '1')) from log")
        assert done.returncode == 2
        assert "malformed JSON" in done.stderr
        assert "bug" not in done.stderr
        assert "damaged" not in done.stderr


def test_a_comment_may_begin_and_end_a_question(run: Esctl) -> None:
    assert succeeded(run("query", "/* one */ select 1 as n; -- done")) == '{"n":1}\n'


def test_a_long_answer_streams_and_a_closed_pipe_ends_it(run: Esctl, log_path: Path) -> None:
    import sys

    endless = "with recursive n(x) as (select 1 union all select x + 1 from n) select x from n"
    esctl = Path(sys.executable).with_name("esctl")
    for format_ in ("ndjson", "csv", "raw"):
        with subprocess.Popen(
            [esctl, "query", endless, "-o", format_, "-l", str(log_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as asked:
            assert asked.stdout is not None
            assert asked.stderr is not None
            assert asked.stdout.readline()
            asked.stdout.close()
            assert asked.stderr.read() == b""
            assert asked.wait(timeout=20) == -13  # SIGPIPE
    assert run("head").returncode == 0


def test_a_question_is_asked_of_the_whole_log_and_answered_in_its_order(run: Esctl) -> None:
    asked = "select type, count(*) as events from log group by type order by type desc"
    assert [json.loads(line) for line in succeeded(run("query", asked)).splitlines()] == [
        {"type": f"T{n}", "events": 1} for n in (3, 2, 1)
    ]


# States and projections

MODEL = """
[aggregate.s]
streams = "s-*"
initial = { sum = 0 }
on."*".add = { sum = "$.n" }
[projection.kinds]
table = "create table kinds(type text primary key, n real not null)"
on."*" = "insert into kinds values (new.type, new.data ->> 'n')"
"""


@pytest.fixture
def modelled(run: Esctl, tmp_path: Path) -> Esctl:
    """The same with a model that has states and a projection."""
    (tmp_path / "model.toml").write_text(MODEL, encoding="utf-8")
    assert run("model", "apply", "model.toml").returncode == 0
    return run


def test_states_are_rows_with_the_fields_of_state(modelled: Esctl) -> None:
    rows = [json.loads(line) for line in succeeded(modelled("query", "select * from states order by 1")).splitlines()]
    told = [json.loads(succeeded(modelled("state", f"s-{n}"))) for n in (0, 1)]
    assert [{**row, "state": json.loads(row["state"])} for row in rows] == told
    asked = "select aggregate, sum(state ->> 'sum') as total from states group by 1"
    assert succeeded(modelled("query", asked)) == '{"aggregate":"s","total":7.5}\n'


def test_a_projection_is_asked_as_it_is_with_a_note_where_it_is_behind(modelled: Esctl) -> None:
    asked = "select type, n from kinds order by type desc limit 1"
    done = modelled("query", asked)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "note: kinds is 3 events behind: esctl projection run kinds\n"
    assert modelled("query", asked, "-q").stderr == ""
    assert modelled("projection", "run").returncode == 0
    assert succeeded(modelled("query", asked)) == '{"type":"T3","n":3.5}\n'


def test_projections_states_and_events_answer_together(modelled: Esctl) -> None:
    assert modelled("projection", "run").returncode == 0
    asked = (
        "select l.stream, sum(k.n) = s.state ->> 'sum' as same from log l join kinds k using (type)"
        " join states s using (stream) group by 1"
    )
    assert [json.loads(line)["same"] for line in succeeded(modelled("query", asked)).splitlines()] == [1, 1]


@pytest.mark.parametrize("sql", ["delete from kinds", "insert into kinds values ('x', 1)", "select * from kindz"])
def test_a_projection_cannot_be_changed_by_a_question(modelled: Esctl, sql: str) -> None:
    done = modelled("query", sql)
    assert (done.returncode, done.stdout) == (2, "")
