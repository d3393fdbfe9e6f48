"""A model file decoded, and everything that is wrong with it: its shape, its chains of upcasts, its SQL."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from esctl.errors import RefusedError
from esctl.model import upcasts
from esctl.model.declared import Model, Problem
from esctl.model.globs import overlap
from esctl.sql.judge import Judge


def checked(text: str, files: Mapping[str, str], *, trusted: bool = False) -> tuple[Model, list[Problem]]:
    """A model file decoded, and everything that is wrong with it; `files` are the JSON texts of those that it names.

    `trusted`: it was applied, so projections were judged; and they run under an authorizer besides.
    """
    from esctl.model.toml import parse  # noqa: PLC0415 - a log without a model does without TOML

    def read(name: str) -> str:
        if name not in files:
            raise RefusedError(f"the file {name} was not read")
        return files[name]

    model, problems = parse(text, read)
    problems += upcasts.problems(model)
    problems += misplaced(model)
    if not trusted:
        problems += misprojected(model)
    return model, problems


def shared(model: Model) -> list[Problem]:
    """Aggregates that could cover one stream: a stream has one at most."""
    found = []
    for first, second in combinations(model.aggregates.values(), 2):
        if first.streams and second.streams and overlap(first.streams, second.streams):
            what = f"{second.streams!r} and the {first.streams!r} of {first.name} can match one stream"
            found.append(Problem(f"aggregate.{second.name}.streams", what, "a stream has one aggregate at most"))
    return found


def misplaced(model: Model) -> list[Problem]:
    """What is wrong with the SQL of a model: what is no expression, and what it may not do."""
    judge = Judge()
    hint = "it is one SQL expression over new.data, new.type, … and, in aggregates, state"
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


def misprojected(model: Model) -> list[Problem]:
    """What is wrong with the SQL of projections: each makes its own tables, indexes them, and writes no others."""
    if not model.projections:
        return []
    from esctl.model.projections import ProjectionJudge  # noqa: PLC0415 - a model that was applied was judged

    judge = ProjectionJudge()
    try:
        return [
            Problem(f"projection.{name}.{key}", why, hint)
            for name, projection in model.projections.items()
            for key, why, hint in judge.problems(projection)
        ]
    finally:
        judge.close()
