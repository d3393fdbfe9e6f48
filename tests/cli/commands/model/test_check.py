"""`esctl model check`: a model file, judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands.model.conftest import MODEL, WRONG, Model, ended
from tests.conftest import Esctl, records


def test_a_sound_model_has_no_problems_and_needs_no_log(esctl: Esctl, model: Model) -> None:
    done = esctl("model", "check", model(MODEL))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "model.toml is valid: events 0, aggregates 1, projections 0\n"
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


RULE = """
[aggregate.account]
streams = "account-*"
on.Deposited.add = { n = 1 }
accept.Depositedd = "1"
"""


def test_a_rule_for_a_type_that_nothing_else_knows_is_warned_of(run: Esctl, esctl: Esctl, model: Model) -> None:
    name = model(RULE)
    warning = "warning: aggregate.account.accept.Depositedd: nothing else names Depositedd"
    without = esctl("model", "check", name)
    assert (without.returncode, without.stderr.splitlines()[1]) == (0, f"{warning}; did you mean Deposited?")
    done = run("model", "check", name)
    assert done.returncode == 0
    assert done.stderr.splitlines()[1:] == [f"{warning}, and the log has no such event; did you mean Deposited?"]
    assert ended(run("model", "check", name, "-q")) == (0, "")
    assert done.stderr.splitlines()[1] in run("model", "apply", name).stderr


def test_a_log_that_is_named_and_cannot_be_read_is_told(esctl: Esctl, model: Model) -> None:
    done = esctl("model", "check", model(MODEL), "--log", "none.db")
    assert (done.returncode, "the log was not asked for its types" in done.stderr) == (0, True)


def test_a_strict_key_that_is_misspelt_is_refused(esctl: Esctl, model: Model) -> None:
    done = esctl("model", "check", model("[model]\nstrct = true\n"))
    assert (done.returncode, records(done)[0]["hint"]) == (5, "did you mean strict?")


def test_a_path_that_may_mean_something_else_is_noted(esctl: Esctl, model: Model) -> None:
    text = '[aggregate.a]\nstreams = "a-*"\non.T = { set = { n = "$.items.0" } }\n'
    done = esctl("model", "check", model(text))
    assert done.returncode == 0
    assert "aggregate.a.on.T.set: $.items.0: 0 is a field's name" in done.stderr
