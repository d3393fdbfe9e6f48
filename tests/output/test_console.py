"""Where output goes: data to stdout, notes and errors to stderr."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.errors import ConflictError, EsctlError, NotFoundError, RefusedError
from esctl.output import console
from tests.conftest import Esctl
from tests.output.conftest import acts, printed


def told(function: Callable[..., None], *arguments: Any) -> str:
    """What a call prints on stderr."""
    err = io.StringIO()
    with redirect_stderr(err):
        function(*arguments)
    return err.getvalue()


# Notes and errors


@given(st.text())
def test_a_note_acts_on_nothing_but_its_own_lines(text: str) -> None:
    shown = told(console.say, text)
    assert shown.count("\n") == text.count("\n") + 1
    assert not any(acts(c) for c in shown if c != "\n")


ERRORS = [
    (EsctlError("what"), "error: what\n"),
    (EsctlError("what", why="why"), "error: what\n  why\n"),
    (EsctlError("what", fix="do this"), "error: what\nfix: do this\n"),
    (RefusedError("what", why="why", fix="do this"), "error: what\n  why\nfix: do this\n"),
    (RefusedError("what", line=3), "error: what, line 3\n"),
    (RefusedError("what", byte=14, line=3, other=5), "error: what, line 3, byte 14\n"),
    (RefusedError("what", line=3, file="a b", item=2, byte=1), "error: what, line 3 of a b, item 2, byte 1\n"),
    (RefusedError("a\nfix: rm -rf \x1b[2J", why="b\rc"), "error: a\\nfix: rm -rf \\x1b[2J\n  b\\rc\n"),
]


@pytest.mark.parametrize(("error", "text"), ERRORS)
def test_an_error_is_told_as_what_why_and_fix(error: EsctlError, text: str) -> None:
    assert told(console.report, error) == text


@pytest.mark.parametrize("error", [error for error, _ in ERRORS])
def test_an_error_is_told_as_one_json_object_on_one_line(error: EsctlError) -> None:
    shown = told(console.report, error, "json")
    assert shown.count("\n") == 1
    assert json.loads(shown) == {
        "error": error.kind,
        "exit": error.exit_code,
        "what": error.what,
        "why": error.why,
        "fix": error.fix,
        **error.details,
    }


def test_the_details_of_an_error_may_be_lists() -> None:
    shown = told(console.report, ConflictError("what", differs=["data", "meta"], actual=None), "json")
    assert json.loads(shown)["differs"] == ["data", "meta"]


@given(st.text(), st.text(), st.text(), st.dictionaries(st.sampled_from(["stream", "line"]), st.text() | st.integers()))
def test_any_text_in_an_error_comes_through_as_json(what: str, why: str, fix: str, details: dict[str, object]) -> None:
    error = NotFoundError(what, why=why, fix=fix)
    error.details = details
    shown = json.loads(told(console.report, error, "json"))
    assert shown == {"error": "not-found", "exit": 3, "what": what, "why": why, "fix": fix, **details}


@pytest.mark.parametrize("format_", ["text", "json"])
def test_an_error_about_what_is_not_unicode_is_told(format_: str, esctl: Esctl) -> None:
    done = esctl("head", "--error-format", format_, "--log", "nothing-\udcff.db")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "there is no log at nothing-" in done.stderr


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RefusedError("what", line=3, byte=4), "skipped: what, line 3, byte 4\n"),
        (RefusedError("wh\x1bat", why="why", line=3), "skipped: wh\\x1bat, line 3 (why)\n"),
    ],
)
def test_a_line_that_is_left_out_is_told_in_a_line(error: EsctlError, text: str) -> None:
    assert told(console.skipped, error) == text


# Where it goes


@pytest.mark.parametrize("format_", [name for name in console.FORMATS if name != "auto"])
def test_a_format_that_is_named_is_the_format(format_: str) -> None:
    assert console.resolve(format_) == format_


def test_auto_is_lines_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert console.resolve("auto") == "ndjson"


def test_auto_is_a_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        assert console.resolve("auto") == "table"
    os.close(master)


def test_what_is_silenced_is_not_heard() -> None:
    program = "from esctl.output import console; print('before', flush=True); console.silence(); print('after' * 9999)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"before\n", b"")


def test_a_repaint_clears_the_terminal_and_shows_what_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "4")
    assert printed(console.repaint, "1\n2\n") == b"\x1b[H\x1b[J1\n2\n"
    assert printed(console.repaint, "1\n2\n3\n4\n5\n") == b"\x1b[H\x1b[J1\n2\n3\n"
