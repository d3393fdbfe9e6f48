"""Several processes on a log with a model: rules hold whoever writes, and readers see states that there were."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ESCTL, Esctl, start, succeeded

# An account that is never overdrawn. The second model takes no deposit above 50, counts, and has another schema.
MODEL = """
[aggregate.account]
streams = "account-*"
initial = {{ balance = 0 }}
snapshot = {{ every = {every} }}
[aggregate.account.on.Deposited]
add = {{ balance = "$.amount"{counted} }}
[aggregate.account.on.Withdrawn]
subtract = {{ balance = "$.amount" }}
[aggregate.account.accept]
Deposited = "new.data ->> 'amount' <= {most}"
Withdrawn = "new.data ->> 'amount' <= state ->> 'balance'"
[event.Deposited]
schema = {schema}
[[event.Deposited.upcast]]
from = 1
rename = {{ amt = "amount" }}
"""
FIRST = MODEL.format(every=7, counted="", most=1000, schema=2)
SECOND = (
    MODEL.format(every=5, counted=", deposits = 1", most=50, schema=3)
    + '[[event.Deposited.upcast]]\nfrom = 2\ndefault = { currency = "EUR" }\n'
)


@pytest.fixture
def run(run: Esctl, tmp_path: Path) -> Esctl:
    """Run esctl on this test's log, which has the first model."""
    (tmp_path / "first.toml").write_text(FIRST, encoding="utf-8")
    (tmp_path / "second.toml").write_text(SECOND, encoding="utf-8")

    succeeded(run("model", "apply", "first.toml", "-q"))
    return run


def deposits(path: Path, name: str, count: int, amount: int = 3) -> str:
    """An input of deposits and as many withdrawals of less, on three accounts; every fifth in the oldest schema."""
    with path.open("w", encoding="utf-8") as file:
        for i in range(count):
            type_, taken = ("Deposited", amount) if i % 2 < 1 else ("Withdrawn", 1)
            old = type_ == "Deposited" and i % 5 < 1
            data = {"amt" if old else "amount": taken}
            event = {"stream": f"account-{i // 2 % 3}", "type": type_, "id": f"{name}-{i}", "data": data}
            file.write(json.dumps(event | ({"schema": 1} if old else {})) + "\n")
    return str(path)


def judged(run: Esctl) -> dict[str, list[dict[str, int]]]:
    """The states of each stream after each of its events, by a reference over the log as it is stored, which finds
    that every event was accepted, and stamped, by the model that held then.
    """
    states: dict[str, list[dict[str, int]]] = {}
    schema, most = 0, 0
    for line in succeeded(run("replay", "--system", "--raw-schema")).splitlines():
        event = json.loads(line)
        if event["type"] == "ModelApplied":
            schema, most = (3, 50) if event["data"]["text"] == SECOND else (2, 1000)
            continue
        history = states.setdefault(event["stream"], [{"balance": 0, "deposits": 0}])
        balance, amount = history[-1]["balance"], event["data"].get("amount", event["data"].get("amt"))
        deposit = event["type"] == "Deposited"
        assert amount <= (most if deposit else balance), event
        assert event["schema"] == (1 if "amt" in event["data"] or not deposit else schema), event
        assert event["version"] == len(history), event
        history.append(
            {
                "balance": balance + (amount if deposit else -amount),
                "deposits": history[-1]["deposits"] + deposit,
            }
        )
    return states


def test_whoever_writes_and_whichever_model_holds_no_rule_is_broken(run: Esctl, log_path: Path, tmp_path: Path) -> None:
    writers = [
        start(log_path, "append", deposits(tmp_path / name, name, 1000), "--batch", "40", "--timeout", "30")
        for name in ("a", "b")
    ]
    large = [f"{ESCTL} append account-{n} Deposited amount:=40 --timeout 30" for n in range(3)]
    shell = subprocess.Popen(
        ["sh", "-c", f"while :; do {'; '.join(large)}; done"],
        env={**os.environ, "ESCTL_LOG": str(log_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    applied = 1
    try:
        while any(writer.poll() is None for writer in writers) or applied < 3:
            name = "second.toml" if applied % 2 else "first.toml"
            done = run("model", "apply", name, "--yes", "--timeout", "30")
            assert done.returncode == 0, done.stderr
            applied += 1
    finally:
        os.killpg(shell.pid, 15)
    _, refusals = shell.communicate()
    told = [writer.communicate() for writer in writers]
    assert [(writer.returncode, err) for writer, (_, err) in zip(writers, told, strict=True)] == [(0, "")] * 2
    assert "error" not in refusals.replace("error: Deposited in account-", "")
    states = judged(run)
    assert sum(map(len, states.values())) >= 2003
    for stream, history in states.items():
        for found in (run("state", stream), run("state", stream, "--no-snapshot")):
            assert json.loads(succeeded(found))["state"]["balance"] == history[-1]["balance"]
    assert run("snapshot", "verify").returncode == 0
    assert json.loads(succeeded(run("verify")))["ok"] is True


def test_every_state_that_is_printed_beside_writers_is_one_that_the_stream_had(
    run: Esctl, log_path: Path, tmp_path: Path
) -> None:
    writers = [
        start(log_path, "append", deposits(tmp_path / name, name, 1000), "--batch", "7", "--timeout", "30")
        for name in ("a", "b")
    ]
    seen: list[dict[str, Any]] = []
    while any(writer.poll() is None for writer in writers):
        for form in (["account-1"], ["account-1", "--no-snapshot"], ["--all", "--aggregate", "account"]):
            done = run("state", *form)
            assert done.returncode in (0, 3), done.stderr  # the first come before the stream is there
            seen += map(json.loads, done.stdout.splitlines())
    assert [writer.communicate()[1] for writer in writers] == ["", ""]
    states = judged(run)
    assert len({(one["stream"], one["version"]) for one in seen}) > 3
    for one in seen:
        assert one["state"]["balance"] == states[one["stream"]][one["version"]]["balance"], one


def test_a_follower_reads_on_over_a_change_of_the_model(run: Esctl, log_path: Path) -> None:
    follower = start(log_path, "replay", "--follow", "--limit", "16")
    for n, model in enumerate(("second.toml", "first.toml", "second.toml", None)):
        lines = [
            {"stream": "account-1", "type": "Deposited", "schema": 1, "data": {"amt": 4 * n + i}} for i in range(4)
        ]
        succeeded(run("append", input="".join(json.dumps(line) + "\n" for line in lines)))
        if model is not None:
            assert run("model", "apply", model, "--yes").returncode == 0
    out, err = follower.communicate(timeout=30)
    assert (follower.returncode, err) == (0, "")
    read = [json.loads(line) for line in out.splitlines()]
    positions = [one["position"] for one in read]
    assert positions == sorted(set(positions))
    assert [one["data"]["amount"] for one in read] == list(range(16))
    for one in read:  # as one model or the other has it, and never as a mixture
        assert ("currency" in one["data"]) == (one["schema"] == 3)


def test_deciders_take_no_more_than_there_is(run: Esctl, log_path: Path, tmp_path: Path) -> None:
    succeeded(run("append", "account-1", "Deposited", "amount:=4"))
    script = tmp_path / "take.py"
    script.write_text(
        "import json, sys\n"
        "state = json.load(sys.stdin)['state']\n"
        'sys.exit(\'empty\') if state[\'balance\'] < 1 else print(\'{"type":"Withdrawn","data":{"amount":1}}\')\n',
        encoding="utf-8",
    )
    command = f"{sys.executable} {script}"
    deciders = [
        start(log_path, "decide", "account-1", "--exec", command, "--retries", "50", "--timeout", "30")
        for _ in range(6)
    ]
    told = [decider.communicate() for decider in deciders]
    assert sorted(decider.returncode for decider in deciders) == [0] * 4 + [5] * 2, told
    assert judged(run)["account-1"][-1]["balance"] == 0
    assert len({json.loads(out)["version"] for out, _ in told if out}) == 4


def test_what_is_rewritten_beside_a_writer_is_the_log_as_it_stood(run: Esctl, log_path: Path, tmp_path: Path) -> None:
    writer = start(log_path, "append", deposits(tmp_path / "a", "a", 2000), "--batch", "20", "--timeout", "30")
    made = 0
    while writer.poll() is None or not made:
        made += 1
        assert run("upcast", "rewrite", "--to", f"new-{made}.db", "--yes").returncode == 0
    assert writer.communicate()[1] == ""
    whole = succeeded(run("replay")).splitlines()
    for n in range(1, made + 1):
        copied = succeeded(run("replay", "--log", str(tmp_path / f"new-{n}.db"))).splitlines()
        assert len(copied) % 20 == 0
        for line, original in zip(copied, whole, strict=False):
            one, other = json.loads(line), json.loads(original)
            assert {**one, "recorded": None} == {**other, "recorded": None}
