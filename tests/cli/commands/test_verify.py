"""`esctl verify`: a log that was altered or damaged is told from one that was not."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from esctl import open_log
from tests.conftest import ESCTL, Esctl, write_empty_log
from tests.logs import alter

EVENTS = "".join(
    json.dumps({"stream": f"s-{i % 3}", "type": f"T{i % 2}", "id": f"e-{i}", "data": {"i": i}, "meta": {"m": i}}) + "\n"
    for i in range(1, 31)
)


@pytest.fixture(scope="module")
def thirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of thirty events in several transactions, which tests copy."""
    path = write_empty_log(tmp_path_factory.mktemp("thirty") / "log.db")
    given = [json.loads(line) for line in EVENTS.splitlines()]
    with open_log(path, write=True) as log:
        for first in range(0, len(given), 7):
            log.append_all(given[first : first + 7])
    return path


@pytest.fixture
def log(thirty: Path, log_path: Path) -> Path:
    """A log of thirty events."""
    shutil.copy(thirty, log_path)
    return log_path


def report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    made = json.loads(done.stdout)
    assert isinstance(made, dict)
    return made


@pytest.mark.parametrize(("options", "mode"), [([], "full"), (["--full"], "full"), (["--quick"], "quick")])
def test_a_whole_log_is_reported_so(run: Esctl, log: Path, options: list[str], mode: str) -> None:
    done = run("verify", *options)
    assert (done.returncode, done.stderr) == (0, "")
    head = run("head").stdout.strip()
    assert report(done) == {
        "ok": True,
        "mode": mode,
        "events": 30,
        "erased": 0,
        "head": head,
        "findings": [],
        "notes": [],
    }
    assert [path.name for path in log.parent.iterdir()] == [log.name]


def test_an_empty_log_is_whole(run: Esctl) -> None:
    made = report(run("verify"))
    assert (made["ok"], made["events"], made["findings"]) == (True, 0, [])


@pytest.mark.parametrize(
    "change",
    [
        "data = '{\"i\":8}'",
        "data = '{\"i\": 7}'",
        "data = '{'",
        "data = null",
        "data = cast(x'22ff22' as text)",
        "meta = '{}'",
        "meta = '[]'",
        "meta = null",
        "salt = randomblob(16)",
        "salt = null",
        "hash = randomblob(32)",
        "id = 'other'",
        "id = ''",
        "id = 'e' || char(10)",
        "type_id = 3 - type_id",
        "type_id = 99",
        "stream_id = 99",
        "version = 99",
        "schema = 2",
        "schema = 0",
        "time = '2026-01-01T00:00:00.000000Z'",
        "time = 'noon'",
        "recorded = '2026-01-01T00:00:00.000000Z'",
        "position = 99",
    ],
)
def test_an_altered_field_of_an_event_is_found(run: Esctl, log: Path, change: str) -> None:
    alter(log, f"update events set {change} where position = 7")
    done = run("verify")
    assert done.returncode == 6
    made = report(done)
    assert made["ok"] is False
    assert made["findings"]
    assert {tuple(finding) for finding in made["findings"]} == {("check", "position", "problem")}
    assert any(finding["position"] in (7, 8, 99) for finding in made["findings"])
    assert done.stderr.startswith("error: the log is damaged or altered: ")


@pytest.mark.parametrize(
    "sql",
    [
        "delete from events where position = 7",
        "delete from events where position = 30",
        "delete from events where position <= 7",
        "delete from events",
        "update events set position = position + 100 where position > 7",
        "update events set position = iif(position = 7, -8, -7) where position in (7, 8)",
        "update streams set name = 'other' where stream_id = 1",
        "update streams set name = cast(x'ff' as text) where stream_id = 1",
        "update types set name = 'other' where type_id = 1",
        "delete from streams",
        "delete from types",
        "update head set position = 29",
        "update head set position = 31",
        "update head set hash = randomblob(32)",
        "update head set recorded = '2000-01-01T00:00:00.000000Z'",
        "update head set log_id = 'other'",
        "delete from head",
        "drop table head",
        "drop table types",
    ],
)
def test_an_altered_log_is_found(run: Esctl, log: Path, sql: str) -> None:
    alter(log, sql)
    done = run("verify")
    assert done.returncode == 6
    assert done.stderr.startswith("error: ")
    assert "bug" not in done.stderr


@pytest.mark.parametrize(
    "sql",
    [
        "delete from events where position = 7",
        "update events set position = position + 100 where position > 7",
        "update events set version = 99 where position = 7",
        "update events set type_id = 99 where position = 7",
        "update head set hash = randomblob(32)",
        "update head set recorded = '2000-01-01T00:00:00.000000Z'",
    ],
)
def test_quick_finds_gaps_wrong_versions_and_wrong_heads(run: Esctl, log: Path, sql: str) -> None:
    alter(log, sql)
    assert run("verify", "--quick").returncode == 6


def test_quick_does_not_compute_hashes_and_full_does(run: Esctl, log: Path) -> None:
    alter(log, "update events set data = '{\"i\":8}' where position = 7")
    assert run("verify", "--quick").returncode == 0
    assert run("verify", "--full").returncode == 6


def test_one_altered_event_is_one_finding(run: Esctl, log: Path) -> None:
    alter(log, "update events set data = '{\"i\":8}' where position = 7")
    (finding,) = report(run("verify"))["findings"]
    assert (finding["check"], finding["position"]) == ("chain", 7)


def test_a_failure_says_where_and_what_to_do(run: Esctl, log: Path) -> None:
    alter(log, "update events set data = '{\"i\":8}' where position = 7")
    told = run("verify").stderr
    assert "1 finding" in told
    assert "position 7" in told
    assert "compare with a backup, and restore it" in told
    error = json.loads(run("verify", "--error-format", "json").stderr)
    assert (error["error"], error["exit"]) == ("verification", 6)


def test_a_rewritten_chain_is_found_by_a_head_kept_elsewhere(esctl: Esctl, run: Esctl, log: Path) -> None:
    head = run("head").stdout.strip()
    log.unlink()
    esctl("init", "--log", str(log))
    run("append", input=EVENTS.replace('"i": 7}', '"i": 8}'))
    assert run("verify").returncode == 0
    done = run("verify", "--expect-head", head)
    assert done.returncode == 6
    assert report(done)["findings"][0]["check"] == "expect-head"


@pytest.mark.parametrize("options", [[], ["--quick"]])
def test_every_head_that_the_log_had_is_still_in_it(run: Esctl, options: list[str]) -> None:
    heads = [run("head").stdout.strip()]
    for _ in range(2):
        run("append", "s", "T")
        heads.append(run("head").stdout.strip())
    for head in heads:
        assert run("verify", *options, "--expect-head", head).returncode == 0, head
    for head in heads[::2]:
        position, hash_ = head.split(":")
        other = f"{position}:{'0' if hash_[0] != '0' else '1'}{hash_[1:]}"
        assert run("verify", *options, "--expect-head", other).returncode == 6, other


def test_a_head_beyond_the_end_means_that_events_are_missing(run: Esctl) -> None:
    assert run("append", "s", "T").returncode == 0
    assert run("verify", "--expect-head", f"31:{'0' * 64}").returncode == 6


@pytest.mark.parametrize("head", ["30", "30:", "x:y", ":", "", "30:abc", f"-1:{'0' * 64}", f"30:{'g' * 64}"])
def test_what_is_not_a_head_is_a_wrong_command_line(run: Esctl, head: str) -> None:
    done = run("verify", "--expect-head", head)
    assert (done.returncode, done.stdout) == (2, "")
    assert "fix: esctl head" in done.stderr


def test_quick_and_full_exclude_each_other(run: Esctl) -> None:
    assert run("verify", "--quick", "--full").returncode == 2


def test_a_missing_log_and_a_file_that_is_not_a_log_are_no_findings(esctl: Esctl, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database\n" * 100, encoding="utf-8")
    assert esctl("verify", "--log", "missing.db").returncode == 3
    assert esctl("verify", "--log", "text.db").returncode == 7


@pytest.mark.parametrize("damage", ["cut off", "zeros", "noise"])
def test_a_damaged_file_fails_and_is_no_bug(run: Esctl, log: Path, damage: str) -> None:
    page = 8192
    content = bytearray(log.read_bytes())
    if damage == "cut off":
        content = content[: len(content) // 2 // page * page]
    else:
        content[page : len(content)] = (b"\0" if damage == "zeros" else b"\xa5") * (len(content) - page)
    log.write_bytes(content)
    for options in ([], ["--quick"]):
        done = run("verify", *options)
        assert done.returncode == 6
        assert "bug" not in done.stderr


def test_every_damaged_page_is_found(run: Esctl, log: Path) -> None:
    page = 8192
    whole = log.read_bytes()
    for start in (0, *range(2 * page, len(whole), page)):  # the second page only says which pages name which
        content = bytearray(whole)
        first = 100 if start == 0 else start  # what stands before it in the first page says that this is a log
        content[first : start + page] = bytes(b ^ 0xFF for b in content[first : start + page])
        log.write_bytes(content)
        done = run("verify")
        assert done.returncode in (6, 7), start
        assert "bug" not in done.stderr


def test_a_log_that_others_write_to_is_whole(run: Esctl, log: Path) -> None:
    code = (
        "import subprocess,sys\n"
        "p=subprocess.Popen([sys.argv[1],'append','--batch','5','--log',sys.argv[2]],stdin=subprocess.PIPE)\n"
        "print('go',flush=True)\n"
        "try:\n"
        '  for i in range(10**9): p.stdin.write(b\'{"stream":"w-%d","type":"T"}\\n\'%(i%7))\n'
        "except BrokenPipeError: pass\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, ESCTL, str(log)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.readline()
            counts = [30]
            for options in ([], ["--quick"], [], ["--quick"]):
                while run("head").stdout.startswith(f"{counts[-1]}:"):
                    assert writer.poll() is None  # it is in the middle of it
                done = run("verify", *options)
                assert (done.returncode, done.stderr) == (0, "")
                counts.append(report(done)["events"])
        finally:
            writer.kill()
    assert counts == sorted(set(counts))


# Parts that are derived from events

MODEL = """
[aggregate.s]
streams = "s-*"
on."*" = { add = { n = 1 } }
[projection.seen]
table = "create table seen(k text primary key, n integer not null)"
[projection.seen.on]
"*" = "insert into seen values (new.stream, 1) on conflict(k) do update set n = n + 1"
"""


def flip_in_index(log: Path) -> None:
    """Change a key in the index of a projection's table."""
    with closing(sqlite3.connect(log)) as connection:
        sql = "select rootpage, page_size from sqlite_schema, pragma_page_size where name = 'sqlite_autoindex_seen_1'"
        page, size = connection.execute(sql).fetchone()
    content = bytearray(log.read_bytes())
    content[content.index(b"s-1", (page - 1) * size) + 2] ^= 4
    log.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "part", "fix"),
    [
        ("drop table seen", "projection seen", ["projection", "rebuild", "seen"]),
        ("update projections set position = 99", "projection seen", ["projection", "rebuild", "seen"]),
        ("update projections set compiled = replace(compiled, 'n + 1', 'n + 2')", "projection seen",
         ["projection", "rebuild", "seen"]),
        ("update snapshots set hash = zeroblob(32) where stream_id = 1", "snapshot s-0 v10", ["snapshot", "prune"]),
        (flip_in_index, "index sqlite_autoindex_seen_1", ["compact", "--full"]),
    ],
    ids=["table", "checkpoint", "compiled form", "snapshot", "index"],
)  # fmt: skip
def test_damage_in_what_is_derived_from_events_is_named_with_the_command_that_rebuilds_it(
    run: Esctl, log: Path, tmp_path: Path, damage: str | Callable[[Path], None], part: str, fix: list[str]
) -> None:
    (tmp_path / "model.toml").write_text(MODEL)
    for words in (["model", "apply", "model.toml", "--yes"], ["projection", "run"], ["snapshot", "take", "--all"]):
        assert run(*words).returncode == 0
    if callable(damage):
        damage(log)
    else:
        alter(log, damage)
    done = run("verify")
    assert done.returncode == 6
    found = json.loads(done.stdout)
    assert (found["rebuildable"], "lost" in found) == ([part], False)
    assert f"derived from events are damaged: {part}" in done.stderr
    assert done.stderr.rstrip().endswith(f"fix: esctl {' '.join(fix)}")
    assert run(*fix, "--yes").returncode == 0
    assert run("verify").returncode == 0


def test_where_events_are_damaged_too_the_way_is_to_salvage_them(run: Esctl, log: Path, tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text(MODEL)
    for words in (["model", "apply", "model.toml", "--yes"], ["projection", "run"]):
        assert run(*words).returncode == 0
    alter(log, "drop table seen; update events set data = '{}' where position = 3")
    done = run("verify")
    assert json.loads(done.stdout)["rebuildable"] == ["projection seen"]
    assert "fix: esctl restore --salvage" in done.stderr


def test_a_compiled_form_that_is_no_json_is_damage_and_no_bug(run: Esctl, log: Path, tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text(MODEL)
    for words in (["model", "apply", "model.toml", "--yes"], ["projection", "run"]):
        assert run(*words).returncode == 0
    alter(log, "update projections set compiled = 'xx'")
    done = run("verify")
    assert (done.returncode, json.loads(done.stdout)["lost"]) == (6, [])
    assert "was not compiled by esctl: it is no JSON object" in done.stderr
