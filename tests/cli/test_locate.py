"""Which log a command is about."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from esctl.cli import locate
from esctl.cli.locate import find, place
from esctl.errors import NotFoundError, UsageError


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, home/a/b within a home that has no log."""
    folder = tmp_path / "home" / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ESCTL_LOG", raising=False)
    return folder


def log_in(folder: Path) -> str:
    path = folder / "esctl.db"
    path.touch()
    return str(path)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_the_log_of_this_folder_or_a_parent_is_found(deep: Path, steps: int) -> None:
    log = log_in([deep, *deep.parents][steps])
    assert find(None) == log


def test_the_nearest_log_is_found(deep: Path) -> None:
    logs = [log_in(folder) for folder in (deep.parent.parent, deep.parent)]
    assert find(None) == logs[1]


def test_what_is_named_goes_before_all_else(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(deep)
    monkeypatch.setenv("ESCTL_LOG", "environment.db")
    assert find("named.db") == "named.db"


def test_the_environment_goes_before_what_lies_around(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(deep)
    monkeypatch.setenv("ESCTL_LOG", "environment.db")
    assert find(None) == "environment.db"


def test_what_is_named_need_not_be_there(deep: Path) -> None:
    assert find("nothing.db") == "nothing.db"
    assert not (deep / "nothing.db").exists()


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_name_names_nothing(deep: Path, empty: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_in(deep)
    monkeypatch.setenv("ESCTL_LOG", "")
    assert find(empty) == log


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to another user")
ANOTHER = 12345


@needs_root
@pytest.mark.parametrize("steps", [0, 1])
def test_a_log_of_another_user_is_refused_where_it_is_only_found(deep: Path, steps: int) -> None:
    log = log_in([deep, *deep.parents][steps])
    os.chown(log, ANOTHER, ANOTHER)
    with pytest.raises(UsageError, match="may be another user's") as refused:
        find(None)
    assert refused.value.again == f"--log {log}"
    assert find(log) == log


@needs_root
def test_a_log_of_who_called_sudo_is_taken(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_in(deep)
    os.chown(log, ANOTHER, ANOTHER)
    monkeypatch.setenv("SUDO_UID", str(ANOTHER))
    assert find(None) == log


@needs_root
def test_a_link_of_another_user_is_refused(deep: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.db").touch()
    (deep / "esctl.db").symlink_to(tmp_path / "mine.db")
    os.chown(deep / "esctl.db", ANOTHER, ANOTHER, follow_symlinks=False)
    with pytest.raises(UsageError, match="may be another user's"):
        find(None)


@needs_root
def test_a_log_in_a_parent_folder_of_another_user_is_refused(deep: Path) -> None:
    log_in(deep.parent)
    os.chown(deep.parent, ANOTHER, ANOTHER)
    with pytest.raises(UsageError, match="may be another user's"):
        find(None)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_log_in_a_parent_that_every_user_may_write_is_refused(deep: Path, what: str) -> None:
    log = Path(log_in(deep.parent))
    (log if what == "file" else log.parent).chmod(0o777)
    with pytest.raises(UsageError, match="may be another user's"):
        find(None)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_in_the_current_folder_the_user_decides_who_may_write(deep: Path, what: str) -> None:
    log = Path(log_in(deep))
    (log if what == "file" else log.parent).chmod(0o777)
    assert find(None) == str(log)


def test_what_a_group_may_write_is_its_owners_affair(deep: Path) -> None:
    log = Path(log_in(deep.parent))
    log.chmod(0o664)
    log.parent.chmod(0o775)
    assert find(None) == str(log)


def test_the_search_ends_at_the_home_folder(deep: Path) -> None:
    log_in(deep.parents[2])
    with pytest.raises(NotFoundError):
        find(None)


@pytest.mark.parametrize("spelling", ["{home}/", "{home}/.", "{home}/a/..", "{link}"])
def test_the_home_folder_is_known_however_it_is_spelled(
    deep: Path, spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, link = deep.parents[1], deep.parents[2] / "link"
    link.symlink_to(home)
    monkeypatch.setenv("HOME", spelling.format(home=home, link=link))
    log_in(home.parent)
    with pytest.raises(NotFoundError):
        find(None)


@pytest.mark.parametrize("home", ["", "elsewhere", None])
def test_outside_of_the_home_folder_the_search_goes_on(
    deep: Path, home: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if home is None:
        monkeypatch.delenv("HOME")
    else:
        monkeypatch.setenv("HOME", home)
    log = log_in(deep.parents[2])
    assert find(None) == log


@pytest.mark.parametrize("at", [0, 1])
def test_the_search_ends_at_a_mount_point(deep: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = [deep, *deep.parents][at]
    monkeypatch.setattr(os.path, "ismount", lambda folder: Path(folder) == mount)
    log = log_in(mount)
    assert find(None) == log
    Path(log).rename(mount.parent / "esctl.db")
    with pytest.raises(NotFoundError):
        find(None)


def test_where_no_log_is_found_the_way_to_one_is_told(deep: Path) -> None:
    with pytest.raises(NotFoundError) as missing:
        find(None)
    assert str(deep) in missing.value.what
    assert "esctl init" in missing.value.fix


@pytest.mark.parametrize(
    ("named", "environment", "expected"),
    [
        ("named.db", "environment.db", "named.db"),
        (None, "environment.db", "environment.db"),
        (None, "", "esctl.db"),
        ("", "", "esctl.db"),
        (None, None, "esctl.db"),
    ],
)
def test_a_new_log_goes_where_it_is_named_or_into_this_folder(
    deep: Path, named: str | None, environment: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(deep.parent)
    if environment is not None:
        monkeypatch.setenv("ESCTL_LOG", environment)
    assert place(named) == expected


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"ESCTL_CACHE": "/c"}, "/c"),
        ({"ESCTL_CACHE": "none"}, ""),
        ({"ESCTL_CACHE": "", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/esctl"),
        ({"XDG_CACHE_HOME": "x", "HOME": "/h"}, ""),
        ({"HOME": "/h"}, "/h/.cache/esctl"),
        ({}, ""),
    ],
)
def test_compiled_models_lie_where_the_environment_says(
    variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ESCTL_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert locate.cache() == folder
