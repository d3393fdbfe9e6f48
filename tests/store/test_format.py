"""What marks an SQLite file as a log, and by what name SQLite finds it."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.errors import NotFoundError, UsageError
from esctl.store.format import APPLICATION_ID, STORAGE_VERSION, absolute, check_there, uri_of


def test_the_files_header_says_what_it_is(log_path: Path) -> None:
    header = log_path.read_bytes()[:100]
    assert header[:16] == b"SQLite format 3\0"
    assert int.from_bytes(header[60:64]) == STORAGE_VERSION
    assert int.from_bytes(header[68:72]) == APPLICATION_ID


@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda name: not set(name) & set(b"/\0")), min_size=1))
def test_a_path_of_any_bytes_is_a_uri_that_names_it(names: list[bytes]) -> None:
    path = os.fsdecode(b"/" + b"/".join(names))
    uri = uri_of(path)
    assert uri.isascii()
    assert not set(uri) & set("?# %") - {"%"}
    assert unquote_to_bytes(uri.removeprefix("file://")) == os.fsencode(path)


def test_a_relative_path_is_in_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("a/log.db") == f"{Path.cwd()}/a/log.db"
    assert absolute("/a/log.db") == "/a/log.db"
    assert uri_of("log.db") == f"file://{Path.cwd()}/log.db"


def test_a_log_is_a_file_that_is_there(log_path: Path, tmp_path: Path) -> None:
    check_there(str(log_path))
    with pytest.raises(NotFoundError, match="there is no log") as missing:
        check_there(str(tmp_path / "a b.db"))
    assert missing.value.fix == f"esctl init --log '{tmp_path}/a b.db'"
    with pytest.raises(NotFoundError):
        check_there(str(log_path / "below.db"))
    with pytest.raises(UsageError, match="is a folder") as folder:
        check_there(f"{tmp_path}/")
    assert f"{tmp_path}/esctl.db" in folder.value.why
