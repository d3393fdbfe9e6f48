"""Old schemas -> current ones: chains of upcasts followed to their ends, once for a model, and made into SQL."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from esctl.events.query import Shape, Upcasting
from esctl.events.record import Record
from esctl.model.declared import Copy, Model, Problem, Source, Step, Upcast
from esctl.model.operations import payload_after

MOST_STEPS = 200  # of a chain
MOST_PARTS = 64  # that one stored event may be read as

Taken = tuple[tuple[str, int, Step], ...]
"""Steps of a chain, each with the type and schema version that it was taken from."""


class End(Record):
    """Where one event of a chain ends up: type, schema, the steps to there, and under which conditions it is hidden."""

    type: str
    schema: int
    taken: Taken
    hidden: tuple[tuple[Taken, tuple[str, int, str]], ...]
    split: bool


def compiled(model: Model) -> Upcasting:
    """For each stored type and schema version that has a chain: what events of it are read as."""
    return {
        name: {
            upcast.start: _shapes(list(_ends(model, name, upcast.start, (), (), split=False, problems=[])))
            for upcast in event.upcasts
        }
        for name, event in model.events.items()
        if event.upcasts
    }


def problems(model: Model) -> list[Problem]:
    """Cycles, two steps from one version, chains that end nowhere."""
    found: list[Problem] = []
    for name, event in model.events.items():
        starts: set[int] = set()
        for upcast in event.upcasts:
            if upcast.start in starts:
                found.append(
                    Problem(upcast.place, f"a second step from schema {upcast.start} of {name}", "one is enough")
                )
            starts.add(upcast.start)
        for upcast in event.upcasts:
            ends = _ends(model, name, upcast.start, (), (), split=False, problems=found)
            if len(list(islice(ends, MOST_PARTS + 1))) > MOST_PARTS:
                found.append(Problem(upcast.place, f"the chain ends in more than {MOST_PARTS} events", "split less"))
    return list(dict.fromkeys(found))


def newest(model: Model, type_: str) -> int:
    """The newest schema version of a type that the model knows; 1 where it does not name the type."""
    return model.events[type_].schema if type_ in model.events else 1


def _step_from(model: Model, type_: str, schema: int) -> Upcast | None:
    event = model.events.get(type_)
    return next((upcast for upcast in event.upcasts if upcast.start == schema), None) if event else None


def _ends(
    model: Model,
    type_: str,
    schema: int,
    taken: Taken,
    hidden: tuple[tuple[Taken, tuple[str, int, str]], ...],
    *,
    split: bool,
    problems: list[Problem],
) -> Iterator[End]:
    """Follow a chain to its ends, noting what is wrong with it."""
    upcast = _step_from(model, type_, schema)
    if upcast is None:
        if schema != newest(model, type_) and taken:
            problems.append(
                Problem(
                    _place(model, taken),
                    f"the chain ends at schema {schema} of {type_}, and the model's newest is {newest(model, type_)}",
                    f"add a step [[event.{type_}.upcast]] from = {schema}, or say schema = {schema}",
                )
            )
        yield End(type_, schema, taken, hidden, split)
        return
    if any((type_, schema) == (before, version) for before, version, _ in taken):
        problems.append(Problem(upcast.place, f"the chain comes back to schema {schema} of {type_}", "it never ends"))
        return
    if len(taken) >= MOST_STEPS:
        problems.append(
            Problem(upcast.place, f"the chain has more than {MOST_STEPS} steps", "rewrite the log now and then")
        )
        return
    if upcast.drop and upcast.when is None:
        return
    if upcast.drop and upcast.when is not None:
        hidden = (*hidden, (taken, (type_, schema, upcast.when)))
    for part in upcast.parts:
        step = Step(part.step.place) if upcast.drop else part.step
        steps = (*taken, (type_, schema, step))
        yield from _ends(model, part.type, part.schema, steps, hidden, split=split or upcast.split, problems=problems)


def _place(model: Model, taken: Taken) -> str:
    type_, schema, _ = taken[-1]
    upcast = _step_from(model, type_, schema)
    return upcast.place if upcast else f"event.{type_}"


def _shapes(ends: list[End]) -> tuple[Shape, ...]:
    shapes = []
    for number, end in enumerate(ends, 1):
        changes = any(step != Step(step.place) for _, _, step in end.taken)
        conditions = [payload_after(taken, condition) for taken, condition in end.hidden]
        shapes.append(
            Shape(
                end.type,
                end.schema,
                payload_after(end.taken) if changes else None,
                number if end.split else 0,
                " or ".join(f"ifnull({condition}, 0)" for condition in conditions) or None,
            )
        )
    return tuple(shapes)


def passed(model: Model, type_: str, schema: int) -> set[tuple[str, int]]:
    """The types and schema versions that an event goes through, from the stored one to those that it ends as."""
    ends = list(_ends(model, type_, schema, (), (), split=False, problems=[]))
    return {(name, version) for end in ends for name, version, _ in end.taken} | {(e.type, e.schema) for e in ends}


def expressions(model: Model) -> Iterator[tuple[str, str]]:
    """The SQL expressions of all upcasts, with their places."""
    for event in model.events.values():
        for upcast in event.upcasts:
            if upcast.when is not None and upcast.drop:
                yield f"{upcast.place}.when", upcast.when
                continue
            for part in upcast.parts:
                yield from part.step.expressions()


def summary(upcast: Upcast) -> str:
    """An upcast in words, for people."""
    if upcast.drop:
        return f"drop when {upcast.when}" if upcast.when else "drop"
    if upcast.split:
        return "split: " + "; ".join(f"{part.type} {part.schema} ({told_step(part.step)})" for part in upcast.parts)
    said, part = told_step(upcast.parts[0].step), upcast.parts[0]
    return said if part.type == upcast.type else f"becomes {part.type}" + (f", {said}" if said != "nothing" else "")


def told_step(step: Step) -> str:
    """A step's operations in words."""
    said = [f"rename {old} to {new}" for old, new in step.rename]
    said += [f"default {name} = {_value(source)}" for name, source in step.default]
    said += [f"convert {name} to {kind}" for name, kind in step.convert]
    for verb in ("set", "add", "subtract", "append"):
        fields: tuple[tuple[str, Source], ...] = getattr(step, verb)
        said += [f"{verb} {name} = {_value(source)}" for name, source in fields]
    said += [f"merge {_value(step.merge)}"] if step.merge else []
    said += [f"compute {name} = {sql}" for name, sql in step.compute]
    said += [f"remove {name}" for name in step.remove]
    return ", ".join(said) + (f" when {step.when}" if step.when else "") or "nothing"


def _value(source: Source) -> str:
    return source.path if isinstance(source, Copy) else source.json
