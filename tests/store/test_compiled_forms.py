"""Compiled projections are decoded as they were compiled, each once; what esctl cannot have compiled is refused."""

from __future__ import annotations

import json

import apsw
import pytest

from esctl.errors import VerificationError
from esctl.events.query import Shape
from esctl.model.compiled import COMPILER, Compiled
from esctl.projections.versions import serialized
from esctl.store.compiled_forms import CompiledForms

FORM = Compiled(
    {"x": "x(a, b)"},
    {"x_b": "create index {name} on x(b)"},
    {"A": "insert into x values (new.position, new.stream)"},
    {"position": "position", "stream": "stream"},
    {
        "A": {1: (Shape("A", 2, "json_set(new.data, '$.b', 1)", 0, None),), 2: ()},
        "B": {1: (Shape("A", 2, None, 1, "new.version > 3"), Shape("C", 1, None, 2, None))},
    },
)


@pytest.fixture
def forms() -> CompiledForms:
    return CompiledForms(apsw.Connection(":memory:"), "log.db", lambda: None)


def test_a_form_is_decoded_as_it_was_compiled(forms: CompiledForms) -> None:
    found = forms.decoded(serialized(FORM))
    assert [getattr(found, name) for name in Compiled.__slots__] == [getattr(FORM, name) for name in Compiled.__slots__]
    assert found.engine == COMPILER


def test_a_form_is_decoded_once(forms: CompiledForms) -> None:
    assert forms.decoded(serialized(FORM)) is forms.decoded(serialized(FORM))


def test_a_form_of_an_esctl_that_did_not_number_them_is_of_the_first(forms: CompiledForms) -> None:
    form = json.loads(serialized(FORM))
    del form["engine"]
    assert forms.decoded(json.dumps(form)).engine == 1


def test_a_form_that_esctl_cannot_have_compiled_is_refused(forms: CompiledForms) -> None:
    form = json.loads(serialized(FORM)) | {"columns": {"position": "load_extension('x')"}}
    with pytest.raises(VerificationError) as refusal:
        forms.decoded(json.dumps(form))
    assert refusal.value.why is not None
    assert refusal.value.why.startswith("a projection in it was not compiled by esctl: load_extension('x')")


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"a"', "null"])
def test_what_is_no_json_object_is_refused(forms: CompiledForms, text: str) -> None:
    with pytest.raises(VerificationError, match="is damaged") as raised:
        forms.decoded(text)
    assert "it is no JSON object" in raised.value.why
