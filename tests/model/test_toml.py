"""A model file: decoded, and every mistake in it named with its key, its place and what may have been meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.model.declared import Aggregate, Copy, Literal, Model, Projection, Rule, Step
from esctl.model.toml import json_text, parse
from tests.model.texts import AGGREGATE, PROJECTION, UPCAST, decoded, no_files, problems_of

ON = f"{AGGREGATE}[aggregate.a.on.T]\n"


# What is decoded


def test_an_empty_file_is_a_model_that_says_nothing() -> None:
    assert decoded("") == Model({}, {}, {})
    assert decoded("# nothing\n") == Model({}, {}, {})


def test_an_event_type_says_what_it_is() -> None:
    event = decoded(
        "[event.OrderPlaced]\nschema = 3\nerasable = true\n"
        'json_schema = { type = "object", properties = { total = { minimum = 0.50 } } }\n'
    ).events["OrderPlaced"]
    assert event == (
        "OrderPlaced",
        3,
        '{"type":"object","properties":{"total":{"minimum":0.50}}}',
        True,
        (),
        True,
    )


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("[event.T]", 1),
        (UPCAST, 2),
        (UPCAST + "[[event.T.upcast]]\nfrom = 2", 3),
        ("[[event.T.upcast]]\nfrom = 7", 8),
        (UPCAST + "type = 'U'", 1),
        (UPCAST + "drop = true", 1),
        (UPCAST + "split = [{ type = 'U' }]", 1),
        (UPCAST + "drop = true\nwhen = '1'", 2),
    ],
)
def test_the_newest_schema_that_is_not_said_is_what_the_steps_lead_to(text: str, schema: int) -> None:
    assert decoded(text).events["T"].schema == schema


def test_every_operation_is_decoded() -> None:
    step = decoded(
        UPCAST
        + """
rename = { a = "b", "n.c" = "n.d" }
default = { d = 0 }
convert = { e = "number" }
set = { f = "$.x", g = "$$.x", h = "x" }
add = { i = 1 }
subtract = { j = "$.y" }
append = { k = [1] }
merge = "$.m"
compute = { l = "1 + 1" }
remove = ["o", "p.q"]
when = "1"
"""
    ).events["T"].upcasts[0].parts[0].step  # fmt: skip
    assert step == Step(
        "event.T.upcast[1]",
        rename=(("a", "b"), ("n.c", "n.d")),
        default=(("d", Literal("0")),),
        convert=(("e", "number"),),
        set=(("f", Copy("$.x")), ("g", Literal('"$.x"')), ("h", Literal('"x"'))),
        add=(("i", Literal("1")),),
        subtract=(("j", Copy("$.y")),),
        append=(("k", Literal("[1]")),),
        merge=Copy("$.m"),
        compute=(("l", "1 + 1"),),
        remove=("o", "p.q"),
        when="1",
    )


def test_an_aggregate_says_what_it_is() -> None:
    aggregate = decoded(
        """
[aggregate.order]
streams = "order-*"
initial = { status = "New", total = 1.0 }
snapshot = { every = 100, on = ["Closed"] }
[aggregate.order.on.Placed]
set = { status = "Placed" }
[[aggregate.order.on."*"]]
add = { others = 1 }
[[aggregate.order.on."*"]]
when = "1"
[aggregate.order.accept]
Placed = "state ->> 'status' = 'New'"
Paid = { rule = "1", message = "no" }
"""
    ).aggregates["order"]
    assert aggregate == Aggregate(
        "order",
        "order-*",
        '{"status":"New","total":1.0}',
        100,
        ("Closed",),
        {
            "Placed": (Step("aggregate.order.on.Placed", set=(("status", Literal('"Placed"')),)),),
            "*": (
                Step("aggregate.order.on.*[1]", add=(("others", Literal("1")),)),
                Step("aggregate.order.on.*[2]", when="1"),
            ),
        },
        {
            "Placed": Rule(
                "aggregate.order.accept.Placed", "state ->> 'status' = 'New'", aggregate.accept["Placed"][2]
            ),
            "Paid": Rule("aggregate.order.accept.Paid", "1", "no"),
        },
    )
    assert "Placed" in aggregate.accept["Placed"].message


def test_a_projection_says_what_it_is() -> None:
    projection = decoded(
        """
[projection.p]
table = "create table p (x)"
tables = { q = "create table q (y)" }
indexes = ["create index i on p (x)"]
inline = true
columns = { x = { label = "X", format = ",.2f", style = "green" } }
[projection.p.on]
Placed = "insert into p values (1)"
"*" = "delete from p"
"""
    ).projections["p"]
    assert projection == Projection(
        "p",
        {"q": "create table q (y)", "p": "create table p (x)"},
        ("create index i on p (x)",),
        True,
        {"x": {"label": "X", "format": ",.2f", "style": "green"}},
        {"Placed": "insert into p values (1)", "*": "delete from p"},
    )


@pytest.mark.parametrize(
    ("toml", "text"),
    [
        ("100.10", "100.10"), ("1e5", "1e5"), ("-0.0", "-0.0"), ("+1.50", "1.50"), ("1_000.5", "1000.5"),
        ("1_000", "1000"), ("+5", "5"), ("0xff", "255"), ("6.02E+23", "6.02E+23"), ("1e06", "1e06"),
        ("123456789012345678901234567890", "123456789012345678901234567890"), ("true", "true"), ("false", "false"),
        ("'x'", '"x"'), ('"\\u00e4\\n"', '"ä\\n"'), ("'''a\"b'''", '"a\\"b"'), ("[]", "[]"), ("{}", "{}"),
        ("[1.0, [2.50]]", "[1.0,[2.50]]"), ("{ z = 1, a = { b = 1.0 } }", '{"z":1,"a":{"b":1.0}}'),
        ("2026-01-02", '"2026-01-02"'), ("10:00:00", '"10:00:00"'), ("'$'", '"$"'), ("'$x'", '"$x"'),
        ("'$$.x'", '"$.x"'), ("'$$$.x'", '"$$$.x"'), ("['$.x']", '["$.x"]'),
    ],
)  # fmt: skip
def test_a_literal_is_the_json_of_what_was_written(toml: str, text: str) -> None:
    step = decoded(f"{UPCAST}set = {{ v = {toml} }}").events["T"].upcasts[0].parts[0].step
    assert step.set == (("v", Literal(text)),)


@given(
    st.recursive(
        st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
        lambda values: st.lists(values) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values),
        max_leaves=10,
    )
)
def test_the_json_of_a_value_reads_as_the_value(value: Any) -> None:
    assert json.loads(json_text(value)) == value


# What is wrong: text, place, problem, hint

WRONG: list[tuple[str, str, str, str]] = [
    ("[evnt.T]", "evnt", "unknown key 'evnt'", "event"),
    ("[aggregates.a]", "aggregates", "unknown key", "did you mean aggregate?"),
    ("zzz = 1", "zzz", "unknown key 'zzz'", "event, aggregate, projection"),
    ("event = 1", "event", "it is 1", "[event.NAME]"),
    ("event.T = 1", "event.T", "not a table", "schema"),
    ("[event.T]\nshema = 1", "event.T.shema", "unknown key 'shema'", "did you mean schema?"),
    ("[event.T]\nupcasts = []", "event.T.upcasts", "unknown key", "did you mean upcast?"),
    ("[event.T]\nerasable = 'yes'", "event.T.erasable", "'yes'", "true or false"),
    ("[event.T]\nerasable = 1", "event.T.erasable", "it is 1", "true or false"),
    ("[event.T]\nschema = 0", "event.T.schema", "it is 0", "1 to"),
    ("[event.T]\nschema = -1", "event.T.schema", "it is -1", "1 to"),
    ("[event.T]\nschema = 2147483648", "event.T.schema", "2147483648", "1 to"),
    ("[event.T]\nschema = '1'", "event.T.schema", "'1'", "1, 2, 3"),
    ("[event.T]\nschema = true", "event.T.schema", "true or false", "1, 2, 3"),
    ("[event.T]\nschema = 1.0", "event.T.schema", "1.0", "1, 2, 3"),
    ("[event.T]\njson_schema = 1", "event.T.json_schema", "it is 1", "JSON Schema"),
    ("[event.T]\njson_schema = true", "event.T.json_schema", "true or false", "JSON Schema"),
    ("[event.T]\njson_schema = { minimum = inf }", "event.T.json_schema", "inf", "JSON"),
    ("[event.T]\njson_schema = 'nope.json'", "event.T.json_schema", "nope.json", ""),
    ("[event.T]\nupcast = 1", "event.T.upcast", "it is 1", "[[event.T.upcast]]"),
    ("[event.T.upcast]\nfrom = 1", "event.T.upcast", "a table", "[[event.T.upcast]]"),
    ("[event.T]\nupcast = [1]", "event.T.upcast[1]", "not a table", "from"),
    ("[event.'*']", "event.*", "'*'", "name"),
    ("[event.'']", "event.", "empty", ""),
    ("[event.' T']", "event. T", "blank", ""),
    ('[event."a\\nb"]', "event.a\nb", "control", ""),
    ("[[event.T.upcast]]", "event.T.upcast[1].from", "missing", "starts from"),
    ("[[event.T.upcast]]\nform = 1", "event.T.upcast[1].form", "unknown key 'form'", "did you mean from?"),
    ("[[event.T.upcast]]\nfrom = 0", "event.T.upcast[1].from", "it is 0", "1 to"),
    (UPCAST + "renam = { a = 'b' }", "event.T.upcast[1].renam", "unknown key", "did you mean rename?"),
    (UPCAST + "delete = ['a']", "event.T.upcast[1].delete", "unknown key", ""),
    (UPCAST + "rename = ['a']", "event.T.upcast[1].rename", "an array", "a table of fields"),
    (UPCAST + "rename = { a = 1 }", "event.T.upcast[1].rename.a", "it is 1", "the new name"),
    (UPCAST + "rename = { a = '' }", "event.T.upcast[1].rename.", "is not the name of a field", ""),
    (UPCAST + "rename = { a = 'a' }", "event.T.upcast[1].rename.a", "'a'", "into itself"),
    (UPCAST + "rename = { a = 'a.b' }", "event.T.upcast[1].rename.a", "'a.b'", "into itself"),
    (UPCAST + "rename = { 'a.b' = 'a' }", "event.T.upcast[1].rename.a.b", "'a'", "into itself"),
    (UPCAST + "set = { '' = 1 }", "event.T.upcast[1].set.", "is not the name of a field", "names with dots"),
    (UPCAST + "set = { 'a..b' = 1 }", "event.T.upcast[1].set.a..b", "is not the name of a field", "names with dots"),
    (UPCAST + "set = { '.a' = 1 }", "event.T.upcast[1].set..a", "is not the name of a field", "names with dots"),
    (UPCAST + "set = { 'a[*].b' = 1 }", "event.T.upcast[1].set.a[*].b", "[*] is not an index", "quotes of its own"),
    (UPCAST + "set = { 'a[]' = 1 }", "event.T.upcast[1].set.a[]", "[] is not an index", "items[0].qty"),
    (UPCAST + "add = { '$.a' = 1 }", "event.T.upcast[1].add.$.a", "not the name of a field", "does not begin with $"),
    (UPCAST + "remove = ['\"http.method']", 'event.T.upcast[1].remove."http.method', "never closed", '"http.method"'),
    (UPCAST + "rename = { 'a[0]' = 'b' }", "event.T.upcast[1].rename.a[0]", "'b'", "an element of an array"),
    (UPCAST + "rename = { a = 'b[0]' }", "event.T.upcast[1].rename.a", "'b[0]'", "an element of an array has no name"),
    (UPCAST + "rename = { a = 'b[x]' }", "event.T.upcast[1].rename.b[x]", "[x] is not an index", "items[0].qty"),
    (UPCAST + "set = { a = '$.b.\"c' }", "event.T.upcast[1].set", "never closed", '$."http.method"'),
    (UPCAST + "set = { a = '$.' }", "event.T.upcast[1].set", "'$.'", "$.shipping.city"),
    (UPCAST + "set = { a = '$.a..b' }", "event.T.upcast[1].set", "'$.a..b'", "$.shipping.city"),
    (UPCAST + "set = { a = '$.items[x' }", "event.T.upcast[1].set", "'$.items[x'", ""),
    (UPCAST + "set = { a = '$.items[x]' }", "event.T.upcast[1].set", "'$.items[x]'", ""),
    (UPCAST + "set = { a = '$.items[0' }", "event.T.upcast[1].set", "'$.items[0'", ""),
    (UPCAST + "set = { a = '$.items[0]x' }", "event.T.upcast[1].set", "'$.items[0]x'", ""),
    (UPCAST + "set = { a = inf }", "event.T.upcast[1].set", "inf", "JSON has no such number"),
    (UPCAST + "set = { a = nan }", "event.T.upcast[1].set", "nan", "JSON has no such number"),
    (UPCAST + "set = { a = [{ b = -inf }] }", "event.T.upcast[1].set", "-inf", "JSON has no such number"),
    (UPCAST + "default = { a = nan }", "event.T.upcast[1].default", "nan", "JSON has no such number"),
    (UPCAST + "add = { a = 'x' }", "event.T.upcast[1].add.a", '"x"', "a number"),
    (UPCAST + "add = { a = true }", "event.T.upcast[1].add.a", "true", "a number"),
    (UPCAST + "add = { a = '5' }", "event.T.upcast[1].add.a", '"5"', "a number"),
    (UPCAST + "subtract = { a = [1] }", "event.T.upcast[1].subtract.a", "[1]", "a number"),
    (UPCAST + "subtract = { a = 2026-01-01 }", "event.T.upcast[1].subtract.a", "2026", "a number"),
    (UPCAST + "convert = { a = 'float' }", "event.T.upcast[1].convert.a", "'float'", "number, integer, string, bool"),
    (UPCAST + "convert = { a = 1 }", "event.T.upcast[1].convert.a", "it is 1", "number"),
    (UPCAST + "compute = { a = 1 }", "event.T.upcast[1].compute.a", "it is 1", "SQL"),
    (UPCAST + "merge = 'a'", "event.T.upcast[1].merge", "'a'", "begins with $"),
    (UPCAST + "merge = { a = 1 }", "event.T.upcast[1].merge", "a table", "$"),
    (UPCAST + "remove = 'a'", "event.T.upcast[1].remove", "'a'", "an array of fields"),
    (UPCAST + "remove = [1]", "event.T.upcast[1].remove", "not a text", "an array of fields"),
    (UPCAST + "remove = ['']", "event.T.upcast[1].remove", "not a text", "an array of fields"),
    (UPCAST + "when = true", "event.T.upcast[1].when", "true or false", "SQL condition"),
    (UPCAST + "type = 1", "event.T.upcast[1].type", "it is 1", "new name"),
    (UPCAST + "type = ''", "event.T.upcast[1].type", "", ""),
    (UPCAST + "type = ' x'", "event.T.upcast[1].type", "", ""),
    (UPCAST + "schema = 0", "event.T.upcast[1].schema", "it is 0", "1 to"),
    (UPCAST + "type = 'U'\nwhen = '1'", "event.T.upcast[1].when", "combined with type", "always or never"),
    (UPCAST + "drop = 'yes'", "event.T.upcast[1].drop", "'yes'", "true or false"),
    (UPCAST + "drop = true\nset = { a = 1 }", "event.T.upcast[1].set", "combined with drop", ""),
    (UPCAST + "drop = true\nschema = 3", "event.T.upcast[1].schema", "combined with drop", ""),
    (UPCAST + "drop = true\ntype = 'U'", "event.T.upcast[1].type", "combined with drop", ""),
    (UPCAST + "drop = true\nsplit = [{ type = 'U' }]", "event.T.upcast[1].", "combined with", ""),
    (UPCAST + "split = []", "event.T.upcast[1].split", "empty", "drop = true"),
    (UPCAST + "split = { type = 'U' }", "event.T.upcast[1].split", "a table", "an array of tables"),
    (UPCAST + "split = [1]", "event.T.upcast[1].split[1]", "not a table", ""),
    (UPCAST + "split = [{ schema = 1 }]", "event.T.upcast[1].split[1].type", "missing", "type"),
    (UPCAST + "split = [{ type = ' U' }]", "event.T.upcast[1].split[1].type", "", ""),
    (UPCAST + "split = [{ type = 'U', from = 1 }]", "event.T.upcast[1].split[1].from", "unknown key", ""),
    (UPCAST + "split = [{ type = 'U', when = '1' }]", "event.T.upcast[1].split[1].when", "unknown key", ""),
    (UPCAST + "split = [{ type = 'U', remov = ['a'] }]", "event.T.upcast[1].split[1].remov", "unknown key", "remove?"),
    (UPCAST + "split = [{ type = 'U' }]\nrename = { a = 'b' }", "event.T.upcast[1].rename", "combined with split", ""),
    (UPCAST + "split = [{ type = 'U' }]\nwhen = '1'", "event.T.upcast[1].when", "combined with split", ""),
    (UPCAST + "split = [{ type = 'U' }]\ntype = 'V'", "event.T.upcast[1].type", "combined with split", ""),
    ("[aggregate.a]", "aggregate.a.streams", "missing", "GLOB"),
    ("[aggregate.a]\nstreams = ''", "aggregate.a.streams", "missing", "GLOB"),
    ("[aggregate.a]\nstreams = 1", "aggregate.a.streams", "it is 1", "GLOB"),
    ("[aggregate.a]\nstreams = '$esctl'", "aggregate.a.streams", "the log's own", ""),
    ("[aggregate.a]\nstream = '*'", "aggregate.a.stream", "unknown key", "did you mean streams?"),
    (AGGREGATE + "initial = [1]", "aggregate.a.initial", "an array", "a table"),
    (AGGREGATE + "initial = { a = nan }", "aggregate.a.initial", "nan", "JSON has no such number"),
    (AGGREGATE + "snapshot = 100", "aggregate.a.snapshot", "it is 100", "{ every = 100 }"),
    (AGGREGATE + "snapshot = { evry = 100 }", "aggregate.a.snapshot.evry", "unknown key", "did you mean every?"),
    (AGGREGATE + "snapshot = { every = 0 }", "aggregate.a.snapshot.every", "it is 0", "1 or more"),
    (AGGREGATE + "snapshot = { every = true }", "aggregate.a.snapshot.every", "true or false", "a number of events"),
    (AGGREGATE + "snapshot = { every = 1.5 }", "aggregate.a.snapshot.every", "1.5", "a number of events"),
    (AGGREGATE + "snapshot = { on = 'T' }", "aggregate.a.snapshot.on", "'T'", "an array"),
    (AGGREGATE + "[aggregate.a.on]\nT = 1", "aggregate.a.on.T", "not a table", "set"),
    (AGGREGATE + "[aggregate.a.on]\nT = [1]", "aggregate.a.on.T[1]", "not a table", "set"),
    (ON + "sett = { a = 1 }", "aggregate.a.on.T.sett", "unknown key", "did you mean set?"),
    (ON + "rename = { a = 'b' }", "aggregate.a.on.T.rename", "unknown key", ""),
    (ON + "default = { a = 1 }", "aggregate.a.on.T.default", "unknown key", ""),
    (ON + "convert = { a = 'number' }", "aggregate.a.on.T.convert", "unknown key", ""),
    (AGGREGATE + "[[aggregate.a.on.T]]\n[[aggregate.a.on.T]]\nadd = { a = 'x' }", "aggregate.a.on.T[2].add.a", "x", ""),
    (AGGREGATE + "accept = 1", "aggregate.a.accept", "it is 1", ""),
    (AGGREGATE + "accept = { T = 1 }", "aggregate.a.accept.T", "not a table", "rule"),
    (AGGREGATE + "accept = { T = {} }", "aggregate.a.accept.T.rule", "missing", "SQL condition"),
    (AGGREGATE + "accept = { T = { rule = 1 } }", "aggregate.a.accept.T.rule", "it is 1", "SQL condition"),
    (AGGREGATE + "accept = { T = { rul = '1' } }", "aggregate.a.accept.T.rul", "unknown key", "did you mean rule?"),
    (AGGREGATE + "accept = { T = { rule = '1', message = 1 } }", "aggregate.a.accept.T.message", "it is 1", "a text"),
    ("[projection.p]", "projection.p.table", "missing", "create table"),
    ("[projection.p]\ntable = 1", "projection.p.table", "it is 1", "create table"),
    ("[projection.p]\ntabel = 'x'", "projection.p.tabel", "unknown key", "did you mean table?"),
    ("[projection.p]\ntables = { q = 1 }", "projection.p.tables.q", "it is 1", "create table"),
    (PROJECTION + "inline = 'no'", "projection.p.inline", "'no'", "true or false"),
    (PROJECTION + "indexes = 'x'", "projection.p.indexes", "'x'", "an array"),
    (PROJECTION + "columns = { x = { lable = 'X' } }", "projection.p.columns.x.lable", "unknown key", "label?"),
    (PROJECTION + "columns = { x = { align = 'top' } }", "projection.p.columns.x.align", "'top'", "left, right"),
    (PROJECTION + "columns = { x = { style = 'link red' } }", "projection.p.columns.x.style", "'link red'", "green"),
    (PROJECTION + "columns = { x = { style = '[link]' } }", "projection.p.columns.x.style", "'[link]'", "green"),
    (PROJECTION + "columns = { x = { format = 'two' } }", "projection.p.columns.x.format", "'two'", ",.2f"),
    (PROJECTION + "columns = { x = { format = '999d' } }", "projection.p.columns.x.format", "'999d'", ",.2f"),
    (PROJECTION + "columns = { x = { format = ',n' } }", "projection.p.columns.x.format", "',n'", ",.2f"),
    (f"[aggregate.a]\nstreams = '{'x' * 513}'\n", "aggregate.a.streams", "too long", "512 bytes"),
    (PROJECTION + "on = { T = 1 }", "projection.p.on.T", "it is 1", "SQL statements"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "problem", "hint"), WRONG)
def test_a_mistake_names_its_place_what_it_is_and_what_may_have_been_meant(
    text: str, place: str, problem: str, hint: str
) -> None:
    found = problems_of(text)
    assert any(
        (one.place == place or (place.endswith(".") and one.place.startswith(place)))
        and problem in one.problem
        and hint in one.hint
        for one in found
    ), found


@pytest.mark.parametrize(
    "text",
    ["[", "a = ", "[event.T]\n[event.T]", "a = 1\na = 2", "\0", "= 1", "a" * 5, "[event.T]\nschema = 01",
     "x = " + "[" * 5000, "x = " + "1" * 5000, "x = -" + "9" * 10000],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_what_is_no_toml_is_one_problem_and_no_crash(text: str) -> None:
    model, problems = parse(text, no_files)
    assert model == Model({}, {}, {})
    assert len(problems) == 1
    assert problems[0].problem


def test_every_mistake_is_named_and_not_the_first_alone() -> None:
    text = "[evnt]\n[event.T]\nschema = 0\nshema = 1\n[aggregate.a]\nstreams = 1\n"
    assert [one.place for one in problems_of(text)] == [
        "evnt",
        "event.T.shema",
        "event.T.schema",
        "aggregate.a.streams",
        "aggregate.a.streams",
    ]


# JSON Schemas in files


def test_a_json_schema_may_be_named_by_its_file() -> None:
    model, problems = parse("[event.T]\njson_schema = 'a.json'", {"a.json": '{"type":"object"}'}.__getitem__)
    assert not problems
    assert model.events["T"].json_schema == '{"type":"object"}'


def test_a_file_that_is_not_json_is_refused() -> None:
    _, problems = parse("[event.T]\njson_schema = 'a.json'", lambda _: "{")
    assert [one.place for one in problems] == ["event.T.json_schema"]
    assert "a.json is not JSON" in problems[0].problem


@pytest.mark.parametrize(("text", "strict"), [("", False), ("[model]\n", False), ("[model]\nstrict = true\n", True)])
def test_a_model_is_strict_only_if_it_says_so(text: str, strict: bool) -> None:
    assert decoded(text).strict is strict


@pytest.mark.parametrize("text", ["model = 1", "[model]\nstrict = 1", "[model]\nstrct = true"])
def test_other_settings_of_a_model_are_problems(text: str) -> None:
    _, problems = parse(text, lambda _: "")
    assert [problem.place.partition(".")[0] for problem in problems] == ["model"]
