"""The hash chain against vectors that were computed without esctl, from the formula of `esctl help format` alone."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esctl.events import chain

LOG_ID = "11111111-2222-4333-8444-555555555555"
GENESIS = "f6cfd70af111d090c95fd0246ce574d6257258717d8f88a0152ad44c8c9706b8"

# One event in the middle of a log, with characters that need more than a byte or an escape.
EVENT: dict[str, Any] = {
    "previous": bytes(31) + b"\x01",
    "salt": bytes.fromhex("f0e1d2c3b4a5968778695a4b3c2d1e0f"),
    "data": '{"total":123456789012345678901234567890.10,"note":"ü\\u00fc"}',
    "meta": '{"actor":"web"}',
    "position": 41,
    "stream": "order-ß",
    "version": 7,
    "id": 'e"1',
    "type": "Order\\Placed",
    "schema": 3,
    "time": "2026-01-31T09:30:00.000000Z",
    "recorded": "2026-01-31T09:30:01.000001Z",
}
DIGEST = "360faddcd03fa9e2d295601ce429a140acd291214d4874398f95f4e8bb688ba1"
HASH = "2b487d3657f3de48961d8c194e44e0e77b7241f6fa39f3a2584c0f8c16492e40"

LOG: list[tuple[tuple[Any, ...], str, str, str, str]] = [
    # header, data, meta, salt, hash
    (
        (1, "order-1", 1, "e-1", "OrderPlaced", 1, "2026-01-31T09:30:00.000000Z", "2026-01-31T09:30:01.000000Z"),
        '{"total":99.90}',
        '{"actor":"web"}',
        "000102030405060708090a0b0c0d0e0f",
        "ecaab69638a51fac1bf0db4ddde9b855384205597e6d489d84913ee8e55be696",
    ),
    (
        (2, "konto-ä", 1, "e-2", "Eröffnet", 2, "2025-12-31T23:59:59.999999Z", "2026-01-31T09:30:01.000000Z"),
        "null",
        "{}",
        "ffffffffffffffffffffffffffffffff",
        "51fa8ab78a7288865b31c6ed5a0477d53300d07947e6da3cbdf9a2b40f2ad7f4",
    ),
    (
        (3, "order-1", 2, "e-3", "OrderPaid", 1, "2026-02-01T00:00:00.000000Z", "2026-02-01T00:00:00.000000Z"),
        '[ 1, "é" ]',
        '{"causation_id":"e-1"}',
        "00112233445566778899aabbccddeeff",
        "93da735e2eb183e9b670637b532fd1f70bb4fffc1e8a84458c5c45a341c85750",
    ),
]

CHANGES: dict[str, Any] = {
    "previous": bytes(31) + b"\x02",
    "salt": bytes.fromhex("f0e1d2c3b4a5968778695a4b3c2d1e0e"),
    "data": '{"total":123456789012345678901234567890.1,"note":"ü\\u00fc"}',
    "meta": '{"actor":"cron"}',
    "position": 42,
    "stream": "order-ss",
    "version": 8,
    "id": "e1",
    "type": "Order/Placed",
    "schema": 4,
    "time": "2026-01-31T09:30:00.000001Z",
    "recorded": "2026-01-31T09:30:01.000000Z",
}
HEADER = ("position", "stream", "version", "id", "type", "schema", "time", "recorded")


def hash_of(event: dict[str, Any]) -> str:
    digest = chain.payload_digest(event["salt"], event["data"].encode(), event["meta"].encode())
    return chain.event_hash(event["previous"], digest, chain.header(*(event[name] for name in HEADER))).hex()


def test_the_genesis_hash_is_the_vectors() -> None:
    assert chain.genesis(LOG_ID).hex() == GENESIS


def test_the_payload_digest_is_the_vectors() -> None:
    assert chain.payload_digest(EVENT["salt"], EVENT["data"].encode(), EVENT["meta"].encode()).hex() == DIGEST


def test_the_hash_of_an_event_is_the_vectors() -> None:
    assert hash_of(EVENT) == HASH


def test_the_hashes_of_a_log_are_the_vectors() -> None:
    previous = chain.genesis(LOG_ID)
    for header, data, meta, salt, expected in LOG:
        digest = chain.payload_digest(bytes.fromhex(salt), data.encode(), meta.encode())
        previous = chain.event_hash(previous, digest, chain.header(*header))
        assert previous.hex() == expected


def test_the_header_is_eight_lines_without_an_end() -> None:
    assert chain.header(*(EVENT[name] for name in HEADER)) == (
        '41\norder-ß\n7\ne"1\nOrder\\Placed\n3\n2026-01-31T09:30:00.000000Z\n2026-01-31T09:30:01.000001Z'
    )


def test_every_field_has_a_change_that_is_tried() -> None:
    assert list(CHANGES) == list(EVENT)
    assert [name for name in EVENT if CHANGES[name] == EVENT[name]] == []


@pytest.mark.parametrize("field", CHANGES)
def test_a_change_of_any_field_changes_the_hash(field: str) -> None:
    assert hash_of({**EVENT, field: CHANGES[field]}) != HASH


def test_no_two_changes_lead_to_the_same_hash() -> None:
    assert len({hash_of({**EVENT, field: change}) for field, change in CHANGES.items()}) == len(CHANGES)


@pytest.mark.parametrize(
    "other",
    [
        {"data": "a", "meta": "bc"},
        {"data": "abc", "meta": ""},
        {"data": "", "meta": "abc"},
        {"stream": "a", "version": "b"},
        {"position": 1, "stream": "11"},
        {"stream": "x1", "version": 2},
        {"id": "", "type": "aa"},
    ],
)
def test_what_moves_from_one_field_to_its_neighbour_changes_the_hash(other: dict[str, Any]) -> None:
    neighbours = {"data": "ab", "meta": "c", "position": 11, "stream": "1", "version": 12, "id": "a", "type": "a"}
    event = {**EVENT, **neighbours}
    assert hash_of({**event, **other}) != hash_of(event)


def test_a_log_with_another_id_begins_elsewhere() -> None:
    assert chain.genesis(LOG_ID[:-1] + "6") != chain.genesis(LOG_ID)


@pytest.mark.parametrize("missing", [(), ("_sha2",), ("_sha2", "_sha256")], ids=["none", "_sha2", "both"])
def test_every_python_has_the_same_hashes_whichever_sha_256_it_was_built_with(missing: tuple[str, ...]) -> None:
    hidden = "".join(f"sys.modules[{name!r}] = None\n" for name in missing)
    program = f"import sys\n{hidden}from esctl.events import chain\nprint(chain.genesis({LOG_ID!r}).hex())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"{GENESIS}\n"


@given(
    st.binary(min_size=16, max_size=16), st.text(), st.text(), st.text(st.characters(exclude_categories=("Cs", "Cc")))
)
def test_the_formula_is_the_documented_one(salt: bytes, data: str, meta: str, name: str) -> None:
    digest = sha256(salt + data.encode() + b"\0" + meta.encode()).digest()
    assert chain.payload_digest(salt, data.encode(), meta.encode()) == digest
    header = f"5\n{name}\n2\n{name}\n{name}\n1\nthen\nnow"
    expected = sha256(digest + digest + header.encode()).digest()
    assert chain.event_hash(digest, digest, chain.header(5, name, 2, name, name, 1, "then", "now")) == expected
