"""`esctl head`: where the log ends, to be written down elsewhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.conftest import Esctl


def test_the_head_of_an_empty_log_is_its_genesis_hash(run: Esctl) -> None:
    log_id = json.loads(run("head", "-o", "json").stdout)["log_id"]
    genesis = hashlib.sha256(b"esctl/1/" + log_id.encode()).hexdigest()
    assert run("head").stdout == f"0:{genesis}\n"


def test_the_head_is_the_newest_events_position_and_hash(run: Esctl) -> None:
    heads = []
    for n in (1, 2, 3):
        run("append", f"s-{n}", "T")
        newest = json.loads(run("replay", "--last", "1", "--hash").stdout)
        heads.append(run("head").stdout)
        assert heads[-1] == f"{n}:{newest['hash']}\n"
    assert len(set(heads)) == 3


def test_heads_of_logs_with_the_same_events_differ(esctl: Esctl) -> None:
    heads = []
    for name in ("a.db", "b.db"):
        esctl("init", "--log", name)
        esctl("append", "s", "T", "--id", "e-1", "--time", "2026-01-01T00:00:00Z", "--log", name)
        heads.append(esctl("head", "--log", name).stdout)
    assert heads[0] != heads[1]


@pytest.mark.parametrize("format_", ["auto", "raw", "table"])
def test_the_head_is_one_word_for_the_shell(run: Esctl, format_: str) -> None:
    run("append", "s", "T")
    assert run("head", "-o", format_).stdout == run("head").stdout
    assert len(run("head", "-o", format_).stdout.split()) == 1


@pytest.mark.parametrize("format_", ["ndjson", "json", "csv"])
def test_the_head_as_a_record_names_the_log(run: Esctl, format_: str) -> None:
    run("append", "s", "T")
    event = json.loads(run("replay").stdout)
    position, hash_ = run("head").stdout.strip().split(":")
    out = run("head", "-o", format_).stdout
    if format_ == "csv":
        names, values = (line.split(",") for line in out.splitlines())
        record = dict(zip(names, values, strict=True))
    else:
        record = json.loads(out)
    assert list(record) == ["position", "hash", "recorded", "log_id"]
    assert (str(record["position"]), record["hash"], record["recorded"]) == (position, hash_, event["recorded"])


def test_without_a_log_there_is_no_head(esctl: Esctl, tmp_path: Path) -> None:
    done = esctl("head", "--log", "missing.db")
    assert (done.returncode, done.stdout) == (3, "")
    assert list(tmp_path.iterdir()) == []


def test_head_takes_no_argument(run: Esctl) -> None:
    done = run("head", "order-1")
    assert (done.returncode, done.stdout) == (2, "")
