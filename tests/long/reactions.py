"""Kills and halts reactions at random moments, and gives them handlers that behave badly.

    python -m tests.long.reactions [kills] [bad] [halt] [--kills 100] [--events 12000] [--bad-events 20000] [--seed N]

* kills: `react --append` is killed with SIGKILL again and again, started anew each time, and ended at last by itself.
  Its handlers run on. They write when they begin and end, fail each tenth time, and print something else each time.
  Then: every event was handled; no two handlers of one stream were alive at once; the first times of the events of a
  stream are in order; and the log has what the handlers printed exactly once for each event, in order.
* bad: handlers fail, hang, write a gigabyte to stderr, never read, leave a child in the background, do not exist. Then:
  all others were handled, the bad ones are parked, and descriptors, memory and processes stayed as they were.
* halt: a reaction is stopped with SIGSTOP, and another machine takes it meanwhile. Then: it starts nothing any more.

Prints a summary; exits with 1 at the first thing that is wrong, and keeps its folder.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from esctl.errors import UnavailableError
from esctl.log import EventLog

ESCTL = str(Path(sys.executable).with_name("esctl"))

STREAMS = 23
# The file of a stream has a line for each beginning and end, in the order in which they were written.
HANDLER = """#!/bin/sh
trap '' PIPE  # nobody reads what it prints when its reaction was killed
echo "b $ESCTL_POSITION $$" >> streams/$ESCTL_STREAM
n=$(od -An -N2 -tu2 /dev/urandom)
sleep 0.0$((n % 3))$((n % 10))
if [ $((n % 10)) = 3 ]; then
  echo "f $ESCTL_POSITION $$" >> streams/$ESCTL_STREAM
  exit 75
fi
echo "{\\"type\\":\\"Effect\\",\\"data\\":\\"$n $$\\"}"
echo "e $ESCTL_POSITION $$" >> streams/$ESCTL_STREAM
"""
BAD = """#!/bin/sh
case $1 in
  hang) sleep 600 ;;
  shout) head -c 1000000000 /dev/zero >&2; exit 1 ;;
  child) sleep 600 & ;;
  none) exec /no/such/program ;;
  fail) echo "no" >&2; exit 1 ;;
  deaf) exec 0<&- ;;
esac
exit 0
"""
HANG, SHOUT = 20, 3  # of all events
FAILING = {"hang", "shout", "none", "fail"}


def esctl(*arguments: str) -> str:
    """What a command prints, which has to succeed."""
    done = subprocess.run([ESCTL, *arguments], capture_output=True, text=True, check=False)
    require(done.returncode == 0 and "Traceback" not in done.stderr, f"{arguments}: {done.stderr}")
    return done.stdout


def write_log(folder: Path, events: list[dict[str, Any]]) -> Path:
    log = folder / "log.db"
    esctl("init", "--log", str(log))
    lines = folder / "events.ndjson"
    lines.write_text("".join(json.dumps(event) + "\n" for event in events))
    esctl("append", str(lines), "--log", str(log), "-q")
    return log


def script(folder: Path, text: str) -> Path:
    path = folder / "handler.sh"
    path.write_text(text)
    path.chmod(0o755)
    return path


def start(folder: Path, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with (folder / "err.txt").open("ab") as err:
        command = [ESCTL, "react", "r", "--log", str(log), *arguments]
        return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err)


def require(true: bool, what: object) -> None:
    if not true:
        raise AssertionError(what)


# Kills


def kills(folder: Path, options: argparse.Namespace, generator: random.Random) -> str:
    """Kill a reaction again and again."""
    events = [
        {"stream": f"s-{generator.randrange(STREAMS)}", "type": "Cause", "data": n} for n in range(options.events)
    ]
    log = write_log(folder, events)
    (folder / "streams").mkdir()
    handler = script(folder, HANDLER)
    words = ["--exec", str(handler), "--append", "--type", "Cause", "--from", "beginning"]
    words += ["--concurrency", "6", "--retries", "50", "--backoff", "0.05", "--breaker", "0", "--timeout", "60"]
    for _ in range(options.kills):
        process = start(folder, log, *words)
        time.sleep(generator.uniform(0.2, 0.9))
        process.kill()
        process.wait()
    for line in esctl("reaction", "list", "--log", str(log), "-o", "ndjson").splitlines():
        is_less = json.loads(line)["handled"] < options.events
        require(is_less, "all was done before the last kill: give it more --events")
    require(start(folder, log, *words).wait() == 0, (folder / "err.txt").read_text()[-2000:])
    tries = sum(_check_stream(path) for path in (folder / "streams").iterdir())
    _check_effects(log, options.events)
    return f"{options.kills} kills, {options.events} events, {tries} handlers, {options.events} effects, order kept"


def _check_stream(path: Path) -> int:
    """Whether the handlers of a stream were one after the other, and their first times in order."""
    lines = [(word, int(position), pid) for word, position, pid in map(str.split, path.read_text().splitlines())]
    alive, first = None, list[int]()
    for word, position, pid in lines:
        if word == "b":
            require(alive is None, f"{path.name}: {pid} began while {alive} was alive")
            alive = pid
        else:
            require(alive == pid, f"{path.name}: {pid} ended, but {alive} was alive")
            alive = None
            if word == "e" and position not in first:
                first.append(position)
    require(alive is None, f"{path.name}: {alive} never ended")
    require(first == sorted(first), f"{path.name}: {first} is not in order")
    return sum(word == "b" for word, _, _ in lines)


def _check_effects(log: Path, count: int) -> None:
    lines = [json.loads(line) for line in esctl("replay", "--log", str(log)).splitlines()]
    causes = {event["id"]: event for event in lines if event["type"] == "Cause"}
    effects = [event for event in lines if event["type"] == "Effect"]
    counted = Counter(event["meta"]["causation_id"] for event in effects)
    require(set(counted) == set(causes) and set(counted.values()) == {1} and len(causes) == count, "not once each")
    last: dict[str, int] = {}
    for effect in effects:
        position = causes[effect["meta"]["causation_id"]]["position"]
        require(last.get(effect["stream"], 0) < position, f"effects of {effect['stream']} are not in order")
        last[effect["stream"]] = position
    require(json.loads(esctl("verify", "--log", str(log)))["ok"], "verify finds something")


# Bad handlers


def bad(folder: Path, options: argparse.Namespace, generator: random.Random) -> str:
    """Run handlers that behave badly."""
    count = options.bad_events
    kinds = ["hang"] * HANG + ["shout"] * SHOUT
    kinds += generator.choices(["fail", "child", "deaf", "none", "good"], [10, 2, 5, 1, 82], k=count - len(kinds))
    generator.shuffle(kinds)
    events = [{"stream": f"s-{n}", "type": "T", "data": {"kind": kind}} for n, kind in enumerate(kinds)]
    log = write_log(folder, events)
    handler = script(folder, BAD)
    words = ["--exec", f"{handler} {{data.kind}}", "--from", "beginning", "--on-error", "park", "--retries", "0"]
    process = start(folder, log, *words, "--concurrency", "8", "--breaker", "0", "--timeout", "2", "-q")
    samples: list[tuple[int, int, int]] = []
    while process.poll() is None:
        time.sleep(0.2)
        if found := _sample(process.pid):
            samples.append(found)
    require(process.returncode == 0, (folder / "err.txt").read_text()[-2000:])
    parked = [json.loads(line) for line in esctl("dead-letter", "list", "--log", str(log), "-o", "ndjson").splitlines()]
    wanted = [f"s-{n}" for n, kind in enumerate(kinds) if kind in FAILING]
    require(sorted(one["stream"] for one in parked) == sorted(wanted), "others are parked than those that failed")
    require({one["status"] for one in parked} == {1, 124, 127}, "a status is none of those")
    early, late = (
        samples[len(samples) // 4],
        [max(column) for column in zip(*samples[len(samples) // 2 :], strict=True)],
    )
    require(late[0] <= early[0] + 32, f"descriptors grew from {early[0]} to {late[0]}")
    require(late[1] <= early[1] * 1.3 + 20_000, f"memory grew from {early[1]} to {late[1]} KiB")
    require(late[2] <= 8 * 4, f"{late[2]} processes")
    require(_sleepers(handler) == 0, "a child is left")
    return f"{count} events, {len(parked)} parked; at most {late[0]} descriptors, {late[1]} KiB, {late[2]} processes"


def _sample(pid: int) -> tuple[int, int, int] | None:
    """How many descriptors, KiB of memory and children a process has."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return len(os.listdir(f"/proc/{pid}/fd")), memory, len(children)
    except (OSError, StopIteration):
        return None


def _sleepers(handler: Path) -> int:
    """How many processes still run below the handler's folder."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found += os.readlink(folder / "cwd") == str(handler.parent)
        except OSError:
            continue
    return found


# A halt


def halt(folder: Path, options: argparse.Namespace, generator: random.Random) -> str:  # noqa: ARG001
    """Stop a reaction for a while, in which another machine takes it."""
    log = write_log(folder, [{"stream": f"s-{n % 5}", "type": "Cause"} for n in range(500)])
    (folder / "streams").mkdir()
    words = ["--exec", str(script(folder, HANDLER)), "--from", "beginning", "--retries", "50", "--backoff", "0.01"]
    process = start(folder, log, *words, "--breaker", "0")
    while sum(map(_begun, (folder / "streams").iterdir())) < 20:
        time.sleep(0.02)
    before = 0
    while not before:
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.0)  # its handlers end
        try:
            _take_away(log)
            before = sum(map(_begun, (folder / "streams").iterdir()))
        except UnavailableError:  # it was halted within a transaction, where nobody can take anything
            process.send_signal(signal.SIGCONT)
            time.sleep(0.05)
    process.send_signal(signal.SIGCONT)
    require(process.wait(timeout=30) == 4, f"it exits {process.returncode}")
    require("lost the reaction r" in (folder / "err.txt").read_text(), (folder / "err.txt").read_text())
    time.sleep(0.5)
    after = sum(map(_begun, (folder / "streams").iterdir()))
    require(before == after, f"{after - before} handlers began after the halt")
    return f"halted after {before} handlers; none began later"


def _take_away(log: Path) -> None:
    """Take the reaction, as another machine would when its lease has ended."""
    with EventLog(log, write=True, timeout=0.2) as opened, opened.transaction():
        store = opened.store.reactions()
        (one,) = store.all()
        store.replace(one._replace(token="another", holder="elsewhere 1"))


def _begun(path: Path) -> int:
    return sum(line.startswith("b") for line in path.read_text().splitlines())


PARTS: dict[str, Callable[[Path, argparse.Namespace, random.Random], str]] = {"kills": kills, "bad": bad, "halt": halt}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} [all]")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--events", type=int, default=12_000)
    parser.add_argument("--bad-events", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    for name in options.parts or PARTS:
        folder = Path(tempfile.mkdtemp(prefix=f"esctl-reactions-{name}-"))
        began = time.monotonic()
        try:
            found = PARTS[name](folder, options, random.Random(options.seed))
        except (AssertionError, subprocess.SubprocessError) as error:
            print(f"{name}: {error}\nseed {options.seed}, kept: {folder}", file=sys.stderr)
            return 1
        shutil.rmtree(folder)
        print(f"{name}: {found} ({time.monotonic() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
