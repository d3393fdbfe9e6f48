"""The log's own events: what was done to the log and by whom, in the stream `$esctl`."""

from __future__ import annotations

import os

from esctl.events.json import text_of

PREFIX = "$"  # the first character of the names of the log's own streams
STREAM = "$esctl"
MODEL_APPLIED = "ModelApplied"  # contains a model; the newest one is in force
MARK_SET = "MarkSet"
PAYLOAD_ERASED = "PayloadErased"
LOG_RESTORED = "LogRestored"
LOG_FORKED = "LogForked"
LOG_REWRITTEN = "LogRewritten"
LOG_SALVAGED = "LogSalvaged"
TYPES = frozenset((MODEL_APPLIED, MARK_SET, PAYLOAD_ERASED, LOG_RESTORED, LOG_FORKED, LOG_REWRITTEN, LOG_SALVAGED))

LOST_STREAM = "$lost"  # of a salvaged log: events that were lost, and of which not even the stream is known
EVENT_LOST = "EventLost"  # the type of the events, without payload, at the positions of lost ones


def actor() -> str:
    """The user who runs this process, from the environment, or else `uid N`."""
    return os.environ.get("USER") or os.environ.get("LOGNAME") or f"uid {os.getuid()}"


def meta() -> str:
    """The meta (JSON text) for one of the log's own events that this process appends."""
    return text_of({"actor": actor()})
