"""What a reaction is: its command and the events that it is for. A log keeps it, so that a changed one is noticed."""

from __future__ import annotations

import re
import shlex

import msgspec

from esctl.errors import NotFoundError, UsageError, word
from esctl.events.fields import Field, inner, plain
from esctl.events.query import Query
from esctl.sql.conditions import check_condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.reactions.items import Item
    from esctl.store.reactions import Reaction

EXEC, EXEC_STREAM, FUNCTION = "exec", "exec-stream", "function"
SHELL = ("sh", "-c")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*(?:[.\[][^{}]*)?)\}").fullmatch  # not {a: .data}, which jq knows


class Definition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A reaction as the user declared it: what it runs (`kind` says how), the filter, and what events are in order.

    `command` is as it was given. `key` is an SQL expression: events with the same value are handled in order; without
    one, those of a stream are. With `append`, what handlers print are events. With `independent`, the event behind one
    that failed does not wait. Of a group of `parts`, each takes its share of the keys.
    """

    kind: str
    command: str = ""
    shell: bool = False
    stream: str | None = None
    category: str | None = None
    types: tuple[str, ...] = ()
    where: str | None = None
    key: str | None = None
    append: bool = False
    independent: bool = False

    def text(self) -> str:
        """The definition as JSON text, as a log keeps it."""
        return msgspec.json.encode(self).decode()

    def check(self, *, allow_loop: bool = False) -> None:
        """Refuse a filter, a key or a command that no event could be handled with, and, unless that is allowed, a
        filter that what is appended would pass. Raises UsageError.
        """
        if self.where is not None:
            check_condition(self.where)
        if self.key is not None:
            check_condition(self.key, option="--key")
        if self.append and not self.types:
            self._check_loop(allowed=allow_loop)
        self.query()
        if self.kind != FUNCTION:
            Command(self)

    def _check_loop(self, *, allowed: bool) -> None:
        if not allowed:
            raise UsageError(
                "--append needs --type",
                why="the reaction would also be for what it appends, which is in the stream of its cause unless the"
                " handler names another one; --allow-loop allows that for a --category or --stream",
                fix="esctl help reactions",
            )
        if not (self.category or self.stream):
            raise UsageError(
                "--append with --allow-loop needs --type, --category or --stream",
                why="a reaction to all events would react to those that it appends",
                fix="esctl help reactions",
            )

    def query(self) -> Query:
        """The query for the events of the reaction."""
        return Query(stream=self.stream, category=self.category, types=self.types, where=self.where)

    def changes(self, other: Definition) -> list[str]:
        """The names of what another definition has otherwise."""
        names = {"types": "--type", "kind": "--exec", "command": "--exec"}
        differing = [n for n in self.__struct_fields__ if getattr(self, n) != getattr(other, n)]
        return list(dict.fromkeys(names.get(name, f"--{name}") for name in differing))


def defined(reaction: Reaction) -> Definition:
    """The definition that a log has of a reaction."""
    return msgspec.json.decode(reaction.definition, type=Definition)


def check_name(name: str) -> None:
    """Refuse a name that no reaction can have: it is part of the name of a file. Raises UsageError."""
    if not _NAME(name):
        raise UsageError(
            f"{name[:70]!r} cannot be the name of a reaction",
            why="it is 1 to 64 letters, digits, dots, hyphens and underscores, and begins with a letter or digit",
            fix="esctl react --help",
        )


def unknown(name: str, names: list[str]) -> NotFoundError:
    """The error for a reaction that is not there."""
    import difflib  # noqa: PLC0415 - only a mistake needs it

    near = difflib.get_close_matches(name, names, 1)
    why = f"did you mean {near[0]}?" if near else "esctl react with --exec and --from makes one"
    return NotFoundError(
        f"there is no reaction {name}",
        why=why,
        fix=f"esctl reaction status {word(near[0])}" if near else "esctl reaction list",
    )


class Command:
    """The words of a command line, some of which stand for fields of the event: `{stream}`, `{data.email}`.

    Such a word is always one whole argument, whatever the field has in it; a field that the event lacks is empty.
    """

    def __init__(self, definition: Definition) -> None:
        """Raises UsageError for a command that is none."""
        option = f"--{definition.kind}"
        self._words: list[str | Field] = [*SHELL, definition.command]
        if not definition.shell:
            try:
                words = shlex.split(definition.command)
            except ValueError as error:
                what = f"{option} {definition.command[:80]!r} cannot be split into words"
                raise UsageError(what, why=str(error), fix="esctl react --help") from error
            self._words = [Field(found[1]) if (found := _PLACEHOLDER(w)) else w for w in words]
        if not definition.command.strip() or not isinstance(self._words[0], str):
            raise UsageError(f"{option} names no program", fix="esctl react --help")
        self.program = self._words[0]
        self.is_fixed = all(isinstance(one, str) for one in self._words)
        if definition.kind == EXEC_STREAM and not self.is_fixed:
            raise UsageError(
                "--exec-stream has a field of an event among its words",
                why="it is run once for many events; it gets each as a line on stdin",
                fix="esctl react --help",
            )

    def arguments(self, item: Item) -> list[str]:
        """The words for an event."""
        return [one if isinstance(one, str) else _value(one, item) for one in self._words]

    def words(self) -> list[str]:
        """The words of a command without fields."""
        return [str(one) for one in self._words]


def _value(field: Field, item: Item) -> str:
    return plain(inner(text, field.path)) if (text := item.text_of(field.column)) is not None else ""
