"""`esctl decide`: a program gets a stream's state and prints what happens next."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from esctl import open_log
from tests.conftest import RECEIPT, Esctl

ESCTL = shlex.quote(str(Path(sys.executable).with_name("esctl")))
MODEL = """
[aggregate.order]
streams = "order-*"
initial = { status = "New" }
on.Placed.set = { status = "Placed" }
on.Paid.set = { status = "Paid" }
[aggregate.order.accept]
Placed = { rule = "state ->> 'status' = 'New'", message = "an order is placed once" }
Paid = { rule = "state ->> 'status' = 'Placed'", message = "only a placed order can be paid" }
"""


PINNED = """
[[event.Old.upcast]]
from = 1
rename = { a = "b" }
"""


@pytest.fixture
def run(run: Esctl, log_path: Path, tmp_path: Path) -> Esctl:
    """Run esctl on a log with an order that was placed."""
    (tmp_path / "model.toml").write_text(MODEL, encoding="utf-8")
    with open_log(log_path, write=True) as log:
        log.apply_model(tmp_path / "model.toml")
        log.append("order-1", "Placed")
    return run


@pytest.fixture
def decide(run: Esctl) -> Esctl:
    """Decide on a stream by a shell script."""

    def by(stream: str, script: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return run("decide", stream, "--shell", "--exec", script, *arguments, **options)

    return by


def printing(*lines: object) -> str:
    """A script that prints lines."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return "cat >/dev/null; printf '%s\\n' " + " ".join(map(shlex.quote, texts))


def events(run: Esctl) -> list[tuple[str, str]]:
    return [(event["stream"], event["type"]) for event in map(json.loads, run("replay").stdout.splitlines())]


PLACED = [("order-1", "Placed")]


def test_the_program_gets_the_state_as_the_command_state_prints_it(run: Esctl, decide: Esctl, tmp_path: Path) -> None:
    done = decide("order-1", "cat > asked; echo $ESCTL_STREAM $ESCTL_VERSION > named")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "asked").read_text(encoding="utf-8") == run("state", "order-1").stdout
    assert (tmp_path / "named").read_text(encoding="utf-8") == "order-1 1\n"


def test_of_a_stream_that_is_not_there_yet_it_gets_the_initial_state(decide: Esctl, tmp_path: Path) -> None:
    assert decide("order-2", "cat > asked; echo $ESCTL_VERSION > named").returncode == 0
    assert json.loads((tmp_path / "asked").read_text(encoding="utf-8")) == {
        "stream": "order-2", "aggregate": "order", "version": 0, "position": 0, "time": None,
        "state": {"status": "New"},
    }  # fmt: skip
    assert (tmp_path / "named").read_text(encoding="utf-8") == "0\n"


def test_what_it_prints_is_appended_with_receipts(run: Esctl, decide: Esctl) -> None:
    done = decide("order-1", printing({"type": "Paid", "data": {"n": 1}}, {"type": "Note", "stream": "notes"}))
    assert (done.returncode, done.stderr) == (0, "")
    receipts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [tuple(receipt) for receipt in receipts] == [RECEIPT, RECEIPT]
    assert [(r["position"], r["stream"], r["version"]) for r in receipts] == [(3, "order-1", 2), (4, "notes", 1)]
    assert events(run) == [*PLACED, ("order-1", "Paid"), ("notes", "Note")]


@pytest.mark.parametrize(("format_", "printed"), [("ndjson", ""), ("json", "[]\n"), ("table", "")])
@pytest.mark.parametrize("script", ["true", "echo", "printf '\\n  \\n'"])
def test_no_output_decides_nothing(run: Esctl, decide: Esctl, script: str, format_: str, printed: str) -> None:
    done = decide("order-1", script, "-o", format_)
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")
    assert events(run) == PLACED


def test_a_command_without_shell_is_run_as_it_stands(run: Esctl, tmp_path: Path) -> None:
    script = tmp_path / "my script"
    script.write_text('#!/bin/sh\nprintf \'{"type":"Note","data":{"said":"%s"}}\\n\' "$1"\n', encoding="utf-8")
    script.chmod(0o755)
    assert run("decide", "s", "--exec", f"'{script}' '$HOME;ls'").returncode == 0
    assert json.loads(run("replay", "s").stdout)["data"] == {"said": "$HOME;ls"}


def test_exit_1_refuses_and_its_stderr_is_the_reason(run: Esctl, decide: Esctl) -> None:
    done = decide("order-1", f"{printing({'type': 'Paid'})}; echo no stock >&2; exit 1", "--error-format", "json")
    assert (done.returncode, done.stdout) == (5, "")
    error = json.loads(done.stderr.splitlines()[-1])
    assert (error["error"], error["stream"], error["version"]) == ("refused", "order-1", 1)
    assert error["what"].endswith("refuses: no stock")
    assert events(run) == PLACED


@pytest.mark.parametrize("script", ["exit 2", "exit 75", "exit 255", "kill -9 $$", "nonexistent-command"])
def test_any_other_exit_is_a_failure(run: Esctl, decide: Esctl, script: str) -> None:
    done = decide("order-1", f"{printing({'type': 'Paid'})}; echo because >&2; {script}")
    assert (done.returncode, done.stdout) == (9, "")
    assert "because" in done.stderr
    assert events(run) == PLACED


@pytest.mark.parametrize("command", ["none-such", "./none-such", "/"])
def test_a_command_that_cannot_be_run_is_a_failure(run: Esctl, command: str) -> None:
    done = run("decide", "order-1", "--exec", command)
    assert (done.returncode, done.stdout) == (9, "")
    assert f"cannot run {command}" in done.stderr


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (["nope"], 1),
        ([{"type": "Paid"}, "[1]"], 2),
        ([{"type": "Paid"}, "", "{"], 3),
        ([{"data": {}}], 1),
        ([{"type": "Paid", "odd": 1}], 1),
        ([{"type": "T", "stream": "$esctl"}], 1),
        ([{"type": "Placed"}], 1),
        ([{"type": "Paid"}, {"type": "Paid"}], 2),
        (["", "", {"type": "Paid"}, "", {"type": "Paid"}], 5),
    ],
)
def test_events_that_are_refused_are_named_by_line_and_none_is_written(
    run: Esctl, decide: Esctl, lines: list[object], line: int
) -> None:
    done = decide("order-1", printing(*lines), "--error-format", "json")
    assert (done.returncode, done.stdout) == (5, "")
    assert json.loads(done.stderr.splitlines()[-1])["line"] == line
    assert events(run) == PLACED


def test_what_it_advises_is_something_that_decide_has(decide: Esctl) -> None:
    done = decide("order-1", printing({"type": "Paid", "odd": 1}))
    assert "--extra" not in done.stderr


ONCE = f"""if [ "$ESCTL_VERSION" = 1 ]; then {ESCTL} append order-1 Note -q >&2; fi
echo '{{"type":"Paid"}}'"""
ALWAYS = f"""{ESCTL} append order-1 Note -q --timeout 0.1 >&2
echo '{{"type":"Paid"}}'"""


def test_when_another_was_faster_it_is_asked_again(run: Esctl, decide: Esctl) -> None:
    done = decide("order-1", ONCE)
    assert done.returncode == 0
    assert json.loads(done.stdout)["version"] == 3
    assert events(run) == [*PLACED, ("order-1", "Note"), ("order-1", "Paid")]


def test_when_others_are_always_faster_the_last_time_they_have_to_wait(run: Esctl, decide: Esctl) -> None:
    done = decide("order-1", ALWAYS, "--retries", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert events(run) == [*PLACED, ("order-1", "Note"), ("order-1", "Paid")]


def test_a_command_with_an_id_is_decided_once(run: Esctl, decide: Esctl) -> None:
    first, again = (
        json.loads(decide("order-1", printing({"type": "Paid"}), "--id", "request-77").stdout) for _ in range(2)
    )
    assert (first["id"], first["duplicate"]) == ("request-77/1", False)
    assert again == first | {"duplicate": True}
    assert events(run) == [*PLACED, ("order-1", "Paid")]
    done = decide("order-2", printing({"type": "Placed"}), "--id", "request-77", "--error-format", "json")
    assert (done.returncode, json.loads(done.stderr)["error"]) == (4, "conflict")


def test_in_a_batch_it_decides_as_alone(run: Esctl) -> None:
    line = 'decide order-1 --id r --exec "printf \'%s\' \'{\\"type\\":\\"Paid\\"}\'"\n'
    done = run("batch", input=line * 2)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer.get("duplicate", answer.get("exit")) for answer in told] == [False, 0, True, 0]


def test_without_retries_it_is_asked_once(run: Esctl, decide: Esctl) -> None:
    done = decide("order-1", ONCE, "--retries", "0")
    assert (done.returncode, done.stderr.splitlines()[-1].endswith("--retries 0 --retries 3")) == (4, True)
    assert events(run) == [*PLACED, ("order-1", "Note")]


def test_an_event_that_was_decided_before_is_a_duplicate(run: Esctl, decide: Esctl) -> None:
    script = printing({"type": "Note", "id": "n1"})
    assert json.loads(decide("order-1", script).stdout)["duplicate"] is False
    assert json.loads(decide("order-1", script).stdout)["duplicate"] is True
    assert events(run) == [*PLACED, ("order-1", "Note")]


def test_a_program_may_leave_its_input_unread(run: Esctl, decide: Esctl) -> None:
    with_much = json.dumps({"text": "x" * 300_000})
    assert run("append", "big", "T", "-", input=with_much).returncode == 0
    assert decide("big", 'exec 0<&-; echo \'{"type":"Note"}\'').returncode == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["order-1"], 2), (["order-1", "--exec", ""], 2), (["order-1", "--exec", "'"], 2), (["--exec", "true"], 2),
        (["$esctl", "--exec", "true"], 5), (["", "--exec", "true"], 5),
        (["order-1", "--exec", "true", "--aggregate", "nope"], 3),
        (["order-1", "--exec", "true", "--retries", "-1"], 2),
        (["order-1", "--exec", "true", "--id", ""], 5),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_told_and_nothing_is_run(run: Esctl, words: list[str], code: int) -> None:
    done = run("decide", *words, "--error-format", "json")
    assert (done.returncode, done.stdout) == (code, "")
    assert json.loads(done.stderr.splitlines()[-1])["exit"] == code


@pytest.mark.parametrize(("options", "variable"), [(["--schema", "Old=1"], ""), ([], "Old=1")])
def test_a_program_of_an_old_shape_is_pinned_to_its_schema(
    run: Esctl, log_path: Path, tmp_path: Path, options: list[str], variable: str
) -> None:
    (tmp_path / "pinned.toml").write_text(PINNED, encoding="utf-8")
    with open_log(log_path, write=True) as log:
        log.apply_model(tmp_path / "pinned.toml")
    program = """echo '{"type":"Old","data":{"a":1}}'"""
    done = run("decide", "order-2", "--shell", "--exec", program, *options, env={"ESCTL_SCHEMA": variable})
    assert done.returncode == 0
    assert json.loads(run("replay", "order-2").stdout)["data"] == {"b": 1}


def test_a_schema_for_all_types_is_not_for_decide(run: Esctl) -> None:
    done = run("decide", "order-2", "--exec", "true", "--schema", "1")
    assert (done.returncode, "TYPE=N" in done.stderr) == (2, True)


@pytest.mark.parametrize(("options", "notes"), [([], 1), (["-q"], 0)])
def test_a_decision_with_a_misspelt_type_is_noted(run: Esctl, options: list[str], notes: int) -> None:
    program = """echo '{"type":"Placd"}'"""
    done = run("decide", "order-9", "--shell", "--exec", program, *options)
    assert (done.returncode, done.stderr.count("note: the type Placd is new to this log")) == (0, notes)


def test_a_decision_that_a_strict_model_does_not_know_is_refused(run: Esctl, log_path: Path, tmp_path: Path) -> None:
    (tmp_path / "strict.toml").write_text("[model]\nstrict = true\n" + MODEL, encoding="utf-8")
    with open_log(log_path, write=True) as log:
        log.apply_model(tmp_path / "strict.toml")
    done = run("decide", "order-9", "--shell", "--exec", """echo '{"type":"Placd"}'""")
    assert (done.returncode, "did you mean Placed?" in done.stderr) == (5, True)


def test_a_program_that_prints_without_end_is_stopped(run: Esctl) -> None:
    done = run("decide", "s", "--exec", "cat /dev/zero")
    assert (done.returncode, done.stdout) == (9, "")
    assert "cat /dev/zero prints more than 67108864 bytes" in done.stderr
