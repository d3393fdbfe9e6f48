"""Notice names that are new to a log and one letter away from a known one: what is appended cannot be taken back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from esctl.events import system
from esctl.model.world import categories, one_letter_apart, places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.log import EventLog

MAX_NEAR = 3  # known names in a note
MAX_NAMES = 1000  # known names that a new one is compared with; a log of more has names that mean little


def doubts(log: EventLog, new_categories: Sequence[str], new_types: Sequence[str]) -> Iterator[str]:
    """A sentence for each new category of streams, and each new type, that is one letter away from a known one."""
    facts, model = log.store.facts(), log.definitions.model if log.store.model() else None
    if new_categories:
        known = [*facts.categories(MAX_NAMES + 1), *(categories(model) if model else ())]
        yield from _doubts("category of streams", new_categories, known)
    if new_types:
        yield from _doubts("type", new_types, [*facts.names("type"), *(places(model) if model else ())])


def _doubts(what: str, new: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    """The sentences for names of one kind; of two new ones, the later is doubtful."""
    if len(known) > MAX_NAMES:
        return
    before = set(known) - set(new) - system.TYPES
    for name in new:
        if near := sorted(other for other in before if one_letter_apart(name, other)):
            yield f"the {what} {name} is new to this log, and one letter away from {' and '.join(near[:MAX_NEAR])}"
        before.add(name)
