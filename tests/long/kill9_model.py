"""Kills whatever works with a log's model at random moments, and proves that no rule was broken and nothing was lost.

    python tests/long/kill9_model.py [--rounds 60] [--events 2000] [--batch 40] [--seed N]

A round starts some of these at once on a new log, kills each with SIGKILL after a random while, and checks:

* a bulk append under rules and a snapshot policy, `decide` in a loop, `snapshot take --all` in a loop, two models that
  are applied in turns (they differ in rules, upcasts, schema versions and folds), `upcast rewrite` in a loop.

* `verify --full` passes, and every receipt that could be read whole names an event that is there;
* a reference in Python, over the events as they are stored, finds that the rules of the model that held at each event
  accepted it, that each was stamped with the schema version of that model, and that the models were applied one by one;
* states are what the reference folds, with snapshots and without, and `snapshot verify` passes;
* what was rewritten is a whole log or is not there.

Prints a summary; exits with 1 at the first round that fails, whose log is then kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

ESCTL = str(Path(sys.executable).with_name("esctl"))
ACCOUNTS = 7
LARGE = 550  # a deposit that only the first model accepts
MODEL = """
[aggregate.account]
streams = "account-*"
initial = {{ open = false, balance = 0 }}
snapshot = {{ every = {every} }}
[aggregate.account.on.Opened]
set = {{ open = true }}
[aggregate.account.on.Deposited]
add = {{ balance = "$.amount"{counted} }}
[aggregate.account.on.Withdrawn]
subtract = {{ balance = "$.amount" }}
[aggregate.account.accept]
Opened = "not (state ->> 'open')"
Deposited = "state ->> 'open' and new.data ->> 'amount' <= {most}"
Withdrawn = "state ->> 'open' and new.data ->> 'amount' <= state ->> 'balance'"
[event.Deposited]
schema = {schema}
[[event.Deposited.upcast]]
from = 1
rename = {{ amt = "amount" }}
"""
SECOND = """
[[event.Deposited.upcast]]
from = 2
default = { currency = "EUR" }
"""


class Said(NamedTuple):
    """What one model says, as the reference needs it."""

    schema: int
    most: int
    counts: bool


FIRST_SAYS, SECOND_SAYS = Said(2, 1000, counts=False), Said(3, 500, counts=True)


def esctl(*arguments: str, may: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run([ESCTL, *arguments], capture_output=True, text=True, check=False)
    if done.returncode not in may or "Traceback" in done.stderr:
        raise AssertionError(f"esctl {' '.join(arguments)} exits {done.returncode}: {done.stderr}")
    return done.stdout


def write_models(folder: Path) -> tuple[Path, Path]:
    first, second = folder / "first.toml", folder / "second.toml"
    first.write_text(MODEL.format(every=7, counted="", most=FIRST_SAYS.most, schema=2), encoding="utf-8")
    text = MODEL.format(every=5, counted=", count = 1", most=SECOND_SAYS.most, schema=3) + SECOND
    second.write_text(text, encoding="utf-8")
    return first, second


def write_events(path: Path, events: int, generator: random.Random) -> None:
    """An input that both models accept, whatever is deposited beside it."""
    balances: dict[str, int] = {}
    with path.open("w", encoding="utf-8") as file:
        for i in range(events):
            stream = f"account-{generator.randrange(ACCOUNTS)}"
            amount = generator.randrange(1, 100)
            event: dict[str, Any] = {"stream": stream, "id": f"e-{i}"}
            if stream not in balances:
                event |= {"type": "Opened", "data": {}}
                balances[stream] = 0
            elif balances[stream] >= amount and generator.random() < 0.6:
                event |= {"type": "Withdrawn", "data": {"amount": amount}}
                balances[stream] -= amount
            else:
                old = generator.random() < 0.3
                event |= {"type": "Deposited", "data": {"amt" if old else "amount": amount}} | (
                    {"schema": 1} if old else {}
                )
                balances[stream] += amount
            file.write(json.dumps(event) + "\n")


def commands(folder: Path, log: Path, lines: Path, models: tuple[Path, Path], batch: int) -> dict[str, str]:
    """What is started, by name, as shell commands; receipts go to stdout."""
    large = f'{{"type":"Deposited","data":{{"amount":{LARGE}}}}}'
    small = '{"type":"Deposited","data":{"amount":1}}\n{"type":"Withdrawn","data":{"amount":1}}'
    (folder / "large").write_text(large, encoding="utf-8")
    (folder / "small").write_text(small, encoding="utf-8")
    decide = "; ".join(
        f"{ESCTL} decide account-{n} --retries 50 --exec 'cat {folder}/{what}'"
        for n, what in enumerate(("large", "small", "large", "small"))
    )
    apply = "; ".join(f"{ESCTL} model apply {model} --yes >/dev/null" for model in reversed(models))
    return {
        "append": f"{ESCTL} append {lines} --receipts --batch {batch}",
        "decide": f"while :; do {decide}; done",
        "snapshot": f"while :; do {ESCTL} snapshot take --all >/dev/null; done",
        "apply": f"while :; do {apply}; done",
        "rewrite": f"n=0; while :; do n=$((n+1)); {ESCTL} upcast rewrite --to {log}.$n.new.db --yes >/dev/null; done",
    }


def start_and_kill(log: Path, chosen: list[str], delays: list[float]) -> tuple[list[str], list[str]]:
    """Start all, kill each with its children after its delay; the receipts and what was said on stderr."""
    environment = {**os.environ, "ESCTL_LOG": str(log), "ESCTL_TIMEOUT": "30"}
    running = [
        subprocess.Popen(
            ["/bin/sh", "-c", f"exec >{log}.out{n} 2>{log}.err{n}; {command}"],
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        for n, command in enumerate(chosen)
    ]
    since = time.monotonic()
    for delay, process in sorted(zip(delays, running, strict=True), key=lambda pair: pair[0]):
        time.sleep(max(0, since + delay - time.monotonic()))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    receipts, told = [], []
    for n in range(len(chosen)):
        out, err = Path(f"{log}.out{n}"), Path(f"{log}.err{n}")
        receipts += [line for line in out.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]
        told += err.read_text("utf-8").splitlines()
        out.unlink()
        err.unlink()
    return receipts, told


def stored(log: Path) -> list[dict[str, Any]]:
    """Every event, the log's own too, as it is stored."""
    return [json.loads(line) for line in esctl("replay", "--system", "--raw-schema", "--log", str(log)).splitlines()]


def fold(events: list[dict[str, Any]]) -> dict[str, list[dict[str, int]]]:
    """The states of each account after every event, as the reference has them; AssertionError for a broken rule."""
    says, numbers = FIRST_SAYS, []
    states: dict[str, list[dict[str, int]]] = {}
    for event in events:
        data = event["data"]
        if event["type"] == "ModelApplied":
            says = SECOND_SAYS if "currency" in data["text"] else FIRST_SAYS
            numbers.append(data["number"])
        if event["stream"].startswith("$"):
            continue
        history = states.setdefault(event["stream"], [{"open": 0, "balance": 0, "count": 0}])
        state, amount = dict(history[-1]), data.get("amount", data.get("amt", 0))
        accepted = {
            "Opened": not state["open"],
            "Deposited": state["open"] and amount <= says.most,
            "Withdrawn": state["open"] and amount <= state["balance"],
        }[event["type"]]
        wanted = 1 if event["type"] != "Deposited" or "amt" in data else says.schema
        if not accepted or event["schema"] != wanted or event["version"] != len(history):
            raise AssertionError(f"{event} should not be there after {state}, under {says}")
        state["open"] = 1
        state["balance"] += {"Deposited": amount, "Withdrawn": -amount}.get(event["type"], 0)
        state["count"] += event["type"] == "Deposited"
        history.append(state)
    if numbers != list(range(1, len(numbers) + 1)):
        raise AssertionError(f"models are numbered {numbers}")
    return states


def as_told(state: dict[str, int], *, counts: bool) -> dict[str, object]:
    """A state of the reference as a model tells it."""
    made: dict[str, object] = {"open": bool(state["open"]), "balance": state["balance"]}
    return made | ({"count": state["count"]} if counts and state["count"] else {})


def check(log: Path, receipts: list[str]) -> list[dict[str, Any]]:
    """Everything that has to hold of a log; its events."""
    report = json.loads(esctl("verify", "--full", "--log", str(log)))
    events = stored(log)
    if not report["ok"] or report["events"] != len(events):
        raise AssertionError(f"{len(events)} events, verify says {report}")
    for receipt in receipts:
        said = json.loads(receipt)
        there = events[said["position"] - 1] if said["position"] <= len(events) else {}
        if any(there.get(key) != said[key] for key in ("position", "stream", "version", "id")):
            raise AssertionError(f"acknowledged and lost: {receipt}")
    states = fold(events)
    newest = [event for event in events if event["type"] == "ModelApplied"][-1]
    counts = "currency" in newest["data"]["text"]
    expected = {stream: as_told(history[-1], counts=counts) for stream, history in states.items()}
    told = esctl("state", "--all", "--aggregate", "account", "--log", str(log)).splitlines()
    if {one["stream"]: one["state"] for one in map(json.loads, told)} != expected:
        raise AssertionError(f"states are {told}, expected {expected}")
    for stream, state in expected.items():
        for version in (len(states[stream]) - 1, random.Random(stream).randrange(1, len(states[stream]))):
            told_one = json.loads(esctl("state", stream, "--until", f"v{version}", "--log", str(log)))
            if told_one["state"] != as_told(states[stream][version], counts=counts):
                raise AssertionError(f"{told_one} by a snapshot, expected {state}")
    esctl("snapshot", "verify", "-q", "--log", str(log))
    return events


def check_told(told: list[str]) -> None:
    """Nobody who was killed had met a bug or damage before."""
    if wrong := [line for line in told if "bug" in line or "Traceback" in line or "damaged" in line]:
        raise AssertionError(f"somebody said {wrong}")


def check_rewritten(log: Path, events: list[dict[str, Any]]) -> tuple[int, int]:
    """How many rewritten logs are there, each of which has to be whole; and drafts that a killed process left."""
    whole = 0
    for path in log.parent.glob(f"{log.name}.*.new.db"):
        read = [json.loads(line) for line in esctl("replay", "--log", str(path)).splitlines()]
        before = [event for event in events if not event["stream"].startswith("$")][: len(read)]
        if [(e["id"], e["position"], e["time"]) for e in read] != [(e["id"], e["position"], e["time"]) for e in before]:
            raise AssertionError(f"{path} is no copy of the beginning of {log}")
        if not json.loads(esctl("verify", "--full", "--log", str(path)))["ok"]:
            raise AssertionError(f"{path} is not whole")
        whole += 1
        path.unlink()
    drafts = list(log.parent.glob(".*.new*"))
    for draft in drafts:
        draft.unlink()
    return whole, len(drafts)


def run(rounds: int, events: int, batch: int, seed: int) -> str:
    """Run all rounds; the summary."""
    generator = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="esctl-kill9-model-"))
    models, lines = write_models(folder), folder / "in.ndjson"
    write_events(lines, events, generator)
    half = folder / "half.ndjson"
    half.write_text("".join(lines.read_text("utf-8").splitlines(keepends=True)[: events // 2]), encoding="utf-8")
    counted: Counter[str] = Counter()
    for n in range(rounds):
        log = folder / f"log-{n}.db"
        esctl("init", "--log", str(log), "--model", str(models[0]))
        if generator.random() < 0.6:
            esctl("append", str(half), "--log", str(log))
        every = commands(folder, log, lines, models, batch)
        chosen = generator.sample(list(every), generator.randrange(1, len(every) + 1))
        delays = [generator.uniform(0.1, 2.0) for _ in chosen]
        try:
            receipts, told = start_and_kill(log, [every[name] for name in chosen], delays)
            check_told(told)
            there = check(log, receipts)
            whole, drafts = check_rewritten(log, there)
            esctl("append", str(lines), "--log", str(log))
            check(log, [])
        except AssertionError as error:
            raise AssertionError(f"round {n}, seed {seed}, {' + '.join(chosen)}, {log}: {error}") from error
        counted.update(chosen)
        counted.update(events=len(there), acknowledged=len(receipts), rewritten=whole, drafts=drafts)
        counted.update(models=sum(event["type"] == "ModelApplied" for event in there) - 1)
        counted.update(refused=sum(" is refused: " in line for line in told))
        log.unlink()
    shutil.rmtree(folder)
    return (
        f"{rounds} rounds (seed {seed}), killed: "
        + ", ".join(f"{name} {counted[name]}" for name in ("append", "decide", "snapshot", "apply", "rewrite"))
        + f"; {counted['acknowledged']} events acknowledged, 0 lost, {counted['events']} judged again, "
        f"0 against a rule, {counted['refused']} refused, {counted['models']} models applied meanwhile, "
        f"{counted['rewritten']} logs rewritten whole, {counted['drafts']} files left of killed drafts"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    given = parser.parse_args()
    try:
        print(run(given.rounds, given.events, given.batch, given.seed))
    except AssertionError as error:
        sys.exit(f"failed: {error}")


if __name__ == "__main__":
    main()
