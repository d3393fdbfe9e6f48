"""`esctl upcast show`: the chain of a type's upcasts."""

from __future__ import annotations

from pathlib import Path

import pytest

from esctl import open_log
from tests.conftest import Esctl, records

STEPS = ("step", "from", "to", "operations", "position", "before", "after")


def test_a_chain_is_shown_with_what_it_makes_of_a_stored_event(run: Esctl) -> None:
    done = run("upcast", "show", "Paid")
    assert (done.returncode, done.stderr) == (0, "")
    (step,) = records(done)
    assert tuple(step) == STEPS
    assert step == {
        "step": 1, "from": "Paid 1", "to": "Paid 2", "operations": "rename amount to sum", "position": 1,
        "before": {"amount": 5}, "after": {"sum": 5},
    }  # fmt: skip


@pytest.mark.parametrize(("format_", "first"), [("csv", ",".join(STEPS)), ("tsv", "\t".join(STEPS)), ("json", "[")])
def test_a_chain_is_shown_in_every_format(run: Esctl, format_: str, first: str) -> None:
    assert run("upcast", "show", "Cart", "-o", format_).stdout.splitlines()[0] == first


def test_a_table_shows_the_fields_that_a_step_changes(run: Esctl, log_path: Path) -> None:
    with open_log(log_path, write=True) as log:
        log.append("p", "Cart", {f"field{n}": n for n in range(9)}, schema=1)
    lines = run("upcast", "show", "Paid", "-o", "table", env={"COLUMNS": "80"}).stdout.splitlines()
    assert "changes     amount gone: 5, sum added: 5" in lines


@pytest.mark.parametrize("type_", ["Nothing", "A"])
def test_a_type_without_upcasts_is_not_there(run: Esctl, type_: str) -> None:
    done = run("upcast", "show", type_)
    assert (done.returncode, done.stdout) == (3, "")
    assert "the model has upcasts of Paid, Heartbeat, Cart" in done.stderr
