"""What a command reads is of one state of the log, whatever another command does between any two steps of it."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from esctl.archive import creation, listing, moving
from esctl.cli import main
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.states import snapshot_care
from esctl.upkeep import erasure
from tests.conftest import write_empty_log
from tests.interleaving import interleaved, stopped_command
from tests.logs import event, hold, put, run

EVENTS = 24
CHANCE = re.compile(
    r"\d{4}-\d\d-\d\dT[0-9:.]+Z|[0-9a-f]{32,64}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\"lag_seconds\":\d+|\"file_bytes\":\d+"
    r"|\"bytes\":\d+"
)
MODEL = """
[event.T]
erasable = true
schema = 2
[[event.T.upcast]]
from = 1
rename = { m = "n" }
[event.Split]
schema = 1
[[event.Split.upcast]]
from = 1
split = [{ type = "T", schema = 2 }, { type = "U", schema = 1 }]
[aggregate.s]
streams = "s-*"
[aggregate.s.on.T]
add = { n = 1, sum = "$.n" }
[projection.totals]
table = "create table totals(k text primary key, n integer not null)"
[projection.totals.on]
T = "insert into totals values (new.stream, 1) on conflict(k) do update set n = n + 1"
"""
OTHER = MODEL.replace('sum = "$.n"', 'total = "$.n"').replace("(new.stream, 1)", "('of ' || new.stream, 1)")

READERS = (
    "info", "state --all --aggregate s", "query select count(*),sum(data->>'n') from log", "projection status",
    "projection diff totals --from #5", "projection show totals --until #20", "model plan other.toml", "upcast check",
    "upcast rewrite --to new.db --yes -q",
)  # fmt: skip


def appended(log: EventLog) -> None:
    put(log, *(event(f"s-{n}", "T", {"n": 100}) for n in range(4)))


def archived(log: EventLog) -> None:
    list(creation.create(log, listing.hot(log, EVENTS), most=8, to=Path(log.path).with_name("more")))


def moved(log: EventLog) -> None:
    for segment in listing.archived(log):
        moving.move(log, segment, None if segment.location == "away" else Path(log.path).with_name("away"))


def restored(log: EventLog) -> None:
    for segment in listing.archived(log):
        moving.restore(log, segment)


def erased(log: EventLog) -> None:
    list(erasure.erase(log, [2, 10, 20], "they asked"))
    erasure.scrub(log)


def applied(log: EventLog) -> None:
    hold(log, OTHER)
    run(log, "totals")


WRITERS = [appended, archived, moved, restored, erased, applied]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log: a third archived in a folder, a third in its file, a third hot; snapshots; a projection."""
    folder = tmp_path_factory.mktemp("original")
    (folder / "other.toml").write_text(OTHER)
    with EventLog(write_empty_log(folder / "log.db"), write=True, bulk=True) as log:
        put(log, *(event(f"s-{n % 3}", "Split" if n % 7 == 6 else "T", {"m": n}, schema=1) for n in range(EVENTS)))
        hold(log, MODEL)
        run(log, "totals")
        list(snapshot_care.take_many(log, "s", due=False))
        list(creation.create(log, [(1, 8)], to=folder / "cold"))
        list(creation.create(log, [(9, 16)]))
    return folder


def answer(folder: Path, reader: str) -> str:
    """What a command prints, and how it ends; without what the clock and chance decide."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline=""), io.StringIO()
    words = reader.split(" ", 1) if reader.startswith("query") else reader.split()
    with chdir(folder), redirect_stdout(out), redirect_stderr(err):
        code = main.run([*words, "-l", "log.db"])
    out.flush()
    assert isinstance(out.buffer, io.BytesIO)
    text = f"{code} {out.buffer.getvalue().decode()} {err.getvalue()}"
    if "rewrite" in words and not code:
        with EventLog(folder / "new.db") as new:
            text += "".join(
                f"{e.position} {e.type} {e.schema} {e.data}\n" for e, _, _ in new.read(Query(raw_schema=True))
            )
    return CHANCE.sub("", text)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("stride", [50, pytest.param(3, marks=pytest.mark.slow)])
def test_a_command_reads_one_state_whatever_another_command_does_meanwhile(
    original: Path, tmp_path: Path, reader: str, writer: Callable[[EventLog], None], stride: int
) -> None:
    folder = tmp_path / "run"

    def begin() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(original, folder)

    def other() -> None:
        with EventLog(folder / "log.db", write=True, bulk=True, timeout=0) as log:
            writer(log)

    begin()
    before = answer(folder, reader)
    begin()
    other()
    after = answer(folder, reader)

    def one(number: int) -> int:
        begin()
        with stopped_command(20 + (number - 1) * stride, other) as steps:  # the steps before open the file
            assert answer(folder, reader) in (before, after)
        return (steps[0] + stride - 1) // stride

    assert interleaved(one)
