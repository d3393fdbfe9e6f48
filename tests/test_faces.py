"""The shell and Python are two faces of one thing: the same question has the same answer, and the same refusal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from esctl import open_log
from esctl.api import Log
from esctl.cli.table import COMMANDS
from esctl.errors import ConflictError, EsctlError, NotFoundError, RefusedError
from tests.conftest import SAMPLE, Esctl
from tests.logs import sample_shop

ORDER = "order-1012"
# What only one face has: what is made for people and pipes, for whole files, or for a program that is run.
SHELL_ONLY = {
    "archive create", "archive export", "archive list", "archive move", "archive restore", "archive verify",
    "batch", "bisect", "compact", "completion", "dead-letter drop", "dead-letter list", "dead-letter retry",
    "dead-letter show", "decide", "demo", "diff", "erase", "fork", "help", "init", "log", "migrate", "model check",
    "model history", "model plan", "model show", "project", "projection diff", "projection drop", "projection list",
    "projection rebuild", "projection rollback", "projection status", "projection verify", "query",
    "reaction drop", "reaction list", "reaction pause", "reaction reset", "reaction resume", "reaction status",
    "restore", "snapshot list", "snapshot prune", "snapshot take", "snapshot verify", "streams", "types",
    "upcast check", "upcast rewrite", "upcast show", "version",
}  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's log with its model; projections have not run since the newest events."""
    path = tmp_path_factory.mktemp("faces") / "esctl.db"
    sample_shop(path)
    with open_log(path, write=True) as log:
        log.project()
        order = {"order_id": "3001", "customer_id": "999", "total_amount": 7.5}
        log.append("order-3001", "OrderPlaced", order, id="newest", meta={"actor": "web"})
    return path


@pytest.fixture
def python(shop: Path, tmp_path: Path) -> Iterator[Log]:
    """A copy of it, in the folder in which the shell stands."""
    path = tmp_path / "esctl.db"
    path.write_bytes(shop.read_bytes())
    with open_log(path, write=True) as log:
        yield log


def event(found: Any) -> dict[str, Any]:
    """An event of Python's as a line has it."""
    names = ("position", "stream", "version", "id", "type", "schema", "time", "recorded", "data", "meta")
    return {name: getattr(found, name) for name in names}


def state(log: Log) -> dict[str, Any]:
    found = log.state(ORDER)
    return {name: getattr(found, name) for name in ("stream", "aggregate", "version", "position", "time", "state")}


def numbered(head: str) -> tuple[int, str]:
    position, _, hash_ = head.partition(":")
    return int(position), hash_


def heads_of_backups(log: Log) -> list[str]:
    heads = []
    for name in ("shell.db", "python.db"):
        with open_log(Path(log._log.path).with_name(name)) as copy:
            heads.append(copy.head())
    return heads


def report(log: Log) -> dict[str, Any]:
    return log.verify().record()


ASKED: dict[str, tuple[list[str], Callable[[Log], object]]] = {
    "replay": (["--last", "3"], lambda log: [event(found) for found in log.replay(last=3)]),
    "show": (["newest"], lambda log: event(log.show("newest"))),
    "state": ([ORDER], state),
    "head": ([], lambda log: dict(zip(("position", "hash"), numbered(log.head()), strict=True))),
    "info": ([], lambda log: {key: value for key, value in log.info().items() if key != "file_bytes"}),
    "marks": ([], lambda log: [mark.record() for mark in log.marks().values()]),
    "verify": ([], report),
    "projection show": (["customer_orders"], lambda log: log.rows("customer_orders")),
    "projection show, ordered": (
        ["customer_orders", "--order-by", "spent desc", "--limit", "3", "--where", "orders > 1"],
        lambda log: log.rows("customer_orders", order_by="spent desc", limit=3, where="orders > 1"),
    ),
    "projection show, then": (
        ["daily_revenue", "--until", "#200"],
        lambda log: log.rows("daily_revenue", until="#200"),
    ),
}
DONE: dict[str, tuple[list[str], Callable[[Log], object], Callable[[Log], object], object]] = {
    "append": (
        ["order-3002", "Noted", "a=b", "--id", "shell"],
        lambda log: log.append("order-3003", "Noted", {"a": "b"}, id="python"),
        lambda log: [(found.type, found.version, found.data) for found in log.replay(last=2)],
        [("Noted", 1, {"a": "b"})] * 2,
    ),
    "mark": (["shell"], lambda log: log.mark("python"), lambda log: sorted(log.marks()), ["python", "shell"]),
    "model apply": (
        [str(SAMPLE / "shop.toml"), "--yes"],
        lambda log: log.apply_model(SAMPLE / "shop.toml"),
        lambda log: [found.type for found in log.replay("$esctl")],
        ["ModelApplied"],  # it holds already
    ),
    "react": (
        ["shell", "--exec", "true", "--from", "now"],
        lambda log: log.react("python", lambda _: None, start="now"),
        lambda log: [(one.name, one.position == log._log.head().position) for one in log._log.store.reactions().all()],
        [("python", True), ("shell", True)],
    ),
    "projection run": ([], lambda log: log.project(), lambda log: set(log.project().values()), {420}),
    "backup": (
        ["shell.db"],
        lambda log: log.backup(Path(log._log.path).with_name("python.db")),
        lambda log: [head == log.head() for head in heads_of_backups(log)],
        [True, True],
    ),
}


def test_every_command_has_a_python_method_or_is_for_the_shell_alone() -> None:
    faces = {name.partition(",")[0] for name in (*ASKED, *DONE)}
    assert faces | SHELL_ONLY == set(COMMANDS)
    assert not faces & SHELL_ONLY


@pytest.mark.parametrize("name", ASKED)
def test_both_give_the_same_answer(name: str, esctl: Esctl, python: Log) -> None:
    words, method = ASKED[name]
    said = esctl(*name.partition(",")[0].split(), *words, "-o", "json")
    assert said.returncode == 0, said.stderr
    shell, found = json.loads(said.stdout), method(python)
    if isinstance(found, dict):  # the shell says more: the log's path, hashes
        shell = {key: shell[key] for key in found}
    assert shell == found


@pytest.mark.parametrize("name", DONE)
def test_both_do_the_same(name: str, esctl: Esctl, python: Log) -> None:
    words, method, what, expected = DONE[name]
    assert esctl(*name.split(), *words).returncode == 0
    method(python)
    assert what(python) == expected
    assert python.verify().ok


@pytest.mark.parametrize(
    ("words", "method", "error"),
    [
        (["replay", "none"], lambda log: list(log.replay("none")), NotFoundError),
        (["show", "none"], lambda log: log.show("none"), NotFoundError),
        (["append", ORDER, "T", "--expect", "none"], lambda log: log.append(ORDER, "T", expect="none"), ConflictError),
        (["append", ORDER, "OrderPlaced"], lambda log: log.append(ORDER, "OrderPlaced"), RefusedError),
        (["projection", "show", "none"], lambda log: log.rows("none"), NotFoundError),
    ],
    ids=["stream", "event", "expectation", "rule", "projection"],
)
def test_both_refuse_the_same(
    words: list[str], method: Callable[[Log], object], error: type[EsctlError], esctl: Esctl, python: Log
) -> None:
    said = esctl(*words, "--error-format", "json")
    with pytest.raises(error) as caught:
        method(python)
    told = json.loads(said.stderr.splitlines()[-1])
    assert (told["exit"], told["what"]) == (caught.value.exit_code, caught.value.what)
