"""What marks an SQLite file as a log."""

from __future__ import annotations

from pathlib import Path

from esctl.store.format import APPLICATION_ID, STORAGE_VERSION


def test_the_files_header_says_what_it_is(log_path: Path) -> None:
    header = log_path.read_bytes()[:100]
    assert header[:16] == b"SQLite format 3\0"
    assert int.from_bytes(header[60:64]) == STORAGE_VERSION
    assert int.from_bytes(header[68:72]) == APPLICATION_ID
