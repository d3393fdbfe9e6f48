"""Segments made: what goes where, that nothing is lost whenever it is stopped, and that nobody else is overrun."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from esctl.api import open_log
from esctl.archive import checking, creation, listing, moving, tidying
from esctl.errors import ConflictError, EsctlError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store import segments
from esctl.upkeep import erasure
from tests.conftest import write_empty_log
from tests.fifty import EVENTS, files, hashed, names, rows
from tests.logs import whole

# Archives the log of argv[1], all but the newest 5 events in segments of 10, into the folder argv[2] ("": in the log),
# with at most argv[3] bytes a file (0: any).
RUN = """
import resource, sys
from pathlib import Path
from esctl.archive import creation, listing
from esctl.log import EventLog
path, to, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
with EventLog(Path(path), write=True, bulk=True) as log:
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    spans = listing.hot(log, log.head()[0] - 5)
    for segment in creation.create(log, spans, most=10, to=Path(to) if to else None):
        print(segment.name, flush=True)
"""


# Cuts


@pytest.mark.parametrize(
    ("spans", "most", "expected"),
    [
        ([(1, 50)], 100_000, ["1-50"]),
        ([(1, 50)], 50, ["1-50"]),
        ([(1, 50)], 49, ["1-49", "50-50"]),
        ([(1, 25)], 10, ["1-10", "11-20", "21-25"]),
        ([(1, 3)], 1, ["1-1", "2-2", "3-3"]),
        ([(5, 9)], 10, ["5-9"]),
        ([(1, 12), (20, 31)], 10, ["1-10", "11-12", "20-29", "30-31"]),
    ],
)
def test_a_range_is_cut_into_segments_of_at_most_so_many_events(
    fifty: EventLog, fifty_path: Path, spans: list[tuple[int, int]], most: int, expected: list[str]
) -> None:
    before = hashed(fifty_path)
    assert [segment.name for segment in creation.create(fifty, spans, most=most)] == expected
    assert names(fifty) == expected
    assert hashed(fifty_path) == before
    assert whole(fifty_path)


def test_nothing_to_archive_makes_nothing(fifty: EventLog, fifty_path: Path) -> None:
    assert list(creation.create(fifty, [])) == []
    assert names(fifty) == []
    assert whole(fifty_path)


def test_what_is_archived_is_not_among_what_could_be(fifty: EventLog) -> None:
    assert listing.hot(fifty, 50) == [(1, 50)]
    list(creation.create(fifty, [(5, 9), (20, 30)]))
    assert listing.hot(fifty, 50) == [(1, 4), (10, 19), (31, 50)]
    assert listing.hot(fifty, 25) == [(1, 4), (10, 19)]
    assert listing.hot(fifty, 7) == [(1, 4)]
    assert listing.hot(fifty, 0) == []


def test_frames_hold_a_thousand_lines_and_the_last_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "many.db"
    write_empty_log(path)
    with open_log(path, write=True) as made:
        made.append_all({"stream": "s", "type": "T", "data": {"n": n}} for n in range(2_500))
    with EventLog(path, write=True) as log:
        list(creation.create(log, [(1, 2_500)]))
    found = rows(path, "select first, last, number from frames order by first")
    assert found == [(1, 1000, 0), (1001, 2000, 1), (2001, 2500, 2)]


def test_frames_of_large_payloads_are_cut_by_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "large.db"
    write_empty_log(path)
    sizes = [3_000_000, 900_000, 900_000, 5_000_000, 10, 10]
    with open_log(path, write=True) as made:
        made.append_all({"stream": "s", "type": "T", "data": "x" * size} for size in sizes)
    before = hashed(path)
    with EventLog(path, write=True) as log:
        list(creation.create(log, [(1, 6)]))
    found = rows(path, "select first, last, raw_bytes from frames order by first")
    assert [row[:2] for row in found] == [(1, 2), (3, 3), (4, 4), (5, 6)]
    assert all(size <= segments.FRAME_BYTES or first == last for first, last, size in found)
    assert hashed(path) == before
    assert whole(path)


def test_a_harder_try_makes_a_smaller_segment(tmp_path: Path) -> None:
    sizes = []
    for level in (1, 19):
        path = tmp_path / f"{level}.db"
        write_empty_log(path)
        with open_log(path, write=True) as made:
            made.append_all(
                {"stream": "s", "type": "T", "data": {"h": hashlib.sha256(b"%d" % (n % 400)).hexdigest()}}
                for n in range(2000)
            )
        with EventLog(path, write=True) as log:
            sizes += [segment.size for segment in creation.create(log, [(1, 2000)], level=level)]
    assert sizes[1] < sizes[0]


# What is noted


def test_hot_rows_are_gone_and_the_tables_say_where_their_events_are(fifty: EventLog, fifty_path: Path) -> None:
    list(creation.create(fifty, [(1, 20)], most=10))
    assert rows(fifty_path, "select min(position), count(*) from events") == [(21, 30)]
    assert rows(fifty_path, "select name, archived from streams order by name") == [("s-0", 6), ("s-1", 7), ("s-2", 7)]
    assert rows(fifty_path, "select count(*) from archived_ids") == [(20,)]
    assert rows(fifty_path, "select count(*) from leftovers") == [(0,)]


def test_payloads_are_not_left_in_free_pages(fifty: EventLog, fifty_path: Path) -> None:
    list(creation.create(fifty, [(1, 45)]))
    fifty.close()
    assert b"payload-003" not in fifty_path.read_bytes()
    assert b"payload-049" in fifty_path.read_bytes()


def test_a_segment_knows_its_ends_in_the_chain_and_its_recorded_times(fifty: EventLog) -> None:
    sealed = list(fifty.read(Query(raw_schema=True)))
    one, two = creation.create(fifty, [(1, 20)], most=10)
    assert (one.before, one.after, two.before, two.after) == (
        checking.hash_before(fifty, 1), sealed[9][2], sealed[9][2], sealed[19][2],
    )  # fmt: skip
    for segment in (one, two):
        recorded = [event[7] for event, _, _ in sealed[segment.first - 1 : segment.last]]
        assert (segment.first_recorded, segment.last_recorded) == (recorded[0], recorded[-1])


def test_a_model_that_is_archived_is_kept_at_hand(fifty_path: Path, tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text('[aggregate.a]\nstreams = "s-*"\n[aggregate.a.on.T]\nadd = { n = 1 }\n')
    with open_log(fifty_path, write=True) as opened:
        opened.apply_model(tmp_path / "model.toml")
        opened.append("s-0", "T")
    with EventLog(fifty_path, write=True) as log:
        list(creation.create(log, [(1, 50)]))
        assert rows(fifty_path, "select definitions from head") == [(None,)]
        list(creation.create(log, [(51, 51)]))
        assert rows(fifty_path, "select definitions is not null from head") == [(1,)]
    with open_log(fifty_path, write=True) as opened:
        assert opened.state("s-0").state == {"n": 17}
        opened.append("s-0", "T")
    with EventLog(fifty_path, write=True) as log:
        moving.restore(log, listing.named(log, "51-51"))
    assert rows(fifty_path, "select definitions from head") == [(None,)]
    assert whole(fifty_path)


# Folders


def test_a_folder_is_made_and_holds_only_whole_segments(fifty: EventLog, fifty_path: Path, tmp_path: Path) -> None:
    before, folder = hashed(fifty_path), tmp_path / "a" / "b"
    made = list(creation.create(fifty, [(1, 20)], most=10, to=folder))
    assert files(folder) == sorted(segment.file for segment in made)
    assert [segment.location for segment in made] == ["a/b", "a/b"]
    assert rows(fifty_path, "select count(*) from frames where packed is not null or salts is not null") == [(0,)]
    assert hashed(fifty_path) == before
    assert whole(fifty_path)


# Stopped, and run again


def ran(path: Path, to: str = "", limit: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, str(path), to, str(limit)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("to", ["", "segments"])
def test_running_it_again_finds_nothing_to_do(fifty_path: Path, tmp_path: Path, to: str) -> None:
    folder = str(tmp_path / to) if to else ""
    assert ran(fifty_path, folder).stdout.split() == ["1-10", "11-20", "21-30", "31-40", "41-45"]
    before = fifty_path.read_bytes()
    with EventLog(fifty_path, write=True) as log:
        assert listing.hot(log, 45) == []
        tidying.tidy(log)
    assert fifty_path.read_bytes() == before


@pytest.mark.parametrize("taken", range(4))
def test_a_run_that_is_left_goes_on_where_it_was(fifty: EventLog, fifty_path: Path, taken: int) -> None:
    before = hashed(fifty_path)
    made = creation.create(fifty, [(1, 40)], most=10)
    for _ in range(taken):
        next(made)
    made.close()  # type: ignore[attr-defined]
    assert hashed(fifty_path) == before
    assert whole(fifty_path)
    list(creation.create(fifty, listing.hot(fifty, 40), most=10))
    assert names(fifty) == ["1-10", "11-20", "21-30", "31-40"]
    assert hashed(fifty_path) == before
    assert whole(fifty_path)


@pytest.mark.parametrize("to", ["", "segments"])
def test_a_full_disk_loses_nothing_and_the_next_run_goes_on(fifty_path: Path, tmp_path: Path, to: str) -> None:
    before, folder = hashed(fifty_path), str(tmp_path / to) if to else ""
    for limit in (1, 300, 700, 4_000, 20_000, 60_000, 110_000):
        done = ran(fifty_path, folder, limit)
        assert done.returncode in (0, 1), limit
        assert hashed(fifty_path) == before
        assert whole(fifty_path)
    assert ran(fifty_path, folder).returncode == 0
    assert rows(fifty_path, "select count(*) from segments") == [(5,)]
    assert rows(fifty_path, "select count(*) from frames where segment not in (select first from segments)") == [(0,)]
    assert hashed(fifty_path) == before
    assert len(files(tmp_path / "segments")) == (5 if to else 0)
    assert files(tmp_path) == sorted(["log.db"] + (["segments"] if to else []))


@pytest.mark.parametrize("to", ["", "segments"])
def test_a_killed_run_loses_nothing_and_the_next_one_goes_on(fifty_path: Path, tmp_path: Path, to: str) -> None:
    before, folder = hashed(fifty_path), str(tmp_path / to) if to else ""
    with subprocess.Popen([sys.executable, "-c", RUN, str(fifty_path), folder, "0"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert hashed(fifty_path) == before
    assert whole(fifty_path)
    assert ran(fifty_path, folder).returncode == 0
    assert rows(fifty_path, "select count(*) from segments") == [(5,)]
    assert hashed(fifty_path) == before


def test_a_folder_that_cannot_be_written_leaves_the_log_as_it_was(
    fifty: EventLog, fifty_path: Path, tmp_path: Path
) -> None:
    before = hashed(fifty_path)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(EsctlError, match="cannot use the folder"):
        list(creation.create(fifty, [(1, 20)], to=tmp_path / "file" / "segments"))
    assert names(fifty) == []
    assert hashed(fifty_path) == before


# Others beside it


def between(path: Path, log: EventLog, what: str, to: Path | None) -> None:
    """Make a first segment; then, while the second is made already and not kept, do something to what it holds."""
    made = creation.create(log, [(1, 20)], most=10, to=to)
    next(made)
    time.sleep(0.3)
    with EventLog(path, write=True) as other:
        if what == "erase":
            list(erasure.erase(other, [15], "test"))
        else:
            list(creation.create(other, [(11, 15)]))
    list(made)


@pytest.mark.parametrize("what", ["erase", "archive"])
@pytest.mark.parametrize("outside", [False, True])
def test_what_changed_meanwhile_is_not_archived_as_it_was(
    fifty: EventLog, fifty_path: Path, tmp_path: Path, what: str, outside: bool
) -> None:
    with pytest.raises(ConflictError, match="positions 11 to 20 changed while they were archived"):
        between(fifty_path, fifty, what, tmp_path / "segments" if outside else None)
    assert whole(fifty_path)
    list(creation.create(fifty, listing.hot(fifty, 20)))
    assert whole(fifty_path)
    assert rows(fifty_path, "select min(position) from events") == [(21,)]


def held(path: Path, folder: Path, text: bytes) -> list[str]:
    """Where a text still stands: in the log's file, beside it, or in a segment (unpacked) of a folder or the log."""
    found = [file.name for file in path.parent.glob("log.db*") if text in file.read_bytes()]
    import zstandard

    def unpacked(packed: bytes) -> bytes:
        return zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True).read()

    found += [name for name in files(folder) if text in unpacked((folder / name).read_bytes())]
    packed = rows(path, "select hex(packed) from frames where packed is not null")
    return found + ["frame" for (hexed,) in packed if text in unpacked(bytes.fromhex(hexed))]


@pytest.mark.parametrize("outside", [False, True])
def test_what_was_erased_meanwhile_is_not_left_in_a_segment_that_did_not_come_to_be(
    fifty: EventLog, fifty_path: Path, tmp_path: Path, outside: bool
) -> None:
    folder = tmp_path / "segments"
    with pytest.raises(ConflictError):
        between(fifty_path, fifty, "erase", folder if outside else None)
    list(creation.create(fifty, listing.hot(fifty, 20), to=folder if outside else None))
    erasure.scrub(fifty)
    assert held(fifty_path, folder, b"payload-015") == []
    assert held(fifty_path, folder, b"payload-016") != []


def test_others_append_while_segments_are_made(fifty: EventLog, fifty_path: Path) -> None:
    for n, segment in enumerate(creation.create(fifty, [(1, 40)], most=10)):
        with open_log(fifty_path, write=True) as other:
            assert other.append("s-0", "T", {"n": n}).position == EVENTS + n + 1
            assert not other.append("s-1", "T", {"secret": "payload-001"}, id="id-1").position > segment.last
    assert whole(fifty_path)


def test_a_reader_that_began_before_sees_the_same_to_its_end(fifty: EventLog, fifty_path: Path) -> None:
    expected = hashed(fifty_path)
    with EventLog(fifty_path) as reader:
        reading = reader.read(Query(raw_schema=True))
        first = [next(reading) for _ in range(5)]
        list(creation.create(fifty, [(1, 40)], most=10))
        seen = first + list(reading)
    assert len(seen) == EVENTS
    assert [hash_.hex() for _, _, hash_ in seen] == [json.loads(line)["hash"] for line in expected.splitlines()]


def test_a_file_that_a_log_merely_names_is_not_removed(fifty_path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "precious.txt"
    victim.write_text("kept")
    with sqlite3.connect(fifty_path) as connection:
        connection.execute("insert into leftovers values (?)", (str(victim),))
    connection.close()
    code = RUN  # in another process: this one's SQLite has had the file open
    subprocess.run([sys.executable, "-c", code, str(fifty_path), "", "0"], capture_output=True, check=False)
    assert victim.exists()
    assert os.path.lexists(fifty_path)
