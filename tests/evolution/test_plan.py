"""A model against the one that holds: every kind of change and what it costs; what a model file may name."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl import open_log
from esctl.errors import ConflictError, NotFoundError, RefusedError, UnavailableError
from esctl.events.event import NewEvent
from esctl.evolution import plan
from esctl.evolution.plan import Change, Plan
from esctl.log import EventLog
from esctl.states import snapshot_care
from tests.conftest import writer_of
from tests.logs import event, fresh, put
from tests.models import CONVERTED, NUMBERS, PROJECTION

ORDER = """
[aggregate.order]
streams = "order-*"
on.Placed.set = { status = "Placed" }
on.Paid.set = { status = "Paid" }
"""
RULE = """
[aggregate.order.accept]
Placed = "state ->> 'status' is null"
"""
POLICY = "\n[aggregate.order.snapshot]\nevery = 2\n"
RENAMED = '[[event.Paid.upcast]]\nfrom = 1\nrename = { amount = "sum" }\n'


@pytest.fixture
def log(log_path: Path) -> Iterator[EventLog]:
    """A log of five events, one of which has no number for an amount."""
    with open_log(log_path, write=True) as written:
        for stream, type_, data in (
            ("order-1", "Placed", {}),
            ("order-1", "Paid", {"amount": 5}),
            ("order-2", "Placed", {}),
            ("order-2", "Placed", {}),
            ("order-3", "Paid", {"amount": "much"}),
        ):
            written.append(stream, type_, data)
    with EventLog(log_path, write=True) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for models."""
    made = tmp_path / "models"
    made.mkdir()
    return made


def written(folder: Path, text: str) -> Path:
    """A file with a model."""
    (folder / "model.toml").write_text(text, encoding="utf-8")
    return folder / "model.toml"


def planned(log: EventLog, folder: Path, text: str) -> Plan:
    """The plan of a model."""
    return plan.plan(log, plan.sound(written(folder, text)))


def applied(log: EventLog, folder: Path, text: str) -> None:
    """Have a model hold."""
    made = planned(log, folder, text)
    plan.apply(log, plan.sound(folder / "model.toml"), made.position)


def told(made: Plan) -> list[tuple[str, str, str]]:
    return [change[:3] for change in made.changes]


def one(made: Plan, kind: str) -> Change:
    """The one change of a kind."""
    (change,) = [change for change in made.changes if change.kind == kind]
    return change


# What is new, changed and gone

WHOLE = f"""
[event.Paid]
erasable = true
{NUMBERS}{RENAMED.replace("amount", "total")}{ORDER}{RULE}{POLICY}{PROJECTION}"""
PIECES = [
    ("schema", "Paid"),
    ("json schema", "Paid"),
    ("erasable", "Paid"),
    ("upcast", "Paid 1"),
    ("aggregate", "order"),
    ("snapshot policy", "order"),
    ("rule", "order: Placed"),
    ("projection", "p"),
]


def test_everything_in_the_first_model_is_new(log: EventLog, folder: Path) -> None:
    assert told(planned(log, folder, WHOLE)) == [("new", *piece) for piece in PIECES]


def test_everything_that_an_empty_model_leaves_out_is_gone(log: EventLog, folder: Path) -> None:
    applied(log, folder, WHOLE)
    assert told(planned(log, folder, "")) == [("gone", *piece) for piece in PIECES]


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(WHOLE, id="the same text"),
        pytest.param(f"# a comment\n{WHOLE}", id="a comment"),
        pytest.param(WHOLE.replace(" = ", "   =   "), id="blanks"),
        pytest.param(f"{WHOLE}\n\n", id="blank lines"),
    ],
)
def test_a_model_that_says_the_same_changes_nothing(log: EventLog, folder: Path, same: str) -> None:
    applied(log, folder, WHOLE)
    assert told(planned(log, folder, same)) == []


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ('on.Paid.set = { status = "Paid" }', 'on.Paid.set = { status = "Payed" }', ("changed", "aggregate", "order")),
        ("is null", "is not null", ("changed", "rule", "order: Placed")),
        ("every = 2", "every = 3", ("changed", "snapshot policy", "order")),
        ("every = 2", "on = ['Paid']", ("changed", "snapshot policy", "order")),
        ('total = "sum"', 'total = "whole"', ("changed", "upcast", "Paid 1")),
        ("type = 'number'", "type = 'integer'", ("changed", "json schema", "Paid")),
        ("erasable = true", "erasable = false", ("gone", "erasable", "Paid")),
        ("insert into p values (1)", "insert into p values (2)", ("changed", "projection", "p")),
        ("create table p(a)", "create table p(b)", ("changed", "projection", "p")),
    ],
)  # fmt: skip
def test_a_change_is_told_where_it_is_made_and_nowhere_else(
    log: EventLog, folder: Path, old: str, new: str, change: tuple[str, str, str]
) -> None:
    assert old in WHOLE
    applied(log, folder, WHOLE)
    assert told(planned(log, folder, WHOLE.replace(old, new))) == [change]


def test_a_plan_changes_nothing(log: EventLog, folder: Path) -> None:
    before = log.head()
    planned(log, folder, WHOLE)
    assert (log.head(), log.definitions.position) == (before, 0)


# What a change costs


@pytest.mark.parametrize(
    ("text", "kind", "events"),
    [
        ("[event.Placed]\nschema = 1", "schema", 3),
        ("[event.Placed]\nerasable = true", "erasable", 3),
        ("[event.Nothing]\nschema = 1", "schema", 0),
        (NUMBERS, "json schema", 2),
        (RENAMED, "upcast", 2),
        (ORDER, "aggregate", 5),
        (ORDER + RULE, "rule", 3),
    ],
)
def test_a_change_tells_how_many_stored_events_it_touches(
    log: EventLog, folder: Path, text: str, kind: str, events: int
) -> None:
    assert one(planned(log, folder, text), kind).events == events


def test_events_that_a_new_upcast_cannot_be_done_on_are_unreadable(log: EventLog, folder: Path) -> None:
    made = planned(log, folder, CONVERTED)
    assert (one(made, "upcast").misfits, made.unreadable) == (1, 1)


def test_events_that_a_later_step_of_a_chain_cannot_be_done_on_are_unreadable(log: EventLog, folder: Path) -> None:
    second = "[[event.Paid.upcast]]\nfrom = 2\n"
    applied(log, folder, f"{RENAMED}{second}default = {{ x = 1 }}\n")
    made = planned(log, folder, f'{RENAMED}{second}convert = {{ sum = "number" }}\n')
    assert told(made) == [("changed", "upcast", "Paid 2")]
    assert made.unreadable == 1


def test_events_of_an_old_name_that_a_step_of_the_new_name_cannot_be_done_on_are_unreadable(
    log: EventLog, folder: Path
) -> None:
    renamed = '[[event.Paid.upcast]]\nfrom = 1\ntype = "Payment"\nschema = 1\n[[event.Payment.upcast]]\nfrom = 1\n'
    applied(log, folder, f"{renamed}default = {{ x = 1 }}\n")
    made = planned(log, folder, f'{renamed}convert = {{ amount = "number" }}\n')
    assert told(made) == [("changed", "upcast", "Payment 1")]
    assert made.unreadable == 1


def test_every_event_that_does_not_fit_is_counted(log: EventLog, folder: Path) -> None:
    with log.transaction():
        writer_of(log).append(
            [NewEvent("order-9", "Paid", f"x{n}", None, 1, '{"amount":"x"}', "{}", None) for n in range(250)]
        )
    assert planned(log, folder, CONVERTED).unreadable == 251


def test_events_that_a_json_schema_does_not_accept_are_misfits_and_can_be_read(log: EventLog, folder: Path) -> None:
    made = planned(log, folder, NUMBERS)
    assert (one(made, "json schema").misfits, made.unreadable) == (1, 0)


def test_events_of_an_old_name_are_judged_by_the_json_schema_of_the_new_one(log: EventLog, folder: Path) -> None:
    text = '[[event.Paid.upcast]]\nfrom = 1\ntype = "Payment"\nschema = 1\n[event.Payment]\nschema = 1\n'
    applied(log, folder, text)
    made = planned(log, folder, text + "[event.Payment.json_schema]\nproperties = { amount = { type = 'number' } }\n")
    assert one(made, "json schema").misfits == 1


def test_events_that_a_new_rule_would_not_have_accepted_are_misfits_and_can_be_read(
    log: EventLog, folder: Path
) -> None:
    made = planned(log, folder, ORDER + RULE)
    assert (one(made, "rule").misfits, made.unreadable) == (1, 0)


def test_the_costs_of_a_rule_are_told_beside_an_upcast_that_cannot_be_done(log: EventLog, folder: Path) -> None:
    made = planned(log, folder, CONVERTED + ORDER.replace('{ status = "Paid" }', '{ paid = "$.amount" }') + RULE)
    assert made.unreadable == 1
    assert one(made, "rule").events == 3


def test_an_upcast_that_goes_leaves_nothing_unreadable(log: EventLog, folder: Path) -> None:
    applied(log, folder, RENAMED)
    made = planned(log, folder, "")
    assert (one(made, "upcast").events, made.unreadable) == (2, 0)


def test_a_projection_that_goes_is_dropped(log: EventLog, folder: Path) -> None:
    applied(log, folder, PROJECTION)
    made = planned(log, folder, "")
    assert (made.dropped, one(made, "projection").projections) == (["p"], 1)
    assert planned(log, folder, PROJECTION.replace("(1)", "(2)")).dropped == []


@pytest.mark.parametrize(
    ("then", "kind", "stale"),
    [
        pytest.param(ORDER.replace('"Paid" }', '"Payed" }'), "aggregate", 2, id="fold"),
        pytest.param("", "aggregate", 2, id="gone"),
        pytest.param(ORDER.replace("order-*", "order-?"), "aggregate", 0, id="streams"),
        pytest.param(ORDER + RENAMED, "upcast", 2, id="upcast"),
        pytest.param(ORDER + RULE, "rule", 0, id="rule"),
        pytest.param(ORDER + POLICY, "snapshot policy", 0, id="policy"),
    ],
)
def test_a_change_tells_how_many_snapshots_it_makes_stale(
    log: EventLog, folder: Path, then: str, kind: str, stale: int
) -> None:
    applied(log, folder, ORDER)
    for stream in ("order-1", "order-2"):
        assert snapshot_care.take(log, stream) is not None
    made = planned(log, folder, then)
    assert one(made, kind).snapshots == stale
    applied(log, folder, then)
    assert sum(bool(row["problem"]) for row in snapshot_care.listed(log)) == stale


# Applying


def test_a_model_that_holds_already_is_not_applied_again(log: EventLog, folder: Path) -> None:
    applied(log, folder, ORDER)
    head = log.head()
    applied(log, folder, ORDER)
    assert log.head() == head


def test_a_model_that_was_changed_meanwhile_is_not_overwritten(log: EventLog, folder: Path, log_path: Path) -> None:
    made = planned(log, folder, ORDER)
    draft = plan.sound(folder / "model.toml")
    with EventLog(log_path, write=True) as other:
        applied(other, folder, RENAMED)
    with pytest.raises(ConflictError, match="another model was applied meanwhile"):
        plan.apply(log, draft, made.position)
    assert told(planned(log, folder, RENAMED)) == []


def test_the_json_schema_of_an_earlier_schema_version_still_holds_for_events_that_claim_it(
    log: EventLog, folder: Path
) -> None:
    applied(log, folder, NUMBERS)
    applied(log, folder, RENAMED)
    event = NewEvent("order-7", "Paid", "x", None, 1, '{"amount":"text"}', "{}", None)
    with pytest.raises(RefusedError, match="JSON Schema of schema 1"), log.transaction():
        writer_of(log).append([event])


# What a model may name

SCHEMA = '{"type": "object", "required": ["amount"]}'


def naming(folder: Path, name: str) -> Path:
    file = folder / "model.toml"
    file.write_text(f"[event.Paid]\njson_schema = {json.dumps(name)}\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("name", ["paid.json", "sub/paid.json", "sub/../paid.json", "./paid.json", "link.json"])
def test_a_json_schema_may_lie_beside_the_model_or_below(folder: Path, name: str) -> None:
    (folder / "sub").mkdir()
    for place in ("paid.json", "sub/paid.json"):
        (folder / place).write_text(SCHEMA, encoding="utf-8")
    (folder / "link.json").symlink_to("sub/paid.json")
    draft, problems = plan.read(naming(folder, name))
    assert problems == []
    assert json.loads(draft.model.events["Paid"].json_schema or "") == json.loads(SCHEMA)
    assert {key: json.loads(text) for key, text in draft.files.items()} == {name: json.loads(SCHEMA)}


@pytest.mark.parametrize(
    "name",
    [
        "../outside.json",
        "sub/../../outside.json",
        "link.json",
        "linked/outside.json",
        "/etc/hostname",
        "{folder}/x",
        "..",
    ],
)
def test_a_json_schema_outside_of_the_model_s_folder_is_not_read(folder: Path, name: str) -> None:
    (folder.parent / "outside.json").write_text(SCHEMA, encoding="utf-8")
    (folder / "sub").mkdir()
    (folder / "link.json").symlink_to("../outside.json")
    (folder / "linked").symlink_to("..")
    _, problems = plan.read(naming(folder, name.replace("{folder}", str(folder.parent))))
    (problem,) = problems
    assert problem.place == "event.Paid.json_schema"
    assert "lies outside the model's folder" in problem.problem


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "there is no file", id="missing"),
        pytest.param(b"nope", "is not JSON", id="not JSON"),
        pytest.param(b"", "is not JSON", id="empty"),
        pytest.param(b"\xff", "not valid UTF-8", id="not UTF-8"),
        pytest.param(b"[1]", "not a JSON Schema", id="an array"),
        pytest.param(b'{"type": "objekt"}', "not a JSON Schema", id="an unknown type"),
        pytest.param(b'{"$ref": "file:///etc/hostname"}', "lies outside the schema", id="a reference to a file"),
        pytest.param(b'{"$ref": "https://example.com/s.json"}', "lies outside the schema", id="a reference elsewhere"),
        pytest.param(b"[" * 100_000, "", id="too deep"),
        pytest.param(b" " * (1024 * 1024 + 1), "larger than", id="too large"),
    ],
)
def test_what_is_no_json_schema_is_a_problem_of_its_place(folder: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (folder / "s.json").write_bytes(content)
    _, problems = plan.read(naming(folder, "s.json"))
    assert [problem.place for problem in problems] == ["event.Paid.json_schema"]
    assert said in problems[0].problem


def test_a_json_schema_is_kept_in_the_log_and_its_file_not_read_again(log: EventLog, folder: Path) -> None:
    (folder / "s.json").write_text(SCHEMA, encoding="utf-8")
    draft = plan.sound(naming(folder, "s.json"))
    plan.apply(log, draft, 0)
    (folder / "s.json").unlink()
    with EventLog(log.path, write=True) as again, pytest.raises(RefusedError), again.transaction():
        writer_of(again).append([NewEvent("order-1", "Paid", "x", None, 0, "{}", "{}", None)])


def test_a_file_that_changed_changes_the_model(log: EventLog, folder: Path) -> None:
    (folder / "s.json").write_text(SCHEMA, encoding="utf-8")
    plan.apply(log, plan.sound(naming(folder, "s.json")), 0)
    (folder / "s.json").write_text('{"type": "array"}', encoding="utf-8")
    made = plan.plan(log, plan.sound(folder / "model.toml"))
    assert told(made) == [("changed", "json schema", "Paid")]
    assert plan.apply(log, plan.sound(folder / "model.toml"), made.position) is not None


@pytest.mark.parametrize(
    ("content", "error"),
    [(None, NotFoundError), (b"\xff\xfe", RefusedError), ("folder", UnavailableError), (b"a" * 100, RefusedError)],
)
def test_a_model_that_cannot_be_read_says_why(
    folder: Path, content: bytes | str | None, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "m.toml"
    if content == "folder":
        file.mkdir()
    elif isinstance(content, bytes):
        file.write_bytes(content)
        monkeypatch.setenv("ESCTL_MAX_EVENT", "50")
    with pytest.raises(error):
        plan.read(file)


def test_a_draft_s_fingerprint_follows_text_and_files(folder: Path) -> None:
    (folder / "s.json").write_text(SCHEMA, encoding="utf-8")
    first = plan.sound(naming(folder, "s.json")).fingerprint
    assert plan.sound(folder / "model.toml").fingerprint == first
    (folder / "s.json").write_text("{}", encoding="utf-8")
    second = plan.sound(folder / "model.toml").fingerprint
    (folder / "model.toml").write_text((folder / "model.toml").read_text() + "\n", encoding="utf-8")
    assert len({first, second, plan.sound(folder / "model.toml").fingerprint}) == 3


def test_an_upcast_tells_how_many_projections_it_has_built_anew(log: EventLog, folder: Path) -> None:
    sees = "[projection.{0}]\ntable = 'create table {0}(a)'\n[projection.{0}.on]\n{1} = 'delete from {0}'\n"
    projections = sees.format("paid", "Paid") + sees.format("any_type", '"*"') + sees.format("placed", "Placed")
    applied(log, folder, projections)
    assert one(planned(log, folder, projections + RENAMED), "upcast").projections == 2


STRICT = '[model]\nstrict = true\n[aggregate.order]\nstreams = "order-*"\non.Placed.set = { a = 1 }\n'


def test_a_strict_model_is_a_change_with_the_stored_events_that_it_would_not_take(log: EventLog, folder: Path) -> None:
    change = one(planned(log, folder, STRICT), "strict model")
    assert (change.change, change.name, change.misfits) == ("new", "types and streams", 2)
    assert change.detail == "it names no Paid"
    applied(log, folder, STRICT)
    gone = one(planned(log, folder, STRICT.replace("true", "false")), "strict model")
    assert (gone.change, gone.misfits) == ("gone", 0)


def test_a_plan_names_declarations_that_look_misspelt(log: EventLog, folder: Path) -> None:
    (doubt,) = planned(log, folder, STRICT.replace("on.Placed", "on.Placd")).doubts
    assert doubt.place == "aggregate.order.on.Placd"
    assert planned(log, folder, STRICT.replace("on.Placed", "on.Shipped")).doubts == ()


# Only what a change touches is read


ANY_SUM = '[aggregate.all]\nstreams = "*"\non."*".add = { sum = "$.amount" }\n'
TOUCHING = [
    ORDER,
    ORDER + "[event.Paid]\nschema = 2\n" + RENAMED,
    ORDER + CONVERTED,
    ORDER + '[event.Bill]\nschema = 1\n[[event.Paid.upcast]]\nfrom = 1\ntype = "Bill"\n',
    ORDER.replace("on.Paid", "on.Bill"),
    ANY_SUM,
    ANY_SUM + "[event.Paid]\nschema = 2\n" + RENAMED,
    ANY_SUM + CONVERTED,
    ORDER + '[event.Paid]\njson_schema = { type = "object", properties = { amount = { type = "number" } } }\n',
    "[event.Placed]\nschema = 2\n[[event.Placed.upcast]]\nfrom = 1\ndrop = true\n" + ORDER,
    ORDER.replace("on.Paid.set", "on.Paid.add").replace('"Paid" }', '"$.amount" }'),
]


@settings(max_examples=40)
@given(st.sampled_from(TOUCHING), st.sampled_from(TOUCHING))
def test_a_plan_is_the_same_as_if_all_events_were_read(before: str, after: str) -> None:
    with fresh() as log, tempfile.TemporaryDirectory() as name:
        put(log, event("order-1", "Placed"), event("order-1", "Paid", {"amount": 5}), event("order-2", "Placed"))
        put(log, event("order-3", "Paid", {"amount": "much"}), event("other", "Noted"))
        applied(log, Path(name), before)
        some = planned(log, Path(name), after)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plan, "touched", lambda *given: {type_ for type_, _ in given[3]} if given[2] else set())
            patch.setattr(plan, "FEW", 10**9)
            everything = planned(log, Path(name), after)
    assert some == everything


def test_a_change_touches_the_types_that_pass_through_it(log: EventLog, folder: Path) -> None:
    model = plan.sound(written(folder, ORDER + "[event.Paid]\nschema = 2\n" + RENAMED)).model
    stored = [("Paid", 1), ("Placed", 1)]
    assert plan.touched(log.definitions.model, model, [("upcast", "Paid 1")], stored) == {"Paid"}
    assert (
        plan.touched(log.definitions.model, model, [("aggregate", "order"), ("rule", "order: Paid")], stored) == set()
    )
