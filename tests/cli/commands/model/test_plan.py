"""`esctl model plan`: what applying a model would change."""

from __future__ import annotations

import pytest

from tests.cli.commands.model.conftest import CHANGE, MODEL, Model, ended
from tests.conftest import Esctl, records
from tests.models import CONVERTED


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


def test_a_plan_and_its_application_say_whose_events_would_be_stamped_wrongly(run: Esctl, model: Model) -> None:
    name = model('[[event.Placed.upcast]]\nfrom = 1\nrename = { amount = "total" }\n')
    for verb in ("plan", "apply"):
        assert ended(run("model", verb, name, "-q")) == (0, "") if verb == "plan" else True
        code, said = ended(run("model", verb, name))
        assert (code, said.count("\n")) == (0, 1)
        assert said.startswith("note: Placed: a writer that names no schema will be stamped with schema 2, even if")
        assert "esctl append --schema Placed=1, or ESCTL_SCHEMA=Placed=1" in said
    assert ended(run("model", "plan", name)) == (0, "nothing would change\n")
