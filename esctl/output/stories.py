"""Tells the entries of `esctl log` in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from esctl.events.fields import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def cells(record: Mapping[str, Any]) -> tuple[object, ...]:
    """The cells of an entry: position, time, elapsed time, type, and what is to be said about it."""
    position = f"#{record['position']}" + (f"/{record['part']}" if "part" in record else "")
    return position, record["time"], duration(record["elapsed"]), record["type"], told(record)


def told(record: Mapping[str, Any]) -> str:
    """What is to be said about an event: erased, refused, marks and cause, then its changes."""
    said = ["(erased)"] * record["erased"] + ["(refused)"] * record["refused"]
    said += [f"[{name}]" for name in record["marks"]]
    cause, id_ = record["cause"], record["causation_id"]
    said += [f"(caused by {id_ if cause is None else f'#{cause}'})"] if id_ is not None else []
    return " ".join([*said, changes(record["changes"])]).rstrip()


def changes(found: Sequence[Mapping[str, Any]]) -> str:
    """Changes in words: `status: New → Paid, total: 5, note: a → gone`."""
    return ", ".join(_change(change) for change in found)


def _change(change: Mapping[str, Any]) -> str:
    before, after = (None if change[side] is None else _value(change[side]) for side in ("before", "after"))
    if before is None:
        return f"{change['path']}: {after}"
    return f"{change['path']}: {before} → {'gone' if after is None else after}"


def _value(json: str) -> str:
    """A value without needless quotes; an empty text and null stay visible."""
    return plain(json) or json


def duration(seconds: float | None, plus: str = "+") -> str:
    """Seconds as people read them: `+38d 05:12`, `+05:12:33`, `+0.25s`; empty for None.

    `plus` is the sign of what is not below 0.
    """
    if seconds is None:
        return ""
    sign, size = "-" if seconds < 0 else plus, abs(seconds)
    if size < 1:
        return f"{sign}{round(size, 3):g}s"
    minutes, rest = divmod(int(size), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{sign}{days}d {hours:02}:{minutes:02}" if days else f"{sign}{hours:02}:{minutes:02}:{rest:02}"
