"""Pins: the schema version that a writer's events of a type have if they name none, in place of the model's newest.

A writer that still produces the payloads of an older version is pinned to it, by `--schema TYPE=N`, by ESCTL_SCHEMA or
in the Python API.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from esctl.errors import EsctlError, RefusedError, UsageError
from esctl.events.event import NewEvent, check_name, check_schema, whole_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.model.applied import Definitions
    from esctl.model.declared import EventType

VARIABLE = "ESCTL_SCHEMA"


def given(options: Sequence[str] = ()) -> tuple[int, dict[str, int]]:
    """The version for all types (0: none was given), and the pins, of values of --schema (`N`, `TYPE=N`) and the
    environment; the option takes precedence.

    Raises UsageError for a value that is neither, and RefusedError for a version that is not 1, 2, 3 …
    """
    plain = [text for text in options if whole_number(text) is not None]
    pins = _pins((text for text in options if text not in plain), "--schema")
    if plain and (pins or len(set(plain)) > 1):
        raise UsageError(
            f"--schema {plain[0]} is for all types, so no other --schema can stand beside it",
            why="TYPE=N is for one type, and may be repeated",
            fix="esctl append --help",
        )
    if plain:
        check_schema(int(plain[0]))
        return int(plain[0]), {}
    return 0, from_environment() | pins


def from_environment() -> dict[str, int]:
    """The pins of ESCTL_SCHEMA: `OrderPlaced=2,Deposited=1`."""
    texts = (text.strip() for text in os.environ.get(VARIABLE, "").split(","))
    return _pins((text for text in texts if text), VARIABLE)


def _pins(texts: Iterable[str], source: str) -> dict[str, int]:
    """The pins of several texts; a type has one version."""
    pins: dict[str, int] = {}
    for text in texts:
        type_, schema = _pin(text, source)
        if pins.setdefault(type_, schema) != schema:
            raise UsageError(
                f"{source} pins {type_} to schema {pins[type_]} and to schema {schema}",
                why="a writer's events of a type have one version",
                fix="esctl help environment" if source == VARIABLE else "esctl append --help",
            )
    return pins


def _pin(text: str, source: str) -> tuple[str, int]:
    type_, equals, number = text.rpartition("=")
    schema = whole_number(number.strip())
    type_ = type_.strip()
    if not equals or not type_ or schema is None:
        wanted = "TYPE=N, such as OrderPlaced=2" if source == VARIABLE else "N, or TYPE=N such as OrderPlaced=2"
        raise UsageError(
            f"{source} has {text!r}",
            why=f"expected: {wanted}",
            fix="esctl help environment" if source == VARIABLE else "esctl append --help",
        )
    checked(type_, schema)
    return type_, schema


def checked(type_: str, schema: int) -> None:
    """Refuse what is not the name of a type or not a schema version."""
    if not isinstance(schema, int) or isinstance(schema, bool):  # a caller in Python may give anything
        raise UsageError(f"{type_} is pinned to {schema!r}", why="a schema version is a number: 1, 2, 3 …")
    try:
        check_name("type", type_)
    except EsctlError as error:
        raise UsageError(f"a pin names {type_[:80]!r}", why=error.why or error.what) from error
    check_schema(schema)


def check(definitions: Definitions, pins: Mapping[str, int]) -> None:
    """Refuse a pin that the log's model contradicts: to a version that it does not know, or of a misspelt type."""
    declared = definitions.model.events
    for type_, schema in pins.items():
        event = declared.get(type_)
        if event is None:
            _check_unnamed(definitions, type_, schema)
        elif event.declared and schema not in (known := versions(event)):
            raise RefusedError(
                f"{type_} is pinned to schema {schema}, which the log's model does not know",
                why=f"it knows {', '.join(map(str, known)) if event.upcasts else f'1 to {event.schema}'}"
                + (f"; no chain leads from schema {schema}" if schema < event.schema else ""),
                fix="esctl model show",
                type=type_,
                schema=schema,
            )


def versions(event: EventType) -> Sequence[int]:
    """The schema versions of a type that a model knows: the newest, and those from which a chain leads; if the type has
    no chain at all, every version up to the newest, which are all read as they are.
    """
    if not event.upcasts:
        return range(1, event.schema + 1)
    return sorted({event.schema, *(upcast.start for upcast in event.upcasts)})


def _check_unnamed(definitions: Definitions, type_: str, schema: int) -> None:
    """Refuse a pin of a type without `[event.TYPE]`, unless it says what holds anyway: such a type has schema 1."""
    import difflib  # noqa: PLC0415 - only a pin that pins nothing needs it

    near = difflib.get_close_matches(type_, definitions.model.events, 1, 0.8)
    if schema != 1 or near:
        raise RefusedError(
            f"{type_} is pinned to schema {schema}, and the log's model declares no event {type_}",
            why=f"did you mean {near[0]}?" if near else "a type without a declaration has schema 1",
            fix="esctl model show",
            type=type_,
            schema=schema,
        )


def pinned(events: Sequence[NewEvent], pins: Mapping[str, int]) -> list[NewEvent]:
    """The events, with the pinned version where they name none."""
    made = NewEvent._make  # `_replace` takes three times as long
    return [
        made((e.stream, e.type, e.id, e.time, pins[e.type], e.data, e.meta, e.expect))
        if not e.schema and e.type in pins
        else e
        for e in events
    ]
