"""A log that is archived, restored, moved, erased and copied in any order is the plain list of its events."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from esctl.archive import creation, listing, moving
from esctl.events.event import NewEvent
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.states import folding, snapshot_care
from esctl.store import segments
from esctl.upkeep import copies, erasure, verify
from tests.conftest import write_empty_log, writer_of

STREAMS = ("a-1", "a-2", 'b "é"')
FOLDERS = st.sampled_from([None, None, "cold", "ice"])

Known = tuple[str, str, str | None]
"""Of an event: its stream, its id, its payload (None: erased)."""


class Archived(RuleBasedStateMachine):
    """The log, and the list that it has to be."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "log.db"
        self.events: list[Known] = []  # of all positions, the log's own among them
        self.copies = 0

    @initialize()
    def begin(self) -> None:
        write_empty_log(self.path)
        self.log = EventLog(self.path, write=True, bulk=True)

    def teardown(self) -> None:
        self.log.close()
        shutil.rmtree(self.folder)

    def own(self) -> None:
        """Take over what the log has noted of itself."""
        for event, _, _ in self.log.read(Query(since=len(self.events) + 1, system=True, raw_schema=True)):
            assert event[1] == "$esctl"
            self.events.append((event[1], event[3], event[8]))

    def place(self, folder: str | None) -> Path | None:
        return None if folder is None else self.folder / folder

    @rule(streams=st.lists(st.sampled_from(STREAMS), min_size=1, max_size=8), again=st.integers(0, 99))
    def append(self, streams: list[str], again: int) -> None:
        """New events, and one that exists already."""
        start = len(self.events)
        new: list[NewEvent] = [
            NewEvent(stream, "T", f"id {start + n}", None, 1, f'{{"n": {start + n}}}', "{}", None)
            for n, stream in enumerate(streams)
        ]
        known = [n for n, event in enumerate(self.events, 1) if event[2] is not None and event[0] in STREAMS]
        if known:
            position = known[again % len(known)]
            stream, id_, data = self.events[position - 1]
            assert data is not None
            new.append(NewEvent(stream, "T", id_, None, 1, data, "{}", "none"))
        with self.log.transaction():
            receipts = writer_of(self.log).append(new)
        if known:
            assert receipts[-1][0] == position
            assert receipts[-1][4]
            receipts.pop()
        assert [(receipt[0], receipt[4]) for receipt in receipts] == [
            (start + n, False) for n in range(1, len(streams) + 1)
        ]
        self.events += [(event[0], str(event[2]), event[5]) for event in new[: len(streams)]]

    @precondition(lambda self: bool(self.events))
    @rule(share=st.floats(0, 1), most=st.integers(2, 20), folder=FOLDERS, frame=st.sampled_from([1, 400, 10_000]))
    def create(self, share: float, most: int, folder: str | None, frame: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(segments, "FRAME_BYTES", frame)
            spans = listing.hot(self.log, round(share * len(self.events)))
            made = list(creation.create(self.log, spans, most=most, level=1, to=self.place(folder)))
        assert sum(segment.events for segment in made) == sum(high - low + 1 for low, high in spans)

    @precondition(lambda self: bool(listing.archived(self.log)))
    @rule(which=st.integers(0, 99))
    def restore(self, which: int) -> None:
        known = listing.archived(self.log)
        moving.restore(self.log, known[which % len(known)])

    @precondition(lambda self: bool(listing.archived(self.log)))
    @rule(which=st.integers(0, 99), folder=FOLDERS)
    def move(self, which: int, folder: str | None) -> None:
        known = listing.archived(self.log)
        segment = known[which % len(known)]
        parts = b"".join(moving.export(self.log, segment))
        assert b"".join(moving.export(self.log, moving.move(self.log, segment, self.place(folder)))) == parts

    @precondition(lambda self: bool(self.events))
    @rule(which=st.lists(st.integers(0, 99), min_size=1, max_size=3))
    def erase(self, which: list[int]) -> None:
        ordinary = [n for n, event in enumerate(self.events, 1) if event[0] in STREAMS and event[2] is not None]
        positions = sorted({ordinary[n % len(ordinary)] for n in which}) if ordinary else []
        list(erasure.erase(self.log, positions, "asked for"))
        for position in positions:
            self.events[position - 1] = (*self.events[position - 1][:2], None)
        self.own()

    @rule(stream=st.sampled_from(STREAMS))
    def snapshot(self, stream: str) -> None:
        if self.log.store.stream_version(stream):
            snapshot_care.take(self.log, stream)

    @precondition(lambda self: bool(self.events))
    @rule(how=st.sampled_from(["backup", "restore", "fork"]), share=st.floats(0, 1))
    def copy(self, how: str, share: float) -> None:
        """Go on with a copy, and without what the log was."""
        self.copies += 1
        target = self.folder / f"copy-{self.copies}.db"
        position = max(1, round(share * len(self.events)))
        if how == "backup":
            copies.backup(self.log, target)
        elif how == "restore":
            copies.restore(self.log, target)
        else:
            copies.fork(self.log, target, position)
            said = [n for n, event in enumerate(self.events[:position], 1) if event[2] is None]
            erased = dict.fromkeys(said)
            with EventLog(target) as fork:
                kept = {event[0]: event[8] for event, _, _ in fork.read(Query(system=True, raw_schema=True))}
            assert all(kept[number] is None for number in erased)
            self.events = self.events[:position]
        self.log.close()
        for folder in ("cold", "ice"):
            shutil.rmtree(self.folder / folder, ignore_errors=True)  # a copy has all that it needs in itself
        self.log = EventLog(target, write=True, bulk=True)
        self.own()

    @invariant()
    def the_log_is_the_list(self) -> None:
        found = [event for event, _, _ in self.log.read(Query(system=True, raw_schema=True))]
        assert [event[0] for event in found] == list(range(1, len(self.events) + 1))
        assert [(event[1], event[3], event[8]) for event in found] == self.events
        versions = dict.fromkeys((*STREAMS, "$esctl"), 0)
        for event in found:
            versions[event[1]] += 1
            assert event[2] == versions[event[1]]
        assert {stream: self.log.store.stream_version(stream) for stream in versions} == versions
        listed = {row["stream"]: row["events"] for row in self.log.store.facts().streams(None, system=True)}
        assert listed == {stream: version for stream, version in versions.items() if version}
        for stream in STREAMS:
            payloads = [json.loads(data) for name, _, data in self.events if name == stream and data is not None]
            if versions[stream]:
                state = folding.state(self.log, Query(stream=stream))
                assert state.version == versions[stream]
                assert json.loads(state.state) == (payloads[-1] if payloads else {})

    @invariant()
    def the_log_verifies(self) -> None:
        assert verify.verify(self.log, full=True).findings == []
        assert snapshot_care.verify(self.log)[-1] == []

    @invariant()
    def no_file_is_left_that_no_segment_names(self) -> None:
        there = {path for folder in ("cold", "ice") for path in (self.folder / folder).glob("*")}
        held = self.log.store.archive()
        named = {path for segment in held.segments if (path := held.place(segment))} if held else set()
        assert there == named


TestArchived = Archived.TestCase
TestArchived.settings = settings(
    max_examples=25, stateful_step_count=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
