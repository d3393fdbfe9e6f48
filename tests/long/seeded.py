"""Bugs that harnesses have to find: copies of the package with a few words changed, in which commands run.

A harness that cannot fail proves nothing. What is looked at afterwards, and what it is compared with, is the real
package's work.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.long import faults
from tests.runner import ROOT


class Bug(NamedTuple):
    """A bug: what is wrong, where it is seen (a harness's own words), and the words that are replaced in a file of the
    package.
    """

    what: str
    where: tuple[str, ...]
    file: str
    words: str
    instead: str


def package(bug: Bug, folder: Path) -> Path:
    """A folder from which the package is imported with a bug in it."""
    shutil.copytree(ROOT / "esctl", folder / "esctl", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").symlink_to(ROOT / "tests")
    file = folder / "esctl" / bug.file
    text = file.read_text("utf-8")
    assert text.count(bug.words) == 1, f"{bug.file} has not once: {bug.words}"
    file.write_text(text.replace(bug.words, bug.instead), encoding="utf-8")
    return folder


def found(bug: Bug, points: Callable[[], Iterator[list[str]]]) -> tuple[int, list[str]]:
    """How many points it took until something was wrong, and what; nothing if no point shows the bug."""
    place = faults.base() / "seeded" / str(abs(hash(bug.what)))
    place.mkdir(parents=True)
    number, wrong = 0, list[str]()
    with faults.under_test(package(bug, place)):
        for wrong in points():
            number += 1
            if wrong:
                break
    return number, wrong


def report(bugs: tuple[Bug, ...], points_of: Callable[[Bug], Iterator[list[str]]]) -> int:
    """Look for every bug, and print after how many points it was found; how many were not."""
    missed = 0
    try:
        for bug in bugs:
            number, wrong = found(bug, lambda bug=bug: points_of(bug))  # type: ignore[misc]
            missed += not wrong
            said = f"found at point {number}: {wrong[0][:90]!r}" if wrong else f"NOT FOUND in {number} points"
            print(f"{bug.what:60} {said}", flush=True)
    finally:
        shutil.rmtree(faults.base(), ignore_errors=True)
    print(f"{len(bugs)} seeded bugs, {missed} not found")
    return missed
