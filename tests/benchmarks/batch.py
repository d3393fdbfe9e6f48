"""Many commands through one process, as a shell script drives a coprocess."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks.workbench import Bench, BenchmarkError, Figure, Run, baseline, rate, wait

COMMANDS = 1000
EVENTS_PER_COMMAND = 100  # of --events: a run with few of them takes fewer commands, too
STREAMS = 100


def converse(bench: Bench, log: Path, arguments: Sequence[str], sent: Sequence[str], *, closing: str) -> Run:
    """Time a process that is sent one line at a time, each after the line that closes the answer to the one before."""
    command, env = [bench.program, *arguments], {**os.environ, "ESCTL_LOG": str(log)}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
    assert process.stdin
    assert process.stdout
    with process.stdin as questions, process.stdout as answers:
        for line in sent:
            questions.write(line.encode() + b"\n")
            questions.flush()
            answer = next((text for text in answers if text.startswith(closing.encode())), b"{}")
            if json.loads(answer).get("exit", 0) or answer == b"{}":
                process.kill()
                process.wait()
                raise BenchmarkError(f"{shlex.join(command)}\nanswered {line}\nwith {answer.decode()}")
        questions.close()
        ended = wait(process, start)
    if process.returncode:
        raise BenchmarkError(f"{shlex.join(command)}\nexited with {process.returncode}")
    return ended


def figures(bench: Bench) -> Iterator[Figure]:
    """1,000 commands sent to one process, each after the answer to the one before, against single processes."""
    count = max(2, min(COMMANDS, bench.events // EVENTS_PER_COMMAND))
    appends = [f"""append order-{n % STREAMS} Counted '{{"n":{n}}}'""" for n in range(count // 2)]
    commands = [line for n, line in enumerate(appends) for line in (line, f"replay order-{n % STREAMS}")]
    events = [f'{{"stream":"order-{n % STREAMS}","type":"Counted","data":{{"n":{n}}}}}' for n in range(count)]
    batch, each = [], []
    single: list[float] = []
    single_appends, transactions = [], []
    for _ in bench.rounds:
        log = bench.empty("single.db")
        alone = [bench.esctl(log, *shlex.split(line)).wall for line in commands]
        single.append(sum(alone))
        single_appends.append(2 * sum(alone[::2]))
        batch.append(converse(bench, bench.empty("batch.db"), ["batch"], commands, closing='{"exit":'))
        log = bench.empty("each.db")
        each.append(converse(bench, log, ["append", "--each", "--receipts"], events, closing="{"))
        transactions.append(baseline("insert", log, bench.empty("bare.db"), "1"))
    yield rate("batch", "single processes", batch, single, len(commands))
    yield rate("append --each --receipts", "single processes", each, single_appends, count)
    yield rate("append --each --receipts", "bare transactions", each, transactions, count)
