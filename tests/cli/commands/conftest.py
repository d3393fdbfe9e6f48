"""What several commands are tried on."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from esctl import open_log
from tests.conftest import Esctl


@pytest.fixture
def zoe(run: Esctl, log_path: Path) -> Esctl:
    """Runs esctl as zoe on a log of five events."""
    with open_log(log_path, write=True) as log:
        for n in range(1, 6):
            log.append(f"s-{n % 2}", "T", id=f"e{n}")
    return partial(run, env={"USER": "zoe"})


def marks(zoe: Esctl) -> list[tuple[str, int]]:
    done = zoe("marks")
    assert (done.returncode, done.stderr) == (0, "")
    return [(mark["name"], mark["position"]) for mark in map(json.loads, done.stdout.splitlines())]


@pytest.fixture
def three(run: Esctl) -> Esctl:
    """A log of three events."""
    lines = [
        '{"stream":"s-1","type":"A","id":"a","data":{"n":1.50,"who":{"name":"Zoë, \\"Z\\""}},"meta":{"m":true}}',
        '{"stream":"s-2","type":"B","id":"b","data":[1,2]}',
        '{"stream":"s-1","type":"C","id":"c","data":{"n":null,"who":{}}}',
    ]
    assert run("append", input="\n".join(lines)).returncode == 0
    return run


@pytest.fixture
def on_200(esctl: Esctl) -> Esctl:
    """Runs esctl where there is a log of 200 events."""
    esctl("init")
    lines = "".join(f'{{"stream":"s","type":"T","data":{{"n":{n},"x":"{"x" * 400}"}}}}\n' for n in range(200))
    assert esctl("append", input=lines).returncode == 0
    return esctl


FIELDS = ["position", "stream", "version", "id", "type", "schema", "time", "recorded", "data", "meta"]
