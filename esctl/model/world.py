"""The names that a model knows: the types that its declarations name, and the streams that its aggregates match."""

from __future__ import annotations

from collections.abc import Iterable

from esctl.events import system
from esctl.events.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from esctl.model.declared import Model

_WILD = "*?["
MIN_LENGTH = 4  # of the longer of two names: shorter ones are one letter apart by chance


class Doubt(Record):
    """A doubt about a model: its dotted key, what is doubtful, and whether a name looks misspelt."""

    place: str
    text: str
    misspelt: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def places(model: Model) -> dict[str, list[str]]:
    """The types that a model names, each with the places (dotted keys) of the declarations that name it."""
    # An append to a log without a model needs no declarations:
    from esctl.model.compiled import ERASED  # noqa: PLC0415
    from esctl.model.declared import ANY  # noqa: PLC0415

    found: dict[str, list[str]] = {}

    def add(type_: str, place: str) -> None:
        if type_ != ANY:
            found.setdefault(type_, []).append(place)

    for name, event in model.events.items():
        add(name, f"event.{name}")
        for upcast in event.upcasts:
            for type_ in {part.type for part in upcast.parts} - {name}:
                add(type_, upcast.place)
    for name, aggregate in model.aggregates.items():
        for key, types in (("on", aggregate.on), ("accept", aggregate.accept)):
            for type_ in types:
                add(type_, f"aggregate.{name}.{key}.{type_}")
    for name, projection in model.projections.items():
        for type_ in projection.on:
            add(type_.removeprefix(ERASED) or type_, f"projection.{name}.on.{type_}")
    return found


def categories(model: Model) -> set[str]:
    """The categories of streams that the patterns of aggregates name: `order` for `order-*`."""
    found = set()
    for aggregate in model.aggregates.values():
        category, dash, _ = aggregate.streams.partition("-")
        if (dash or category) and not set(category) & set(_WILD):
            found.add(category)
    return found


def suggestion(name: str, known: Iterable[str], alike: float = 0.75) -> str:
    """`did you mean …?` for a name that is like a known one, else an empty text."""
    import difflib  # noqa: PLC0415 - only a mistake needs it

    near = difflib.get_close_matches(name, list(known), 1, alike)
    return f"did you mean {near[0]}?" if near else ""


def similar_stream(stream: str, model: Model) -> str:
    """`did you mean …?` for a stream whose category is like one that the model names, else an empty text."""
    category, dash, rest = stream.partition("-")
    return suggestion(category, categories(model) - {category}).replace("?", f"{dash}{rest}?")


def one_letter_apart(one: str, other: str) -> bool:
    """Whether two names differ by one letter: another, one more, one less, or two neighbours swapped.

    A digit or a sign is no letter: `user1` and `user2` are two users.
    """
    short, long = sorted((one, other), key=len)
    if one == other or len(long) - len(short) > 1 or len(long) < MIN_LENGTH:
        return False
    at = next((n for n, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    if len(short) < len(long):
        return long[at].isalpha() and short[at:] == long[at + 1 :]
    if not (short[at] + long[at]).isalpha():
        return False
    swapped = short[at : at + 2][::-1] == long[at : at + 2] and short[at + 2 :] == long[at + 2 :]
    return short[at + 1 :] == long[at + 1 :] or (swapped and long[at : at + 2].isalpha())


def stored(types: Iterable[str]) -> set[str] | None:
    """The types of a log without those of its own events; None if there are none."""
    return set(types) - system.TYPES or None


def doubts(model: Model, stored: Iterable[str] | None) -> Iterator[Doubt]:
    """The declarations of types that nothing else knows: no other declaration names them, and the log has none.

    `stored` are the types of the log; None: there is no log, or it is empty. Then a type counts as unknown only if it
    is one letter apart from another one that the model names, or if it has nothing but a rule.
    """
    named = places(model)
    meant: set[str] = set()  # of two names that are alike, the rule's is misspelt
    for type_, at in sorted(named.items(), key=lambda item: ".accept." not in item[1][0]):
        if len(at) > 1 or type_ in (stored or ()) or type_ in meant:
            continue
        others = {*named, *(stored or ())} - {type_}
        misspelt = next((other for other in others if one_letter_apart(type_, other)), "")
        meant.add(misspelt)
        if stored is None and not misspelt and ".accept." not in at[0]:
            continue
        log = "" if stored is None else ", and the log has no such event"
        alike = f"did you mean {misspelt}?" if misspelt else suggestion(type_, others, 0.85)
        yield Doubt(at[0], f"nothing else names {type_}{log}" + (f"; {alike}" if alike else ""), bool(misspelt))
    if model.strict and not model.aggregates:
        yield Doubt("model.strict", "no aggregate matches any stream, so every append will be refused")
