"""What the shells' completion asks for, and the scripts that ask."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest

from esctl import open_log
from esctl.cli.complete import candidates
from esctl.log import EventLog
from tests.conftest import ESCTL, Esctl, write_empty_log
from tests.logs import alter
from tests.segments import make


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with events, a mark and projections; it is only read."""
    folder = tmp_path_factory.mktemp("complete")
    (folder / "model.toml").write_text(
        '[projection.orders]\ntable = "create table orders(a)"\n'
        '[projection.payments]\ntable = "create table payments(a)"\n'
    )
    with open_log(folder / "log.db", write=True, create=True) as log:
        for stream, type_ in (("order-1", "OrderPlaced"), ("order-2", "OrderClosed"), ("payment-1", "PaymentReceived")):
            log.append(stream, type_, {})
        log.mark("audited", "#2")
        log.apply_model(folder / "model.toml")
    return folder / "log.db"


@pytest.fixture
def log(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log, named by the environment."""
    monkeypatch.setenv("ESCTL_LOG", str(made))
    return made


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["re"], ["replay", "react", "reaction", "restore"]),
        (["replay", "ord"], ["order-1", "order-2"]),
        (["replay", ""], ["order-1", "order-2", "payment-1"]),
        (["append", "order-1", "Order"], ["OrderClosed", "OrderPlaced"]),
        (["replay", "--type", "P"], ["PaymentReceived"]),
        (["replay", "--since", ""], ["audited"]),
        (["replay", "-o", "c"], ["csv", "cloudevents"]),
        (["replay", "--fol"], ["--follow"]),
        (["help", "exit"], ["exit-codes"]),
        (["replay", "order-1", ""], []),
        (["nonsense", ""], []),
        (["--timeout", "1", "re"], ["replay", "react", "reaction", "restore"]),
        (["replay", "--type", "OrderPlaced", "order-1", ""], []),
        (["append", "--id", "x", "order-1", "P"], ["PaymentReceived"]),
        (["erase", "--stream", "pay"], ["payment-1"]),
        (["completion", "z"], ["zsh"]),
        (["archive", "restore", ""], []),
    ],
)
@pytest.mark.usefixtures("log")
def test_words_that_may_come_next_are_completed(words: list[str], found: list[str]) -> None:
    assert candidates(words) == found


@pytest.mark.parametrize("spelling", ["-l {}", "--log {}", "--log={}"])
def test_the_log_may_be_named_among_the_words(made: Path, spelling: str) -> None:
    assert candidates(["replay", *spelling.format(made).split(), "pay"]) == ["payment-1"]


def test_segments_are_completed(twelve: EventLog) -> None:
    make(twelve)
    assert candidates(["archive", "restore", "--log", str(twelve.path), ""]) == ["1-4", "5-8", "9-12"]


def test_where_there_is_no_log_there_is_nothing_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESCTL_LOG", str(tmp_path / "none.db"))
    assert candidates(["replay", ""]) == []


def stranger(folder: Path, name: object) -> Path:
    """A log with a stream of a name that no append takes."""
    write_empty_log(folder / "log.db")
    alter(folder / "log.db", "insert into streams (stream_id, name) values (1, ?)", name)
    return folder / "log.db"


@pytest.mark.parametrize("name", ["a\nforged", "a\x1b[2J", "a\u202eb"])
def test_names_that_would_act_on_the_terminal_are_left_out(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESCTL_LOG", str(stranger(tmp_path, name)))
    assert candidates(["replay", ""]) == []


def test_completion_takes_no_more_memory_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = apsw.hard_heap_limit(-1)
    monkeypatch.setenv("ESCTL_LOG", str(stranger(tmp_path, "x" * 100_000_000)))
    assert candidates(["replay", ""]) == []
    monkeypatch.setenv("ESCTL_LOG", "none.db")
    assert apsw.hard_heap_limit(-1) == before


def test_a_completion_that_takes_too_long_ends_without_any(tmp_path: Path) -> None:
    code = (
        "import time, esctl.cli.complete as c; c.SECONDS = 0.1; c._candidates = lambda *_: map(time.sleep, [9]);"
        "print(c.watched(['']))"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, check=True)
    assert done.stdout == b""
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["projection", "r"], ["run", "rebuild", "rollback"]),
        (["projection", "show", "--ba"], ["--bars"]),
        (["projection", "show", ""], ["orders", "payments"]),
        (["projection", "run", "p"], ["payments"]),
        (["projection", "run", "payments", "o"], ["orders"]),
        *((["projection", v, "or"], ["orders"]) for v in ("status", "rebuild", "rollback", "diff", "verify", "drop")),
        (["projection", "list", ""], []),
        (["projection", "diff", "orders", "--from", ""], ["audited"]),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("log")
def test_names_of_projections_are_completed(words: list[str], found: list[str]) -> None:
    assert sorted(candidates(words)) == sorted(found)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_one_that_it_can_read(shell: str, esctl: Esctl, tmp_path: Path) -> None:
    script = esctl("completion", shell).stdout
    assert "esctl completion words --" in script
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(script)
    subprocess.run([shell, "-n", "script"], cwd=tmp_path, check=True)


def test_bash_completes_a_stream_from_the_log(esctl: Esctl, log: Path, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(esctl("completion", "bash").stdout)
    asked = 'source ./script; COMP_WORDS=(esctl replay pay); COMP_CWORD=2; _esctl; printf "%s\\n" "${COMPREPLY[@]}"'
    found = {"PATH": f"{Path(ESCTL).parent}:/usr/bin:/bin", "ESCTL_LOG": str(log)}
    done = subprocess.run(["bash", "-c", asked], cwd=tmp_path, env=found, capture_output=True, text=True, check=True)
    assert done.stdout == "payment-1\n", done.stderr
