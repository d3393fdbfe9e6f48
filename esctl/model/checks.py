"""Decode a model file and find everything that is wrong with it: its shape, its chains of upcasts, its SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from esctl.errors import RefusedError
from esctl.model import upcasts
from esctl.model.declared import Model, Problem
from esctl.model.globs import overlap
from esctl.sql.judge import Judge


def checked(text: str, files: Mapping[str, str], *, trusted: bool = False) -> tuple[Model, list[Problem]]:
    """Decode a model file and list its problems; `files` are the JSON texts of the files that it names.

    `trusted` skips the check of projections: an applied model has passed it, and its SQL runs under an authorizer.
    """
    from esctl.model import paths  # noqa: PLC0415 - a cached model needs neither
    from esctl.model.toml import parse  # noqa: PLC0415

    def read(name: str) -> str:
        if name not in files:
            raise RefusedError(f"the file {name} was not read")
        return files[name]

    model, problems = parse(text, read)
    if trusted:
        problems = [problem for problem in problems if problem.hint not in paths.NEW_HINTS]
    problems += upcasts.problems(model)
    problems += expression_problems(model)
    if not trusted:
        problems += projection_problems(model)
    return model, problems


def shared(model: Model) -> list[Problem]:
    """Pairs of aggregates whose patterns can match the same stream, which may have only one aggregate."""
    found = []
    for first, second in combinations(model.aggregates.values(), 2):
        if first.streams and second.streams and overlap(first.streams, second.streams):
            what = f"{second.streams!r} and {first.streams!r} of {first.name} can match the same stream"
            found.append(Problem(f"aggregate.{second.name}.streams", what, "a stream may have only one aggregate"))
    return found


def doubts(model: Model) -> Iterator[str]:
    """Paths that may not mean what they were written for: notes, since they are valid."""
    from esctl.events.paths import parts  # noqa: PLC0415 - an applied model is not checked again
    from esctl.model.paths import doubt, source_parts  # noqa: PLC0415

    steps = [part.step for event in model.events.values() for upcast in event.upcasts for part in upcast.parts]
    steps += [step for aggregate in model.aggregates.values() for several in aggregate.on.values() for step in several]
    for step in steps:
        for place, path in step.paths():
            if why := doubt(source_parts(path) if path.startswith("$") and path[1:2] in ("", ".") else parts(path)):
                yield f"{place}: {path}: {why}"


def expression_problems(model: Model) -> list[Problem]:
    """The problems of a model's SQL expressions (upcasts, folds, rules): no expression, or a forbidden action."""
    judge = Judge()
    hint = "it must be one SQL expression over new.data, new.type, … and, in aggregates, state"
    try:
        found = [(place, judge.expression(sql, state=False)) for place, sql in upcasts.expressions(model)]
        for aggregate in model.aggregates.values():
            steps = (step for several in aggregate.on.values() for step in several)
            rules = ((rule.place, rule.sql) for rule in aggregate.accept.values())
            for place, sql in (*(one for step in steps for one in step.expressions()), *rules):
                found.append((place, judge.expression(sql, state=True)))
        return [Problem(place, why, hint) for place, why in found if why]
    finally:
        judge.close()


def projection_problems(model: Model) -> list[Problem]:
    """The problems of the projections' SQL: each may create, index and write its own tables only."""
    if not model.projections:
        return []
    from esctl.model.projections import ProjectionJudge  # noqa: PLC0415 - an applied model is not checked again

    judge = ProjectionJudge()
    try:
        return [
            Problem(f"projection.{name}.{key}", why, hint)
            for name, projection in model.projections.items()
            for key, why, hint in judge.problems(projection)
        ]
    finally:
        judge.close()
