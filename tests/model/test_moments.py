"""In a model's SQL, a literal beside a time of an event means the moment, wherever SQL may stand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from esctl.model.checks import checked
from esctl.model.declared import fingerprint
from tests.conftest import Esctl
from tests.expressions import places

NOON, EXACT = "'2026-07-28T14:00:00+0200'", "'2026-07-28T12:00:00.000000Z'"
PLACES = places("new.time >= {} and new.id = {}")
HANDLER = """[projection.p]
table = "create table p(time)"
on.T = "delete from p where time = {1} and new.time = {0}"
"""


@pytest.mark.parametrize("place", PLACES)
def test_wherever_an_expression_may_stand(place: str) -> None:
    text = PLACES[place].replace("{}", "{0}", 1).replace("{}", "{1}", 1)
    (spelled, problems), (exact, _) = (
        checked(text.replace("{0}", one).replace("{1}", NOON), {}) for one in (NOON, EXACT)
    )
    assert problems == []
    assert fingerprint(*spelled) == fingerprint(*exact)
    assert EXACT in str(spelled)
    assert NOON in str(spelled)


def test_in_a_handler_the_events_times_are_meant_and_not_the_tables() -> None:
    model, problems = checked(HANDLER.replace("{0}", NOON).replace("{1}", NOON), {})
    assert problems == []
    assert model.projections["p"].on["T"] == f"delete from p where time = {NOON} and new.time = {EXACT}"


def test_rules_folds_and_handlers_compare_moments_and_can_call_utc(esctl: Esctl, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text("""
[aggregate.a]
streams = "a-*"
accept.T = "new.time >= '2026-07-28T12:00:00Z'"
[aggregate.a.on.T]
compute = { noon = "new.time = '2026-07-28T14:00:00+0200'", at = "utc(new.data ->> 'at')" }
[projection.p]
table = "create table p(k integer primary key, at)"
on.T = "insert into p select new.position, utc(new.data ->> 'at') where new.time <= '2026-07-28T12:00Z'"
""")
    assert esctl("init", "--model", "m.toml").returncode == 0
    first = ["append", "a-1", "T", "--time", "2026-07-28T12:00:00Z", "at=2026-01-01 00:00 +0100"]
    assert esctl(*first).returncode == 0
    assert esctl("append", "a-1", "T", "--time", "2026-07-28T12:00:00.5Z").returncode == 0
    assert esctl("append", "a-1", "T", "--time", "2026-07-28T11:59:59.999999Z").returncode == 5
    states = [json.loads(line)["state"] for line in esctl("state", "a-1", "--each").stdout.splitlines()]
    assert states == [{"noon": 1, "at": "2025-12-31T23:00:00.000000Z"}, {"noon": 0, "at": None}]
    assert esctl("projection", "run").returncode == 0
    rows = [json.loads(line) for line in esctl("projection", "show", "p").stdout.splitlines()]
    assert rows == [{"k": 2, "at": "2025-12-31T23:00:00.000000Z"}]


@pytest.mark.parametrize(
    "keys",
    [
        'table = "create table p(a, b as (utc(a)))"',
        "table = \"create table p(a default (utc('2026-01-01')))\"",
        'table = "create table p(a, check (utc(a) is not null))"',
        'table = "create table p(a)"\nindexes = ["create index i on p(utc(a))"]',
    ],
)
def test_a_table_may_not_call_utc_since_other_programs_could_not_use_it(keys: str) -> None:
    _, problems = checked(f'[projection.p]\n{keys}\non.T = "select 1"', {})
    assert any("other programs that read the table do not have it" in problem.problem for problem in problems)
