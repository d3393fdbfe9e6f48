"""What is handed out: the sdist is the whole project, the wheel is the package with its sample, the version is told."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from esctl import __version__
from esctl.cli import sample_shop
from esctl.store.format import STORAGE_VERSION
from tests.conftest import environment
from tests.runner import ROOT


def build(target: str, project: Path, folder: Path) -> Path:
    """Build without isolation, so that nothing is fetched, and return the one file that it makes."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, unpacked elsewhere."""
    folder = tmp_path_factory.mktemp("sdist")
    subprocess.run(["tar", "-xzf", str(build("sdist", ROOT, folder / "packed"))], cwd=folder, check=True)
    return folder / f"esctl-{__version__}"


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from nothing but the sdist."""
    return build("wheel", sdist, tmp_path_factory.mktemp("wheel") / "packed")


def within(folder: Path) -> set[str]:
    """The files below a folder, but for what Python caches there."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if "__pycache__" not in path.parts}


def listed(*options: str) -> set[str]:
    """What `git ls-files` lists of this clone; the test is skipped where this is none."""
    try:
        top = subprocess.run(["git", "rev-parse", "--show-toplevel"], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not in a clone")
    if Path(top.stdout.decode().rstrip("\n")) != ROOT.resolve():
        pytest.skip("in a clone of something else")
    done = subprocess.run(["git", "ls-files", "-z", *options], cwd=ROOT, capture_output=True, check=True)
    return {name for name in done.stdout.decode().split("\0") if name and (ROOT / name).exists()}


def own(names: Iterable[str]) -> set[str]:
    """A wheel's files but for its metadata."""
    return {name for name in names if not name.startswith(f"esctl-{__version__}.dist-info/")}


@pytest.mark.slow
def test_the_sdist_holds_every_file_that_git_tracks(sdist: Path) -> None:
    assert listed() - within(sdist) == set()


@pytest.mark.slow
def test_the_sdist_holds_nothing_that_git_ignores(sdist: Path) -> None:
    assert within(sdist) - listed("--cached", "--others", "--exclude-standard") == {"PKG-INFO"}


@pytest.mark.slow
def test_the_wheel_is_the_package_with_the_sample_and_nothing_else(wheel: Path) -> None:
    package = {f"esctl/{name}" for name in within(ROOT / "esctl")}
    sample = {f"esctl/sample_data/{name}" for name in within(ROOT / "sample_data")}
    with zipfile.ZipFile(wheel) as packed:
        assert own(packed.namelist()) == package | sample
    assert {f"esctl/sample_data/{name}" for name in sample_shop.FILES} <= sample


@pytest.mark.slow
def test_what_a_sample_runs_can_be_run_once_it_is_installed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        modes = {info.filename.rpartition("/")[2]: info.external_attr >> 16 for info in packed.infolist()}
    assert {name for name in sample_shop.FILES if modes[name] & 0o111} == {
        "decide_cancel.sh", "decide_refund.py", "payment-saga.sh"
    }  # fmt: skip


@pytest.mark.slow
def test_an_installed_esctl_makes_the_demo_from_its_own_files(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(installed)
    program = "from esctl.cli import sample_shop; print(sample_shop.__file__, sample_shop.make('shop')['events'])"
    command = [sys.executable, "-c", program]
    environ = environment(PYTHONPATH=str(installed))
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(installed / "esctl" / "cli" / "sample_shop.py"), "418"], done.stderr


def test_the_newest_change_is_this_version_and_its_storage_version() -> None:
    changes = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Changes\n")[2]
    told = re.findall(r"^### (\S+) \(storage version (\d+)\)$", changes, re.MULTILINE)
    assert told[0] == (__version__, str(STORAGE_VERSION))
    assert told[-1] == ("0.1.0", "1")
