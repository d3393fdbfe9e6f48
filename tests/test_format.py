"""The format that `esctl help format` documents is the format: an independent verifier, and logs of every version."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from operator import sub
from pathlib import Path
from typing import Any

import pytest

from esctl.events import chain
from esctl.store.format import APPLICATION_ID, STORAGE_VERSION
from tests import independent_verifier, runner
from tests.conftest import environment
from tests.logs import alter
from tests.runner import ROOT

PAGE = (ROOT / "esctl" / "help" / "format.md").read_text(encoding="utf-8")
VERIFIER = [sys.executable, str(ROOT / "tests" / "independent_verifier.py")]
OLD_LOGS = sorted((ROOT / "tests" / "data").glob("storage-*.db"))


def esctl(*arguments: str, cwd: Path) -> str:
    done = runner.run(arguments, cwd=cwd, env=environment())
    done.check_returncode()
    return done.stdout.decode()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A log of the sample, with an event whose payload looks like the end of a line."""
    esctl("init", "--log", "shop.db", cwd=tmp_path)
    esctl("append", str(ROOT / "sample_data" / "orders.ndjson"), "--log", "shop.db", cwd=tmp_path)
    tricky = '{"a": {"x":1},"meta":{"y":",\\"salt\\":\\"00"} }'
    esctl("append", 'quo"te', "Tricky", tricky, "--log", "shop.db", cwd=tmp_path)
    return tmp_path / "shop.db"


def test_an_independent_verifier_agrees_on_the_file(shop: Path) -> None:
    head = esctl("head", "--log", "shop.db", cwd=shop.parent)
    done = subprocess.run([*VERIFIER, str(shop)], check=True, capture_output=True, text=True)
    assert done.stdout == head


def test_an_independent_verifier_agrees_on_the_lines(shop: Path) -> None:
    head = esctl("head", "--log", "shop.db", cwd=shop.parent)
    lines = esctl("replay", "--system", "--hash", "--log", "shop.db", cwd=shop.parent)
    command = [*VERIFIER, "-", log_id_of(shop)]
    done = subprocess.run(command, input=lines, check=True, capture_output=True, text=True)
    assert done.stdout == head


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample twice as long as a frame: two segments in a folder, one in the file, hot events; some erased."""
    folder = tmp_path_factory.mktemp("archived")
    (folder / "more.ndjson").write_text("".join(more_lines()), encoding="utf-8")
    esctl("init", "--model", str(ROOT / "sample_data" / "shop.toml"), cwd=folder)
    esctl("append", str(ROOT / "sample_data" / "orders.ndjson"), "--no-rules", cwd=folder)
    esctl("append", "more.ndjson", cwd=folder)
    esctl("erase", "--stream", "customer-202", "--reason", "asked", "--yes", cwd=folder)
    esctl("archive", "create", "--before", "#1500", "--segment-events", "1400", "--to", "old", "--yes", cwd=folder)
    esctl("archive", "create", "--before", "#2500", "--yes", cwd=folder)
    esctl("erase", "20", "1450", "2000", "2600", "--reason", "asked", "--force", "--yes", cwd=folder)
    return folder


def more_lines() -> Iterator[str]:
    """Events whose payloads hold what lines are made of."""
    for n in range(2500):
        data = {
            "n": n,
            "text": ['\u2028,"meta":{}', '"}\x7f', ',"salt":"00'][n % 3],
            "nested": {"data": None, "meta": {"é": 1}},
        }
        yield json.dumps({"stream": f'q"{n % 7}', "type": "More", "data": data, "meta": {"meta": {"data": n}}}) + "\n"


@pytest.fixture
def copied(archived: Path, tmp_path: Path) -> Path:
    """A copy of it, to be altered."""
    return shutil.copytree(archived, tmp_path / "copied")


def verified(path: Path) -> str:
    """The head that the independent verifier finds, without a process of its own."""
    return independent_verifier.main([str(path)]) + "\n"


def refused(path: Path) -> str:
    """What the independent verifier says is wrong."""
    with pytest.raises(independent_verifier.NOT_WHOLE) as caught:
        independent_verifier.main([str(path)])
    return str(caught.value)


def log_id_of(log: Path) -> str:
    connection = sqlite3.connect(log)
    (log_id,) = connection.execute("select log_id from head").fetchone()
    connection.close()
    assert isinstance(log_id, str)
    return log_id


def test_an_independent_verifier_agrees_on_a_file_with_an_archive(archived: Path) -> None:
    assert verified(archived / "esctl.db") == esctl("head", cwd=archived)


def test_an_independent_verifier_agrees_on_the_lines_of_an_archive(archived: Path) -> None:
    lines = esctl("replay", "--system", "--hash", cwd=archived)
    assert lines.count('"digest":"') == lines.count('"erased":true') > 4
    found = independent_verifier.from_lines(log_id_of(archived / "esctl.db"), StringIO(lines))
    assert found + "\n" == esctl("head", cwd=archived)


def test_a_segment_in_a_folder_is_verified_alone(archived: Path) -> None:
    heads = dict(hashes_of(archived))
    files = sorted((archived / "old").iterdir())
    assert [verified(file) for file in files] == [f"{n}:{heads[n]}\n" for n in (1400, 1499)]


def hashes_of(folder: Path) -> list[tuple[int, str]]:
    events = map(json.loads, esctl("replay", "--system", "--hash", cwd=folder).splitlines())
    return [(event["position"], event["hash"]) for event in events]


def test_an_exported_segment_of_the_file_is_the_segment_that_the_page_says(archived: Path, tmp_path: Path) -> None:
    esctl("archive", "export", "1500-2499", str(tmp_path / "out.zst"), cwd=archived)
    connection = sqlite3.connect(archived / "esctl.db")
    (noted,) = connection.execute("select sha256 from segments where first = 1500").fetchone()
    packed = connection.execute("select packed from frames where segment = 1500 order by first").fetchall()
    connection.close()
    whole = (tmp_path / "out.zst").read_bytes()
    assert hashlib.sha256(whole).digest() == noted
    assert whole.startswith(b"".join(frame for (frame,) in packed))
    assert verified(tmp_path / "out.zst").startswith("2499:")


def test_a_moved_segment_has_the_bytes_that_it_had(copied: Path) -> None:
    before = esctl("archive", "export", "1-1400", "a.zst", cwd=copied)
    esctl("archive", "move", "1-1400", "--to", "log", cwd=copied)
    assert verified(copied / "esctl.db") == esctl("head", cwd=copied)
    esctl("archive", "export", "1-1400", "b.zst", cwd=copied)
    assert (copied / "a.zst").read_bytes() == (copied / "b.zst").read_bytes()
    assert '"segment":"1-1400"' in before


def test_the_other_tables_of_an_archive_hold_what_the_page_says(archived: Path) -> None:
    lines = esctl("replay", "--system", "--raw-schema", "--until", "#2499", cwd=archived).splitlines()
    events = list(map(json.loads, lines))
    by_stream: dict[tuple[str, int], list[tuple[Any, ...]]] = {}
    for line, event in zip(lines, events, strict=True):
        segment = max(first for first in (1, 1401, 1500) if first <= event["position"])
        seen = (event["version"], event["position"], micros(event["time"]), payload_bytes(line, event))
        by_stream.setdefault((event["stream"], segment), []).append(seen)
    connection = sqlite3.connect(archived / "esctl.db")
    ids = set(connection.execute("select hash, position from archived_ids"))
    streams = connection.execute(
        "select name, segment, first_version, first_position, first_time, versions_on, positions_on, times_on, bytes,"
        " frames from archived_streams join streams using (stream_id)"
    ).fetchall()
    reached = dict(connection.execute("select name, archived from streams where archived > 0"))
    types = connection.execute(
        "select own, name, schema, sum(events) from archived_types join types using (type_id) group by 1, 2, 3"
    ).fetchall()
    connection.close()
    assert ids == {(int.from_bytes(hashlib.sha256(e["id"].encode()).digest()[:6]), e["position"]) for e in events}
    assert {tuple(row) for row in streams} == {
        (*key, *seen[0][:3], *map(sub, seen[-1][:3], seen[0][:3]), sum(one[3] for one in seen), frames_of(key[1], seen))
        for key, seen in by_stream.items()
    }
    assert reached == {stream: max(e["version"] for e in events if e["stream"] == stream) for stream, _ in by_stream}
    counted = Counter((int(e["stream"].startswith("$")), e["type"], e["schema"]) for e in events)
    assert {(own, name, schema): n for own, name, schema, n in types} == counted


def frames_of(segment: int, seen: list[tuple[Any, ...]]) -> str | None:
    """The frames, of 1,000 lines each, that hold events of a stream."""
    return ",".join(sorted({str((one[1] - segment) // 1000) for one in seen})) if len(seen) > 2 else None


def payload_bytes(line: str, event: dict[str, Any]) -> int:
    """Bytes of data and meta in a line."""
    front = line.index(',"data":', line.index('"recorded":"')) + len(',"data":')
    return 0 if event.get("erased") else len(line[front:].encode()) - len(',"meta":}')


def micros(time: str) -> int:
    return (datetime.fromisoformat(time) - datetime(1, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("update events set data = '{}' where position = 2700", "the hash of position 2700 does not follow"),
        ("update erased set digest = zeroblob(32) where position = 20", "the segment 1-1400 has other digests"),
        ("update erased set digest = zeroblob(32) where position = 2600", "the hash of position 2600"),
        ("update erased set digest = zeroblob(32) where position = 2000", "the segment 1500-2499 has another SHA-256"),
        ("update frames set packed = zeroblob(bytes) where first = 1500", "the segment 1500-2499 has another SHA-256"),
        ("update frames set salts = zeroblob(16) where first = 1500", "the segment 1500-2499 has another SHA-256"),
        ("delete from segments where first = 1500", "position 1500 is missing"),
        ("update events set data = null, meta = null, salt = null where position = 2601", "neither there nor erased"),
        ("delete from erased where position = 2600", "neither there nor erased"),
        ("insert into erased values (2700, zeroblob(32), 2919)", "not those of the payloads that are gone"),
    ],
    ids=range(10),
)  # fmt: skip
def test_an_independent_verifier_sees_an_altered_archive(copied: Path, sql: str, says: str) -> None:
    alter(copied / "esctl.db", sql)
    assert says in refused(copied / "esctl.db")
    assert runner.run(["verify"], cwd=copied, env=environment()).returncode == 6


@pytest.mark.parametrize("at", [100, -100, -9, -5], ids=["frame", "salt", "its size", "the end"])
def test_an_independent_verifier_sees_an_altered_segment_file(copied: Path, at: int) -> None:
    file = min((copied / "old").iterdir())
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    assert refused(file)
    assert refused(copied / "esctl.db") == "the segment 1-1400 has another SHA-256"


def test_what_the_page_says_of_a_trailer_is_where_it_says(archived: Path) -> None:
    whole = min((archived / "old").iterdir()).read_bytes()
    size = int.from_bytes(whole[-8:-4], "little")
    assert whole[-size:][:4].hex(" ") == "5e 2a 4d 18"
    assert "5e 2a 4d 18: the magic number 0x184D2A5E" in PAGE
    manifest = json.loads(whole[-size + 8 :].split(b"\n")[0])
    described = re.search(r"format \(\"esctl/segment/1\"\), (.*?)\n {4}salts", PAGE, re.DOTALL)
    assert described is not None
    assert ["format", *re.findall(r"\w+", described[1])] == list(manifest)


def test_zstd_prints_the_lines_of_a_segment(archived: Path) -> None:
    if not shutil.which("zstd"):
        pytest.skip("zstd is not installed")
    files = sorted((archived / "old").iterdir())
    lines = subprocess.run(["zstd", "-dc", *map(str, files)], check=True, capture_output=True, text=True).stdout
    assert lines == esctl("replay", "--raw-schema", "--system", "--until", "#1499", cwd=archived)


def test_a_fork_from_before_an_erasure_says_itself_what_is_gone(archived: Path, tmp_path: Path) -> None:
    esctl("fork", str(tmp_path / "fork.db"), "--until", "#2700", cwd=archived)
    assert verified(tmp_path / "fork.db") == esctl("head", "--log", "fork.db", cwd=tmp_path)
    assert '"ok":true' in esctl("verify", "--log", "fork.db", cwd=tmp_path)


def test_an_independent_verifier_sees_an_altered_payload(shop: Path) -> None:
    connection = sqlite3.connect(shop)
    connection.execute("update events set data = '{}' where position = 200")
    connection.commit()
    connection.close()
    done = subprocess.run([*VERIFIER, str(shop)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "not whole: the hash of position 200 does not follow\n")


def test_the_pages_vector_is_what_the_chain_computes() -> None:
    said = dict(re.findall(r"^    (genesis|digest|hash) +([0-9a-f]{64})$", PAGE, re.MULTILINE))
    genesis = chain.genesis("00000000-0000-4000-8000-000000000000")
    digest = chain.payload_digest(bytes(range(16)), b'{"total":99.90}', b'{"actor":"web"}')
    times = ("2026-01-31T09:30:00.000000Z", "2026-01-31T09:30:01.000000Z")
    header = chain.header(1, "order-1", 1, "e-1", "OrderPlaced", 1, *times)
    computed = {"genesis": genesis, "digest": digest, "hash": chain.event_hash(genesis, digest, header)}
    assert {name: value.hex() for name, value in computed.items()} == said


def test_the_page_names_the_marks_of_the_file() -> None:
    assert f"application_id   {APPLICATION_ID} " in PAGE
    assert f"user_version     {STORAGE_VERSION}," in PAGE


def test_the_page_names_every_table_and_column(shop: Path) -> None:
    connection = sqlite3.connect(shop)
    tables = [name for (name,) in connection.execute("select name from sqlite_schema where type in ('table', 'view')")]
    for table in tables:
        described = re.search(rf"^    {table} +(.*(?:\n {{16}}.*)*)$", PAGE, re.MULTILINE)
        if table.startswith(("_", "sqlite_")):
            assert table in PAGE
            continue
        assert described is not None, table
        for column in connection.execute(f"select name from pragma_table_info('{table}')"):
            assert column[0] in described[1] or column[0] == "one", (table, column[0])
    connection.close()


@pytest.mark.parametrize("old", OLD_LOGS, ids=lambda path: path.stem)
def test_a_log_of_every_storage_version_can_be_migrated_and_verified(old: Path, tmp_path: Path) -> None:
    log = tmp_path / "old.db"
    shutil.copy(old, log)
    before = verified(log)
    esctl("migrate", "--yes", "--log", "old.db", cwd=tmp_path)
    assert '"ok":true' in esctl("verify", "--log", "old.db", cwd=tmp_path)
    assert esctl("head", "--log", "old.db", cwd=tmp_path) == before


def test_the_hash_of_a_snapshot_is_what_the_page_says(tmp_path: Path) -> None:
    shutil.copy(OLD_LOGS[-1], tmp_path / "copy.db")
    described = re.search(r"hash = SHA-256\((stream, .*)\)$", PAGE, re.MULTILINE)
    assert described is not None
    parts = described[1].replace("stream", "name").replace("anchor", "lower(hex(anchor))")
    connection = sqlite3.connect(tmp_path / "copy.db")
    rows = connection.execute(f"select hash, {parts} from snapshots join streams using (stream_id)").fetchall()
    connection.close()
    assert len(rows) > 5
    for stored, *said in rows:
        assert hashlib.sha256("\n".join(map(str, said)).encode()).digest() == stored


def test_the_events_of_the_logs_own_are_what_the_page_says(tmp_path: Path) -> None:
    shutil.copy(OLD_LOGS[-1], tmp_path / "old.db")
    esctl("upcast", "rewrite", "--to", "new.db", "--yes", "--log", "old.db", cwd=tmp_path)
    esctl("restore", "new.db", "--log", "restored.db", cwd=tmp_path)
    head = esctl("head", "--log", "restored.db", cwd=tmp_path).split(":")[0]
    esctl("fork", "fork.db", "--until", f"#{head}", "--log", "restored.db", cwd=tmp_path)
    esctl("restore", "--salvage", "fork.db", "--log", "saved.db", cwd=tmp_path)
    lines = esctl("replay", "$esctl", "--log", "saved.db", cwd=tmp_path).splitlines()
    events = {event["type"]: event for event in map(json.loads, lines)}
    described = dict(re.findall(r"^    ([A-Z]\w+) +(.*(?:\n {19}\S.*)*)$", PAGE, re.MULTILINE))
    assert set(events) == set(described)
    for type_, event in events.items():
        assert all(key in described[type_] for key in event["data"]), (type_, list(event["data"]))
        assert list(event["meta"]) == ["actor"]


def test_the_newest_log_has_all_that_its_version_can_hold() -> None:
    connection = sqlite3.connect(f"file:{OLD_LOGS[-1]}?immutable=1", uri=True)
    tables = ["snapshots", "segments", "frames", "archived_streams", "archived_types", "archived_ids", "erased"]
    for table in [*tables, "projections", "block_type_summaries", "reactions", "dead_letters"]:
        assert connection.execute(f"select count(*) from {table}").fetchone() > (1,), table
    assert connection.execute("select length(offsets) from esctl_links").fetchone() > (100,)
    hot = connection.execute("select count(*), sum(data is null) from events").fetchone()
    gone = connection.execute("select count(*) from erased where position not in (select position from events)")
    assert hot > (10, 0)
    assert gone.fetchone() > (0,)
    connection.close()


def projections_of(log: Path) -> list[sqlite3.Row]:
    connection = sqlite3.connect(f"file:{log}?immutable=1", uri=True)
    connection.row_factory = sqlite3.Row
    found = connection.execute("select * from projections order by name, state").fetchall()
    connection.close()
    return found


def test_the_newest_log_has_projections_of_several_kinds() -> None:
    found = [(row["name"], row["state"], row["inline"]) for row in projections_of(OLD_LOGS[-1])]
    assert found == [
        ("customer_orders", "live", 0),
        ("daily_revenue", "live", 0),
        ("daily_revenue", "previous", 0),
        ("payments_by_status", "live", 1),
    ]


def test_the_tables_of_versions_are_called_as_the_page_says() -> None:
    assert "`<table>__<version>`" in PAGE
    assert "`<index>__<version>`" in PAGE
    connection = sqlite3.connect(f"file:{OLD_LOGS[-1]}?immutable=1", uri=True)
    there = {name for (name,) in connection.execute("select name from sqlite_schema")}
    connection.close()
    for row in projections_of(OLD_LOGS[-1]):
        compiled = json.loads(row["compiled"])
        live = row["state"] == "live"
        assert {table if live else f"{table}__{row['version']}" for table in compiled["tables"]} <= there
        assert {f"{index}__{row['version']}" for index in compiled["indexes"]} <= there
    assert "order_history_customer__1" in there


def test_the_page_describes_every_column_of_projections() -> None:
    section = PAGE.partition("\n## Projections\n")[2].partition("\n## ")[0]
    described = re.findall(r"^    ([a-z_]+(?:, [a-z_]+)*)  +\S", section, re.MULTILINE)
    named = {name for names in described for name in names.split(", ")}
    failure = re.search(r"^    (failed, .*?)   ", section, re.MULTILINE)
    assert failure is not None
    assert named | set(failure[1].split(", ")) == set(projections_of(OLD_LOGS[-1])[0].keys())


def test_the_page_describes_every_column_of_reactions() -> None:
    connection = sqlite3.connect(f"file:{OLD_LOGS[-1]}?immutable=1", uri=True)
    section = PAGE.partition("\n## Reactions\n")[2].partition("\n## ")[0]
    columns = [name for (name,) in connection.execute("select name from pragma_table_info('reactions')")]
    states = {state for (state,) in connection.execute("select state from dead_letters")}
    connection.close()
    described = re.findall(r"^    ([a-z_]+(?:, [a-z_]+)*)  +\S", section, re.MULTILINE)
    groups = re.findall(r"^    ([a-z_]+(?:, [a-z_]+)*)   ?[a-z0-9J]", section, re.MULTILINE)
    assert {name for names in (*described, *groups) for name in names.split(", ")} == set(columns)
    assert states == {"parked", "stopped"}


def test_projections_of_the_newest_log_go_on_and_are_right(tmp_path: Path) -> None:
    shutil.copy(OLD_LOGS[-1], tmp_path / "log.db")
    receipts = map(json.loads, esctl("projection", "run", "--log", "log.db", cwd=tmp_path).splitlines())
    head = int(esctl("head", "--log", "log.db", cwd=tmp_path).split(":")[0])
    assert {receipt["position"] for receipt in receipts} == {head}
    assert esctl("projection", "verify", "--log", "log.db", cwd=tmp_path) == ""
    assert '"switched":true' in esctl("projection", "rollback", "daily_revenue", "--log", "log.db", cwd=tmp_path)


def test_projections_can_be_thrown_away_and_a_run_makes_them_anew(tmp_path: Path) -> None:
    log = tmp_path / "log.db"
    shutil.copy(OLD_LOGS[-1], log)
    esctl("projection", "run", "--log", "log.db", cwd=tmp_path)
    names = ("customer_orders", "daily_revenue", "payments_by_status")
    before = [esctl("projection", "show", name, "--log", "log.db", cwd=tmp_path) for name in names]
    tables = [
        table if row["state"] == "live" else f"{table}__{row['version']}"
        for row in projections_of(log)
        for table in json.loads(row["compiled"])["tables"]
    ]
    for table in tables:
        alter(log, f'drop table "{table}"')
    alter(log, "delete from projections")
    esctl("projection", "run", "--log", "log.db", cwd=tmp_path)
    assert [esctl("projection", "show", name, "--log", "log.db", cwd=tmp_path) for name in names] == before


def test_a_log_of_the_first_version_with_a_model_gives_the_states_that_it_gave(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "data" / "storage-2.db", tmp_path / "old.db")
    esctl("migrate", "--yes", "--log", "old.db", cwd=tmp_path)
    states = esctl("state", "--all", "--aggregate", "order", "--log", "old.db", "-o", "raw", cwd=tmp_path).splitlines()
    assert states[0] == '{"status":"Placed","total_amount":248.10,"paid":248.10}'
    assert len(states) == 12
    snapshots = esctl("snapshot", "list", "--log", "old.db", cwd=tmp_path).splitlines()
    problem = "the aggregate has changed, or how esctl folds it"  # it folds erased events
    assert {json.loads(line)["problem"] for line in snapshots} == {problem}


def test_there_is_a_log_of_every_storage_version() -> None:
    assert [path.stem for path in OLD_LOGS] == [f"storage-{n}" for n in range(1, STORAGE_VERSION + 1)]
