"""JSON Schemas: asked of every new payload, by the schema version that the event claims."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from esctl.errors import RefusedError
from esctl.events.event import NewEvent
from esctl.events.json import MAX_DEPTH
from esctl.events.query import Query
from esctl.evolution import plan
from esctl.log import EventLog
from esctl.model import json_schemas
from esctl.model.toml import parse
from tests.conftest import writer_of
from tests.logs import IDS, put, refused

FIRST = """
[event.Placed]
json_schema = { type = "object", required = ["amount"], properties = { amount = { type = "number" } } }
"""
SECOND = """
[event.Placed]
schema = 2
json_schema = { type = "object", required = ["total"], properties = { total = { type = "number", minimum = 0 } } }

[[event.Placed.upcast]]
from = 1
rename = { amount = "total" }
"""
THIRD = SECOND.replace("schema = 2", "schema = 3") + '[[event.Placed.upcast]]\nfrom = 2\nrename = { total = "sum" }\n'


def hold(log: EventLog, text: str, folder: Path | None = None) -> None:
    """Apply a model, from a file as users do."""
    file = (folder or Path(log.path).parent) / "model.toml"
    file.write_text(text)
    plan.apply(log, plan.sound(file), log.definitions.position)


def placed(data: object, schema: int = 0, id_: str | None = None) -> NewEvent:
    return NewEvent("order-1", "Placed", id_ or next(IDS), None, schema, json.dumps(data), "{}", None)


def test_a_payload_that_its_schema_accepts_is_stored(log: EventLog) -> None:
    hold(log, FIRST)
    put(log, placed({"amount": 1}), placed({"amount": 1.5, "more": True}))


@pytest.mark.parametrize("data", [{}, {"amount": "1"}, {"amount": None}, [], "text", 1, None])
def test_a_payload_that_its_schema_does_not_accept_is_refused(log: EventLog, data: object) -> None:
    hold(log, FIRST)
    refused(log, placed(data))


def test_a_refusal_names_the_event_the_schema_and_the_place(log: EventLog) -> None:
    hold(log, FIRST)
    error = refused(log, placed({"amount": 1}), placed({"amount": "much"}))
    assert error.what == "Placed in order-1 is refused by the JSON Schema of schema 1"
    assert {key: error.details[key] for key in ("index", "stream", "type", "schema")} == {
        "index": 1, "stream": "order-1", "type": "Placed", "schema": 1
    }  # fmt: skip
    assert error.why.startswith("amount: ")


def test_the_place_of_what_is_wrong_is_a_path(log: EventLog) -> None:
    text = (
        '[event.Placed.json_schema.properties.items.items.properties.price]\ntype = "number"\n'
        '[event.Placed.json_schema.properties.a]\ntype = "string"\n'
    )
    hold(log, text)
    assert refused(log, placed({"items": [{"price": 1}, {"price": "x"}]})).why.startswith("items[1].price: ")


@pytest.mark.parametrize("levels", [985, MAX_DEPTH])
def test_a_payload_as_deep_as_a_log_holds_it_can_be_checked(levels: int) -> None:
    validate = json_schemas.compiled('{"required": ["c"], "properties": {"a": {"required": ["b"]}}}')
    deep = '{"c":' * levels + "1" + "}" * levels
    assert validate(deep) == ""
    assert validate('{"a":' + deep[5:]).startswith("the payload: ")
    assert validate('{"c":1,"a":' + deep[5:]) == "the payload: a deeply nested part is not as it has to be"


def test_types_without_a_schema_hold_anything(log: EventLog) -> None:
    hold(log, FIRST)
    put(log, NewEvent("order-1", "Other", "e-1", None, 0, "[]", "{}", None))


def test_a_duplicate_is_not_checked_again(log: EventLog) -> None:
    put(log, placed([], id_="e-1"))
    hold(log, FIRST)
    assert put(log, placed([], id_="e-1"))[0][4]
    refused(log, placed([], id_="e-1"), placed([]))


def test_schemas_hold_where_rules_are_left_unasked(log: EventLog) -> None:
    hold(log, FIRST)
    writer_of(log).asks_rules = False
    refused(log, placed({}))


def test_what_is_stored_when_a_schema_comes_is_not_touched(log: EventLog) -> None:
    put(log, placed({}))
    hold(log, FIRST)
    assert next(log.read(Query(stream="order-1")))[0][8] == "{}"


# By schema version


@pytest.mark.parametrize(
    ("data", "schema", "accepted"),
    [
        ({"total": 1}, 0, True),
        ({"total": 1}, 2, True),
        ({"total": -1}, 2, False),
        ({"amount": 1}, 0, False),
        ({"amount": 1}, 1, True),
        ({"total": 1}, 1, False),
        ({"whatever": 1}, 7, False),
    ],
)
def test_an_event_is_held_to_the_schema_of_the_version_that_it_claims(
    log: EventLog,
    data: object,
    schema: int,
    accepted: bool,
) -> None:
    hold(log, FIRST)
    hold(log, SECOND)
    if accepted:
        put(log, placed(data, schema))
    else:
        assert refused(log, placed(data, schema)).details["schema"] == (schema or 2)


def test_the_schemas_of_earlier_versions_are_kept_from_model_to_model(log: EventLog) -> None:
    for text in (FIRST, SECOND, THIRD):
        hold(log, text)
    kept = log.definitions.schemas["Placed"]
    assert {version: json.loads(body)["required"] for version, body in kept.items()} == {
        1: ["amount"], 2: ["total"], 3: ["total"]
    }  # fmt: skip


def test_a_new_schema_of_the_same_version_takes_the_place_of_the_old(log: EventLog) -> None:
    hold(log, FIRST)
    hold(log, FIRST.replace("amount", "total"))
    put(log, placed({"total": 1}, 1))
    refused(log, placed({"amount": 1}, 1))


def test_a_schema_that_is_left_out_of_the_same_version_is_gone(log: EventLog) -> None:
    hold(log, FIRST)
    hold(log, "[event.Placed]\nschema = 1\n")
    put(log, placed([], 1))


# Files


def test_a_schema_can_stand_in_a_file_that_is_read_when_the_model_is_applied(log: EventLog, tmp_path: Path) -> None:
    (tmp_path / "placed.json").write_text('{"required": ["größe"]}')
    hold(log, '[event.Placed]\njson_schema = "placed.json"\n', tmp_path)
    (tmp_path / "placed.json").unlink()
    put(log, placed({"größe": 1}))
    assert "größe" in refused(log, placed({})).why


@pytest.mark.parametrize("name", ["missing.json", "../outside.json", "/etc/hostname"])
def test_a_file_that_is_not_beside_the_model_is_refused(log: EventLog, tmp_path: Path, name: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "outside.json").write_text("{}")
    with pytest.raises(RefusedError):
        hold(log, f'[event.Placed]\njson_schema = "{name}"\n', inner)


# The schemas themselves


@pytest.mark.parametrize(
    "schema",
    [
        '{ type = "objekt" }',
        "{ required = 7 }",
        '{ "$ref" = "https://example.com/schema.json" }',
        '{ "$ref" = "file:///etc/passwd" }',
    ],
)
def test_a_schema_that_is_none_or_leads_elsewhere_is_a_problem(schema: str) -> None:
    model, _ = parse(f"[event.Placed]\njson_schema = {schema}\n", lambda _: "")
    assert [problem.place for problem in json_schemas.problems(model)] == ["event.Placed.json_schema"]


def test_a_schema_may_refer_to_its_own_parts(log: EventLog) -> None:
    hold(log, '[event.Placed.json_schema]\n"$ref" = "#/$defs/one"\n"$defs" = { one = { type = "object" } }\n')
    put(log, placed({}))
    refused(log, placed([]))


@pytest.mark.parametrize(
    ("schema", "data", "accepted"),
    [
        ('{ type = "integer" }', 10**30, True),
        ('{ type = "integer" }', 1.5, False),
        ('{ const = "é" }', "é", True),
        ("{ maxLength = 1 }", "😀", True),
        ("{ minimum = 0.1 }", 0.1, True),
    ],
)
def test_numbers_and_texts_are_what_json_says(schema: str, data: object, accepted: bool) -> None:
    model, _ = parse(f"[event.Placed]\njson_schema = {schema}\n", lambda _: "")
    failing = json_schemas.compiled(model.events["Placed"].json_schema or "")
    assert (failing(json.dumps(data)) == "") == accepted


# Without the library

WITHOUT = """
import sys
sys.modules["jsonschema_rs"] = None
from esctl.cli import main
sys.exit(main.run(sys.argv[1:]))
"""


def without_library(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run esctl where jsonschema-rs cannot be imported."""
    return subprocess.run([sys.executable, "-c", WITHOUT, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", [["model", "check", "FILE"], ["model", "apply", "FILE"], ["append", "s-1", "Placed"]])
def test_without_the_library_a_model_with_a_schema_tells_what_to_install(
    log: EventLog, tmp_path: Path, words: list[str]
) -> None:
    hold(log, FIRST)
    log.close()
    words = [word.replace("FILE", str(tmp_path / "model.toml")) for word in words]
    done = without_library(*words, "-l", str(log.path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'esctl[schema]'" in done.stderr
    with EventLog(log.path) as again:
        assert again.head()[0] == 1


def test_without_the_library_a_model_without_schemas_works(log: EventLog, tmp_path: Path) -> None:
    log.close()
    file = tmp_path / "model.toml"
    file.write_text("[event.Placed]\nschema = 2\n")
    assert without_library("model", "apply", str(file), "-l", str(log.path)).returncode == 0
    assert without_library("append", "s-1", "Placed", "-l", str(log.path)).returncode == 0
