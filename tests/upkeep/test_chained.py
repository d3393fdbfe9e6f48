"""The chain, followed by windows: whatever is altered, the report is the one of a check event by event."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esctl.errors import VerificationError
from esctl.events import chain
from esctl.log import EventLog
from esctl.upkeep import chained, erasure, verify
from tests.conftest import write_empty_log
from tests.logs import event, put
from tests.segments import make

EVENTS = 12
ALTERATIONS = [
    "update events set {column} = {value} where position = {position}",
    "delete from events where position = {position}",
    "delete from events where position >= {position}",
    "update events set data = null, meta = null, salt = null where position = {position}",
    "update events set data = null where position = {position}",
    "insert into erased values ({position}, zeroblob(32), 3)",
    "update erased set digest = zeroblob(32)",
    "update streams set name = {value} where stream_id = {position} % 3 + 1",
    "update types set name = {value} where type_id = 1",
    "update frames set packed = zeroblob(length(packed)) where {position} between first and last",
    "update frames set before = zeroblob(32) where {position} between first and last",
    "update frames set salts = randomblob(length(salts)) where {position} between first and last",
    "update segments set after = zeroblob(32) where {position} between first and last",
]
COLUMNS = ["version", "id", "schema", "time", "recorded", "data", "meta", "salt", "hash", "stream_id"]
VALUES = [
    "''", "' x'", "'x' || char(10) || 'y'", "'é'", "'x' || char(160)", "printf('%.*c', 129, 'x')", "char(7)", "0", "-1",
    "1", "7", "2147483648", "null", "zeroblob(16)", "zeroblob(15)", "zeroblob(32)", "cast(x'ff' as text)",
    "'2026-01-31T09:30:00.000000Z'", "'2026-02-29T09:30:00.000000Z'", "'2024-02-29T09:30:00.000000Z'",
    "'2026-01-31T09:30:00Z'", "'9999-01-31T09:30:00.000000Z'", "'{\"a\":1,\"a\":2}'", "'[1'", "'{\"specversion\":1}'",
]  # fmt: skip


@pytest.fixture(scope="module")
def hot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_empty_log(tmp_path_factory.mktemp("hot") / "log.db")
    with EventLog(path, write=True) as log:
        for n in range(EVENTS):
            put(log, event(f"s-{n % 3}", "T", {"n": n}))
    return path


@pytest.fixture(scope="module")
def mixed(hot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with two segments, hot events, and erased ones in both."""
    path = Path(shutil.copy(hot, tmp_path_factory.mktemp("mixed") / "log.db"))
    with EventLog(path, write=True) as log:
        make(log, until=8)
        for _ in erasure.erase(log, [2, 10], "they asked"):
            pass
    return path


def rechain(path: Path) -> None:
    """Compute all hashes anew, as somebody may who can write the file."""
    with closing(apsw.Connection(str(path))) as connection:
        rows: Any = connection.execute(
            "select e.position, s.name, version, id, t.name, schema, time, recorded, cast(data as blob),"
            " cast(meta as blob), salt from events e join streams s using (stream_id) join types t using (type_id)"
            " order by position"
        ).fetchall()
        previous = chain.genesis(str(connection.execute("select log_id from head").get))
        for *header, data, meta, salt in rows:
            if None not in (data, meta, salt):
                digest = chain.payload_digest(salt, data, meta)
                previous = chain.event_hash(previous, digest, chain.header(*header))
                connection.execute("update events set hash = ? where position = ?", (previous, header[0]))
        connection.execute(
            "update head set (position, hash, recorded) = (select position, hash, recorded from events"
            " order by position desc limit 1)"
        )


def reports(path: Path) -> list[object]:
    """What is said of a log: by windows and event by event, with one thread and with two."""
    found: list[object] = []
    for windows in (True, False):
        for least in (0, 10**9):
            passes = chained.Chain._passes if windows else lambda *_: False
            with patch.object(verify, "EVENTS_FOR_TWO", least), patch.object(chained.Chain, "_passes", passes):
                try:
                    with EventLog(path) as log:
                        found.append(verify.verify(log, full=True))
                except VerificationError as error:
                    found.append((error.what, error.why))
    return found


def altered(original: Path, statements: list[str], *, rechained: bool) -> list[object]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copy(original, folder))
        with closing(apsw.Connection(str(path))) as connection:
            connection.execute("pragma foreign_keys = off; pragma ignore_check_constraints = on").fetchall()
            for statement in statements:
                with suppress(apsw.ConstraintError, apsw.MismatchError):
                    connection.execute(statement)
        if rechained:
            with suppress(UnicodeDecodeError, apsw.ConstraintError):
                rechain(path)
        return reports(path)


alteration = st.builds(
    lambda statement, column, value, position: statement.format(column=column, value=value, position=position),
    st.sampled_from(ALTERATIONS),
    st.sampled_from(COLUMNS),
    st.sampled_from(VALUES),
    st.integers(1, EVENTS),
)
alterations = st.lists(alteration, max_size=3)


@settings(max_examples=60)
@given(alterations, st.booleans())
def test_whatever_is_altered_all_ways_to_check_say_the_same(hot: Path, statements: list[str], rechained: bool) -> None:
    first, *others = altered(hot, statements, rechained=rechained)
    assert others == [first] * len(others)


@settings(max_examples=60)
@given(alterations)
def test_the_same_with_an_archive_and_erased_events(mixed: Path, statements: list[str]) -> None:
    first, *others = altered(mixed, statements, rechained=False)
    assert others == [first] * len(others)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("column", ["id", "schema", "time", "recorded", "data"])
def test_the_same_if_an_altered_column_is_chained_anew(hot: Path, column: str, value: str) -> None:
    statement = f"update events set {column} = {value} where position = 5"
    first, *others = altered(hot, [statement], rechained=True)
    assert others == [first] * len(others)


def test_windows_of_a_whole_log_pass(mixed: Path) -> None:
    with EventLog(mixed) as log, patch.object(chained.Chain, "_singly", lambda *_: pytest.fail("event by event")):
        assert verify.verify(log, full=True).ok
