"""The log's own events: in the stream `$esctl`, what was done to the log, by whom."""

from __future__ import annotations

import os

from esctl.events.json import text_of

PREFIX = "$"  # how the names of streams begin in which the log keeps its own events
STREAM = "$esctl"
MODEL_APPLIED = "ModelApplied"  # holds a model; the newest one counts
MARK_SET = "MarkSet"
PAYLOAD_ERASED = "PayloadErased"
LOG_RESTORED = "LogRestored"
LOG_FORKED = "LogForked"
LOG_REWRITTEN = "LogRewritten"


def actor() -> str:
    """Who runs this process, as far as its environment says."""
    return os.environ.get("USER") or os.environ.get("LOGNAME") or f"uid {os.getuid()}"


def meta() -> str:
    """The meta (JSON text) of an event of the log's own that this process appends."""
    return text_of({"actor": actor()})
