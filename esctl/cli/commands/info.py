"""`esctl info`: counts, sizes and times of a log."""

from __future__ import annotations

from esctl.output import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.cli.declare import Shared
    from esctl.log import EventLog
    from esctl.store.over_time import Part

BUCKETS = 48
MOST = 10

EXAMPLES = """Examples:
  esctl info                               counts, sizes, times; events over time
  esctl info -o json | jq .log_id"""


def command(shared: Shared) -> None:
    """Print counts, sizes and times of the log, and events over time."""
    format_ = shared.rendering
    with shared.opened() as log, log.store.one_state():
        facts, over_time = {"log": log.path, **log.store.facts().info()}, log.store.facts().over_time(BUCKETS)
        reactions = _reactions(log)
        if format_ != "table":
            lists = {"over_time": over_time.total()} | ({"reactions": reactions} if reactions else {})
            render.one({**facts, **lists} if format_ in ("ndjson", "json", "raw") else facts, format_)
            return
        total = over_time.total()
        by_type, by_stream = _by_name(over_time.by_type()), _by_name(over_time.by_stream(MOST))
    render.one(facts, format_)
    render.reactions(reactions)
    for title, counted, names in (
        ("events over time, by type", by_type, len(by_type)),
        ("and by stream", by_stream, facts["streams"]),
    ):
        if counted:
            render.bars(title, _largest(counted, total, names))


def _reactions(log: EventLog) -> list[dict[str, object]]:
    """How far the log's reactions have come."""
    if not log.store.reactions().exist():
        return []
    from esctl.reactions import status  # noqa: PLC0415 - most logs have none

    return status.status(log)


def _by_name(parts: list[Part]) -> dict[str, list[int]]:
    """Numbers of events per part of the time, by name."""
    counted: dict[str, list[int]] = {}
    for part, name, events in parts:
        counted.setdefault(name, [0] * BUCKETS)[part] += events
    return counted


def _largest(counted: dict[str, list[int]], total: list[int], names: int) -> dict[str, list[int]]:
    """The names with the most events, and all others of so many names as one row."""
    largest = {name: counted[name] for name in sorted(counted, key=lambda n: sum(counted[n]), reverse=True)[:MOST]}
    others = names - len(largest)
    rest = [number - sum(each) for number, *each in zip(total, *largest.values(), strict=True)]
    return largest | ({f"({others:,} others)": rest} if others else {})
