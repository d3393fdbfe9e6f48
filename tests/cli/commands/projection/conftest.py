"""The shop of the sample data, and esctl run on it without starting a process."""

from __future__ import annotations

import io
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from esctl import open_log
from esctl.cli import main
from tests.logs import sample_shop

COLUMNS = {
    "customer_orders": ["customer_id", "orders", "open", "spent", "last_order"],
    "daily_revenue": ["day", "payments", "received", "refunded", "revenue"],
    "payments_by_status": ["status", "payments", "amount"],
}


STATUS = [
    "projection", "version", "state", "rows", "position", "lag", "lag_seconds", "bytes", "fingerprint", "reducer",
    "failed", "handler", "error", "failed_at"
]  # fmt: skip
RUN = ["projection", "version", "position", "read", "switched"]
CELLS = ["table", "change", "key", "column", "before", "after"]
HEAD = 419  # of the sample's log, its model applied


class Done(NamedTuple):
    """How a run ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """What a run that succeeded in silence printed, line by line."""
        assert (self.code, self.err) == (0, "")
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Done]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's log with its model; nothing of it has been projected. It is copied, never used."""
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    sample_shop(path)
    return path


def runs_in(folder: Path, log: Path) -> Run:
    """A way to run esctl on a log without starting a process."""

    def run(*arguments: str) -> Done:
        out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline=""), io.StringIO()
        with chdir(folder), redirect_stdout(out), redirect_stderr(err):
            code = main.run([*arguments, "-l", str(log)])
        out.flush()
        raw = out.buffer
        assert isinstance(raw, io.BytesIO)
        return Done(code, raw.getvalue().decode(), err.getvalue())

    return run


@pytest.fixture
def log(shop: Path, tmp_path: Path) -> Path:
    """A shop of one's own."""
    path = tmp_path / "esctl.db"
    shutil.copy(shop, path)
    return path


@pytest.fixture
def run(log: Path, tmp_path: Path) -> Run:
    return runs_in(tmp_path, log)


@pytest.fixture(autouse=True)
def plain_environment() -> Iterator[None]:
    """A terminal of 120 columns, no options from the environment, and the signals as they were."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ESCTL_LOG", "ESCTL_FORMAT", "NO_COLOR", "FORCE_COLOR"):
            patch.delenv(name, raising=False)
        patch.setenv("COLUMNS", "120")
        yield
    signal.signal(signal.SIGTERM, before)


def append(log: Path, stream: str, type_: str, data: dict[str, Any]) -> None:
    with open_log(log, write=True) as opened:
        opened.append(stream, type_, data)


def told(done: Done, code: int) -> dict[str, Any]:
    """What a failure said in one line, and that it printed no data."""
    assert (done.code, done.out) == (code, ""), done.err
    said: dict[str, Any] = json.loads(done.err.splitlines()[-1])
    assert said["exit"] == code
    return said


FRAGILE = """
[projection.strict]
table = "create table strict(n integer primary key)"
on.T = "insert into strict values (new.data ->> 'n')"
[projection.lenient]
table = "create table lenient(n integer primary key)"
on."*" = "insert or ignore into lenient values (new.data ->> 'n')"
"""


@pytest.fixture
def fragile(tmp_path: Path) -> Run:
    """Runs on a log in whose fourth event a handler fails."""
    path = tmp_path / "fragile.db"
    (tmp_path / "model.toml").write_text(FRAGILE, encoding="utf-8")
    with open_log(path, write=True, create=True) as opened:
        opened.apply_model(tmp_path / "model.toml")
        for n in (1, 2, 1, 3):
            opened.append("s-1", "T", {"n": n})
    return runs_in(tmp_path, path)
