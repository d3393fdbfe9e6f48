"""Compile a model's upcasts: follow each chain of steps from an old schema to its end, and make SQL of the whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from esctl.events.query import Shape, Upcasting
from esctl.events.record import Record
from esctl.model.declared import Copy, Model, Problem, Source, Step, Upcast
from esctl.model.operations import payload_after

MAX_STEPS = 200  # of a chain
MAX_PARTS = 64  # that one stored event may be split into

Taken = tuple[tuple[str, int, Step], ...]
"""Steps of a chain, each with the type and schema version that it reads."""


class End(Record):
    """An event at the end of a chain: its type and schema, the steps to it, and the conditions that hide it (each with
    the steps before it, and the type and schema that it reads).
    """

    type: str
    schema: int
    taken: Taken
    hidden: tuple[tuple[Taken, tuple[str, int, str]], ...]
    split: bool


def compiled(model: Model, *, traced: bool = False) -> Upcasting:
    """The shapes that stored events are read as, by type and schema version, for those with a chain of upcasts.

    `traced`: the expressions note in which place of the model they are, for errors; they are slow.
    """
    return {
        name: {
            upcast.start: _shapes(list(_ends(model, name, upcast.start, (), (), split=False, problems=[])), traced)
            for upcast in event.upcasts
        }
        for name, event in model.events.items()
        if event.upcasts
    }


def problems(model: Model) -> list[Problem]:
    """What is wrong with the chains: cycles, two steps from one version, chains that do not end at the newest."""
    found: list[Problem] = []
    for name, event in model.events.items():
        starts: set[int] = set()
        for upcast in event.upcasts:
            if upcast.start in starts:
                found.append(
                    Problem(
                        upcast.place,
                        f"a second step from schema {upcast.start} of {name}",
                        "a version has only one step",
                    )
                )
            starts.add(upcast.start)
        for upcast in event.upcasts:
            ends = _ends(model, name, upcast.start, (), (), split=False, problems=found)
            if len(list(islice(ends, MAX_PARTS + 1))) > MAX_PARTS:
                found.append(
                    Problem(upcast.place, f"the chain ends in more than {MAX_PARTS} events", "split into fewer")
                )
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
    """Follow a chain to its ends; what is wrong with it is added to `problems`."""
    upcast = _step_from(model, type_, schema)
    if upcast is None:
        if schema != newest(model, type_) and taken:
            problems.append(
                Problem(
                    _place(model, taken),
                    f"the chain ends at schema {schema} of {type_}, and the model's newest is {newest(model, type_)}",
                    f"add a step [[event.{type_}.upcast]] from = {schema}, or set schema = {schema}",
                )
            )
        yield End(type_, schema, taken, hidden, split)
        return
    if any((type_, schema) == (before, version) for before, version, _ in taken):
        problems.append(Problem(upcast.place, f"the chain comes back to schema {schema} of {type_}", "it never ends"))
        return
    if len(taken) >= MAX_STEPS:
        problems.append(
            Problem(upcast.place, f"the chain has more than {MAX_STEPS} steps", "shorten it with esctl upcast rewrite")
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


def _shapes(ends: list[End], traced: bool) -> tuple[Shape, ...]:
    shapes = []
    for number, end in enumerate(ends, 1):
        changes = any(step != Step(step.place) for _, _, step in end.taken)
        conditions = [payload_after(taken, one, traced=traced) for taken, one in end.hidden]
        data = payload_after(end.taken, traced=traced) if changes else None
        hidden = " or ".join(f"ifnull({condition}, 0)" for condition in conditions) or None
        shapes.append(Shape(end.type, end.schema, data, number if end.split else 0, hidden))
    return tuple(shapes)


def passed(model: Model, type_: str, schema: int) -> set[tuple[str, int]]:
    """All types and schema versions that an event passes through, from the stored one to those at the ends."""
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
    """An upcast in words."""
    if upcast.drop:
        return f"drop when {upcast.when}" if upcast.when else "drop"
    if upcast.split:
        return "split: " + "; ".join(f"{part.type} {part.schema} ({step_summary(part.step)})" for part in upcast.parts)
    text, part = step_summary(upcast.parts[0].step), upcast.parts[0]
    return text if part.type == upcast.type else f"becomes {part.type}" + (f", {text}" if text != "nothing" else "")


def step_summary(step: Step) -> str:
    """A step's operations in words."""
    texts = [f"rename {old} to {new}" for old, new in step.rename]
    texts += [f"default {name} = {_value(source)}" for name, source in step.default]
    texts += [f"convert {name} to {kind}" for name, kind in step.convert]
    for verb in ("set", "add", "subtract", "append"):
        fields: tuple[tuple[str, Source], ...] = getattr(step, verb)
        texts += [f"{verb} {name} = {_value(source)}" for name, source in fields]
    texts += [f"merge {_value(step.merge)}"] if step.merge else []
    texts += [f"compute {name} = {sql}" for name, sql in step.compute]
    texts += [f"remove {name}" for name in step.remove]
    return ", ".join(texts) + (f" when {step.when}" if step.when else "") or "nothing"


def _value(source: Source) -> str:
    return source.path if isinstance(source, Copy) else source.json
