"""States folded by a Python function, for a stream."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from esctl.errors import HandlerError, NotFoundError, UsageError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.states.folding import StateAt

Reducer = Callable[[Any, Any], Any]


def reducer(name: str) -> Reducer:
    """The Python function that `module:function` names, from this folder or whatever is installed.

    Raises UsageError, NotFoundError.
    """
    module, colon, function = name.partition(":")
    if not colon or not module or not function:
        raise UsageError(
            f"--reducer {name!r}", why="it is MODULE:FUNCTION, such as shop.states:order", fix="esctl help model"
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), function)
    except AttributeError as error:
        raise NotFoundError(
            f"there is no reducer {name}", why=f"{error}; it is MODULE:FUNCTION", fix="esctl help model"
        ) from error
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and module.startswith(error.name or "\0"):
            raise NotFoundError(
                f"there is no reducer {name}", why=f"{error}; it is MODULE:FUNCTION", fix="esctl help model"
            ) from error
        raise HandlerError(f"the module {module} failed", why=f"{type(error).__name__}: {error}") from error
    if not callable(found):
        raise UsageError(f"--reducer {name!r}", why="it names no function")
    made: Reducer = found
    return made


def reduced(log: EventLog, query: Query, name: str) -> Iterator[StateAt]:
    """The states of a stream after each of its events, as a Python function folds them; the first comes before any.

    It gets the state, `{}` at first, and an `esctl.Event`; what it returns is the next state, any value that JSON has.
    """
    import msgspec  # noqa: PLC0415 - states that the model folds do without

    from esctl.events.decoded import decoded  # noqa: PLC0415

    function = reducer(name)
    value: Any = {}
    yield StateAt(query.stream or "", name, 0, 0, None, "{}", None, 0)
    for folded, (event, _, _) in enumerate(log.read(query), 1):
        try:
            value = function(value, decoded(event))
            text = msgspec.json.encode(value).decode()
        except (Exception, SystemExit) as error:
            raise HandlerError(
                f"the reducer {name} failed on the event at position {event.position}",
                why=f"{type(error).__name__}: {error}",
            ) from error
        yield StateAt(event.stream, name, event.version, event.position, event.time, text, None, folded)
