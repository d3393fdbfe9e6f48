"""What a command loads: a shell loop pays it per event. Each command has the heavy modules that it may load.

Python runs without `site` here, since what stands in there may load anything.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import esctl

ROOT = Path(esctl.__file__).parents[1]
HEAVY = {
    "apsw", "ctypes", "datetime", "decimal", "difflib", "enum", "hashlib", "importlib", "inspect", "json",
    "jsonschema_rs", "logging", "msgspec", "pathlib", "re", "rich", "shlex", "signal", "sqlite3", "sqlite_utils",
    "subprocess", "tomllib", "typer", "typing", "uuid", "zstandard",
}  # fmt: skip
LEAN = {"apsw"}
TIMES = LEAN | {"datetime", "enum", "re"}  # a point in time is read
READS_MODEL = LEAN | {"enum", "json", "re", "typing"}
PROGRAM = """
import sys
sys.path[:0] = {paths!r}
before = set(sys.modules)
from esctl.cli import main
code = main.run(sys.argv[1:])
with open("loaded.txt", "w") as file:
    file.write(" ".join({{name.partition(".")[0] for name in set(sys.modules) - before}}))
sys.exit(code)
"""

# A command line that each lean command is for, and the heavy modules that it may load, on a log without a model.
LOADS: dict[str, tuple[list[str], set[str]]] = {
    "append": (["s", "T", '{"a":1}'], LEAN),
    "append, an item": (["s", "T", "a=1", "b:=2", "--meta", "x=y", "-q", "--expect", "any", "--id", "e"], LEAN),
    "append, json": (["s", "T", "-o", "json", "--schema", "2"], LEAN),
    "replay": ([], LEAN),
    "replay, filters": (["s", "--type", "T", "--limit", "3", "--last", "2", "--reverse", "-o", "json", "--hash"], LEAN),
    "replay, a point": (["--until", "#2"], TIMES),
    "head": (["-o", "ndjson"], LEAN),
    "show": (["1"], LEAN),
    "streams": ([], LEAN),
    "types": ([], LEAN),
    "info": ([], LEAN),
    "mark": (["m"], TIMES),
    "marks": ([], LEAN),
    "archive list": ([], LEAN),
    "version": ([], set()),
    "help": ([], {"difflib", "re", "enum"}),
    "completion": (["bash"], set()),
    "snapshot list": ([], READS_MODEL),
    "model history": ([], READS_MODEL),
    "diff": (["s", "--from", "v1"], READS_MODEL | TIMES),
    "bisect": (["s", "--when", "version > 0"], READS_MODEL),
    "state": (["s"], READS_MODEL),
    "log": (["s"], READS_MODEL | TIMES),
    "query": (["select 1 as a"], READS_MODEL),
    "verify": (["--quick"], READS_MODEL | TIMES),
    "projection list": ([], READS_MODEL),
    "projection status": ([], READS_MODEL),
    "reaction list": (
        [],
        READS_MODEL | TIMES | {"decimal", "importlib", "inspect", "msgspec", "pathlib", "shlex", "uuid"},
    ),
}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log of two events, without a model."""
    folder = tmp_path_factory.mktemp("starts")
    loaded(["init"], folder)
    for _ in range(2):
        loaded(["append", "s", "T"], folder)
    return folder


def loaded(words: list[str], folder: Path) -> tuple[int, set[str]]:
    """The exit code of a command line in a new interpreter, and the modules that it loaded."""
    program = PROGRAM.format(paths=[str(ROOT), sysconfig.get_path("platlib")])
    done = subprocess.run(
        [sys.executable, "-S", "-c", program, *words],
        cwd=folder, env={"HOME": str(folder), "USER": "ann"}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return done.returncode, set((folder / "loaded.txt").read_text().split())


@pytest.mark.parametrize("name", LOADS)
def test_a_command_loads_no_more_than_it_may(name: str, log: Path, tmp_path: Path) -> None:
    words, allowed = LOADS[name]
    shutil.copytree(log, tmp_path / "log")
    code, modules = loaded([*name.partition(",")[0].split(), *words], tmp_path / "log")
    assert code in (0, 10)
    assert modules & HEAVY <= allowed
