"""Payloads checked against the JSON Schemas of a model. The home of jsonschema-rs, which is an extra."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from esctl.errors import UsageError
from esctl.model.declared import Model, Problem

Failing = Callable[[str], str]
"""A function from a payload (JSON text) to what is wrong with it; empty: nothing."""


def _library() -> Any:
    try:
        import jsonschema_rs  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UsageError(
            "the model has a JSON Schema, and jsonschema-rs is not installed",
            why="it checks payloads against JSON Schemas",
            fix="pip install 'esctl[schema]'",
        ) from error
    return jsonschema_rs


@lru_cache(maxsize=1024)
def compiled(schema: str) -> Failing:
    """A JSON Schema (JSON text) ready to check payloads. Raises UsageError where the library is missing.

    A schema may refer to nothing outside itself: no file and no network is read.
    """
    library = _library()

    def nothing_else(uri: str) -> Any:
        raise ValueError(f"{uri} lies outside the schema")

    validator = library.validator_for(json.loads(schema), retriever=nothing_else)

    def failing(payload: str) -> str:
        error = next(iter(validator.iter_errors(json.loads(payload))), None)
        if error is None:
            return ""
        place = "".join(f".{part}" if isinstance(part, str) else f"[{part}]" for part in error.instance_path)
        return f"{place.removeprefix('.') or 'the payload'}: {error.message}"

    return failing


def problems(model: Model) -> Iterator[Problem]:
    """What is wrong with the JSON Schemas of a model themselves."""
    for event in model.events.values():
        if event.json_schema is not None:
            try:
                compiled(event.json_schema)
            except ValueError as error:
                yield Problem(f"event.{event.name}.json_schema", f"it is no JSON Schema: {str(error).splitlines()[0]}")
