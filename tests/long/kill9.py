"""Kills batched appends at random moments and proves that nothing acknowledged was lost and no batch was torn.

    python tests/long/kill9.py [--rounds 200] [--events 2000] [--batch 40] [--seed N]

A round appends to a new log with --receipts, kills the process with SIGKILL, and checks:

* every receipt that could be read whole names an event that is there, at that position, with that content;
* what is there is a prefix of the input that ends at a batch's end;
* `verify --full` passes, and the same append goes on: the events that are there are duplicates, the others are stored.

Prints a summary; exits with 1 at the first round that fails, whose log is then kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ESCTL = str(Path(sys.executable).with_name("esctl"))


def esctl(*arguments: str) -> str:
    done = subprocess.run([ESCTL, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"esctl {' '.join(arguments)} exits {done.returncode}: {done.stderr}")
    return done.stdout


def write_events(path: Path, events: int, generator: random.Random) -> list[tuple[str, str]]:
    """An input of that many events; returns the id and the payload of each."""
    made = []
    with path.open("w", encoding="utf-8") as file:
        for i in range(events):
            data = json.dumps({"i": i, "x": "x" * generator.randrange(300)})
            made.append((f"e-{i}", data))
            file.write(f'{{"stream":"s-{i % 17}","type":"T","id":"e-{i}","data":{data}}}\n')
    return made


def append_and_kill(log: Path, lines: Path, batch: int, *, after: int, delay: float) -> tuple[list[str], bool]:
    """The receipts of an append that is killed some time after so many; and whether it was still under way."""
    command = [ESCTL, "append", str(lines), "--receipts", "--batch", str(batch), "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        receipts = [process.stdout.readline() for _ in range(after)]
        time.sleep(delay)
        process.kill()
        receipts += process.stdout.readlines()
        told = process.stderr.read()
    if told:
        raise AssertionError(f"the append said: {told}")
    return [receipt for receipt in receipts if receipt.endswith("\n")], process.returncode < 0


def check(log: Path, lines: Path, made: list[tuple[str, str]], batch: int, receipts: list[str]) -> int:
    """How many events the log holds beyond those acknowledged; AssertionError if it is not as it has to be."""
    there = [line.partition(',"data":') for line in esctl("replay", "--log", str(log)).splitlines()]
    stored = [(json.loads(head + "}"), tail.rpartition(',"meta":')[0]) for head, _, tail in there]
    for receipt in receipts:
        said = json.loads(receipt)
        if said["position"] > len(stored):
            raise AssertionError(f"acknowledged and lost: {receipt}")
        event, _ = stored[said["position"] - 1]
        if {key: event[key] for key in ("position", "stream", "version", "id")} != {
            key: said[key] for key in ("position", "stream", "version", "id")
        }:
            raise AssertionError(f"acknowledged as {receipt}, stored as {event}")
    if [(event["id"], data) for event, data in stored] != made[: len(stored)]:
        raise AssertionError("what is stored is not the beginning of the input")
    if len(stored) % batch and len(stored) != len(made):
        raise AssertionError(f"half a batch: {len(stored)} events in batches of {batch}")
    verify(log, len(stored))
    tally = json.loads(esctl("append", str(lines), "--batch", str(batch), "--log", str(log)))
    if (tally["appended"], tally["duplicates"]) != (len(made) - len(stored), len(stored)):
        raise AssertionError(f"the append that goes on says {tally}, {len(stored)} were there")
    verify(log, len(made))
    return len(stored) - len(receipts)


def verify(log: Path, events: int) -> None:
    report = json.loads(esctl("verify", "--full", "--log", str(log)))
    if not report["ok"] or report["events"] != events:
        raise AssertionError(f"{events} events, verify says {report}")


def run(rounds: int, events: int, batch: int, seed: int) -> str:
    """Run all rounds; the summary."""
    generator = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="esctl-kill9-"))
    lines = folder / "in.ndjson"
    made = write_events(lines, events, generator)
    killed = acknowledged = beyond = 0
    for n in range(rounds):
        log = folder / f"log-{n}.db"
        esctl("init", "--log", str(log))
        after = generator.choice((0, generator.randrange(events)))
        delay = generator.uniform(0, 0.3 if after == 0 else 0.004)
        receipts, under_way = append_and_kill(log, lines, batch, after=after, delay=delay)
        try:
            beyond += check(log, lines, made, batch, receipts)
        except AssertionError as error:
            raise AssertionError(f"round {n}, seed {seed}, {log}: {error}") from error
        killed += under_way
        acknowledged += len(receipts)
        log.unlink()
    shutil.rmtree(folder)
    return (
        f"{rounds} rounds (seed {seed}): {killed} killed under way, {acknowledged} events acknowledged, 0 lost, "
        f"0 batches torn, {beyond} stored and not yet acknowledged"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
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
