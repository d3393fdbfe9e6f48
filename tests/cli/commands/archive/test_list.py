"""`esctl archive list`: the segments of a log."""

from __future__ import annotations

import pytest

from tests.cli.commands.archive.conftest import created
from tests.conftest import Esctl, succeeded


def test_a_table_has_what_a_person_asks(run: Esctl) -> None:
    created(run, "--segment-events", "20")
    head, *rows = succeeded(run("archive", "list", "-o", "table")).splitlines()
    assert head.split() == [
        "segment",
        "first_recorded",
        "last_recorded",
        "events",
        "bytes",
        "raw_bytes",
        "ratio",
        "where",
    ]
    assert [row.split()[0] for row in rows] == ["1-20", "21-40"]


@pytest.mark.parametrize("format_", ["table", "ndjson"])
def test_a_log_without_an_archive_lists_nothing(run: Esctl, format_: str) -> None:
    assert len(succeeded(run("archive", "list", "-o", format_)).splitlines()) <= 1
    assert len(succeeded(run("archive", "verify", "-o", format_)).splitlines()) <= 1
