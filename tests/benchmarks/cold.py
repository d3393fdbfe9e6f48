"""Cold commands: what a shell script pays for each, on small logs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.workbench import ROOT, Bench, Figure, Run, cpu, run

# On a log of 400 events without a model: A is appended to, S has 20 events and is read.
PLAIN = (
    "head",
    "ESCTL_FORMAT=ndjson head",
    """append A T '{"a":1}'""",
    """append -q A T '{"a":1}'""",
    """append -o ndjson A T '{"a":1}'""",
    "append A T a:=1",
    "append A T a=b",
    """append A T '{"a":1}' --meta k=v""",
    "replay S",
    "replay S -o ndjson",
    "replay S --type T",
    "replay S --limit 5",
    "replay S --last 5",
    "show 1",
    "streams",
    "types",
    "info",
    "mark m",
    "marks",
    "snapshot list",
    "archive list",
    """query "select count(*) from log\"""",
    "verify --quick",
    "--help",
    "replay --limitt",
    "completion words -- rep",
)
# On a log of the sample shop, which has a model and 418 events.
MODELLED = (
    "model history",
    "diff order-1001 --from v1",
    """bisect order-1001 --when "state ->> 'status' = 'Paid'\"""",
    "projection show customer_orders",
    "projection status",
)
EXITS = {"diff order-1001 --from v1": 10, "replay --limitt": 2}  # of the others: 0


def once(bench: Bench, line: str, log: Path) -> Run:
    """Run a command line as a shell would, which may begin with settings of its environment."""
    words = shlex.split(line)
    settings = {"ESCTL_LOG": str(log)}
    while "=" in words[0]:
        name, settings[name] = words.pop(0).split("=", 1)
    return run([bench.program, *words], exit=EXITS.get(line, 0), env=settings)


def figures(bench: Bench) -> Iterator[Figure]:
    """Single commands on small logs, against an interpreter that does nothing."""
    plain, shop = bench.empty("plain.db"), bench.empty("shop.db")
    made = (f'{{"stream":"{"S" if n % 20 == 0 else n % 20}","type":"T","data":{{"n":{n}}}}}\n' for n in range(400))
    bench.esctl(plain, "append", bench.file("plain.ndjson", made))
    bench.esctl(shop, "model", "apply", ROOT / "sample_data" / "shop.toml", "--yes")
    bench.esctl(shop, "append", ROOT / "sample_data" / "orders.ndjson", "--no-rules")
    bench.esctl(shop, "projection", "run")
    logs = {**dict.fromkeys(PLAIN, plain), **dict.fromkeys(MODELLED, shop)}
    runs: dict[str, list[Run]] = {line: [] for line in logs}
    bases = []
    for _ in bench.short_rounds:
        bases.append(bench.bare_python())
        for line, log in logs.items():
            runs[line].append(once(bench, line, log))
    for line in logs:
        yield cpu(line, "bare Python", runs[line], bases)
