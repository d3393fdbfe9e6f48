"""Which events a model lets in, and the schema version that they are stamped with."""

from __future__ import annotations

import pytest

from esctl.errors import RefusedError
from esctl.events.event import NewEvent
from esctl.log import EventLog
from tests.conftest import writer_of
from tests.logs import hold, stored_schema
from tests.models import COUNT, UPCAST


@pytest.mark.parametrize(("type_", "given", "stored"), [("T", 0, 3), ("T", 1, 1), ("U", 0, 1), ("U", 9, 9)])
def test_an_event_without_a_schema_version_gets_the_newest(log: EventLog, type_: str, given: int, stored: int) -> None:
    hold(log, UPCAST)
    assert stored_schema(log, type_, given) == stored


def test_a_schema_version_that_the_model_does_not_know_yet_is_refused(log: EventLog) -> None:
    hold(log, UPCAST)
    with pytest.raises(RefusedError, match="knows it up to schema 3") as caught:
        stored_schema(log, "T", 4)
    assert caught.value.details["index"] == 0


def test_an_event_that_its_upcasts_cannot_be_done_on_is_refused(log: EventLog) -> None:
    hold(log, '[[event.T.upcast]]\nfrom = 1\nconvert = { n = "integer" }\n')
    before = log.head()
    with pytest.raises(RefusedError, match="n cannot be converted to integer"), log.transaction():
        writer_of(log).append(
            [
                NewEvent("s", "T", "a", None, 1, '{"n":"5"}', "{}", None),
                NewEvent("s", "T", "b", None, 1, '{"n":"x"}', "{}", None),
            ]
        )
    assert log.head() == before


def test_an_expression_may_not_make_texts_of_any_size(log: EventLog) -> None:
    bomb = "length(hex(printf('%400000000s', 'x')))"
    hold(log, f'[[event.T.upcast]]\nfrom = 1\ncompute = {{ n = "{bomb}" }}\n')
    with pytest.raises(RefusedError, match="too big"):
        stored_schema(log, "T", 1)


def test_the_schema_version_follows_the_model(log: EventLog) -> None:
    assert stored_schema(log, "T") == 1
    hold(log, UPCAST)
    assert stored_schema(log, "T") == 3
    hold(log, COUNT)
    assert stored_schema(log, "T") == 1
