"""How much of esctl the tests run: `python -m tests.coverage` runs the suite, and fails where that is too little.

A branch is a way from a line to one that may follow it. Commands count too, which are processes of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.runner import ROOT

LEAST = 95  # percent of all branches
WHOLE = (  # what stores, moves and erases events, and proves that they are unchanged: each line and branch
    "esctl/archive/erasing.py",
    "esctl/events/chain.py",
    "esctl/events/query.py",
    "esctl/store/appends.py",
    "esctl/store/archive_changes.py",
    "esctl/store/originals.py",
    "esctl/store/segments.py",
    "esctl/upkeep/erasure.py",
    "esctl/upkeep/traces.py",
)
HOLES = 10  # of which to tell where the whole has too many


def main() -> int:
    """Run the suite with arguments of the command line for pytest; 1 if too little ran, or what pytest ended with."""
    _coverage("erase")
    tests = subprocess.run(
        [sys.executable, "-m", "coverage", "run", "-m", "pytest", *sys.argv[1:]], cwd=ROOT, check=False
    )
    if tests.returncode:
        return tests.returncode
    _coverage("combine", "--quiet")
    wrong = complaints(json.loads(_coverage("json", "--quiet", "-o", "-")))
    print("\n".join(wrong) or "coverage: enough")
    return int(bool(wrong))


def _coverage(*arguments: str) -> str:
    command = [sys.executable, "-m", "coverage", *arguments]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def complaints(report: dict[str, Any]) -> list[str]:
    """What a report of coverage.py has too little of, one a line."""
    wrong = []
    for name in WHOLE:
        file = report["files"][name]
        if file["missing_lines"] or file["missing_branches"]:
            wrong.append(f"{name} has to run whole: lines {file['missing_lines']}, branches {file['missing_branches']}")
    percent = 100 * report["totals"]["covered_branches"] / report["totals"]["num_branches"]
    if percent < LEAST:
        missing = {name: file["summary"]["missing_branches"] for name, file in report["files"].items()}
        largest = sorted(missing, key=missing.__getitem__, reverse=True)[:HOLES]
        holes = ", ".join(f"{name} {missing[name]}" for name in largest)
        wrong.append(f"{percent:.2f} % of all branches ran, of {LEAST}; missing most: {holes}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
