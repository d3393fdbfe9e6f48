"""What `esctl help model` shows is what a model may say, and does what the page says."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from pathlib import Path

import pytest

from esctl.cli.parse import MalformedError, options_of, read, shared_options
from esctl.cli.table import COMMANDS as KNOWN
from esctl.errors import MisfitError, RefusedError
from esctl.events.decoded import decoded
from esctl.events.event import NewEvent
from esctl.events.lines import Defaults, parser
from esctl.events.query import Query
from esctl.evolution.plan import apply, sound
from esctl.log import EventLog
from esctl.model.checks import checked, shared
from esctl.model.toml import OPERATIONS, UPCAST_OPERATIONS
from esctl.projections import runs
from esctl.projections.reading import RowFilter, rows
from esctl.sql.conditions import check_condition
from esctl.states import folding
from tests.conftest import writer_of
from tests.transcripts import fences

PAGE = (Path(__file__).parents[1] / "esctl" / "help" / "model.md").read_text(encoding="utf-8")
MODELS = [content for language, _, content in fences(PAGE) if language == "toml"]
STEPS = dict(re.findall(rf"^    ((?:{'|'.join(UPCAST_OPERATIONS)}) = .*?)   ?(\S.*)$", PAGE, re.MULTILINE))
COMMANDS = re.findall(r"^    esctl (.*?)(?:   .*| without .*)?$", PAGE, re.MULTILINE)
UPCAST = "[event.T]\nschema = 2\n[[event.T.upcast]]\nfrom = 1\n"
ON = '[aggregate.a]\nstreams = "s"\n[aggregate.a.on.T]\n'


@pytest.mark.parametrize("text", MODELS, ids=range(len(MODELS)))
def test_a_model_of_the_page_is_sound(text: str) -> None:
    assert checked(text, {})[1] == []


def test_the_page_has_models() -> None:
    assert len(MODELS) >= 4


def test_every_operation_stands_in_the_page_in_the_order_in_which_they_are_done() -> None:
    assert [step.partition(" ")[0] for step in STEPS] == list(UPCAST_OPERATIONS)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_the_page_can_be_written_where_the_page_says(step: str) -> None:
    assert checked(UPCAST + step, {})[1] == []
    folds = step.partition(" ")[0] in OPERATIONS
    assert ("upcasts only" in STEPS[step]) is not folds
    assert (checked(ON + step, {})[1] == []) is folds


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_is_one_with_these_options(command: str) -> None:
    words = shlex.split(command)
    with contextlib.suppress(MalformedError):
        read(words)
        return
    verb = next(verb for verb in (" ".join(words[:2]), words[0]) if verb in KNOWN)  # a placeholder stands for a word
    known = {flag for option in [*options_of(verb), *shared_options()] for flag in option.flags}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_conditions_in_commands_are_conditions() -> None:
    for command in COMMANDS:
        words = shlex.split(command)
        for option in {"--where", "--when"} & set(words):
            check_condition(words[words.index(option) + 1], ("stream", "version", "position", "time", "state"))


# What the page says of the outcome


def give(log: EventLog, type_: str, data: str, schema: int = 1, stream: str = "s") -> None:
    line = f'{{"stream":"{stream}","type":"{type_}","schema":{schema},"data":{data}}}'
    with log.transaction():
        writer_of(log).append([parser(Defaults())(line.encode())])


def have(log: EventLog, text: str) -> None:
    path = Path(log.path).with_suffix(".toml")
    path.write_text(text, encoding="utf-8")
    apply(log, sound(path), log.definitions.position)


def read_as(log: EventLog, steps: str, data: str) -> str:
    """What an upcast makes of a payload."""
    give(log, "T", data)
    have(log, UPCAST + steps)
    return next(log.read(Query()))[0][8]


def folded(log: EventLog, steps: str, *payloads: str) -> str:
    """What steps make of payloads."""
    have(log, ON + steps)
    for data in payloads:
        give(log, "T", data)
    return folding.state(log, Query(stream="s")).state


@pytest.mark.parametrize(
    ("steps", "before", "after"),
    [
        ('set = { a = "$.b", b = "$.a" }', '{"a":1,"b":2.50}', '{"a":2.50,"b":1}'),
        ('set = { x = "$$.x", d = "$" }', "{}", '{"x":"$.x","d":"$"}'),
        ('set = { city = "$.shipping.city", first = "$.items[0]" }', '{"shipping":{"city":null},"items":[1.50]}',
         '{"shipping":{"city":null},"items":[1.50],"city":null,"first":1.50}'),
        ('set = { "shipping.city" = "Bern" }', "{}", '{"shipping":{"city":"Bern"}}'),
        ("default = { discount = 0 }", '{"discount":null}', '{"discount":null}'),
        ('set = { a = "$.x" }\nrename = { x = "b" }\nremove = ["x"]\nconvert = { x = "integer" }', "{}", "{}"),
        ('rename = { a = "b" }', '{"a":1,"b":2,"c":3}', '{"b":1,"c":3}'),
        ('compute = { n = "null", t = "\'x\'", j = "new.data -> \'a\'", b = "json(\'true\')", one = "1 = 1" }',
         '{"a":{"x":1.50}}', '{"a":{"x":1.50},"n":null,"t":"x","j":{"x":1.50},"b":true,"one":1}'),
        ('when = "new.data ->> \'a\' > 0"\nset = { b = 1 }', '{"a":null}', '{"a":null}'),
        ('convert = { n = "number", i = "integer", s = "string", b = "boolean" }',
         '{"n":"1.50","i":3.0,"s":1.50,"b":"0"}', '{"n":1.50,"i":3,"s":"1.50","b":false}'),
        ('convert = { i = "integer", s = "string", b = "boolean" }', '{"i":"3","s":true,"b":1}',
         '{"i":3,"s":"true","b":true}'),
    ],
)  # fmt: skip
def test_an_upcast_makes_of_a_payload_what_the_page_says(log: EventLog, steps: str, before: str, after: str) -> None:
    assert read_as(log, steps, before) == after


@pytest.mark.parametrize(
    ("steps", "payload"),
    [
        ('convert = { n = "number" }', '{"n":null}'),
        ('convert = { n = "integer" }', '{"n":1.5}'),
        ('convert = { n = "boolean" }', '{"n":"yes"}'),
        ('add = { n = "$.n" }', '{"n":null}'),
        ("append = { n = 1 }", '{"n":null}'),
        ('merge = "$.n"', '{"n":1}'),
    ],
)
def test_what_cannot_be_done_is_an_error_that_names_the_event(log: EventLog, steps: str, payload: str) -> None:
    with pytest.raises(MisfitError, match="position 1 ") as raised:
        read_as(log, steps, payload)
    assert raised.value.exit_code == 6


@pytest.mark.parametrize(
    ("steps", "payloads", "state"),
    [
        ('add = { n = "$.n" }', ['{"n":1.5}', "{}", '{"n":1}'], '{"n":2.5}'),
        ("subtract = { n = 1 }", ["{}", "{}"], '{"n":-2}'),
        ('append = { l = "$.n" }', ['{"n":1.50}', "{}", '{"n":null}'], '{"l":[1.50,null]}'),
        ('merge = "$"', ['{"a":1,"b":2}', '{"a":null}'], '{"b":2}'),
        ('merge = "$.changes"', ["{}", '{"changes":{"a":1}}'], '{"a":1}'),
    ],
)
def test_steps_make_of_payloads_what_the_page_says(log: EventLog, steps: str, payloads: list[str], state: str) -> None:
    assert folded(log, steps, *payloads) == state


def test_the_expressions_of_the_page_ask_the_state(log: EventLog) -> None:
    page = PAGE.replace("\n", " ")
    asked = re.findall(r"`((?:exists \(|json_array_length\(|json_type\(|state ->>|new\.data ->>)[^`]*)`", page)
    assert len(asked) >= 5
    for n, sql in enumerate(asked):
        assert checked(f"{ON}compute = {{ x{n} = {json.dumps(sql)} }}", {})[1] == []
    computed = ", ".join(f"x{n} = {json.dumps(sql)}" for n, sql in enumerate(asked))
    have(log, f"{ON.replace('[aggregate.a.on.T]', 'initial = {items = [{sku = 1}]}')}on.T.compute = {{ {computed} }}")
    give(log, "T", '{"sku":1,"amount":5}')
    state = json.loads(folding.state(log, Query(stream="s")).state)
    assert {sql.partition(" ")[0]: state[f"x{n}"] for n, sql in enumerate(asked)}["exists"] == 1


def accepted(log: EventLog, rule: str, data: str = "{}") -> bool:
    have(log, f'[aggregate.a]\nstreams = "s"\naccept = {{ T = "{rule}" }}')
    try:
        give(log, "T", data)
    except RefusedError:
        return False
    return True


@pytest.mark.parametrize(
    ("rule", "kept"), [("1", True), ("0", False), ("null", False), ("new.data ->> 'none' = 1", False)]
)
def test_a_rule_accepts_only_where_it_is_true(log: EventLog, rule: str, kept: bool) -> None:
    assert accepted(log, rule) is kept


def test_an_event_that_steps_cannot_be_done_on_is_refused_where_there_are_rules_and_else_stored(log: EventLog) -> None:
    have(log, ON + 'add = { n = "$.n" }')
    give(log, "T", '{"n":"x"}')
    with pytest.raises(MisfitError):
        folding.state(log, Query(stream="s"))
    have(log, (ON + 'add = { n = "$.n" }\n[aggregate.a.accept]\nT = "1"').replace('"s"', '"t"'))
    with pytest.raises(RefusedError):
        give(log, "T", '{"n":"x"}', stream="t")


def test_the_star_is_for_every_type_that_is_not_named(log: EventLog) -> None:
    have(log, '[aggregate.a]\nstreams = "s"\non.T.add = { t = 1 }\non."*".add = { others = 1 }')
    for type_ in ("T", "U", "V"):
        give(log, type_, "{}")
    assert folding.state(log, Query(stream="s")).state == '{"t":1,"others":2}'


def test_the_upcasts_of_the_page_are_read_as_it_says(log: EventLog) -> None:
    (text,) = [text for text in MODELS if "CartCheckedOut" in text]
    give(log, "PaymentReceived", '{"currency":"CHF"}')
    give(log, "OrderPaid", '{"amount":1.50}')
    give(log, "CartCheckedOut", '{"sum":2,"items":[1]}')
    give(log, "Heartbeat", "{}")
    give(log, "Login", "{}")
    with log.transaction():
        writer_of(log).append([NewEvent("s", "Login", "test", None, 1, "{}", '{"actor":"test"}', None)])
    have(log, text)
    events = [decoded(event) for event, _, _ in log.read(Query())]
    assert [(e.version, e.type, e.schema, e.data) for e in events] == [
        (1, "PaymentReceived", 2, {"currency": "CHF"}),
        (2, "PaymentReceived", 2, {"amount": 1.5, "currency": "EUR"}),
        (3, "OrderPlaced", 1, {"items": [1], "total": 2}),
        (3, "CartEmptied", 1, {}),
        (5, "Login", 2, {}),
    ]
    lines = b"".join(log.lines(Query(since=3, until=3))).splitlines()
    assert [json.loads(line)["part"] for line in lines] == [1, 2]
    assert [event[2] for event, _, _ in log.read(Query(types=("PaymentReceived",)))] == [1, 2]
    assert list(log.read(Query(types=("OrderPaid",)))) == []


@pytest.mark.parametrize("sql", ["random()", "datetime('now')", "(select count(*) from events)", "1; select 2"])
def test_an_expression_may_do_no_more_than_the_page_says(sql: str) -> None:
    problems = checked(f'{ON}compute = {{ x = "{sql}" }}', {})[1]
    assert [problem.place for problem in problems] == ["aggregate.a.on.T.compute.x"]


# Projections


PROJECTION = '[projection.t]\ntable = "create table t(k text primary key, n int not null default 1, status text)"\n'
HANDLERS = re.findall(r"^    ((?:insert|update|delete) .*?)(?:  +.*)?$", PAGE, re.MULTILINE)


def test_the_page_has_handlers_and_each_is_one() -> None:
    assert len(HANDLERS) >= 4
    for sql in HANDLERS:
        text = f'{PROJECTION}[projection.t.on]\nT = """{sql.replace("(…)", "(new.stream, 1)")}"""'
        assert checked(text, {})[1] == [], sql


def test_the_page_names_every_key_of_a_projection_and_of_a_look() -> None:
    section = PAGE.partition("\n## Projections\n")[2].partition("\n### Handlers\n")[0]
    keys = re.findall(r"^    ([a-z_]+)  +\S", section, re.MULTILINE)
    assert keys == ["table", "tables", "indexes", "on", "inline", "columns", "label", "format", "style", "align"]
    for place in ("projection.t", "projection.t.columns.n"):
        (problem,) = checked(f"{PROJECTION}[{place}]\nzzz = 1".replace("[projection.t]\nzzz", "zzz"), {})[1]
        assert set(re.findall(r"\w+", problem.hint)) - {"the", "keys", "are"} <= set(keys)


def test_the_page_shows_what_formats_make_of_numbers() -> None:
    (line,) = re.findall(r"^    format +how numbers .*: (.*)$", PAGE, re.MULTILINE)
    shown = re.findall(r'"([^"]+)" (\S+)', line)
    assert len(shown) >= 4
    numbers = {",.2f": 1234.5, ".1%": 0.125, "05d": 42, "+,d": 1234}
    assert [(format_, format(numbers[format_], format_)) for format_, _ in shown] == shown
    for format_, _ in shown:
        assert checked(f"{PROJECTION}columns.n.format = {json.dumps(format_)}", {})[1] == []


def test_the_styles_of_the_page_are_styles_of_richs() -> None:
    from rich.style import Style

    (line,) = re.findall(r"^    style +(.*)$", PAGE, re.MULTILINE)
    styles = re.findall(r'"([^"]+)"', line)
    assert len(styles) >= 3
    assert [str(Style.parse(style)) for style in styles] == styles


@pytest.mark.parametrize(
    "sql",
    [
        "insert into t(k) values (datetime('now'))",
        "insert into t(k) values (random())",
        "insert into t(k) select stream from log",
        "delete from events",
        "insert into t(k) select name from pragma_table_list",
        "pragma user_version = 9",
        "attach 'x.db' as x",
        "update t set n = raise(abort, 'no')",
        "with x as (select 1) insert into t(k) select * from x",
    ],
)
def test_a_handler_may_do_no_more_than_the_page_says(sql: str) -> None:
    problems = checked(f'{PROJECTION}[projection.t.on]\nT = """{sql}"""', {})[1]
    assert [problem.place for problem in problems] == ["projection.t.on.T"]


def projected(log: EventLog, name: str) -> list[tuple[object, ...]]:
    """The rows of a projection after a run."""
    run = runs.Run()
    for _ in runs.run(log, [], run):
        pass
    run.end()
    return rows(log, log.definitions.model.projections[name], RowFilter(), built=False).rows


def test_the_projection_of_the_page_does_what_it_says(log: EventLog) -> None:
    (text,) = [text for text in MODELS if "[projection.customer_orders]" in text]
    have(log, text)
    give(log, "OrderPlaced", '{"customer_id":"7","total":99.90}')
    give(log, "OrderPlaced", '{"customer_id":"7","total":0.10}')
    give(log, "OrderPlaced", '{"customer_id":"8","total":5}')
    give(log, "OrderCancelled", '{"customer_id":"8"}')
    assert [row[:3] for row in projected(log, "customer_orders")] == [("7", 2, 100.0), ("8", 0, 5.0)]


def test_an_inline_projection_that_is_new_takes_what_is_stored_with_the_next_append(log: EventLog) -> None:
    give(log, "T", "{}", stream="a")
    have(log, PROJECTION + 'inline = true\non.T = "insert into t(k) values (new.stream)"')
    give(log, "T", "{}", stream="b")
    table = log.definitions.model.projections["t"]
    assert [row[0] for row in rows(log, table, RowFilter(), built=False).rows] == ["a", "b"]
    with pytest.raises(RefusedError, match="UNIQUE"):
        give(log, "T", "{}", stream="a")


def test_columns_and_inline_may_change_without_a_new_version(log: EventLog) -> None:
    have(log, PROJECTION)
    have(log, PROJECTION + 'inline = true\ncolumns.n.label = "Count"')
    assert [version.state for version in log.store.projections().versions()] == ["live"]
    have(log, PROJECTION.replace("default 1", "default 2"))
    assert [version.state for version in log.store.projections().versions()] == ["live", "building"]


def test_two_aggregates_that_match_one_stream_are_an_error() -> None:
    model, _ = checked('[aggregate.a]\nstreams = "order-*"\n[aggregate.b]\nstreams = "*-1"', {})
    assert [problem.place for problem in shared(model)] == ["aggregate.b.streams"]
