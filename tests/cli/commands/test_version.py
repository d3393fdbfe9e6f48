"""`esctl version`: which esctl this is, and which logs it reads."""

from __future__ import annotations

import json

import pytest

from esctl import __version__
from esctl.store.format import STORAGE_VERSION
from tests.conftest import Esctl


@pytest.mark.parametrize("words", [["version"], ["--version"], ["-V"], ["version", "-q"], ["version", "-o", "table"]])
def test_it_is_printed_for_people_whatever_it_is_called_and_needs_no_log(esctl: Esctl, words: list[str]) -> None:
    done = esctl(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"esctl {__version__} (storage version {STORAGE_VERSION})\n"


@pytest.mark.parametrize("format_", ["json", "ndjson"])
def test_programs_get_one_object(esctl: Esctl, format_: str) -> None:
    done = esctl("version", "-o", format_)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"version": __version__, "storage_version": STORAGE_VERSION}


def test_the_storage_version_is_that_of_a_new_log(esctl: Esctl) -> None:
    esctl("init")
    told = json.loads(esctl("version", "-o", "json").stdout)
    assert json.loads(esctl("info", "-o", "json").stdout)["storage_version"] == told["storage_version"]


def test_it_takes_no_arguments(esctl: Esctl) -> None:
    done = esctl("version", "1")
    assert (done.returncode, done.stdout) == (2, "")


def test_the_version_is_printed_behind_other_options_too(esctl: Esctl) -> None:
    assert esctl("-q", "--version").stdout == esctl("version").stdout != ""
