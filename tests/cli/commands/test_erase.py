"""`esctl erase`: plans, questions, what is refused, and what others print of what is gone."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from esctl.api import open_log
from esctl.archive import creation
from esctl.log import EventLog
from esctl.upkeep import erasure
from tests.conftest import Esctl, succeeded, write_empty_log

PLAN = ("erased", "streams", "left", "positions")
EFFECTS = ("states", "first_states", "rows", "first_rows", "not_compared", "remains", "first_remains")
LEDGER = """
[event.Opened]
erasable = true
[aggregate.account]
streams = "account-*"
initial = { status = "none", balance = 0 }
on.Opened.set = { status = "$.status", full_name = "$.name" }
on.Moved.add = { balance = "$.amount" }
[projection.balances]
table = "create table balances(account text primary key, balance)"
on.Opened = "insert into balances values (new.stream, 0)"
on.Moved = "update balances set balance = balance + (new.data ->> 'amount') where account = new.stream"
"""
MODEL = "[event.Given]\nerasable = true\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log: Given (may be erased) at 1 to 6, Kept at 7, the model at 8; and the same with the event
    at position 3 erased where it was hot, or archived in a folder.
    """
    folder = tmp_path_factory.mktemp("erase")
    (folder / "model.toml").write_text(MODEL)
    for name in ("esctl", "hot", "outside"):
        (folder / name).mkdir()
        path = folder / name / "esctl.db"
        write_empty_log(path)
        with open_log(path, write=True) as log:
            for n in range(1, 7):
                data, meta = {"name": f"secret-{n}", "of": f"C-{n % 3}"}, {"correlation_id": "k"}
                log.append(f"c-{n % 2}", "Given", data, id=f"id-{n}", meta=meta)
            log.append("c-1", "Kept", {"of": "C-1"})
            log.apply_model(folder / "model.toml")
        with EventLog(path, write=True) as opened:
            if name == "outside":
                list(creation.create(opened, [(1, 4)], to=path.parent / "cold"))
            if name != "esctl":
                list(erasure.erase(opened, [3], "asked"))
    return folder


@pytest.fixture
def run(esctl: Esctl, made: Path, tmp_path: Path) -> Esctl:
    """Runs esctl where there is a log: Given (which may be erased) at 1 to 6, Kept at 7, the model at 8."""
    shutil.copytree(made / "esctl", tmp_path, dirs_exist_ok=True)
    return esctl


def gone(run: Esctl) -> list[int]:
    events = [json.loads(line) for line in succeeded(run("replay", "--system")).splitlines()]
    return [event["position"] for event in events if event.get("erased")]


def erased(run: Esctl, *arguments: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(run("erase", *arguments, "--reason", "asked", "--yes").stdout)
    return told


@pytest.fixture(params=["hot", "outside"])
def done(esctl: Esctl, made: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Esctl:
    """Where the event at position 3 is erased, wherever it lay."""
    shutil.copytree(made / request.param, tmp_path, dirs_exist_ok=True)
    return esctl


# The command


def test_it_says_how_many_are_gone(run: Esctl) -> None:
    assert erased(run, "3", "id-5") == {"erased": 2, "streams": 1, "left": 0}
    assert gone(run) == [3, 5]
    assert json.loads(succeeded(run("verify")))["erased"] == 2


def test_without_a_yes_the_plan_is_told_and_nothing_is_done(run: Esctl) -> None:
    done = run("erase", "3", "--reason", "asked")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("this erases the payloads of 1 Given for good\n")
    assert re.search(r"^fix: esctl .* --yes$", done.stderr, re.MULTILINE)
    assert gone(run) == []


def test_a_dry_run_names_positions_and_does_nothing(run: Esctl) -> None:
    done = run("erase", "--stream", "c-1", "--reason", "asked", "--dry-run")
    told = json.loads(done.stdout)
    assert {name: told[name] for name in PLAN} == {"erased": 3, "streams": 1, "left": 1, "positions": "1 3 5"}
    assert "not erased" in done.stderr
    done = run("erase", "1", "2", "3", "6", "--reason", "asked", "--dry-run")
    assert json.loads(done.stdout)["positions"] == "1-3 6"
    assert gone(run) == []


@pytest.fixture
def ledger(esctl: Esctl, tmp_path: Path) -> Esctl:
    """Runs esctl where there is a ledger: alice's account (opened at 1), and bob's (opened at 3)."""
    (tmp_path / "model.toml").write_text(LEDGER)
    with open_log(tmp_path / "esctl.db", write=True, create=True) as log:
        for name, n in (("alice", 1), ("bob", 2)):
            opened = {"status": "open", "name": name.title(), "email": f"{name}@example.org"}
            log.append(f"account-{name}", "Opened", opened, id=f"opened:{name}@example.org")
            log.append(f"account-{name}", "Moved", {"amount": 10 * n})
        log.apply_model(tmp_path / "model.toml")
        log.mark("alice@example.org", "#2")
    (tmp_path / "esctl.db.v3.bak").touch()
    return esctl


ASKED = ("erase", "--subject", "email=alice@example.org", "--reason", "alice@example.org asked")
CONSEQUENCES = """\
states that will differ: 1
  account-alice (account): full_name, status
projection rows that will differ: 1
  balances: account account-alice (will be gone)
what stays, since only payloads are erased: 4
  the file esctl.db.v3.bak beside the log: a copy that may hold the payloads
  the id opened:alice@example.org of the event at position 1
  the mark alice@example.org
  the reason that you give now: alice@example.org asked
"""


def test_a_dry_run_tells_what_will_differ_and_what_stays(ledger: Esctl) -> None:
    done = ledger(*ASKED, "--dry-run")
    assert done.stderr == CONSEQUENCES
    told = json.loads(done.stdout)
    assert tuple(told) == (*PLAN, *EFFECTS)
    assert told["first_states"] == [
        {"stream": "account-alice", "aggregate": "account", "paths": ["full_name", "status"]}
    ]
    assert told["first_rows"] == [
        {"projection": "balances", "table": "balances", "change": "gone", "key": {"account": "account-alice"}}
    ]
    assert (told["states"], told["rows"], told["not_compared"], told["remains"]) == (1, 1, [], 4)
    assert [tuple(one.values()) for one in told["first_remains"]] == [
        ("file", "esctl.db.v3.bak", None), ("id", "opened:alice@example.org", 1), ("mark", "alice@example.org", 2),
        ("reason", "alice@example.org asked", None),
    ]  # fmt: skip


def test_what_will_differ_is_told_before_it_asks_and_is_what_differs(ledger: Esctl) -> None:
    done = ledger(*ASKED)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"this erases the payloads of 1 Opened for good\n{CONSEQUENCES}error: ")
    done = ledger(*ASKED, "--yes")
    assert done.returncode == 0
    assert "states that will differ" not in done.stderr  # whoever says yes beforehand need not wait for it
    assert "the mark alice@example.org" in done.stderr
    assert json.loads(ledger("state", "account-alice").stdout)["state"] == {"status": "none", "balance": 10}
    assert succeeded(ledger("projection", "show", "balances")) == '{"account":"account-bob","balance":20}\n'


def test_a_quiet_plan_is_its_record_alone(ledger: Esctl) -> None:
    done = ledger(*ASKED, "--dry-run", "-q")
    assert (done.stderr, json.loads(done.stdout)["states"]) == ("", 1)
    lines = ledger(*ASKED, "--dry-run", "-q", "-o", "csv").stdout.splitlines()
    assert lines == ["erased,streams,left,positions", "1,1,0,1"]


def test_where_nothing_will_differ_the_plan_says_so(ledger: Esctl, tmp_path: Path) -> None:
    (tmp_path / "esctl.db.v3.bak").unlink()
    assert ledger("append", "account-alice", "Seen", "a=1", "--id", "e-9").returncode == 0
    done = ledger("erase", "e-9", "--reason", "asked", "--force", "--dry-run")
    assert done.stderr == "no state and no row will differ\n"


def test_what_a_model_does_not_mark_is_left_and_told(run: Esctl) -> None:
    done = run("erase", "--subject", "of=C-1", "--reason", "asked", "--yes")
    assert json.loads(done.stdout) == {"erased": 2, "streams": 2, "left": 1}
    assert "not erased, because the model does not mark them erasable: 1 Kept (--force erases them)" in done.stderr
    assert gone(run) == [1, 4]
    assert erased(run, "--subject", "of=C-1", "--force") == {"erased": 1, "streams": 1, "left": 0}
    assert gone(run) == [1, 4, 7]


def test_only_a_type_of_a_stream(run: Esctl) -> None:
    assert erased(run, "--stream", "c-1", "--type", "Given")["erased"] == 3
    assert erased(run, "--stream", "c-1", "--type", "Kept", "--force")["erased"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["3"],
        ["3", "--reason", ""],
        ["3", "--reason", "  "],
        ["--reason", "x"],
        ["3", "--stream", "c-1", "--reason", "x"],
        ["--stream", "c-1", "--subject", "of=C-1", "--reason", "x"],
        ["3", "--type", "Given", "--reason", "x"],
        ["--subject", "of", "--reason", "x"],
    ],
)
def test_what_makes_no_sense_is_a_usage_error(run: Esctl, arguments: list[str]) -> None:
    done = run("erase", *arguments, "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert gone(run) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["999"], 3),
        (["3", "nobody"], 3),
        (["--stream", "nobody"], 3),
        (["7"], 5),
        (["3", "7"], 5),
        (["--stream", "c-1", "--type", "Kept"], 5),
        (["8"], 5),
        (["8", "--force"], 5),
        (["--stream", "$esctl", "--force"], 5),
    ],
)
def test_what_cannot_be_erased_is_refused_and_nothing_is_done(run: Esctl, arguments: list[str], code: int) -> None:
    done = run("erase", *arguments, "--reason", "asked", "--yes")
    assert (done.returncode, done.stdout) == (code, "")
    assert gone(run) == []


@pytest.mark.parametrize("arguments", [["3"], ["--stream", "c-0"], ["--subject", "of=C-2"]])
def test_run_again_it_finds_nothing_to_do_and_is_fine(run: Esctl, arguments: list[str]) -> None:
    assert run("erase", *arguments, "--reason", "asked", "--yes", "-q").returncode == 0
    head = run("head").stdout
    again = run("erase", *arguments, "--reason", "asked", "--yes")
    assert again.returncode == 0
    assert json.loads(again.stdout)["erased"] == 0
    assert run("head").stdout == head


def test_a_subject_that_nobody_has_is_said_to_be_found_nowhere(run: Esctl) -> None:
    done = run("erase", "--subject", "of=C-99", "--reason", "asked", "--yes")
    assert (done.returncode, json.loads(done.stdout)["erased"]) == (0, 0)
    assert done.stderr == "nothing to erase: no payload has of=C-99\n"
    assert run("erase", "--subject", "of=C-99", "--reason", "asked", "--dry-run").stderr == done.stderr


def test_a_dry_run_names_what_only_force_would_erase(run: Esctl) -> None:
    erased(run, "--subject", "of=C-1")
    done = run("erase", "--subject", "of=C-1", "--reason", "asked", "--dry-run")
    assert (done.returncode, json.loads(done.stdout)["left"]) == (0, 1)
    assert done.stderr == "not erased, because the model does not mark them erasable: 1 Kept (--force erases them)\n"


def test_an_event_named_twice_counts_once(run: Esctl) -> None:
    done = run("erase", "3", "id-3", "--reason", "asked", "--yes")
    assert done.stderr == "this erases the payloads of 1 Given for good\n"
    assert json.loads(done.stdout)["erased"] == 1


def test_why_and_who_stays_in_the_log(run: Esctl) -> None:
    erased(run, "3")
    event = json.loads(succeeded(run("replay", "--system", "--last", "1")))
    assert (event["stream"], event["type"]) == ("$esctl", "PayloadErased")
    assert event["data"] == {"positions": [[3, 3]], "reason": "asked"}
    assert set(event["meta"]) == {"actor"}


def test_where_somebody_reads_it_says_so_and_compact_takes_the_rest(run: Esctl, tmp_path: Path) -> None:
    log = tmp_path / "esctl.db"
    with closing(apsw.Connection(str(log), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        reader.execute("begin")
        assert reader.execute("select count(*) from events").get == 8
        done = run("erase", "3", "--reason", "asked", "--yes", "--timeout", "1")
        assert done.returncode == 8
        assert json.loads(done.stdout)["erased"] == 1
        assert "fix: esctl compact" in done.stderr
        assert b"secret-3" in log.read_bytes()
    assert run("compact").returncode == 0
    assert not any(b"secret-3" in file.read_bytes() for file in tmp_path.glob("esctl.db*"))
    assert gone(run) == [3]


# What others print


def test_a_line_says_that_it_is_erased(done: Esctl) -> None:
    line = succeeded(done("replay", "--since", "#3", "--limit", "1"))
    assert line.endswith('"data":null,"meta":null,"erased":true}\n')
    assert list(json.loads(line))[-3:] == ["data", "meta", "erased"]
    assert succeeded(done("replay", "--raw-schema", "--since", "#3", "--limit", "1")) == line


def test_a_table_says_that_it_is_erased(done: Esctl) -> None:
    rows = succeeded(done("replay", "-o", "table")).splitlines()
    assert rows[3].split()[-1] == "(erased)"


@pytest.mark.parametrize(("format_", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_cells_of_what_is_gone_are_empty(done: Esctl, format_: str, delimiter: str) -> None:
    rows = list(csv.DictReader(succeeded(done("replay", "-o", format_)).splitlines(), delimiter=delimiter))
    assert (rows[2]["data"], rows[2]["meta"], rows[2]["id"]) == ("", "", "id-3")


def test_fields_and_templates_of_what_is_gone_are_empty(done: Esctl) -> None:
    line = json.loads(
        succeeded(done("replay", "--fields", "position,erased,data,data.name,meta.x", "--since", "#3", "--limit", "1"))
    )
    assert line == {"position": 3, "erased": True, "data": None, "data.name": None, "meta.x": None}
    text = succeeded(done("replay", "--template", "{position}|{data.name}|{data}|", "--since", "#3", "--limit", "2"))
    assert text.splitlines()[0] == "3|||"
    assert text.splitlines()[1].startswith("4|secret-4|")


def test_payloads_alone_are_null(done: Esctl) -> None:
    assert succeeded(done("replay", "-o", "raw")).splitlines()[2] == "null"


def test_a_cloud_event_says_that_it_is_erased(done: Esctl) -> None:
    event = json.loads(succeeded(done("replay", "-o", "cloudevents")).splitlines()[2])
    assert (event["id"], event["data"], event["esctlerased"]) == ("id-3", None, True)
    assert "correlationid" not in event


def test_an_erased_line_or_cloud_event_cannot_be_appended(done: Esctl) -> None:
    assert done("init", "--log", "new.db").returncode == 0
    for arguments in ([], ["-o", "cloudevents"]):
        lines = succeeded(done("replay", "--since", "#3", "--limit", "1", *arguments))
        refused = done("append", "--log", "new.db", *(["--input", "cloudevents"] if arguments else []), input=lines)
        assert refused.returncode == 5
        assert "erased" in refused.stderr


def test_a_digest_stands_where_the_salt_was(done: Esctl) -> None:
    lines = [json.loads(line) for line in succeeded(done("replay", "--hash", "--system")).splitlines()]
    assert ("salt" in lines[2], len(lines[2]["digest"])) == (False, 64)
    names = ("position", "stream", "version", "id", "type", "schema", "time", "recorded")
    header = "\n".join(str(lines[2][name]) for name in names).encode()
    made = hashlib.sha256(bytes.fromhex(lines[1]["hash"]) + bytes.fromhex(lines[2]["digest"]) + header)
    assert made.hexdigest() == lines[2]["hash"]


def test_show_says_that_it_is_erased(done: Esctl) -> None:
    line = json.loads(succeeded(done("show", "3")))
    assert (line["data"], line["meta"], line["erased"]) == (None, None, True)
    assert "salt" not in line
    rows = dict(row.split(maxsplit=1) for row in succeeded(done("show", "id-3", "-o", "table")).splitlines())
    assert rows["erased"] == "yes"
    assert "secret" not in succeeded(done("show", "3", "-o", "table"))


def test_trace_goes_without_what_is_gone(done: Esctl) -> None:
    (line,) = succeeded(done("show", "3", "--trace")).splitlines()
    assert json.loads(line)["position"] == 3
    others = [json.loads(line)["position"] for line in succeeded(done("show", "1", "--trace")).splitlines()]
    assert 3 not in others


def test_a_state_goes_without_what_is_gone(done: Esctl) -> None:
    state = json.loads(succeeded(done("state", "c-1", "--until", "v2")))
    assert (state["version"], state["state"]["name"]) == (2, "secret-1")
    assert done("append", "c-1", "Given", "--expect", "4").returncode == 0


def test_a_question_finds_no_payload(done: Esctl) -> None:
    found = succeeded(done("query", "select position from log where data is null"))
    assert json.loads(found) == {"position": 3}
