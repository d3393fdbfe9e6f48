"""Check payloads against a model's JSON Schemas. The only module that imports jsonschema-rs, an optional extra."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from esctl.errors import UsageError
from esctl.events.json import Deeper
from esctl.events.paths import spelled
from esctl.model.declared import Model, Problem

Validator = Callable[[str], str]
"""A function from a payload (JSON text) to its first error; empty if the payload is valid."""


def _library() -> Any:
    try:
        import jsonschema_rs  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UsageError(
            "the model has a JSON Schema, and jsonschema-rs is not installed",
            why="payloads are checked with it",
            fix="pip install 'esctl[schema]'",
        ) from error
    return jsonschema_rs


@lru_cache(maxsize=1024)
def compiled(schema: str) -> Validator:
    """Compile a JSON Schema (JSON text). Raises UsageError if the library is missing, ValueError for a wrong schema.

    A schema may refer to nothing outside itself: no file and no network is read.
    """
    library = _library()

    def refuse(uri: str) -> Any:
        raise ValueError(f"{uri} lies outside the schema")

    validator = library.validator_for(json.loads(schema), retriever=refuse)

    def validate(payload: str) -> str:
        with Deeper():
            value = json.loads(payload)
            try:
                error = next(iter(validator.iter_errors(value)), None)
            except ValueError:  # the library returns no part that is nested beyond its own limit
                return "" if validator.is_valid(value) else "the payload: a deeply nested part is not as it has to be"
        if error is None:
            return ""
        return f"{spelled(tuple(error.instance_path)) or 'the payload'}: {error.message}"

    return validate


def problems(model: Model) -> Iterator[Problem]:
    """The problems of a model's JSON Schemas themselves."""
    for event in model.events.values():
        if event.json_schema is not None:
            try:
                compiled(event.json_schema)
            except ValueError as error:
                yield Problem(
                    f"event.{event.name}.json_schema", f"it is not a JSON Schema: {str(error).splitlines()[0]}"
                )
