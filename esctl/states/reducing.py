"""Fold a stream with a user's Python function."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from esctl.errors import HandlerError, NotFoundError, UsageError
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.states.folding import StateAt

Reducer = Callable[[Any, Any], Any]


def reducer(name: str) -> Reducer:
    """Import the Python function `module:function`, from the current folder or the installed packages.

    Raises UsageError, NotFoundError, or HandlerError if the module fails.
    """
    module, colon, function = name.partition(":")
    if not colon or not module or not function:
        raise UsageError(
            f"--reducer {name!r}", why="write MODULE:FUNCTION, such as shop.states:order", fix="esctl help model"
        )
    try:
        found = getattr(_imported(module), function)
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
        raise UsageError(f"--reducer {name!r}", why="it is not a function")
    function_: Reducer = found
    return function_


def _imported(module: str) -> ModuleType:
    """Import a module, from the current folder if it is there.

    All other modules come from there only if none of that name is installed, so that a file beside it cannot take the
    place of a package that esctl or the module itself imports.
    """
    here, top = str(Path.cwd()), module.partition(".")[0]
    if here not in sys.path:
        sys.path.append(here)
    spec = PathFinder.find_spec(top, [here]) if top not in sys.modules else None
    if spec is not None and spec.loader is not None:
        sys.modules[top] = own = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(own)
        except BaseException:
            sys.modules.pop(top, None)
            raise
    return importlib.import_module(module)


def reduced(log: EventLog, query: Query, name: str) -> Iterator[StateAt]:
    """The states of a stream, before its first event and after each, folded by a Python function.

    The function gets the state, at first `{}`, and an `esctl.Event`; it returns the next state, any JSON value.
    """
    import msgspec  # noqa: PLC0415 - folds by the model do not need it

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
