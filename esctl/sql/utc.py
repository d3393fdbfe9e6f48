"""The SQL function `utc`: a time in any spelling, or seconds since 1970, in the log's form; NULL for anything else."""

from __future__ import annotations

UTC = "utc"
_A_DATE = len("2026-01-31")


def utc(value: object) -> str | None:
    """The function. As in SQLite's own, a time without a zone is UTC, and a date is its first moment."""
    from esctl.events import times  # noqa: PLC0415 - re and datetime; only SQL that calls it needs them

    if isinstance(value, int | float):
        value = f"@{value:.6f}" if isinstance(value, float) else f"@{value}"
    if not isinstance(value, str):
        return None
    return times.utc(f"{value}T00:00Z" if len(value) == _A_DATE else value)
