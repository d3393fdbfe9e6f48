"""Paths into JSON as users write them: `customer_id`, `items[0].qty`, `"http.method"`."""

from __future__ import annotations

from esctl.sql.quoting import text

SHORT = 2000  # characters; a shorter path has at most 999 steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.events.paths import Parts


def readable(path: str) -> str:
    """A path that SQLite prints (`$."customer_id"`), as users write it: without `$.`, and without quotes around keys
    that need none. The root stays `$`.
    """
    import re  # noqa: PLC0415 - only a difference needs it

    found = re.sub(r'"(?:[^"\\]|\\.)*"', lambda quoted: _key(quoted[0]), path.removeprefix("$"))
    return found.removeprefix(".") or "$"


def _key(quoted: str) -> str:
    import json  # noqa: PLC0415

    from esctl.events.paths import is_plain  # noqa: PLC0415

    key = str(json.loads(quoted, strict=False))
    return key if is_plain(key) else quoted


def steps_to(path: str) -> tuple[str, ...]:
    """Paths that lead, one after the other, where a path that SQLite prints does: it takes one of 999 steps at most."""
    if len(path) < SHORT:
        return (path,)
    import re  # noqa: PLC0415 - few values are nested so deeply

    start = max(match.start() for match in re.finditer(r'\."(?:[^"\\]|\\.)*"|\.\w+|\[\d+\]', path))
    return path[:start], f"${path[start:]}"


def sql_path(path: Parts) -> str:
    """A path as SQLite's JSON functions take it, as an SQL literal."""
    import json  # noqa: PLC0415

    made = "$"
    for part in path:
        if isinstance(part, int):
            made += f"[{part}]" if part >= 0 else f"[#{part}]"
        else:
            made += f".{json.dumps(part, ensure_ascii=False)}"
    return text(made)
