"""Every benchmark runs, and takes the figures that it promises."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import apsw
import pytest

from esctl.store import migrations
from tests.benchmarks import baselines, cold, growth, peers, plot, report, workbench
from tests.conftest import Esctl
from tests.runner import ROOT

PROMISED = {
    "append": {
        ("append", "bare executemany"),
        ("the same input again", "append"),
        ("the same again, archived", "append"),
    },
    "replay": {("replay", "bare SELECT")},
    "lists": {
        ("a type of 0.1 %, spread evenly", "replay --last 10"),
        ("the same by --where", "replay --last 10"),
        ("a time of 0.1 %", "replay --last 10"),
        ("a category of 0.1 %", "replay --last 10"),
        ("types", "in a log of 10,000"),
        ("info", "in a log of 10,000"),
        ("streams --limit 20", "in a log of 10,000"),
        ("model plan, 1 % changes", "replay"),
        ("model plan, 1 % changes, folded", "replay"),
    },
    "cold": {(line, "bare Python") for line in (*cold.PLAIN, *cold.MODELLED)},
    "batch": {
        ("batch", "single processes"),
        ("append --each --receipts", "single processes"),
        ("append --each --receipts", "bare transactions"),
    },
    "model": {
        ("replay with upcasts", "replay without a model"),
        ("state --all", "replay with upcasts"),
        ("snapshot take --all", "state --all"),
        ("snapshot verify", "state --all"),
        ("state of 2,099 events", "Python and a bare SELECT"),
        ("state near a snapshot", "state of 100 events"),
        ("append with rules", "append --no-rules"),
        ("append with rules", "append without a model"),
        ("cold append, with a model", "cold append, without"),
        ("cold append, with a model", "bare Python"),
        ("cold state", "bare Python"),
    },
    "projections": {
        ("projection run", "bare SELECT"),
        ("projection run", "Python UPSERT loop"),
        ("projection rebuild", "projection run"),
        ("projection run, with upcasts", "projection run"),
        ("projection run, five alike", "projection run"),
        ("projection run, archived", "projection run, hot"),
        ("projection run, 100 new events", "cold head"),
        ("append, projection inline", "append, not inline"),
    },
    "reactions": {
        ("CPU of react for a start", "subprocess.Popen"),
        ("from commit to handler", "a start of date"),
        ("react --follow, idle", "a core"),
        ("react --exec-stream python -u", "replay | python -u"),
    },
    "archive": {
        ("archive create", "zstd -9"),
        ("segments", "zstd -19"),
        ("the log's file", "the same, hot"),
        ("replay", "the same, hot"),
        ("replay of one stream", "the same, hot"),
        ("state of one stream", "the same, hot"),
        ("verify --full", "the same, hot"),
        ("archive verify", "verify --full, hot"),
        ("append of 2,000 events", "the same, hot"),
    },
    "peers": {(peers.NAMES[task], peer) for peer in ("sqlite3", "sqlite-utils", "jq") for task in peers.PEERS[peer]},
    "growth": {(name, "10,000 events") for name in (*growth.ALL, *growth.FEW, "append", "archive create")},
}


def benchmarks(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.benchmarks", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


QUICK = ("append", "replay")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in PROMISED])
def test_a_benchmark_takes_every_figure_that_it_promises(name: str, tmp_path: Path) -> None:
    done = benchmarks(name, "--events", "2000", "--rounds", "1", "--json", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "figures.json").read_text())
    taken = {(figure["name"], figure["ratio_to"]) for figure in data["figures"]}
    if name == "peers":  # each is measured where it is
        assert {peer for _, peer in taken} == {peer for peer in peers.PEERS if peers.present(peer)}
        taken = {(task, peer) for task, peer in taken if peer not in peers.LIBRARIES}
        PROMISED[name] = {(task, peer) for task, peer in PROMISED[name] if peers.present(peer)}
    assert taken == PROMISED[name]
    for figure in data["figures"]:
        numbers = [value for value in figure.values() if isinstance(value, float)]
        assert numbers
        assert all(math.isfinite(number) and number > 0 for number in [*numbers, *figure["rounds"]]), figure
        assert any(line.startswith(figure["name"]) for line in done.stdout.splitlines())


def test_a_benchmark_that_is_not_there_is_refused() -> None:
    done = benchmarks("apend")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no benchmark apend; there are append, " in done.stderr


def test_a_process_that_exits_with_something_else_than_expected_is_no_figure() -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('so it is')"]
    assert workbench.run(command, exit=1).wall > 0
    with pytest.raises(workbench.BenchmarkError, match="exited with 1, not 0\nso it is"):
        workbench.run(command)


def test_in_a_narrow_terminal_notes_stand_below() -> None:
    figures = [
        workbench.Figure("replay", "rate", "bare SELECT", [0.5, 0.25, 0.75], {"per_second": 1234.5}),
        workbench.Figure("state", "time", "full replay", [11.0], {"seconds": 0.5}),
    ]
    wide, narrow, one = (
        list(report.table({"replay": taken}, {}, width))
        for taken, width in ((figures, 60), (figures, 50), (figures[:1], 50))
    )
    assert wide[:3] == [
        "REPLAY  median  min-max    ratio               note",
        "replay    0.50  0.25-0.75  rate / bare SELECT  1,234/s",
        "state     11.0             time / full replay  500 ms",
    ]
    assert narrow[:5] == [
        "REPLAY  median  min-max    ratio, note",
        "replay    0.50  0.25-0.75  rate / bare SELECT",
        "                           1,234/s",
        "state     11.0             time / full replay",
        "                           500 ms",
    ]
    assert one[:2] == [
        "REPLAY, rate / bare SELECT  median  min-max    note",
        "replay                        0.50  0.25-0.75  1,234/s",
    ]


def test_the_baseline_of_append_follows_the_tables(esctl: Esctl, tmp_path: Path) -> None:
    full, empty = tmp_path / "full.db", tmp_path / "empty.db"
    for path in (full, empty):
        migrations.create(path)
        with closing(apsw.Connection(str(path))) as connection:
            connection.execute("create table more(position integer primary key, text text) strict")
    assert esctl("append", "order-1", "OrderPlaced", "--log", str(full)).returncode == 0
    with closing(apsw.Connection(str(full))) as connection:
        connection.execute("insert into more values (1, 'one')")
    assert baselines.insert(str(full), str(empty), "10") > 0
    for table in ("events", "streams", "types", "more"):
        rows = []
        for path in (full, empty):
            with closing(apsw.Connection(str(path))) as connection:
                rows.append(connection.execute(f"select * from {table}").fetchall())
        assert rows[0] == rows[1] != [], table


def test_growth_is_a_column_for_each_size_and_a_line_for_each_command() -> None:
    figures = [
        workbench.Figure(name, "time", "10 events", [ratio], {key: value, "peak_mib": 20.0}, events)
        for name, key, events, ratio, value in (
            ("types", "seconds", 10, 1.0, 0.05),
            ("types", "seconds", 100, 2.0, 0.1),
            ("replay", "seconds_an_event", 10, 1.0, 3e-6),
            ("replay", "seconds_an_event", 100, 1.1, 3.3e-6),
        )
    ]
    assert list(report.table({"growth": figures}, {}, 100))[:3] == [
        "GROWTH      10     100  last/first  memory",
        "types    50 ms  100 ms        2.00  20 MiB",
        "replay  3.0 us  3.3 us        1.10  20 MiB",
    ]
    drawn = ET.fromstring(report.growth_plot(figures, "seconds"))
    texts = [element.text for element in drawn.iter() if element.text and element.text.strip()]
    assert "types" in texts
    assert "replay" not in texts


def test_a_plot_has_equal_distances_for_equal_ratios() -> None:
    drawn = plot.svg("t", "x", "y", {"a<b": [(10, 1), (100, 10), (1000, 100)]})
    (line,) = [path.get("d", "") for path in ET.fromstring(drawn).iter() if path.get("stroke-width")]
    (x1, y1), (x2, y2), (x3, y3) = [map(float, point.split()) for point in line.removeprefix("M").split("L")]
    assert (x2 - x1, y2 - y1) == pytest.approx((x3 - x2, y3 - y2), abs=0.2)
