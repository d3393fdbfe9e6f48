"""Exit codes: what scripts rely on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import esctl
from esctl import errors
from esctl.errors import EsctlError

EXIT_CODES = {
    "EsctlError": (1, "failure"),
    "UsageError": (2, "usage"),
    "NotFoundError": (3, "not-found"),
    "ConflictError": (4, "conflict"),
    "RefusedError": (5, "refused"),
    "VerificationError": (6, "verification"),
    "MisfitError": (6, "misfit"),
    "StorageVersionError": (7, "storage-version"),
    "UnavailableError": (8, "unavailable"),
    "SegmentError": (8, "segment"),
    "HandlerError": (9, "handler"),
    "DifferenceError": (10, "difference"),
}
CLASSES: dict[str, type[EsctlError]] = {
    name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, EsctlError)
}


def test_the_table_names_every_error() -> None:
    assert set(CLASSES) == set(EXIT_CODES)


@pytest.mark.parametrize("name", EXIT_CODES)
def test_an_error_has_the_exit_code_and_kind_of_the_contract(name: str) -> None:
    assert (CLASSES[name].exit_code, CLASSES[name].kind) == EXIT_CODES[name]


def test_no_two_errors_share_a_kind() -> None:
    assert len({kind.kind for kind in CLASSES.values()}) == len(CLASSES)


def test_only_an_error_that_is_a_kind_of_another_shares_its_exit_code() -> None:
    own = [kind for kind in CLASSES.values() if kind.__base__ in (Exception, EsctlError)]
    assert len({kind.exit_code for kind in own}) == len(own)
    assert all(kind.exit_code == getattr(kind.__base__, "exit_code", None) for kind in set(CLASSES.values()) - set(own))


def test_every_exception_of_the_module_is_caught_as_esctls() -> None:
    exceptions = {
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, BaseException)
    }
    assert exceptions == set(CLASSES)


def test_an_error_keeps_what_it_tells() -> None:
    error = EsctlError("what", why="why", fix="fix", line=3, stream="s")
    assert (str(error), error.what, error.why, error.fix) == ("what", "what", "why", "fix")
    assert error.details == {"line": 3, "stream": "s"}


def test_the_help_page_explains_every_exit_code_once() -> None:
    page = (Path(esctl.__file__).parent / "help" / "exit-codes.md").read_text(encoding="utf-8")
    codes = [int(code) for code in re.findall(r"^ {4,7}(\d+)   \S", page, re.MULTILINE)]
    assert codes == [0, *sorted({code for code, _ in EXIT_CODES.values()}), 130, 141, 143]
