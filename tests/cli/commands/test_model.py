"""`esctl model`: a file judged, planned, applied; what was applied shown again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esctl import open_log
from tests.conftest import ESCTL, Esctl, records

MODEL = """# orders
[aggregate.order]
streams = "order-*"
on.Placed.set = { status = "Placed" }
"""
WRONG = """
[evnt.Paid]
[event.Paid]
schem = 2
[aggregate.order]
streams = "order-*"
on.Placed.sett = { status = "Placed" }
"""
CONVERTED = '[[event.Paid.upcast]]\nfrom = 1\nconvert = { amount = "number" }\n'
PROJECTION = '[projection.p]\ntable = "create table p(a)"\non.Paid = "insert into p values (1)"\n'
CHANGE = ("change", "kind", "name", "events", "snapshots", "projections", "misfits", "detail")


@pytest.fixture
def run(run: Esctl, log_path: Path) -> Esctl:
    """Runs esctl, as zoe, on a log of two events, one of which has no number for an amount."""

    def as_zoe(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        return run(*arguments, env={"USER": "zoe", **(env or {})}, **options)

    with open_log(log_path, write=True) as log:
        log.append("order-1", "Placed")
        log.append("order-1", "Paid", {"amount": "much"})
    return as_zoe


@pytest.fixture
def model(tmp_path: Path) -> Callable[[str], str]:
    """Writes a model file and gives its name."""

    def write(text: str, name: str = "model.toml") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return write


Model = Callable[..., str]


def ended(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    return done.returncode, done.stderr


# check


def test_a_sound_model_has_no_problems_and_needs_no_log(esctl: Esctl, model: Model) -> None:
    done = esctl("model", "check", model(MODEL))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "model.toml is sound: events 0, aggregates 1, projections 0\n"
    assert ended(esctl("model", "check", "model.toml", "-q")) == (0, "")


def test_everything_that_is_wrong_is_named_with_its_place_and_what_may_have_been_meant(
    esctl: Esctl, model: Model
) -> None:
    done = esctl("model", "check", model(WRONG))
    assert done.returncode == 5
    assert [(row["place"], row["hint"]) for row in records(done)] == [
        ("evnt", "did you mean event?"),
        ("event.Paid.schem", "did you mean schema?"),
        ("aggregate.order.on.Placed.sett", "did you mean set?"),
    ]
    assert done.stderr.startswith("error: the model: evnt: unknown key 'evnt'\n")


@pytest.mark.parametrize(
    ("format_", "sound", "wrong"),
    [
        ("ndjson", "", '{"place":"evnt","problem":"unknown key \'evnt\'","hint":"did you mean event?"}'),
        ("json", "[]\n", "["),
        ("csv", "place,problem,hint\n", "place,problem,hint"),
        ("tsv", "place\tproblem\thint\n", "place\tproblem\thint"),
        ("table", "", "place "),
    ],
)
def test_problems_are_listed_in_every_format(esctl: Esctl, model: Model, format_: str, sound: str, wrong: str) -> None:
    assert esctl("model", "check", model(MODEL), "-o", format_, "-q").stdout == sound
    assert esctl("model", "check", model(WRONG), "-o", format_, "-q").stdout.splitlines()[0].startswith(wrong)


@pytest.mark.parametrize("verb", ["check", "plan", "apply"])
def test_a_wrong_model_is_refused_by_every_command_and_told_as_json(run: Esctl, model: Model, verb: str) -> None:
    done = run("model", verb, model(WRONG), "--error-format", "json")
    assert done.returncode == 5
    error = json.loads(done.stderr.splitlines()[-1])
    assert (error["error"], error["exit"], error["place"]) == ("refused", 5, "evnt")
    assert [problem["place"] for problem in error["problems"]] == [
        "evnt", "event.Paid.schem", "aggregate.order.on.Placed.sett",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        pytest.param(None, 3, "there is no file model.toml", id="missing"),
        pytest.param(b"[event", 5, "it is not TOML", id="not TOML"),
        pytest.param(b"\xff\xfe", 5, "is not valid UTF-8", id="not UTF-8"),
        pytest.param(b"x = " + b"[" * 10_000, 5, "the model", id="too deep"),
        pytest.param(b"event = 1", 5, "the model: event", id="no table"),
        pytest.param(b"event = inf", 5, "the model: event", id="no number"),
    ],
)
def test_what_is_no_model_is_refused(esctl: Esctl, tmp_path: Path, content: bytes | None, code: int, said: str) -> None:
    if content is not None:
        (tmp_path / "model.toml").write_bytes(content)
    done = esctl("model", "check", "model.toml")
    assert done.returncode == code
    assert said in done.stderr


def test_an_empty_file_is_a_model_that_says_nothing(run: Esctl, model: Model) -> None:
    assert run("model", "check", model("")).returncode == 0
    assert run("model", "plan", "model.toml").stdout == ""


def test_a_json_schema_outside_of_the_model_s_folder_is_refused(esctl: Esctl, tmp_path: Path, model: Model) -> None:
    (tmp_path / "secret.json").write_text("{}", encoding="utf-8")
    (tmp_path / "models").mkdir()
    done = esctl("model", "check", model('[event.Paid]\njson_schema = "../secret.json"', "models/m.toml"))
    assert done.returncode == 5
    assert "lies outside the model's folder" in done.stderr


# plan


def test_a_plan_is_a_line_a_change(run: Esctl, model: Model) -> None:
    done = run("model", "plan", model(MODEL))
    assert ended(done) == (0, "")
    (change,) = records(done)
    assert tuple(change) == CHANGE
    assert (change["change"], change["kind"], change["name"], change["events"]) == ("new", "aggregate", "order", 2)


@pytest.mark.parametrize(
    ("format_", "empty"),
    [
        ("ndjson", ""),
        ("json", "[]\n"),
        ("csv", ",".join(CHANGE) + "\n"),
        ("tsv", "\t".join(CHANGE) + "\n"),
        ("table", ""),
    ],
)
def test_a_plan_without_a_change_is_empty_in_every_format_and_says_so(
    run: Esctl, model: Model, format_: str, empty: str
) -> None:
    done = run("model", "plan", model(""), "-o", format_)
    assert (done.returncode, done.stdout, done.stderr) == (0, empty, "nothing would change\n")
    assert ended(run("model", "plan", "model.toml", "-q")) == (0, "")


def test_a_check_of_the_plan_ends_with_10_while_something_would_change(run: Esctl, model: Model) -> None:
    done = run("model", "plan", model(MODEL), "--check")
    assert (done.returncode, len(records(done))) == (10, 1)
    assert run("model", "apply", "model.toml").returncode == 0
    assert run("model", "plan", "model.toml", "--check").returncode == 0


def test_a_plan_needs_a_log(esctl: Esctl, model: Model) -> None:
    assert esctl("model", "plan", model(MODEL), "-l", "none.db").returncode == 3


def test_a_plan_tells_what_it_costs_even_where_the_columns_are_few(run: Esctl, model: Model) -> None:
    done = run("model", "plan", model(CONVERTED), "-o", "table", env={"COLUMNS": "60"})
    assert "misfits" in done.stdout.splitlines()[0]


# apply, show, history


def test_an_applied_model_holds_and_is_told(run: Esctl, model: Model) -> None:
    done = run("model", "apply", model(MODEL))
    assert ended(done) == (0, "")
    (applied,) = records(done)
    assert tuple(applied) == ("applied", "changes", "number", "position", "fingerprint")
    assert (applied["applied"], applied["changes"], applied["number"], applied["position"]) == (True, 1, 1, 3)
    assert json.loads(run("state", "order-1", "-o", "raw").stdout) == {"status": "Placed"}


def test_a_model_that_holds_is_applied_once(run: Esctl, model: Model) -> None:
    run("model", "apply", model(MODEL))
    (again,) = records(run("model", "apply", "model.toml"))
    assert (again["applied"], again["changes"], again["number"], again["position"]) == (False, 0, 1, 3)
    assert len(records(run("model", "history"))) == 1


def test_a_dry_run_prints_the_plan_and_applies_nothing(run: Esctl, model: Model) -> None:
    dry = run("model", "apply", model(CONVERTED), "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, run("model", "plan", "model.toml").stdout)
    assert run("model", "history").stdout == ""


def test_a_model_that_makes_events_unreadable_needs_a_yes(run: Esctl, model: Model) -> None:
    done = run("model", "apply", model(CONVERTED))
    assert (done.returncode, done.stdout) == (2, "")
    assert "1 stored events cannot be read any more" in done.stderr
    assert re.search(r"\nfix: esctl .* --yes\n\Z", done.stderr)
    assert run("model", "history").stdout == ""
    assert run("model", "apply", "model.toml", "--yes").returncode == 0
    assert run("replay").returncode == 6


def test_a_model_with_rules_that_makes_events_unreadable_can_be_planned_and_applied(run: Esctl, model: Model) -> None:
    rules = '[aggregate.order.accept]\nPlaced = "state is not null"\n'
    folds = '[aggregate.order]\nstreams = "order-*"\non.Paid.set = { paid = "$.amount" }\n'
    assert run("model", "plan", model(CONVERTED + folds + rules)).returncode == 0
    assert run("model", "apply", "model.toml", "--yes").returncode == 0


def test_a_model_that_drops_a_projection_needs_a_yes(run: Esctl, model: Model) -> None:
    assert run("model", "apply", model(PROJECTION)).returncode == 0
    done = run("model", "apply", model(""))
    assert (done.returncode, "the projection p is dropped" in done.stderr) == (2, True)
    assert run("model", "apply", "model.toml", "--yes").returncode == 0


def test_events_that_do_not_pass_what_will_hold_are_warned_of_and_need_no_yes(run: Esctl, model: Model) -> None:
    done = run("model", "apply", model('[event.Paid.json_schema]\nrequired = ["amount", "by"]\n'))
    assert (done.returncode, done.stderr) == (0, "warning: 1 stored events do not pass the json schema of Paid\n")


def test_a_model_is_shown_as_it_was_written(run: Esctl, model: Model) -> None:
    texts = [MODEL, f"{MODEL}# zweite, mit Ümläuten\n", MODEL.replace("\n", "\r\n")]
    for text in texts:
        Path(run("model", "apply", model(text)).args[0])
    shown = [run("model", "show", str(number)).stdout for number in (1, 2)]
    assert shown == texts[:2]
    assert run("model", "show").stdout.splitlines() == texts[2].splitlines()


def test_the_history_lists_every_model_oldest_first(run: Esctl, model: Model) -> None:
    for text in (MODEL, "", MODEL):
        assert run("model", "apply", model(text)).returncode == 0
    rows = records(run("model", "history"))
    assert [(row["number"], row["position"], row["actor"]) for row in rows] == [
        (1, 3, "zoe"), (2, 4, "zoe"), (3, 5, "zoe"),
    ]  # fmt: skip
    assert rows[0]["fingerprint"] == rows[2]["fingerprint"] != rows[1]["fingerprint"]


@pytest.mark.parametrize(
    ("format_", "empty"),
    [("ndjson", ""), ("json", "[]\n"), ("csv", "number,position,time,actor,fingerprint\n"), ("table", "")],
)
def test_a_log_without_a_model_has_an_empty_history(run: Esctl, format_: str, empty: str) -> None:
    done = run("model", "history", "-o", format_)
    assert (done.returncode, done.stdout, done.stderr) == (0, empty, "")


@pytest.mark.parametrize("number", [[], ["1"], ["0"], ["99"]])
def test_a_model_that_was_never_applied_is_not_there(run: Esctl, number: list[str]) -> None:
    done = run("model", "show", *number, "--error-format", "json")
    assert (done.returncode, done.stdout) == (3, "")
    assert json.loads(done.stderr)["error"] == "not-found"


def test_the_model_s_events_are_the_log_s_own_and_left_out_by_readers(run: Esctl, model: Model) -> None:
    run("model", "apply", model(MODEL))
    assert [row["position"] for row in records(run("replay"))] == [1, 2]
    assert records(run("replay", "--system"))[-1]["type"] == "ModelApplied"


def test_a_log_can_be_made_with_its_model(esctl: Esctl, model: Model) -> None:
    assert esctl("init", "--log", "new.db", "--model", model(MODEL)).returncode == 0
    assert esctl("model", "show", "--log", "new.db").stdout == MODEL


# How it behaves among others


def test_a_lock_that_another_holds_is_exit_8_and_reading_goes_on(run: Esctl, model: Model, log_path: Path) -> None:
    code = "import sys; from esctl.log import EventLog; log = EventLog(__import__('pathlib').Path(sys.argv[1]), write=True)\nwith log.transaction(): print(flush=True); sys.stdin.read()"  # noqa: E501
    with subprocess.Popen(
        [sys.executable, "-c", code, str(log_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert run("model", "apply", model(MODEL), "--timeout", "1").returncode == 8
        assert run("model", "plan", "model.toml").returncode == 0
        assert run("model", "history").returncode == 0
        other.communicate("")


@pytest.mark.parametrize("verb", [["plan", "model.toml"], ["history"], ["show"]])
def test_a_pipe_that_closes_ends_it_in_silence(run: Esctl, model: Model, log_path: Path, verb: list[str]) -> None:
    run("model", "apply", model(MODEL + "# a comment, of some length\n" * 2_000))
    model("".join(f"[event.T{n}]\nschema = 1\n" for n in range(300)))
    environment = {**os.environ, "ESCTL_LOG": str(log_path), "ESCTL_FORMAT": "ndjson"}
    with subprocess.Popen(
        [ESCTL, "model", *verb], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=log_path.parent
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode in (0, -13), said) == (True, b"")


@pytest.mark.parametrize("group", ["model", "upcast", "snapshot"])
def test_a_group_without_a_verb_prints_its_help_as_esctl_without_a_command_does(esctl: Esctl, group: str) -> None:
    done = esctl(group)
    assert done.returncode == 2
    assert "\\n" not in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) > 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("model shwo", "did you mean model show?"),
        ("model chek x.toml", "did you mean model check?"),
        ("upcast rewrit", "did you mean upcast rewrite?"),
        ("snapshot verfy", "did you mean snapshot verify?"),
        ("model plan x.toml --chek", "did you mean --check"),
        ("snapshot take --du", "--due"),
    ],
)
def test_a_near_miss_is_told(esctl: Esctl, words: str, said: str) -> None:
    done = esctl(*words.split())
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize("words", ["model plan", "upcast show", "snapshot take --nope", "model show x"])
def test_a_wrong_command_line_names_the_help_of_its_command(esctl: Esctl, words: str) -> None:
    done = esctl(*words.split())
    assert done.returncode == 2
    group, verb, *_ = words.split()
    assert f"fix: esctl {group} {verb} --help" in done.stderr


@pytest.mark.parametrize(
    "words",
    ["model check", "model plan", "model apply", "model show", "model history", "upcast check",
     "upcast show", "upcast rewrite", "snapshot take", "snapshot list", "snapshot verify", "snapshot prune",
     "state", "diff", "bisect", "decide"],
)  # fmt: skip
def test_help_is_plain_text_with_examples(esctl: Esctl, words: str) -> None:
    done = esctl(*words.split(), "--help")
    assert ended(done) == (0, "")
    assert done.stdout.startswith(f"Usage: esctl {words} ")
    assert f"esctl {words}" in done.stdout.partition("Examples:")[2]
    assert all(line.isprintable() for line in done.stdout.splitlines())
