"""The shared options, and what they give every command."""

from __future__ import annotations

import io
import os
import pty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from esctl.cli.declare import LOCK_SECONDS, Shared
from esctl.errors import NotFoundError, UsageError
from esctl.output import console
from esctl.output.console import Settings


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    """No options from the environment, and this process prints as ever afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ESCTL_FORMAT", "ESCTL_LOG"):
            patch.delenv(name, raising=False)
        yield
        patch.delenv("ESCTL_FORMAT", raising=False)
        Shared().apply()


# Formats


@pytest.mark.parametrize(
    ("environment", "option", "format_"),
    [
        (None, None, "auto"),
        ("", None, "auto"),
        ("csv", None, "csv"),
        ("csv", "json", "json"),
        ("csv", "auto", "auto"),
        ("nonsense", "json", "json"),
    ],
)
def test_the_format_is_that_of_the_option_then_of_the_environment(
    environment: str | None, option: str | None, format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment is not None:
        monkeypatch.setenv("ESCTL_FORMAT", environment)
    assert Shared(format=option).format == format_  # type: ignore[arg-type]  # None, or one of the choices


@pytest.mark.parametrize("wrong", ["xml", "JSON", " csv"])
def test_a_format_of_the_environment_that_is_none_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESCTL_FORMAT", wrong)
    with pytest.raises(UsageError) as refused:
        Shared()
    assert refused.value.what == f"ESCTL_FORMAT is {wrong!r}"
    assert "ndjson" in refused.value.why
    assert refused.value.fix == "unset ESCTL_FORMAT"


def test_auto_is_decided_by_what_stdout_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert (Shared().rendering, Shared(format="csv").rendering) == ("ndjson", "csv")


# Timeouts


@pytest.mark.parametrize(
    ("option", "lock", "model"),
    [(None, LOCK_SECONDS, None), (0.0, 0.0, None), (0.5, 0.5, 0.5), (86400.0, 86400.0, 86400.0)],
)
def test_a_timeout_bounds_the_wait_for_a_lock_and_a_models_sql(
    option: float | None, lock: float, model: float | None
) -> None:
    shared = Shared(timeout=option)
    assert (shared.timeout, shared.sql_timeout) == (lock, model)


@pytest.mark.parametrize("wrong", [-1.0, 86401.0, float("nan"), float("inf")])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(wrong: float) -> None:
    with pytest.raises(UsageError, match="--timeout"):
        Shared(timeout=wrong)


# The log


def test_a_log_is_opened_as_the_options_say(log_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Shared(log=str(log_path)).opened() as log:
        assert log.head()[0] == 0
    assert capsys.readouterr().err == ""
    with Shared(log=str(log_path), verbose=True).opened():
        assert capsys.readouterr().err == f"log: {log_path}\n"
    with Shared(log=str(log_path), debug=True).opened() as log:
        log.head()
    assert "SELECT" in capsys.readouterr().err.upper()


def test_a_log_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        Shared(log=str(tmp_path / "none.db")).opened()


def test_settling_makes_this_process_print_as_the_options_say() -> None:
    Shared(quiet=True, color="never", utc=True, wide=True, safe_csv=True).apply()
    assert console.settings == Settings(quiet=True, color="never", utc=True, wide=True, safe_csv=True)
    Shared().apply()
    assert console.settings == Settings()


# Questions

Told = Callable[[], str]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    return lambda: capsys.readouterr().err


@contextmanager
def typed(text: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """While stdin is a terminal on which this is typed."""
    terminal, side = pty.openpty()
    with open(side, encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        os.write(terminal, text)
        yield
    os.close(terminal)


def test_yes_agrees_to_a_plan_that_is_told(told: Told) -> None:
    Shared(yes=True).confirm("three events go")
    assert told() == "three events go\n"


def test_a_plan_is_told_in_silence_only_where_it_is_agreed_to(told: Told) -> None:
    Shared(yes=True, quiet=True).confirm("three events go")
    assert told() == ""
    with pytest.raises(UsageError):
        Shared(quiet=True).confirm("three events go")
    assert told() == "three events go\n"


@pytest.mark.parametrize("stdin", [None, io.StringIO("y\n")], ids=["closed", "no terminal"])
def test_without_a_terminal_a_yes_has_to_be_on_the_command_line(
    stdin: io.StringIO | None, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    with pytest.raises(UsageError) as refused:
        Shared().confirm("three events go")
    assert (refused.value.what, refused.value.again) == ("this needs confirmation", "--yes")
    assert told() == "three events go\n"


@pytest.mark.parametrize("answer", [b"y\n", b"yes\n", b"what?\ny\n"])
def test_on_a_terminal_one_is_asked_and_a_yes_agrees(
    answer: bytes, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    with typed(answer, monkeypatch):
        Shared().confirm("three events go")
    assert told().startswith("three events go\nContinue? [y/N]:")


@pytest.mark.parametrize("answer", [b"n\n", b"\n"])
def test_another_answer_does_nothing(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with typed(answer, monkeypatch), pytest.raises(UsageError) as refused:
        Shared().confirm("three events go")
    assert (refused.value.what, refused.value.again) == ("nothing was done", None)


def test_the_end_of_input_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with typed(b"\x04", monkeypatch), pytest.raises(KeyboardInterrupt):
        Shared().confirm("three events go")
