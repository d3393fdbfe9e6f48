"""`esctl model apply`: a model into the log."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.cli.commands.model.conftest import MODEL, Model, ended
from tests.conftest import Esctl, records
from tests.models import CONVERTED, PROJECTION


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
    assert "this makes 1 stored event unreadable" in done.stderr
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
    assert (done.returncode, "this drops the projection p" in done.stderr) == (2, True)
    assert run("model", "apply", "model.toml", "--yes").returncode == 0


def test_events_that_do_not_pass_what_will_hold_are_warned_of_and_need_no_yes(run: Esctl, model: Model) -> None:
    done = run("model", "apply", model('[event.Paid.json_schema]\nrequired = ["amount", "by"]\n'))
    assert (done.returncode, done.stderr) == (0, "warning: 1 stored event does not fit the json schema of Paid\n")


def test_the_model_s_events_are_the_log_s_own_and_left_out_by_readers(run: Esctl, model: Model) -> None:
    run("model", "apply", model(MODEL))
    assert [row["position"] for row in records(run("replay"))] == [1, 2]
    assert records(run("replay", "--system"))[-1]["type"] == "ModelApplied"


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


def test_several_projections_that_it_drops_are_named_in_one_sentence(run: Esctl, model: Model) -> None:
    two = "".join(PROJECTION.replace(" p", f" {n}").replace("projection.p", f"projection.{n}") for n in "qr")
    assert run("model", "apply", model(two)).returncode == 0
    assert "this drops the projections q, r\n" in run("model", "apply", model("")).stderr
