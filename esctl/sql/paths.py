"""Paths into JSON as users write them: `customer_id`, `items[0].qty`, `"http.method"`."""

from __future__ import annotations


def readable(path: str) -> str:
    """A path that SQLite prints (`$."customer_id"`), as users write it: without `$.`, and without quotes around keys
    that need none. The root stays `$`.
    """
    import re  # noqa: PLC0415 - only a difference needs it

    text = re.sub(r'"(?:[^"\\]|\\.)*"', lambda quoted: _key(quoted[0]), path.removeprefix("$"))
    return text.removeprefix(".") or "$"


def _key(quoted: str) -> str:
    import json  # noqa: PLC0415
    import re  # noqa: PLC0415

    key = str(json.loads(quoted, strict=False))
    return key if re.fullmatch(r'[^\s\x00-\x1f.,\[\]"\\$]+', key) else quoted
