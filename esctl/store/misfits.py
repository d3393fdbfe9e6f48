"""Name the place in a model where an event does not fit: run it again with expressions that note where they are."""

from __future__ import annotations

from esctl.errors import MisfitError
from esctl.events.query import NO_UPCASTS, Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.model.declared import Aggregate, Model
    from esctl.store.folds import Fold
    from esctl.store.store import Store


def in_fold(
    store: Store, model: Model, aggregate: Aggregate | None, fold: Fold, stream: str, error: MisfitError, *, raw: bool
) -> MisfitError:
    """The error of a stream's fold, with stream and field. The fold has the state before the event."""
    position = error.details.get("position")
    if not isinstance(position, int) or "field" in error.details:
        return error
    from esctl.model import operations, upcasts  # noqa: PLC0415 - only a failure needs it

    program = operations.program(aggregate, traced=True) if aggregate else operations.MERGE
    tried = store.fold(program, NO_UPCASTS if raw else upcasts.compiled(model, traced=True))
    store.traced()  # of an earlier failure
    try:
        state, _ = fold.state(stream)
        tried.begin(stream, state)
        for _ in tried.feed(Query(stream=stream, since=position, until=position)):
            pass
    except MisfitError:
        return _named(error, store.traced(), stream)
    finally:
        tried.close()
    return _named(error, "", stream)


def in_upcasts(store: Store, model: Model, error: MisfitError) -> MisfitError:
    """The error of an event that cannot be upcast, with the field."""
    position = error.details.get("position")
    field = upcast_field(store, model, position) if isinstance(position, int) else ""
    return _named(error, field) if field else error


def upcast_field(store: Store, model: Model, position: int) -> str:
    """The place in the model at which the upcasts of the event at a position fail; empty if they do not."""
    from esctl.model import upcasts  # noqa: PLC0415 - only a failure needs it

    store.traced()  # of an earlier failure
    try:
        for _ in store.read(Query(since=position, until=position), upcasts.compiled(model, traced=True)):
            pass
    except MisfitError:
        return store.traced()
    return ""


def _named(error: MisfitError, field: str, stream: str = "") -> MisfitError:
    details = error.details
    details.setdefault("reason", str(error.__cause__ or error.what))
    details |= {"stream": stream} if stream else {}
    details |= {"field": field} if field else {}
    inside = f" in {stream}" if stream else ""
    error.what = f"the event at position {details['position']}{inside} does not fit the model: {details['reason']}"
    error.why = f"{field} fails on it" if field else error.why
    error.fix = f"esctl replay --since '#{details['position']:d}' --limit 1 --raw-schema"
    error.args = (error.what,)
    return error
