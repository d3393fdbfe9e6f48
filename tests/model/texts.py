"""Pieces of models as text, and what becomes of them."""

from __future__ import annotations

from esctl.errors import RefusedError
from esctl.model.declared import Model, Problem
from esctl.model.toml import parse


def no_files(name: str) -> str:
    raise RefusedError(f"no file {name}")


def decoded(text: str) -> Model:
    model, problems = parse(text, no_files)
    assert not problems
    return model


def problems_of(text: str) -> list[Problem]:
    return parse(text, no_files)[1]


UPCAST = "[[event.T.upcast]]\nfrom = 1\n"
AGGREGATE = "[aggregate.a]\nstreams = '*'\n"
PROJECTION = "[projection.p]\ntable = 'create table p (x)'\n"
