"""Strangers' files: edited logs and segments on which every command must end, and touch nothing that is not its own.

`python -m tests.long.strangers [NAME…]` makes each file, runs a fixed list of commands on it, prints a table and exits
with 1 if a command failed its promises: no bug (exit 1), no traceback, an end in time, no control characters on stdout,
nothing changed outside the file's folder, and nothing in it by commands that only read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from esctl import open_log
from esctl.store import migrations
from tests import runner

SECONDS = 15
MEMORY_BYTES = 3 * 2**30
READS = (
    "head", "info", "replay", "replay -o csv", "replay -o raw --fields id,stream,type", "replay --hash",
    "streams", "types", "show 3", "show --trace 3", "state order-1", "query select,*,from,log", "query select,1",
    "marks", "projection list", "projection status", "projection show counts", "projection verify counts",
    "archive list", "archive verify", "snapshot list", "snapshot verify", "model show", "model history", "upcast check",
    "diff order-1 --from v1 --to v2", "verify", "verify --quick", "migrate --check", "migrate --dry-run",
    "completion words -- replay _", "completion words -- projection show _", "completion words -- replay --since _",
    "reaction list", "reaction status", "dead-letter list", "dead-letter show mail #5",
    "replay order-1 --reverse", "replay --last 2", "replay --since 2026-01-01",
)  # fmt: skip
WRITES = (
    "append order-1 OrderPlaced {}", "append order-9 OrderPlaced {}", "mark m", "archive create --before #11 --yes",
    "archive create --before #9 --to out --yes", "archive move 1-3 --to moved --yes", "archive move 4-6 --to log --yes",
    "archive restore 1-3 --yes", "archive restore 4-6 --yes", "archive export 1-3 out.ndjson",
    "erase 9 --yes --force --reason r", "erase 2 --yes --force --reason r",
    "erase --stream order-1 --yes --force --reason r", "compact --yes", "projection run", "projection rebuild counts",
    "projection drop counts --yes", "snapshot take order-1", "backup copy.db", "backup copy.db --without-segments",
    "fork fork.db --until #3", "fork fork.db --until #8", "restore log.db --log restored.db", "migrate --yes",
    "upcast rewrite --to rewritten.db --yes",
)  # fmt: skip
CATCHES_UP = "projection show counts"
SHORT = ("head", "replay", "completion words -- replay _", "append order-1 OrderPlaced {}")

Maker = Callable[[Path], None]
FILES: dict[str, Maker] = {}

MODEL = """
[aggregate.order]
streams = "order-*"
initial = { n = 0 }
[aggregate.order.on.OrderPlaced]
add = { n = "$.n" }
[projection.counts]
inline = true
table = "create table counts (k text primary key, n integer)"
[projection.counts.on]
OrderPlaced = "insert into counts values (new.stream, 1) on conflict (k) do update set n = n + 1"
"""
FOREVER = "with recursive c(n) as (select 1 union all select n + 1 from c)"


def base(folder: Path) -> Path:
    """A log with a model, a projection, archived events (in the file and in a folder), an erasure, a snapshot, and a
    reaction with dead letters.
    """
    path = folder / "log.db"
    (folder / "model.toml").write_text(MODEL)
    with open_log(path, write=True, create=True) as log:
        for n in range(12):
            log.append(f"order-{n % 3}", "OrderPlaced", {"n": n, "text": "x" * 50})
        log.apply_model(folder / "model.toml")
    for command in ("erase 3 --yes --force --reason asked", "archive create --before #4 --yes",
                    "archive create --before #7 --to segments --yes", "projection run",
                    "snapshot take order-1",
                    "react mail --exec false --retries 0 --on-error park --from beginning --once"):  # fmt: skip
        code, _, error = run(folder, command, dict(os.environ), {})
        assert code == 0, error
    return path


def sql(name: str, *statements: str, values: tuple[object, ...] = ()) -> None:
    """A file that differs from the base by statements."""

    def make(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("pragma ignore_check_constraints = 1")
            for statement in statements:
                if values:
                    connection.execute(statement, values)
                else:
                    connection.executescript(statement)

    FILES[name] = make


def schema(name: str, *changes: str) -> None:
    """A file whose schema is written by hand."""
    sql(name, "pragma writable_schema = on", *changes, "pragma schema_version = 999")


def made(make: Maker) -> Maker:
    """Register a file that a function makes of the base."""
    FILES[make.__name__.replace("_", "-")] = make
    return make


for _table in ("head", "streams", "types", "events", "segments", "frames", "erased", "leftovers", "projections",
               "snapshots", "archived_ids"):  # fmt: skip
    schema(f"view-{_table}",
        f"update sqlite_schema set name = 'old', tbl_name = 'old', sql = replace(sql, 'TABLE {_table}', 'TABLE old')"
        f" where name = '{_table}'; insert into sqlite_schema values ('view', '{_table}', '{_table}', 0,"
        f" 'CREATE VIEW {_table} AS {FOREVER} select n as log_id, n as name from c')")  # fmt: skip
    sql(f"trigger-{_table}",
        f"create trigger hush before insert on {_table} begin select raise(ignore); end;"
        f"create trigger hush2 after update on {_table} begin delete from events; end")  # fmt: skip
sql("view-log", f"drop view log; create view log as {FOREVER} select n as position from c")
sql("view-projection", f"drop table counts; create view counts as {FOREVER} select n as k, n from c")
sql("trigger-projection", "create trigger slow after insert on counts begin insert into types select n, n from"
                          " (with recursive c(n) as (select 1 union all select n + 1 from c) select n from c); end;"
                          "create trigger slow2 after update on counts begin delete from events; end")  # fmt: skip
sql("virtual-table", "drop table leftovers; create virtual table leftovers using fts5(path)")
sql("virtual-projection", "drop table counts; create virtual table counts using fts5(k, n)")
sql("generated-column", "alter table events add column slow text as (hex(zeroblob(400000000))) virtual")
sql("index-expression", "create index slow on events (length(hex(data || zeroblob(10000000))))")
sql("check-projection", "drop table counts; create table counts (k text primary key, n integer check"
                        " (length(hex(zeroblob(300000000))) > n))")  # fmt: skip
sql("foreign-key", "drop table counts; create table counts (k text primary key references events(id) on delete cascade,"
                   " n integer)")  # fmt: skip
schema("schema-garbage", "update sqlite_schema set sql = 'CREATE TABLE streams (' || hex(zeroblob(1000000)) || ')'"
                         " where name = 'streams'")  # fmt: skip
schema("schema-shared-root", "update sqlite_schema set rootpage = (select rootpage from sqlite_schema where name ="
                             " 'events') where name in ('streams', 'leftovers')")  # fmt: skip
schema("schema-no-root", "update sqlite_schema set rootpage = 99999999 where name = 'events'")
sql("many-tables", *(f"create table t{n} (a)" for n in range(3000)))
for _kind, _name in (("stream", "streams"), ("type", "types")):
    for _what, _character in (("lf", "\n"), ("esc", "\x1b[2J"), ("cr", "\r"), ("nul", "\0")):
        sql(f"{_kind}-{_what}", f"update {_name} set name = name || ? where rowid = 1", values=(f"{_character}x",))
    sql(f"{_kind}-forged", f"update {_name} set name = name || ? where rowid = 1", values=('"}\n{"position":99}\n',))
    sql(f"{_kind}-blob", f"update {_name} set name = cast(x'ff41' as text) where rowid = 1")
    sql(f"{_kind}-huge", f"update {_name} set name = hex(zeroblob(50000000)) where rowid = 1")
sql("id-lf", "update events set id = id || ? where position = 9", values=('"}\n{"position":99}\n',))
sql("id-esc", "update events set id = id || ? where position = 9", values=("\x1b[2J",))
for _column in ("data", "meta"):
    sql(f"{_column}-lf", f"update events set {_column} = ? where position = 9", values=('{"a":1}\n{"position":99}',))
    sql(f"{_column}-no-json", f"update events set {_column} = '}}}}{{{{' where position = 9")
    sql(f"{_column}-deep", f"update events set {_column} = ? where position = 9", values=("[" * 100000 + "]" * 100000,))
    sql(f"{_column}-null", f"update events set {_column} = null where position = 9")
sql("data-esc", "update events set data = ? where position = 9", values=('{"a":"\x1b[2J"}',))
sql("data-huge", "update events set data = '\"' || hex(zeroblob(80000000)) || '\"' where position = 9")
sql("time-odd", "update events set time = 'yesterday', recorded = '' where position = 9")
sql("time-far", "update events set time = '99999-01-01T00:00:00.000000Z' where position = 9")
sql("position-negative", "update events set position = -9 where position = 9")
sql("position-far", "update events set position = 9223372036854775807 where position = 12")
sql("version-far", "update events set version = 9223372036854775807 where position = 12")
sql("schema-far", "update events set schema = 9223372036854775807 where position = 12")
sql("head-negative", "update head set position = -5")
sql("head-far", "update head set position = 9223372036854775807")
sql("head-largest", "update head set largest = 9223372036854775807")
sql("head-model-far", "update head set model = 9223372036854775807")
sql("head-model-cyclic", "update head set model = 1")
sql("head-definitions", "update head set definitions = '[1,2,3]'")
sql("head-archived-far", "update head set archived = 9223372036854775807")
sql("head-hash-short", "update head set hash = x'00'")
sql("head-none", "delete from head")
sql("head-id-blob", "update head set log_id = cast(x'ff' as text)")
sql("head-id-lf", "update head set log_id = 'a' || char(10) || 'b'")
sql("stream-id-zero", "pragma foreign_keys = off; update streams set stream_id = 0 where stream_id = 1")
sql("stream-archived-far", "update streams set archived = 9223372036854775807")
sql("model-not-judged", "update events set data = json_set(data, '$.text', '[projection.x]\ntable = \"create table x"
                        " (a default (load_extension(''/tmp/x'')))\"') where position = 13")  # fmt: skip
sql("model-no-toml", 'update events set data = \'{"text":"[[["}\' where position = 13')
sql("model-number", "update events set data = '7' where position = 13")
sql("compiled-foreign", "update projections set compiled = json_set(compiled, '$.on.OrderPlaced',"
                        " 'delete from events')")  # fmt: skip
sql("compiled-attach", "update projections set compiled = json_set(compiled, '$.tables.counts',"
                       " 'counts (a); attach ''../sentinel/x.db'' as y')")  # fmt: skip
sql("compiled-columns", "update projections set compiled = json_set(compiled, '$.columns.a', '(select 1)')")
sql("compiled-bad", "update projections set compiled = '{'")
sql("compiled-list", "update projections set compiled = '[]'")
sql("projection-far", "update projections set position = 9223372036854775807")
sql("projection-name", "update projections set name = 'a' || char(10) || 'b'")
sql(
    "projection-error",
    "update projections set failed = 3, handler = char(27) || '[2J', error = char(10), failed_at = 'x'",
)
sql("projections-many", f"insert into projections {FOREVER} select n + 9, 'p' || n, 'live', 1, 1, 0, '', null, 0, '',"
                        " null, null, null, null, '{}' from c where n < 3000 limit 2000")  # fmt: skip
sql("leftover-sentinel", "insert into leftovers values ('../sentinel/a.txt'), ('../sentinel/segment.ndjson.zst')")
sql("leftover-absolute", "insert into leftovers values ('/etc/passwd'), ('/dev/null'), ('.')")
sql("segment-elsewhere", "update segments set location = '../sentinel'")
sql("segment-passwd", "update segments set location = '/etc/passwd'")
sql("segment-proc", "update segments set location = '/proc/self'")
sql("segment-nul", "update segments set location = 'a' || char(0) || 'b'")
sql("segment-lf", "update segments set location = 'a' || char(10) || char(27) || 'b'")
sql("segment-cyclic", "update frames set segment = first, before = x'00'")
sql("segment-overlap", "update segments set last = 9223372036854775807")
sql("segment-negative", "update segments set first = -first")
sql("frame-bytes-far", "update frames set raw_bytes = 9223372036854775807, bytes = 9223372036854775807")
sql("frame-raw-small", "update frames set raw_bytes = 1")
sql("frame-packed-null", "update frames set packed = null, salts = null")
sql("frame-salts-short", "update frames set salts = x'00'")
sql("archived-stream-frames", "update archived_streams set frames = '[1,2,99999999999,-1]'")
sql("archived-stream-far", "update archived_streams set versions_on = 9223372036854775807,"
                           " times_on = 9223372036854775807")  # fmt: skip
sql("archived-types-odd", "update archived_types set schema = -1, least_time = char(27), events = -9")
sql("archived-ids-many", f"insert into archived_ids {FOREVER} select n, 1 from c limit 100000")
sql("erased-far", "insert into erased values (9223372036854775807, x'00', -1)")
sql("erased-all", "insert or ignore into erased select position, x'00', 1 from events")
sql(
    "snapshot-odd",
    "insert into snapshots values (1, 'order' || char(10), 5, 5, 't', 't', 'f', 'u', x'00', '{', x'00', 't')",
)
_SUMMARY = "insert or replace into block_summaries values (0, 10, '2026', '2027')"
sql("links-broken", _SUMMARY, "insert into esctl_links values (0, x'0102', x'03')")
sql("links-forged", _SUMMARY, "insert into esctl_links values (0, randomblob(4000), randomblob(2000))")
sql("links-huge", _SUMMARY, "insert into esctl_links values (0, zeroblob(40000000), zeroblob(20000000))")
sql(
    "links-many",
    _SUMMARY.replace("(0,", "(100000,"),
    f"insert into esctl_links {FOREVER} select n - 1, randomblob(4000), randomblob(2000) from c limit 5000",
)
sql(
    "migrations-odd",
    "update _sqlite_migrations set name = 'x' where id = 1; insert into _sqlite_migrations (name) values (char(10))",
)
sql("user-version-old", "pragma user_version = 2")
sql("user-version-zero", "pragma user_version = 0")
sql("user-version-new", "pragma user_version = 99")
sql("user-version-negative", "pragma user_version = -1")
sql("application-other", "pragma application_id = 1")


ODD = {  # by the type of a column: values that esctl never stores there, by name
    "INTEGER": {"2-53": "9007199254740992", "2-62": "4611686018427387904", "negative": "-9007199254740992"},
    "TEXT": {"no-utf8": "cast(x'ff41' as text)", "nul": "'a' || char(0) || 'b'", "empty": "''", "esc": "char(27)"},
    "REAL": {"infinite": "9e999", "negative": "-1.5"},
    "BLOB": {"empty": "x''", "byte": "x'00'"},
}


def columns() -> list[tuple[str, str, str]]:
    """Table, column and type of all that a log has."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(migrations.image())
        return connection.execute(
            "select m.name, c.name, c.type from sqlite_schema m, pragma_table_info(m.name) c"
            " where m.type = 'table' and m.name not like '\\_%' escape '\\'"
        ).fetchall()


for _table, _column, _type in columns():
    for _what, _value in ODD[_type].items():
        sql(f"odd-{_table}-{_column}-{_what}", "pragma foreign_keys = off",
            f"update or ignore {_table} set {_column} = {_value}")  # fmt: skip


def frame(name: str, change: Callable[[bytes], bytes]) -> None:
    """A file whose packed frames are unpacked, changed and packed again, with digests that match."""

    def make(path: Path) -> None:
        import zstandard

        with closing(sqlite3.connect(path)) as connection, connection:
            for first, packed in connection.execute(
                "select first, packed from frames where packed is not null"
            ).fetchall():
                raw = change(zstandard.decompress(packed, 10**9))
                again = zstandard.compress(raw)
                connection.execute(
                    "update frames set packed = ?, bytes = ?, raw_bytes = ?, sha256 = ? where first = ?",
                    (again, len(again), len(raw), hashlib.sha256(again).digest(), first),
                )

    FILES[name] = make


frame("frame-without-lf", lambda raw: raw[:-1])
frame("frame-empty", lambda _: b"")
frame("frame-forged", lambda raw: raw + b'{"position":99}\n')
frame("frame-control", lambda raw: raw.replace(b"order", b"or\x1bder", 1))
frame("frame-no-json", lambda _: b"no json\n" * 3)
frame("frame-bomb", lambda _: b"0" * 400_000_000)
frame("frame-odd-values", lambda raw: raw.replace(b'"version":1', b'"version":"x"').replace(b'"time":"', b'"time":"9'))


@made
def frame_garbage(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update frames set packed = randomblob(1000) where packed is not null")


def segment(path: Path) -> Path:
    return next((path.parent / "segments").glob("*.ndjson.zst"))


@made
def segment_link(path: Path) -> None:
    shutil.move(segment(path), path.parent / "elsewhere")
    segment(path.parent / "x" / "y").symlink_to("../elsewhere") if False else None
    for name in path.parent.glob("elsewhere"):
        (path.parent / "segments" / "link.ndjson.zst").symlink_to(name)


@made
def segment_fifo(path: Path) -> None:
    there = segment(path)
    there.unlink()
    os.mkfifo(there)


@made
def segment_device(path: Path) -> None:
    there = segment(path)
    there.unlink()
    there.symlink_to("/dev/zero")


@made
def segment_folder(path: Path) -> None:
    there = segment(path)
    there.unlink()
    there.mkdir()


@made
def segment_cut(path: Path) -> None:
    os.truncate(segment(path), 100)


@made
def segment_edited(path: Path) -> None:
    content = bytearray(segment(path).read_bytes())
    content[50] ^= 255
    segment(path).write_bytes(content)


@made
def log_cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@made
def log_cut_odd(path: Path) -> None:
    os.truncate(path, 8192 * 3 + 17)


@made
def log_zeros(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8192 * 2)
        file.write(bytes(8192 * 4))


@made
def log_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@made
def log_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@made
def log_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@made
def log_text(path: Path) -> None:
    path.write_text("no log\n" * 2000)


@made
def log_other_database(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table head (log_id)")


@made
def log_link(path: Path) -> None:
    path.rename(path.with_name("real.db"))
    path.symlink_to("real.db")


@made
def log_link_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to("log.db")


@made
def log_hard_link(path: Path) -> None:
    path.with_name("second.db").hardlink_to(path)


@made
def wal_of_another(path: Path) -> None:
    other = path.with_name("other.db")
    connection = sqlite3.connect(other)
    connection.executescript("pragma page_size = 8192; pragma journal_mode = wal; create table evil (x)")
    shutil.copy(f"{other}-wal", f"{path}-wal")
    connection.close()


@made
def wal_garbage(path: Path) -> None:
    Path(f"{path}-wal").write_bytes(b"\x37\x7f\x06\x82" + os.urandom(20000))


@made
def wal_folder(path: Path) -> None:
    Path(f"{path}-wal").mkdir()


@made
def wal_link(path: Path) -> None:
    Path(f"{path}-wal").symlink_to("../sentinel/a.txt")


@made
def journal_link(path: Path) -> None:
    Path(f"{path}-journal").symlink_to("../sentinel/a.txt")


@made
def super_journal(path: Path) -> None:
    from tests.store.test_migrations import hot_journal

    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma page_size = 4096")
        connection.execute(f"pragma application_id = {0x65736374}")
        connection.execute("create table mine (x)")
    hot_journal(path, os.fsencode(path.parent.parent / "sentinel" / "a.txt"))


@made
def cache_forms(path: Path) -> None:
    (path.parent / "cache" / "esctl").mkdir(parents=True, exist_ok=True)
    (path.parent / "cache" / "esctl" / "x").write_bytes(os.urandom(2000))


def tree(folder: Path, *but: str) -> dict[str, object]:
    """What a folder has: the digests of files, the targets of links."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file() and not name.endswith(but):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = ""
    return {name: value for name, value in found.items() if not name.endswith(but)} if but else found


def arguments_of(command: str) -> list[str]:
    words = ["" if word == "_" else word.replace(",", " ") if "select" in word else word for word in command.split()]
    if "--log" not in words and words[0] != "completion":
        words += ["--log", "log.db"]
    return words


def run(folder: Path, command: str, env: dict[str, str], timed: dict[str, float]) -> tuple[int, bytes, bytes]:
    """A command's exit code, stdout and stderr."""
    started = time.monotonic()
    done = runner.run(
        arguments_of(command), cwd=folder, env={**env, "ESCTL_LOG": "log.db"}, seconds=SECONDS, memory=MEMORY_BYTES
    )
    timed[command] = time.monotonic() - started
    return done.returncode, done.stdout, done.stderr


def wrong(command: str, done: tuple[int, bytes, bytes], took: float) -> Iterator[str]:
    """What a command did that it must not do."""
    code, out, error = done
    if code in (1, 99) or b"Traceback" in error or b"bug" in error:
        yield f"exit {code}: {error.decode(errors='replace').strip()[-300:]}"
    if code < 0 or took > SECONDS:
        yield f"ended by signal {-code} after {took:.1f} s"
    if any(b < 32 and b not in b"\t\n" for b in out):
        yield f"control characters on stdout: {out[:100]!r}"
    if command.startswith("replay") and not {"csv", "raw"} & set(command.split()):
        for line in out.splitlines():
            try:
                if "stream" not in json.loads(line):
                    yield f"a forged line: {line[:100]!r}"
            except (ValueError, RecursionError):
                continue  # a payload may be no JSON, which `verify` reports


def examine(name: str, original: Path, place: Path, commands: tuple[str, ...]) -> list[str]:
    """Run commands on one file; return what went wrong."""
    failures: list[str] = []
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(place / "home"),
        "ESCTL_CACHE": str(place / "cache"),
        "LANG": "C.UTF-8",
    }
    sentinel = place / "sentinel"
    sentinel.mkdir(parents=True)
    for file in ("a.txt", "segment.ndjson.zst", "x.db"):
        (sentinel / file).write_text("precious")
    (place / "home").mkdir()
    template = place / "template"
    shutil.copytree(original, template, symlinks=True)
    FILES[name](template / "log.db")
    folder, before = place / "folder", tree(sentinel)
    timed: dict[str, float] = {}
    fresh = True
    for command in commands:
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
            os.system(f"cp -a '{template}' '{folder}'")
            kept = tree(folder, "-wal", "-shm", "-journal")
        done = run(folder, command, env, timed)
        failures += [f"{name}: {command}: {why}" for why in wrong(command, done, timed[command])]
        now = tree(folder, "-wal", "-shm", "-journal")
        fresh = command in WRITES or now != kept
        if command == CATCHES_UP:  # it compares projections with the model, and lets one catch up
            now["log.db"] = kept.get("log.db", "")
        if now != kept and command not in WRITES:
            recovered = (folder / "log.db-wal").exists() or name in ("super-journal", "wal-of-another", "wal-garbage")
            if not recovered:
                failures.append(f"{name}: {command}: it only reads, and changed the folder")
        if tree(sentinel) != before:
            failures.append(f"{name}: {command}: files outside of the folder were changed")
            return failures
    return failures


def main(names: list[str]) -> int:
    """Examine the named files, or all."""
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        original = Path(place) / "original"
        original.mkdir()
        base(original)
        for name in names or FILES:
            started = time.monotonic()
            found = examine(name, original, Path(place) / name, READS + WRITES)
            shutil.rmtree(Path(place) / name)
            print(f"{name:28} {len(READS + WRITES):4} commands {time.monotonic() - started:6.1f} s ", end="")
            print("ok" if not found else f"{len(found)} FAILED", flush=True)
            for failure in found:
                print(f"    {failure}", flush=True)
            failures += found
    print(f"{len(names or FILES)} files, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
