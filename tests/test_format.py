"""The format that `esctl help format` documents is the format: an independent verifier, and logs of every version."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from esctl import chain
from esctl.stores.format import APPLICATION_ID, STORAGE_VERSION

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "esctl" / "help" / "format.md").read_text(encoding="utf-8")
VERIFIER = [sys.executable, str(ROOT / "tests" / "independent_verifier.py")]
OLD_LOGS = sorted((ROOT / "tests" / "data").glob("storage-*.db"))
ESCTL = str(Path(sys.executable).with_name("esctl"))


def esctl(*arguments: str, cwd: Path) -> str:
    return subprocess.run([ESCTL, *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout


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
    connection = sqlite3.connect(shop)
    (log_id,) = connection.execute("select log_id from head").fetchone()
    connection.close()
    lines = esctl("replay", "--system", "--hash", "--log", "shop.db", cwd=shop.parent)
    done = subprocess.run([*VERIFIER, "-", log_id], input=lines, check=True, capture_output=True, text=True)
    assert done.stdout == head


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
    before = subprocess.run([*VERIFIER, str(log)], check=True, capture_output=True, text=True).stdout
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
    lines = esctl("replay", "$esctl", "--log", "new.db", cwd=tmp_path).splitlines()
    events = {event["type"]: event for event in map(json.loads, lines)}
    assert set(events) == {"MarkSet", "ModelApplied", "LogRewritten"}
    for type_, event in events.items():
        described = re.search(rf"^    {type_} +(.*(?:\n {{19}}\S.*)*)$", PAGE, re.MULTILINE)
        assert described is not None
        assert all(key in described[1] for key in event["data"]), (type_, list(event["data"]))
        assert list(event["meta"]) == ["actor"]


def test_a_log_of_the_first_version_with_a_model_gives_the_states_that_it_gave(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "data" / "storage-2.db", tmp_path / "old.db")
    states = esctl("state", "--all", "--aggregate", "order", "--log", "old.db", "-o", "raw", cwd=tmp_path).splitlines()
    assert states[0] == '{"status":"Placed","total_amount":248.10,"paid":248.10}'
    assert len(states) == 12
    snapshots = esctl("snapshot", "list", "--log", "old.db", cwd=tmp_path).splitlines()
    assert {json.loads(line)["problem"] for line in snapshots} == {None}


def test_there_is_a_log_of_every_storage_version() -> None:
    assert [path.stem for path in OLD_LOGS] == [f"storage-{n}" for n in range(1, STORAGE_VERSION + 1)]
