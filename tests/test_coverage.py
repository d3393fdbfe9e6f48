"""What the check of coverage complains of; the check itself is `python -m tests.coverage`."""

from __future__ import annotations

from typing import Any

import pytest

from tests import coverage
from tests.runner import ROOT

OTHER = "esctl/cli/main.py"


def report(name: str = OTHER, **missing: list[Any]) -> dict[str, Any]:
    """A report of 1,000 branches, of which some in one file did not run."""
    files = {
        file: {"missing_lines": [], "missing_branches": [], "summary": {"missing_branches": 0}}
        for file in (*coverage.WHOLE, OTHER)
    }
    branches = missing.get("missing_branches", [])
    files[name] |= {**missing, "summary": {"missing_branches": len(branches)}}
    return {"files": files, "totals": {"num_branches": 1000, "covered_branches": 1000 - len(branches)}}


@pytest.mark.parametrize("name", coverage.WHOLE)
@pytest.mark.parametrize("missing", [{"missing_lines": [7]}, {"missing_branches": [[7, 9]]}], ids=["line", "branch"])
def test_a_module_that_has_to_run_whole_may_miss_nothing(name: str, missing: dict[str, list[Any]]) -> None:
    assert (ROOT / name).is_file()
    (complaint,) = coverage.complaints(report(name, **missing))
    assert complaint.startswith(f"{name} has to run whole")
    assert "7" in complaint


@pytest.mark.parametrize(("missing", "enough"), [(0, True), (50, True), (51, False)])
def test_of_all_others_a_twentieth_of_the_branches_may_not_run(missing: int, enough: bool) -> None:
    found = coverage.complaints(report(missing_branches=[[n, n + 1] for n in range(missing)]))
    assert found == [] if enough else f"{OTHER} {missing}" in found[0]
