"""Changes to the archive: a segment holds what it was made of or is refused, and nothing is left of one that is not."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from esctl.archive import content, creation, listing
from esctl.errors import ConflictError
from esctl.log import EventLog
from esctl.states import snapshot_care
from esctl.store.segments import Facts, Packed
from tests.segments import EVENTS, archive_of, make, place, replayed
from tests.stores import connection_of


def count(log: EventLog, table: str) -> int:
    found: int = connection_of(log.store).execute(f"select count(*) from {table}").get
    return found


def versions(log: EventLog) -> list[int]:
    return [log.store.stream_version(f"s-{n}") for n in range(3)]


def test_frames_of_events_that_are_archived_already_are_refused(twelve: EventLog) -> None:
    (segment,) = make(twelve, most=EVENTS)
    frames = content.packed(archive_of(twelve), segment)
    with pytest.raises(ConflictError, match="positions 1 to 12 changed"), twelve.transaction():
        twelve.store.archiving().pend(frames)


def test_frames_that_are_kept_for_a_segment_are_seen_by_nobody_until_it_is_there(twelve: EventLog) -> None:
    (segment,) = make(twelve, most=EVENTS)
    frames = content.packed(archive_of(twelve), segment)
    archiving = twelve.store.archiving()
    with twelve.transaction():
        archiving.bring_back(segment, [f"id {n}" for n in range(1, EVENTS + 1)])
    with twelve.transaction():
        archiving.pend(frames)
    assert [archiving.pending(packed.frame) for packed in frames] == [bytes(packed.packed) for packed in frames]
    assert replayed(twelve) == replayed(twelve, hot_only=True) == list(range(1, EVENTS + 1))
    with twelve.transaction():
        archiving.drop_pending()
    assert count(twelve, "frames") == 0
    with pytest.raises(ConflictError, match="positions 1 to 12 changed"):
        archiving.pending(frames[0].frame)


def test_frames_of_another_run_for_the_same_positions_are_dropped(twelve: EventLog) -> None:
    def packed(most: int) -> list[Packed]:
        made = make(twelve, most=most)
        frames = [frame for segment in made for frame in content.packed(archive_of(twelve), segment)]
        with twelve.transaction():
            for segment in made:
                archiving.bring_back(segment, [f"id {n}" for n in range(segment.first, segment.last + 1)])
        return frames

    archiving = twelve.store.archiving()
    fours, sixes = packed(4), packed(6)
    for frames in (fours, sixes[1:]):
        with twelve.transaction():
            archiving.pend(frames)
    for pending in (fours[0], sixes[1]):
        assert archiving.pending(pending.frame) == bytes(pending.packed)
    for dropped in fours[1:]:
        with pytest.raises(ConflictError, match=f"positions {dropped.frame.first} to {dropped.frame.last} changed"):
            archiving.pending(dropped.frame)
    assert count(twelve, "frames") == 2


def test_events_whose_rows_are_left_are_not_archived_a_second_time(twelve: EventLog, cold: Path) -> None:
    spans = listing.hot(twelve, EVENTS)
    assert len(list(islice(creation.create(twelve, spans, most=4), 3))) == 3  # stopped before rows are deleted
    with EventLog(twelve.path) as reader:
        frames = [packed for s in archive_of(reader).segments for packed in content.packed(archive_of(reader), s)]
        facts = Facts()
        for packed, segment in zip(frames, archive_of(reader).segments, strict=True):
            facts.add(content.lines(archive_of(reader), packed.frame, segment), packed.frame.number)
    other = segment._replace(location=str(cold))
    with pytest.raises(ConflictError, match="positions 9 to 12 changed"), twelve.transaction():
        twelve.store.archiving().commit_segment(other, [], facts)


def test_frames_of_segments_that_are_there_are_not_dropped(twelve: EventLog) -> None:
    make(twelve)
    before = count(twelve, "frames")
    with twelve.transaction():
        twelve.store.archiving().drop_pending()
    assert count(twelve, "frames") == before > 0


def test_a_segment_that_is_cut_takes_its_events_and_all_that_was_known_of_them(twelve: EventLog) -> None:
    made = make(twelve)
    with twelve.transaction():
        twelve.store.archiving().cut(made[-1])
    assert replayed(twelve) == list(range(1, 9))
    assert [segment.name for segment in archive_of(twelve).segments] == ["1-4", "5-8"]
    assert twelve.store.places().find("id 12") == 0
    assert twelve.store.places().find("id 8") == 8
    assert versions(twelve) == [2, 3, 3]
    assert count(twelve, "frames") == 2


def test_a_segment_that_is_brought_back_is_hot_and_no_more_in_the_archive(twelve: EventLog) -> None:
    made = make(twelve)
    with twelve.transaction():
        twelve.store.archiving().bring_back(made[1], [f"id {n}" for n in range(5, 9)])
    assert replayed(twelve, hot_only=True) == [5, 6, 7, 8]
    assert replayed(twelve) == list(range(1, EVENTS + 1))
    assert archive_of(twelve).ranges() == [(1, 4), (9, 12)]
    assert [twelve.store.places().find(f"id {n}") for n in range(1, EVENTS + 1)] == list(range(1, EVENTS + 1))
    assert versions(twelve) == [4, 4, 4]
    assert count(twelve, "frames") == 2


def test_a_segment_lies_where_it_says_and_keeps_its_frames(twelve: EventLog, cold: Path) -> None:
    (segment,) = make(twelve, cold, most=EVENTS)
    archive = archive_of(twelve)
    frames, held = content.packed(archive, segment), place(twelve, segment).read_bytes()
    with twelve.transaction():
        twelve.store.archiving().place(segment._replace(location=None), frames)
    moved = archive_of(twelve).segments[0]
    assert moved.location is None
    assert b"".join(content.parts(twelve, archive_of(twelve), moved, archive_of(twelve).frames(moved))) == held


def test_a_file_that_is_left_is_listed_until_it_is_removed(twelve: EventLog) -> None:
    archiving = twelve.store.archiving()
    with twelve.transaction():
        for path in ("a", "b", "a"):
            archiving.leave(path)
    assert sorted(archiving.leftovers()) == ["a", "b"]
    with twelve.transaction():
        archiving.removed("a")
    assert archiving.leftovers() == ["b"]


def test_an_erasure_takes_payloads_from_the_hot_table(twelve: EventLog) -> None:
    make(twelve, until=4)
    archiving = twelve.store.archiving()
    with twelve.transaction():
        archiving.erase([2, 5, 6], [bytes([n]) * 32 for n in (2, 5, 6)], 99)
        archiving.record_erased([5], 100)
    assert list(twelve.store.facts().erasures()) == [(2, b"\2" * 32, 99), (5, b"\5" * 32, 100), (6, b"\6" * 32, 99)]
    erased = connection_of(twelve.store).execute("select position from events where data is null").fetchall()
    assert erased == [(5,), (6,)]


def test_snapshots_of_one_stream_are_dropped_alone(twelve: EventLog) -> None:
    for stream in ("s-0", "s-1"):
        snapshot_care.take(twelve, stream)
    with twelve.transaction():
        twelve.store.archiving().drop_snapshots("s-0")
    assert [one.stream for one in twelve.store.snapshots().of()] == ["s-1"]


def test_rows_that_are_left_though_a_segment_holds_them_are_found_and_go(twelve: EventLog) -> None:
    connection, archiving = connection_of(twelve.store), twelve.store.archiving()
    connection.execute("create temp table kept as select * from main.events")
    make(twelve, until=8)
    connection.execute("insert into main.events select * from kept where position in (2, 7)")
    assert archiving.leftover_rows() == ([(1, 4), (5, 8)], 4)
    with twelve.transaction():
        archiving.delete_leftover_rows(1, 4)
    assert archiving.leftover_rows() == ([(5, 8)], 4)
    with twelve.transaction():
        archiving.delete_leftover_rows(1, EVENTS)  # what is hot stays
    assert archiving.leftover_rows() == ([], 4)
    assert replayed(twelve, hot_only=True) == [9, 10, 11, 12]


def test_rows_that_are_left_go_at_once_and_what_is_hot_stays(twelve: EventLog) -> None:
    connection, archiving = connection_of(twelve.store), twelve.store.archiving()
    connection.execute("create temp table kept as select * from main.events")
    make(twelve, until=8)
    connection.execute("insert into main.events select * from kept where position in (2, 7)")
    archiving.delete_leftover_rows_at_once(twelve.transaction)
    assert archiving.leftover_rows() == ([], 4)
    assert count(twelve, "main.events") == 4
    assert connection.pragma("secure_delete") == connection.pragma("foreign_keys") == 1  # for what comes after it
    assert replayed(twelve) == list(range(1, EVENTS + 1))


def test_a_log_without_a_wal_has_all_that_is_committed_in_its_file(twelve: EventLog) -> None:
    with twelve.transaction():
        twelve.say("Noted", {})
    assert not twelve.store.archiving().is_in_file()
    connection_of(twelve.store).execute("pragma journal_mode = delete")
    assert twelve.store.archiving().is_in_file()
