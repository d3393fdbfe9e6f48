"""What links events is read from meta, however it is written."""

from __future__ import annotations

import json
import zlib

import pytest

from esctl.events.links import hash_of, hashes, names, value


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ('{"causation_id":"a"}', "a"),
        ('{"causation_id":"\\u0061"}', "a"),
        ('{"causation\\u005fid":"a"}', "a"),
        ('{"causation_id":1.50}', "1.50"),
        ('{"causation_id":null}', None),
        ("{}", None),
        (None, None),
    ],
)
def test_a_text_is_its_value_and_anything_else_its_json(meta: str | None, expected: str | None) -> None:
    assert value(meta, "causation_id") == expected


@pytest.mark.parametrize(
    ("event_id", "source", "expected"),
    [
        ("/a/1", "/a", ["/a/1", "1"]),
        ("/a/x%2Fy", "/a", ["/a/x%2Fy", "x/y"]),
        ("/b/1", "/a", ["/b/1"]),
        ("1", None, ["1"]),
    ],
)
def test_a_cloudevent_has_its_original_id_as_a_second_name(
    event_id: str, source: str | None, expected: list[str]
) -> None:
    assert names(event_id, json.dumps({"source": source} if source else {})) == expected


def test_an_event_is_found_by_cause_correlation_and_original_id() -> None:
    meta = '{"causation_id":"a","correlation_id":7,"source":"/s","other_id":"x"}'
    wanted = [("causation_id", "a"), ("correlation_id", "7"), ("id", "1")]
    assert list(hashes("/s/1", meta)) == [hash_of(*one) for one in wanted]


def test_the_hash_is_what_the_page_of_the_format_says() -> None:
    assert hash_of("causation_id", "ä") == zlib.crc32("causation_id ä".encode())


def test_half_a_surrogate_pair_is_a_value_like_any_other() -> None:
    assert hash_of("causation_id", "\ud800") != hash_of("causation_id", "\udfff")


@pytest.mark.parametrize(
    "meta",
    [
        '{"causation_id" : "a" , "correlation_id":1.50, "source":"/s"}',
        '{"correlation_id":null,"causation_id":true}',
        '{"a":{"causation_id":"inner"},"causation_id":"a"}',
        '{"a":["causation_id"],"correlation_id":{"b":1}}',
        '{"note":"\\"causation_id\\":\\"b\\"","causation_id":"a"}',
        '{"causation_id":"","note":"it has , and }"}',
    ],
)
def test_plain_meta_is_read_as_any_other(meta: str) -> None:
    """A member more, with an escape, has it parsed."""
    assert list(hashes("/s/1", meta)) == list(hashes("/s/1", meta[:-1] + ',"more":"\\\\"}'))
