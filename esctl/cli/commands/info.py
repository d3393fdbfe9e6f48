"""`esctl info`: counts, sizes and times of a log."""

from __future__ import annotations

from esctl.output import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.cli.declare import Shared
    from esctl.log import EventLog

BUCKETS = 48
MOST = 10

EXAMPLES = """Examples:
  esctl info                               counts, sizes, times; events over time
  esctl info -o json | jq .log_id"""


def command(shared: Shared) -> None:
    """Print counts, sizes and times of the log, and events over time."""
    format_ = shared.rendering
    with shared.opened() as log, log.store.one_state():
        facts = {"log": log.path, **log.store.facts().info()}
        by_type, by_stream = _over_time(log, "type"), _over_time(log, "stream")
    if format_ != "table":
        total = [sum(counts) for counts in zip(*by_type.values(), strict=True)]
        render.one({**facts, "over_time": total} if format_ in ("ndjson", "json", "raw") else facts, format_)
        return
    render.one(facts, format_)
    for title, counted in (("events over time, by type", by_type), ("and by stream", by_stream)):
        if counted:
            render.bars(title, _largest(counted))


def _over_time(log: EventLog, group: str) -> dict[str, list[int]]:
    """Numbers of events per time bucket, by name."""
    counted: dict[str, list[int]] = {}
    for bucket, name, events in log.store.facts().over_time(BUCKETS, "type" if group == "type" else "stream"):
        counted.setdefault(name, [0] * BUCKETS)[bucket] += events
    return counted


def _largest(counted: dict[str, list[int]]) -> dict[str, list[int]]:
    """The names with the most events, and all others as one row."""
    most = sorted(counted, key=lambda name: sum(counted[name]), reverse=True)[:MOST]
    rest = [counts for name, counts in counted.items() if name not in most]
    largest = {name: counted[name] for name in most}
    return largest | ({f"({len(rest):,} others)": [sum(c) for c in zip(*rest, strict=True)]} if rest else {})
