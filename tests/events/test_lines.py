"""Lines of NDJSON into events: what is refused and why, and what is kept byte for byte."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from esctl.errors import RefusedError
from esctl.events.event import NewEvent
from esctl.events.keys import repeated
from esctl.events.lines import CHUNK_LINES, Defaults, Parser, are_plain, parser
from esctl.log import EventLog
from tests.conftest import write_empty_log

NAMED = Defaults(stream="s", type="T")
PAYLOAD = Defaults(stream="s", type="T", payload=True)
EXTRA = Defaults(stream="s", type="T", extra=True)
ADDED = Defaults(stream="s", type="T", meta={"actor": Raw(b'"web"')})


def parse(line: str | bytes, defaults: Defaults = NAMED) -> NewEvent:
    return parser(defaults)(line.encode() if isinstance(line, str) else line)


def refused(line: str | bytes, defaults: Defaults = NAMED) -> RefusedError:
    with pytest.raises(RefusedError) as error:
        parse(line, defaults)
    return error.value


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ESCTL_MAX_EVENT", raising=False)


# What is not JSON

NOT_JSON = {
    # the line, and the byte (from 1) at which it stops being JSON; None: any byte of the wrong word will do
    "cut after a key": (b'{"data":', 8),
    "cut in a string": (b'{"data":"abc', 12),
    "cut in an escape": (b'{"data":"\\', 10),
    "cut in an array": (b'{"data":[1,2', 12),
    "something behind": (b'{"data":1}x', 11),
    "something behind a blank": (b'{"data":1} x', 12),
    "two objects": (b"{}{}", 3),
    "NUL behind": (b"{}\0", 3),
    "NaN": (b'{"data":NaN}', 9),
    "NaN in the payload": (b'{"data":{"a":[NaN]}}', 15),
    "Infinity": (b'{"data":Infinity}', 9),
    "-Infinity": (b'{"data":-Infinity}', 10),
    "no literal": (b'{"data":tru}', None),
    "single quotes": (b"{'data':1}", 2),
    "leading zero": (b'{"data":01}', 10),
    "number ending in a point": (b'{"data":1.}', 11),
    "plus": (b'{"data":+1}', 9),
    "number beginning with a point": (b'{"data":.5}', 9),
    "hexadecimal": (b'{"data":0x1}', None),
    "comma before ]": (b'{"data":[1,]}', 12),
    "comma before }": (b'{"data":1,}', 11),
    "no colon": (b'{"data" 1}', 9),
    "key alone": (b'{"data"}', 8),
    "comment": (b'{"data":/*1*/1}', 9),
    "raw tab in a string": (b'{"data":"a\tb"}', 11),
    "raw newline in a string": (b'{"data":"a\nb"}', 11),
    "NUL in a string": (b'{"data":"\0"}', 10),
    "unknown escape": (b'{"data":"\\x"}', 11),
    "short \\u escape": (b'{"data":"\\u12"}', 14),
    "half a high surrogate escape": (b'{"data":"\\ud83"}', 15),
    "half a low surrogate escape": (b'{"data":"\\ud83d\\ude0"}', 21),
    "BOM": (b"\xef\xbb\xbf{}", 1),
    "words": (b"order placed", 1),
}


@pytest.mark.parametrize(("line", "byte"), NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_refused_with_the_byte(line: bytes, byte: int | None) -> None:
    error = refused(line)
    assert error.what == "the line is not JSON"
    assert error.why
    assert error.details["byte"] == byte or (byte is None and line[8 : int(str(error.details["byte"]))].isalnum())


@pytest.mark.parametrize("defaults", [PAYLOAD, EXTRA, ADDED], ids=["payload", "extra", "meta"])
@pytest.mark.parametrize("line", [line for line, _ in NOT_JSON.values()], ids=NOT_JSON)
def test_what_is_not_json_is_refused_however_lines_are_read(line: bytes, defaults: Defaults) -> None:
    assert refused(line, defaults).what == "the line is not JSON"


NOT_UNICODE = {
    "high": (r'{"data":"\ud800"}', 10),
    "low": (r'{"data":"\udc00"}', 10),
    "capital": (r'{"data":"\uDBFF"}', 10),
    "two high": (r'{"data":"\ud800\ud800"}', 10),
    "low before high": (r'{"data":"\ude00\ud83d"}', 10),
    "high before another escape": (r'{"data":"\ud83d\u0041"}', 10),
    "high before text": (r'{"data":"\ud83dude00"}', 10),
    "high before another field": (r'{"data":"\ud83d","id":"e"}', 10),
    "behind a pair": (r'{"data":"\ud83d\ude00\udbff"}', 22),
    "behind what only looks like one": (r'{"data":"\\ud800 \ud800"}', 18),
    "behind an escaped backslash": (r'{"data":"\\\ud800"}', 12),
    "in a key": (r'{"data":{"\ud800":1}}', 11),
    "in an unknown key": (r'{"\ud800":1}', 3),
    "in meta": (r'{"meta":{"a":"\ud800"}}', 15),
    "in the stream": (r'{"stream":"\ud800"}', 12),
    "deep": (r'{"data":[[["x","\udfff"]]]}', 17),
}


@pytest.mark.parametrize(("line", "byte"), NOT_UNICODE.values(), ids=NOT_UNICODE)
def test_half_of_a_surrogate_pair_is_refused_with_the_byte(line: str, byte: int) -> None:
    error = refused(line)
    assert error.what == "the line has half of a surrogate pair"
    assert error.details == {"byte": byte}
    assert line[byte - 1 : byte + 1] == "\\u"


@pytest.mark.parametrize("line", [line for line, _ in NOT_UNICODE.values()], ids=NOT_UNICODE)
@pytest.mark.parametrize("defaults", [PAYLOAD, EXTRA], ids=["payload", "extra"])
def test_half_of_a_surrogate_pair_is_refused_however_lines_are_read(line: str, defaults: Defaults) -> None:
    assert refused(line, defaults).what == "the line has half of a surrogate pair"


@pytest.mark.parametrize(
    "data", [r'"\\ud800"', r'"\\\\ud800"', r'"\ud83d\ude00"', r'"\uD83D\uDE00"', r'"\\\ud83d\ude00"']
)
def test_pairs_and_escaped_backslashes_before_u_are_kept(data: str) -> None:
    assert parse(f'{{"data":{data}}}')[5] == data


UNDECODABLE = {
    "at the start": (b"\xff", 1),
    "in a string": (b'{"data":"\xff"}', 10),
    "in a key": (b'{"d\xffta":1}', 4),
    "a surrogate in UTF-8": (b'{"data":"\xed\xa0\x80"}', 10),
    "an overlong NUL": (b'{"data":"\xc0\x80"}', 10),
    "beyond Unicode": (b'{"data":"\xf4\x90\x80\x80"}', 10),
    "a character cut short": (b'{"data":"\xc3', 10),
    "Latin-1 behind good UTF-8": (b'{"data":"\xc3\xa9\xe9"}', 12),
    "behind the payload": (b'{"data":"x","stream":"\xff"}', 23),
    "in what is ignored": (b'{"hash":"\xff"}', 10),
}


@pytest.mark.parametrize("defaults", [NAMED, PAYLOAD, EXTRA], ids=["plain", "payload", "extra"])
@pytest.mark.parametrize(("line", "byte"), UNDECODABLE.values(), ids=UNDECODABLE)
def test_invalid_utf_8_is_refused_with_the_byte(line: bytes, byte: int, defaults: Defaults) -> None:
    error = refused(line, defaults)
    assert error.what == "the line is not valid UTF-8"
    assert error.details == {"byte": byte}


# Depth and size


def nest(levels: int, opening: str = "[", closing: str = "]", inner: str = "") -> str:
    return opening * levels + inner + closing * levels


WAYS: dict[str, tuple[str, Defaults, int]] = {
    # a line around a value, how it is read, and how many levels of payload or meta the line itself brings
    "data": ('{"data":%s}', NAMED, 0),
    "data within its payload": ('{"data":{"a":%s}}', NAMED, 1),
    "meta": ('{"meta":{"a":%s}}', NAMED, 1),
    "data where meta is added": ('{"data":%s}', ADDED, 0),
    "meta to which something is added": ('{"meta":{"a":%s}}', ADDED, 1),
    "the payload": ("%s", PAYLOAD, 0),
    "an unknown key that becomes meta": ('{"a":%s}', EXTRA, 1),
    "an unknown key that joins meta": ('{"meta":{"b":1},"a":%s}', EXTRA, 1),
    "data beside an unknown key": ('{"a":1,"data":%s}', EXTRA, 0),
}


@pytest.mark.parametrize(("opening", "closing", "inner"), [("[", "]", ""), ('{"a":', "}", "[]"), ("[ ", " ]", "")])
@pytest.mark.parametrize(("line", "defaults", "around"), WAYS.values(), ids=WAYS)
def test_1000_levels_are_taken_and_1001_refused(
    line: str, defaults: Defaults, around: int, opening: str, closing: str, inner: str
) -> None:
    levels = 1000 - around - (inner == "[]")
    event = parse(line % nest(levels, opening, closing, inner), defaults)
    assert nest(levels, opening, closing, inner) in event[5] + event[6]
    error = refused(line % nest(levels + 1, opening, closing, inner), defaults)
    assert error.what == "the JSON is nested too deeply"


@pytest.mark.parametrize("levels", [10_000, 500_000])
@pytest.mark.parametrize(("line", "defaults", "around"), WAYS.values(), ids=WAYS)
def test_any_depth_is_refused(line: str, defaults: Defaults, around: int, levels: int) -> None:
    assert refused(line % nest(levels + around), defaults).what == "the JSON is nested too deeply"


@pytest.mark.parametrize("levels", [10_000, 500_000])
@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_any_depth_that_never_closes_is_refused(opening: str, levels: int) -> None:
    assert refused('{"data":' + opening * levels).what == "the JSON is nested too deeply"


def test_the_depth_of_what_is_ignored_is_refused_too() -> None:
    assert refused('{"position":%s}' % nest(10_000)).what == "the JSON is nested too deeply"  # noqa: UP031


def test_reading_something_deep_leaves_pythons_limit_as_it_was() -> None:
    import sys

    before = sys.getrecursionlimit()
    parse(f'{{"data":{nest(1000)}}}')
    refused(f'{{"data":{nest(1000)}')
    assert sys.getrecursionlimit() == before


@pytest.mark.parametrize("defaults", [NAMED, PAYLOAD, EXTRA], ids=["plain", "payload", "extra"])
def test_a_line_is_refused_exactly_beyond_the_limit(defaults: Defaults, monkeypatch: pytest.MonkeyPatch) -> None:
    line = '{"data":"éé"}'
    monkeypatch.setenv("ESCTL_MAX_EVENT", str(len(line.encode())))
    assert "é" in parse(line, defaults)[5]
    monkeypatch.setenv("ESCTL_MAX_EVENT", str(len(line.encode()) - 1))
    assert refused(line, defaults).what == f"the event is larger than {len(line.encode()) - 1} bytes"


# The envelope


@pytest.mark.parametrize("line", ["[1]", "3", '"x"', "null", "true", "[]", '[{"stream":"s","type":"T"}]'])
def test_a_line_that_is_not_an_object_is_refused(line: str) -> None:
    assert refused(line).what == "the line is not an event"


@pytest.mark.parametrize(
    ("key", "near"),
    [("dat", "data"), ("streem", "stream"), ("Type", "type"), ("scheme", "schema"), ("expected", "expect")],
)
def test_an_unknown_key_is_refused_with_its_near_miss(key: str, near: str) -> None:
    error = refused(f'{{"data":1,"{key}":1}}')
    assert (error.what, error.why) == (f"the line has the unknown key {key!r}", f"did you mean {near!r}?")
    assert error.again is None  # in meta, the key would be lost


@pytest.mark.parametrize("key", ["zzz", "", "truncated", "surrogate", "a b", "é"])
def test_an_unknown_key_that_is_near_to_none_is_refused_with_the_keys(key: str) -> None:
    error = refused(json.dumps({key: 1}))
    assert error.what == f"the line has the unknown key {key!r}"
    assert error.why == "the keys are stream, type, data, id, time, schema, meta, expect"
    assert error.again == "--extra meta"


WRONG_TYPES = {
    "stream": ["1", "true", "[]", "{}", "1.5"],
    "type": ["1", "false", "[]", "{}"],
    "id": ["1", "true", "[]", "{}"],
    "time": ["1769851800", "true", "[]", "{}"],
    "schema": ['"1"', "true", "1.5", "[]", "{}", "1e400"],
    "expect": ["true", "1.5", "[]", "{}"],
}


@pytest.mark.parametrize("defaults", [NAMED, EXTRA], ids=["plain", "extra"])
@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG_TYPES.items() for value in values])
def test_a_value_of_the_wrong_type_is_refused_with_its_key(key: str, value: str, defaults: Defaults) -> None:
    error = refused(f'{{"{key}":{value}}}', defaults)
    assert error.what == "the line is not an event"
    assert f"at `$.{key}`" in error.why


@pytest.mark.parametrize("time", ["1769848200", "1769848200.5", "true"])
def test_a_time_that_is_no_text_is_refused_with_the_spelling_for_seconds(time: str) -> None:
    why = refused(f'{{"stream":"s","type":"T","time":{time}}}').why
    assert why.endswith('; a time is a text: "2026-01-31T09:30:00Z", or "@1769848200" for seconds since 1970')


@pytest.mark.parametrize(
    ("line", "lacking"),
    [
        ("{}", "stream"),
        ('{"type":"T"}', "stream"),
        ('{"stream":"s"}', "type"),
        ('{"stream":null,"type":"T"}', "stream"),
        ('{"stream":"s","type":null}', "type"),
        ('{"stream":"","type":"T"}', "stream"),
        ('{"stream":"s","type":""}', "type"),
    ],
)
def test_an_event_without_stream_or_type_is_refused(line: str, lacking: str) -> None:
    error = refused(line, Defaults())
    assert error.what == f"the event has no {lacking}"
    assert f"--{lacking}" in error.why


@pytest.mark.parametrize("key", ["stream", "type", "id"])
def test_an_empty_name_is_refused_even_where_there_is_a_default(key: str) -> None:
    refused(f'{{"{key}":""}}')


@pytest.mark.parametrize("key", ["stream", "type", "id"])
@pytest.mark.parametrize(
    "name", [" a", "a ", r"a\nb", r"\u0000", r"\u001b[31m", "a\x7f", r"\u0085", "x" * 513, "\u2028"]
)
def test_a_bad_name_is_refused(key: str, name: str) -> None:
    assert refused(f'{{"{key}":"{name}"}}').what.startswith(f"the {key} ")


@pytest.mark.parametrize("stream", ["$", "$esctl"])
def test_the_logs_own_streams_are_refused(stream: str) -> None:
    assert refused(f'{{"stream":"{stream}"}}').what.endswith("is the log's own")
    assert refused("{}", Defaults(stream=stream, type="T")).what.endswith("is the log's own")


def test_a_type_with_a_dollar_does_not_open_the_stream_of_that_name() -> None:
    take = parser(Defaults())
    assert take(b'{"stream":"s","type":"$x"}')[:2] == ("s", "$x")
    with pytest.raises(RefusedError, match="is the log's own"):
        take(b'{"stream":"$x","type":"$x"}')


def test_a_name_that_was_refused_is_refused_again() -> None:
    take = parser(NAMED)
    for line in (b'{"stream":"$x"}', b'{"stream":"a\\nb"}', b'{"type":" a"}') * 2:
        with pytest.raises(RefusedError):
            take(line)


def test_a_bad_type_is_refused_in_a_stream_that_is_known() -> None:
    take = parser(NAMED)
    take(b"{}")
    with pytest.raises(RefusedError, match="control character"):
        take(b'{"type":"a\\u001bb"}')
    with pytest.raises(RefusedError, match="control character"):
        take(b'{"stream":"a\\u001bb"}')


def test_names_go_on_being_checked_after_more_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esctl.events.lines.MAX_REMEMBERED", 10)
    take = parser(NAMED)
    streams = [take(b'{"stream":"s%d"}' % (i % 30))[0] for i in range(100)]
    assert streams == [f"s{i % 30}" for i in range(100)]
    with pytest.raises(RefusedError, match="is the log's own"):
        take(b'{"stream":"$x"}')


@pytest.mark.parametrize("schema", [0, -1, 2**31, 2**63 - 1, 10**30, -(10**30)])
def test_a_schema_out_of_range_is_refused(schema: int) -> None:
    assert refused(f'{{"schema":{schema}}}').what == f"the schema is {schema}"


@pytest.mark.parametrize("expect", ['"some"', '""', '"ANY"', '"3"', '"-1"', "-1", "-9223372036854775808"])
def test_an_expectation_that_no_stream_can_meet_is_refused(expect: str) -> None:
    assert refused(f'{{"expect":{expect}}}').what.startswith("expect is ")


@pytest.mark.parametrize(
    ("expect", "taken"), [('"any"', "any"), ('"none"', "none"), ('"exists"', "exists"), ("0", 0), ("7", 7)]
)
def test_an_expectation_is_taken(expect: str, taken: object) -> None:
    assert parse(f'{{"expect":{expect}}}')[7] == taken


@pytest.mark.parametrize(
    "time", ["", "x", "2026-01-31", "2026-01-31T09:30:00", "2026-02-30T00:00:00Z", "2026-01-31T24:00:00Z"]
)
def test_a_bad_time_is_refused(time: str) -> None:
    assert refused(f'{{"time":"{time}"}}').what.startswith(f"the time {time!r}")


def test_a_time_is_kept_in_utc() -> None:
    assert parse('{"time":"2026-01-31T09:30:00.1234567+01:00"}')[3] == "2026-01-31T08:30:00.123456Z"
    assert parse('{"time":"2026-01-28T09:30:00.123456Z"}')[3] == "2026-01-28T09:30:00.123456Z"


@pytest.mark.parametrize("meta", ["[]", '"x"', '"{"', "3", "true", "[{}]", "0.5"])
@pytest.mark.parametrize("defaults", [NAMED, ADDED, EXTRA], ids=["plain", "meta", "extra"])
def test_meta_that_is_not_an_object_is_refused(meta: str, defaults: Defaults) -> None:
    refused(f'{{"meta":{meta},"unknown":1}}' if defaults.extra else f'{{"meta":{meta}}}', defaults)


# What becomes of a line


def test_a_whole_line_becomes_an_event() -> None:
    line = (
        '{"stream":"order-1","type":"Placed","id":"e-1","time":"2026-01-28T09:30:00.000000Z","schema":2,'
        '"data":{"a":1},"meta":{"b":2},"expect":3}'
    )
    assert parse(line) == NewEvent(
        "order-1", "Placed", "e-1", "2026-01-28T09:30:00.000000Z", 2, '{"a":1}', '{"b":2}', 3
    )


def test_what_is_absent_gets_its_default() -> None:
    stream, type_, event_id, *rest = parse("{}", Defaults(stream="s", type="T", schema=4))
    assert (stream, type_, rest) == ("s", "T", [None, 4, "{}", "{}", None])
    assert uuid.UUID(event_id).version == 7


@pytest.mark.parametrize("key", ["stream", "type", "id", "time", "schema", "meta", "expect"])
def test_null_is_as_absent(key: str) -> None:
    defaults = Defaults(stream="s", type="T", schema=4)
    with_null, without = parse(f'{{"{key}":null}}', defaults), parse("{}", defaults)
    assert with_null[:2] + with_null[3:] == without[:2] + without[3:]
    assert uuid.UUID(with_null[2]).version == 7


def test_null_is_a_payload() -> None:
    assert parse('{"data":null}')[5] == "null"


def test_what_a_line_says_goes_before_the_defaults() -> None:
    defaults = Defaults(stream="s", type="T", schema=4)
    assert parse('{"stream":"other","type":"U","schema":1}', defaults)[:2] == ("other", "U")
    assert parse('{"stream":"other","type":"U","schema":1}', defaults)[4] == 1


@pytest.mark.parametrize("key", ["position", "version", "recorded", "salt", "hash"])
@pytest.mark.parametrize("value", ["1", '"x"', "null", '{"a":[1]}', "[]", "1e400"])
@pytest.mark.parametrize("defaults", [NAMED, EXTRA], ids=["plain", "extra"])
def test_what_the_log_itself_gives_is_ignored(key: str, value: str, defaults: Defaults) -> None:
    event = parse(f'{{"{key}":{value},"id":"e"}}', defaults)
    assert event == NewEvent("s", "T", "e", None, 0, "{}", "{}", None)


@pytest.mark.parametrize(
    ("line", "key", "byte"),
    [
        ('{"data":1,"id":"a","data":2}', "data", 20),
        ('{"data":{"amount":1,"amount":5000}}', "amount", 21),
        ('{"data":[{"x":{"a":1}},{"x":{"a":1,"b":2,"a":1}}]}', "a", 42),
        ('{"data":{"a":1,"\\u0061":2}}', "a", 16),
        ('{"data":{"a" :1e999, "a" : 1e999}}', "a", 22),
        ('{"meta":{"actor":"x","actor":"y"}}', "actor", 22),
        ('{"data":{"é":1,"é":2}}', "é", 17),
        ('{"data":{"a":"\\u003a","a":1}}', "a", 23),
        ('{"data":{"a":[1,2],"a":18446744073709551616}}', "a", 20),
    ],
)
def test_a_key_that_occurs_twice_in_an_object_is_refused_with_its_byte(line: str, key: str, byte: int) -> None:
    error = refused(line.encode())
    assert error.what == f"the key {key!r} occurs twice in an object of the line"
    assert (error.details["key"], error.details["byte"]) == (key, byte)


@pytest.mark.parametrize("defaults", [PAYLOAD, EXTRA, Defaults(stream="s", type="T", input="cloudevents")])
def test_a_key_that_occurs_twice_is_refused_in_every_form_of_input(defaults: Defaults) -> None:
    line = '{"specversion":"1.0","id":"1","source":"/s","type":"T","data":{"a":1,"a":1}}'
    with pytest.raises(RefusedError, match=r"^the key 'a' occurs twice"):
        parse(line, defaults)


SOME_LINES = [
    '{"data":1}',
    '{"data":{"a":1,"b":[{"a":1}]}}',
    '{"data": {"a" : 1e999}}',
    '{"data":{"a":1,"a":1}}',
    '{"a":1} {"a":1}',
    '{"specversion":"1.0"}',
    '{"data":"\\u003a","id":"x"}',
    '[{"a":1,"a":1}]',
    "",
    "{",
    '{"data":18446744073709551616}',
    '{"id":"é","id":"é"}',
    "[" * 900 + "]" * 900,
]


@given(st.lists(st.sampled_from(SOME_LINES), max_size=5))
def test_lines_are_plain_only_if_each_of_them_is(texts: list[str]) -> None:
    lines = [b'{"data":1}', *[text.encode() for text in texts]]
    if are_plain(b"\n".join(lines)):
        assert not any(repeated(line) for line in lines if line[:1] == b"{" and line != b"{")


def test_lines_that_are_too_long_to_be_looked_at_together_are_in_doubt() -> None:
    assert are_plain(b'{"data":1}')
    assert not are_plain(b'{"data":"' + b"x" * 300_000 + b'"}')


def test_every_event_gets_an_id_of_its_own() -> None:
    take = parser(NAMED)
    made = [take(b"{}")[2] for _ in range(1000)]
    assert made == sorted(set(made))


@pytest.mark.parametrize(
    ("line", "data", "meta"),
    [
        ('{"data":{"a":\r1,\r\n"b":\n2}}', '{"a": 1,  "b": 2}', "{}"),
        ('{"data":\r\n{}\r\n,"meta":{\r"c":\n3}}\r', "{}", '{ "c": 3}'),
        ('{"data":"\\r\\n"}\r', '"\\r\\n"', "{}"),
        ('\r{"data":[\r]}', "[ ]", "{}"),
    ],
)
def test_line_ends_between_tokens_become_blanks(line: str, data: str, meta: str) -> None:
    assert parse(line)[5:7] == (data, meta)


# Byte for byte

BLANKS = st.text(" \t", max_size=2)
NUMBERS = st.sampled_from(
    ["0", "-0", "-0.0", "1E+10", "1e-07", "0.10", "1e400", "123456789012345678901234567890", "0.1000000000000000055511"]
) | st.integers().map(str)
STRINGS = st.lists(
    st.sampled_from(
        [r"\"", r"\\", r"\/", r"\u0041", r"\u00e9", r"\n", r"\ud83d\ude00", "[", "}", "😀", "\u2028", "\x7f"]
    )
    | st.characters(exclude_categories=("Cs", "Cc"), exclude_characters='"\\'),
    max_size=5,
).map(lambda pieces: f'"{"".join(pieces)}"')


def spaced(opening: str, parts: list[str], closing: str, blank: str) -> str:
    return opening + blank + f"{blank},{blank}".join(parts) + blank + closing


def arrays(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(spaced, st.just("["), st.lists(children, max_size=4), st.just("]"), BLANKS)


def objects(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(STRINGS, BLANKS, children)
    unique = st.lists(pairs, max_size=4, unique_by=lambda pair: str(json.loads(pair[0])))
    texts = unique.map(lambda found: [f"{key}{blank}:{blank}{value}" for key, blank, value in found])
    return st.builds(spaced, st.just("{"), texts, st.just("}"), BLANKS)


TEXTS = st.recursive(
    NUMBERS | STRINGS | st.sampled_from(["true", "false", "null"]),
    lambda children: arrays(children) | objects(children),
    max_leaves=12,
)


ENVELOPES = st.sampled_from(
    [
        '"id":"e","data":{}',
        '"stream":"é-1","type":"T","data":{},"expect":3',
        '"meta":{{"a":1}},"data":{},"schema":2,"time":"2026-01-31T09:30:00+01:00"',
        '"id":"x","data":{}}}\n{{"id":"y"',
        '"data":{},"specversion":"1.0","id":"1","source":"/s","type":"T","subject":"s"',
        '"data":{},"unknown":1',
        '"data":\r{},"meta":null',
        '"stream":"$own","data":{}',
        '"data":{},"stream":"',
    ]
)
FORMS = [NAMED, PAYLOAD, EXTRA, ADDED, Defaults(), Defaults(stream="s", type="T", input="ndjson")]


def outcome(take: Callable[[], list[NewEvent]]) -> object:
    """The events, with new ids left out, or the error."""
    try:
        return [event if event.id in ("e", "x", "y") else event._replace(id="") for event in take()]
    except RefusedError as error:
        return error.what, error.why, error.details


@given(st.lists(st.tuples(ENVELOPES, TEXTS) | st.sampled_from(SOME_LINES), max_size=4), st.sampled_from(FORMS))
def test_a_chunk_of_lines_is_parsed_as_each_of_them(texts: list[tuple[str, str] | str], defaults: Defaults) -> None:
    text = "\n".join(each if isinstance(each, str) else f"{{{each[0].format(each[1])}}}" for each in texts)
    lines = text.encode().split(b"\n")
    together = Parser(defaults).chunk(lines)
    if together is not None:
        assert outcome(lambda: together) == outcome(lambda: [parser(defaults)(line) for line in lines])


@pytest.mark.parametrize("defaults", FORMS)
def test_an_ordinary_chunk_is_parsed_as_a_whole(defaults: Defaults) -> None:
    lines = [b'{"stream":"order-1","type":"T","id":"e","data":{"a":[1,{"a":2}]},"meta":{"b":"\xc3\xa9"}}'] * CHUNK_LINES
    assert Parser(defaults).chunk(lines) is not None


@given(TEXTS, objects(TEXTS), BLANKS)
@example('{"b":1,"a":2,"c":123456789012345678901234567890}', '{"z":-0.0}', " ")
@example('"' + "x" * 3000 + '"', '{"y":"' + "x" * 3000 + '"}', "")
def test_data_and_meta_are_kept_byte_for_byte(data: str, meta: str, blank: str) -> None:
    assert parse(f'{blank}{{"data":{blank}{data}{blank},"meta"{blank}:{blank}{meta}{blank}}}{blank}')[5:7] == (
        data,
        meta,
    )


@given(TEXTS, objects(TEXTS))
def test_data_and_meta_are_kept_byte_for_byte_where_extra_keys_could_be(data: str, meta: str) -> None:
    assert parse(f'{{"meta":{meta},"data":{data}}}', EXTRA)[5:7] == (data, meta)


@given(TEXTS, BLANKS)
def test_a_payload_line_is_kept_byte_for_byte(data: str, blank: str) -> None:
    assert parse(f"{blank}{data}{blank}", PAYLOAD)[5:7] == (data, "{}")


def members(text: str) -> list[tuple[str, Any]]:
    """The members of an object with every number as the text it came as."""
    pairs: list[tuple[str, Any]] = json.loads(
        text, parse_int=str, parse_float=str, object_pairs_hook=lambda found: found
    )
    return pairs


@given(TEXTS, TEXTS)
def test_adding_to_meta_keeps_the_text_of_every_value(added: str, own: str) -> None:
    defaults = Defaults(stream="s", type="T", meta={"added": Raw(added.encode())})
    assert parse(f'{{"meta":{{"own":{own}}}}}', defaults)[6] == f'{{"added":{added},"own":{own}}}'


@pytest.mark.parametrize(
    ("line", "meta"),
    [
        ("{}", '{"actor":"web"}'),
        ('{"meta":null}', '{"actor":"web"}'),
        ('{"meta":{}}', '{"actor":"web"}'),
        ('{"meta":{"n":123456789012345678901234567890}}', '{"actor":"web","n":123456789012345678901234567890}'),
        ('{"meta":{"n":1.10}}', '{"actor":"web","n":1.10}'),
        ('{"meta":{"actor":"cron"}}', '{"actor":"cron"}'),
    ],
)
def test_what_a_line_has_in_meta_goes_before_what_is_added(line: str, meta: str) -> None:
    assert parse(line, ADDED)[6] == meta


def test_a_payload_line_gets_the_meta_that_is_added() -> None:
    defaults = Defaults(stream="s", type="T", meta={"n": Raw(b"1.10")}, payload=True)
    assert parse('{"stream":"x","unknown":1}', defaults)[5:7] == ('{"stream":"x","unknown":1}', '{"n":1.10}')


@pytest.mark.parametrize(
    ("line", "meta"),
    [
        ('{"x":1.10}', [("x", "1.10")]),
        ('{"x":1,"y":[123456789012345678901234567890]}', [("x", "1"), ("y", ["123456789012345678901234567890"])]),
        ('{"meta":{"a":1e2},"x":{"b":-0.0}}', [("x", [("b", "-0.0")]), ("a", "1e2")]),
        ('{"meta":null,"x":null}', [("x", None)]),
        ('{"x":1,"meta":{"x":2}}', [("x", "2")]),
    ],
)
def test_unknown_keys_go_to_meta_where_they_may(line: str, meta: list[tuple[str, object]]) -> None:
    assert members(parse(line, EXTRA)[6]) == meta


def test_unknown_keys_leave_the_envelope_as_it_is() -> None:
    line = '{"x":1,"stream":"a","type":"B","id":"e","time":"2026-01-28T00:00:00Z","schema":3,"data":{"c":2},"expect":0}'
    assert parse(line, Defaults(extra=True)) == NewEvent(
        "a", "B", "e", "2026-01-28T00:00:00.000000Z", 3, '{"c":2}', '{"x":1}', 0
    )  # fmt: skip


# One JSON

CHARACTERS = '[]{}:,"\\0159.eE+-/*tn\x01\x1f\x7f\x0b\xa0\ufeff \t\n\ré😀\u2028'
TOKENS = ["true", "null", "NaN", "Infinity", '"a"', "\\u00e9", "\\ud83d", "\\ude00", "0x1"]
PIECES = st.lists(st.sampled_from([*CHARACTERS, *TOKENS]), max_size=8).map("".join)
NEAR_JSON = PIECES | st.builds(
    lambda text, at, cut, piece: text[: at % (len(text) + 1)] + piece + text[at % (len(text) + 1) + cut :],
    TEXTS,
    st.integers(0, 1000),
    st.integers(0, 2),
    PIECES | st.just(""),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
    path = tmp_path_factory.mktemp("json") / "log.db"
    write_empty_log(path)
    with EventLog(path) as log:
        yield log


def halves(text: str) -> bool:
    """Whether valid JSON text holds half of a surrogate pair."""
    value = json.loads(text, object_pairs_hook=list, parse_int=str)
    return bool(re.search("[\ud800-\udfff]", json.dumps(value, ensure_ascii=False)))


@settings(max_examples=250)
@given(text=NEAR_JSON)
@example(text=r'"\ud800"')
@example(text=r'"\\ud800"')
@example(text='"a\tb"')
@example(text='"\x7f"')
@example(text="\ufeff1")
@example(text="")
@example(text=" ")
def test_a_line_is_json_where_sqlite_says_so_and_half_a_surrogate_pair_is_not(store: EventLog, text: str) -> None:
    is_json = store.is_json(text)
    try:
        parse(text, PAYLOAD)
    except RefusedError:
        assert not is_json or halves(text) or repeated(text.encode())
    else:
        assert is_json
        assert not halves(text)


@given(TEXTS)
def test_what_is_taken_is_json_to_sqlite(store: EventLog, text: str) -> None:
    assert store.is_json(parse(text, PAYLOAD)[5])


PARTS_OF_LINES = [
    b"", b"{}", b" {}", b"{}\r", b'{"data":1}', b"{}{}", b'{"data":', b"1}", b'1}{"data":2}', b"[1,", b"2] 3", b"1 2",
    b'{"data":[{}', b"{}]}", b'"a', b'{"data":"}',
]  # fmt: skip


@given(
    st.lists(st.sampled_from(PARTS_OF_LINES), min_size=1, max_size=4),
    st.sampled_from((Defaults(stream="s", type="T"), PAYLOAD, EXTRA)),
)
@example([b"", b"{}{}"], Defaults(stream="s", type="T"))
@example([b"[1,", b"2] 3"], PAYLOAD)
def test_lines_that_are_parsed_together_are_what_each_is_alone(lines: list[bytes], defaults: Defaults) -> None:
    def numbered() -> Iterator[str]:
        return (f"id {n}" for n in range(9))

    if (together := Parser(defaults, numbered()).chunk(lines)) is not None:
        alone = Parser(defaults, numbered())
        assert together == [alone.line(line) for line in lines]
