"""SQL that comes from outside: what it may do, judged before it runs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise

import apsw

from esctl.errors import MisfitError, UsageError

CONDITION_COLUMNS = ("position", "stream", "version", "id", "type", "schema", "time", "recorded", "data", "meta")
# SQLite notices a date function that reads the clock only when it does; this is for branches that the sample misses.
DATES = ("date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff")
# Patterns are compiled when they are first needed: a cold start needs few of them.
# What is never closed goes on to the end.
_WORD = (
    r"""'(?:[^']|'')*+(?:'|\Z)|"(?:[^"]|"")*+(?:"|\Z)|`(?:[^`]|``)*+(?:`|\Z)|\[[^]]*+(?:]|\Z)|--[^\n]*|"""
    r"""/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z)|[A-Za-z_]\w*|[^\w\s]|\S"""
)
_CLOCK_WORDS = ("now", "localtime", "utc", "subsec", "subsecond")
MOST_OF_A_SAMPLE = 1_000_000  # bytes of a text that a condition may make of a sample
STATE_COLUMNS = ("stream", "version", "position", "time", "state")
_SAMPLES = {"position": "1", "version": "1", "schema": "1", "data": "'{}'", "meta": "'{}'", "state": "'{}'"}
_EXAMPLES = {
    CONDITION_COLUMNS: "data ->> 'amount' > 100 and type = 'OrderPlaced'",
    STATE_COLUMNS: "state ->> 'status' = 'Paid'",
}


def text(value: str) -> str:
    """A text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A name as SQL, whatever it is made of."""
    return '"' + name.replace('"', '""') + '"'


def is_field(name: str) -> bool:
    """Whether a name is one that this package gives to a field of the payload."""
    return re.fullmatch(r"esctl_field_\d+", name) is not None


def is_field_of_payload(expression: str) -> bool:
    """Whether an expression takes a field out of the payload, and does nothing else."""
    return re.fullmatch(rf"data ->> {FIELD_PATH}", expression, re.ASCII) is not None


def columns_of(sql: str, *, failing: bool = True) -> list[str]:
    """Which columns of `new` SQL names; with `failing`, with what a failure has to name."""
    used = {name.lower() for name in re.findall(_USED, sql, re.IGNORECASE | re.DOTALL)}
    used |= {"position"} if failing else set()
    return [name for name in CONDITION_COLUMNS if name in used]


def tokens(sql: str) -> Iterator[re.Match[str]]:
    """The tokens of SQL, with where they stand; comments are none."""
    return (match for match in re.finditer(_WORD, sql, re.DOTALL) if not match[0].startswith(("--", "/*")))


def words_of(sql: str) -> list[str]:
    """The tokens of SQL without comments; identifiers without their quotes."""
    words = (match[0] for match in tokens(sql))
    return [
        word[1:-1] if word[0] in '"`[' and len(word) > 1 else word
        for word in words
        if not word.startswith(("--", "/*"))
    ]


def reads_clock(sql: str) -> bool:
    """Whether SQL plainly asks a date function for the time or the time zone; one that hides it is stopped when run."""
    words = [word.lower() for word in words_of(sql)]
    literals = {word.strip("'").strip() for word in words if word.startswith("'")}
    for at, (word, following) in enumerate(pairwise(words)):
        if word in DATES and following == "(":
            inside = _within(words[at + 2 :])
            commas = inside.count(",")
            if not inside or literals & set(_CLOCK_WORDS) or (word == "strftime" and not commas):
                return True
    return False


def _within(words: list[str]) -> list[str]:
    """The words up to the bracket that closes, less brackets around and within them."""
    depth, inside = 1, []
    for word in words:
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0:
            break
        inside.append(word)
    return [word for word in inside if word not in "()"]


def check_condition(condition: str, columns: tuple[str, ...] = CONDITION_COLUMNS, *, option: str = "--where") -> None:
    """Refuse what is not one deterministic SQL expression over the columns of an event, or of a state.

    An index expression is exactly that: SQLite itself allows no subquery, no parameter, no aggregate, no other table
    and no function whose result changes in one; and of the date functions no reading of the clock, which it notices
    when the index is filled. Compiled as a WHERE as well, nothing but a single expression passes both.

    Raises UsageError with SQLite's reason.
    """
    try:
        condition.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{option} is not valid UTF-8") from error
    if reads_clock(condition):
        raise UsageError(
            f"{option} {condition[:80]!r}: non-deterministic, it reads the clock",
            why="a condition gives the same result whenever it is asked;"
            " name the moment (time > '2026-01-31'), or use --since 2h",
            fix="esctl help time",
        )
    connection, listed = apsw.Connection(":memory:"), ", ".join(map(quoted, columns))
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, MOST_OF_A_SAMPLE)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)  # "x" is a column and nothing else: 'x' was meant
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    try:
        connection.execute(f"create table log({listed})")
        connection.execute(f"create index condition on log(({condition}\n))")
        connection.execute(f"select 1 from log where ({condition}\n) limit 1").fetchall()
        samples = _SAMPLES if columns in _EXAMPLES else dict.fromkeys(columns, "null")
        sample = ", ".join(samples.get(column, "'2026-01-01T00:00:00.000000Z'") for column in columns)
        connection.execute(f"insert into log values ({sample})")
    except apsw.Error as error:
        reason = str(error).replace(" in index expressions", "").replace(" in an index", "")
        example = _EXAMPLES.get(columns, f"{columns[0]} = 'x'")
        raise UsageError(
            f"{option} {condition[:80]!r}: {reason}",
            why=f"it is an SQL condition over {', '.join(columns)}, such as {example}",
            fix="esctl replay --help" if columns == CONDITION_COLUMNS else "",
        ) from error
    finally:
        connection.close()


# What a question may do: read, call functions, recurse. No statement of another kind gets past the authorizer.
_ALLOWED = {apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_RECURSIVE}
_FORBIDDEN_FUNCTIONS = {"load_extension", "fts3_tokenizer", "edit", "writefile", "readfile", "zeroblob"}


def authorize_reading(action: int, _: str | None, second: str | None, __: str | None, ___: str | None) -> int:
    """An authorizer that lets a statement read tables and views, and do nothing else."""
    if action == apsw.SQLITE_FUNCTION:
        return apsw.SQLITE_DENY if (second or "").lower() in _FORBIDDEN_FUNCTIONS else apsw.SQLITE_OK
    return apsw.SQLITE_OK if action in _ALLOWED else apsw.SQLITE_DENY


# Definitions: expressions over `new` and `state`

_TABLES = """
create table {0}fold({0}key primary key, {0}result, state) without rowid;
create table {0}bare({0}key primary key, {0}result) without rowid;
create view {0}feed as select 1 as position, 's' as stream, 1 as version, 'i' as id, 'T' as type, 1 as schema,
                           't' as time, 'r' as recorded, '' as data, '' as meta;"""
_SCANNED = {"json_each", "json_tree"}  # tables that are functions of their arguments alone
_GAP = r"(?:\s|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*"
FIELD_PATH = r"'(?:\w+|\$(?:\.\w+)+)'"  # ASCII
FAIL = "esctl_fail"
"""A function of (position, message) that raises; called only for an event that an operation cannot be done on."""
_USED = rf"\bnew[\"`\]]?{_GAP}\.{_GAP}[\"`\[]?(\w+)"
_NAMES_DATES = rf"\b(?:{'|'.join(DATES)})[\"`\]]?{_GAP}\("
_ACTIONS = {
    apsw.SQLITE_ATTACH: "attach a database",
    apsw.SQLITE_PRAGMA: "use a pragma",
    apsw.SQLITE_INSERT: "insert into {0}",
    apsw.SQLITE_UPDATE: "update {0}",
    apsw.SQLITE_DELETE: "delete from {0}",
    apsw.SQLITE_READ: "read the table {0}",
    apsw.SQLITE_CREATE_TABLE: "make the table {0}",
    apsw.SQLITE_CREATE_VIEW: "make the view {0}",
    apsw.SQLITE_CREATE_VTABLE: "make the virtual table {0}",
    apsw.SQLITE_CREATE_INDEX: "make an index on {1}",
    apsw.SQLITE_CREATE_TRIGGER: "make a trigger",
    apsw.SQLITE_FUNCTION: "call {1}()",
}


def _denied(action: int, first: str | None, second: str | None) -> str:
    """What an authorizer did not allow, in words."""
    told = _ACTIONS.get(action, f"do that ({apsw.mapping_authorizer_function.get(action, action)})")
    return f"it may not {told.format(first, second)}"


def why_not_one_expression(sql: str) -> str:
    """Why a text is not one self-contained SQL expression, as far as its tokens say; empty where it may be."""
    depth, before = 0, ""
    for match in re.finditer(_WORD, sql, re.DOTALL):
        word = match[0]
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth < 0 or word == ";":
            return f"{word!r} ends the expression before its end"
        if is_open(word):
            return f"{word[: 1 + word.startswith('/*')]} is never closed"
        if word == "(" and before.lower() == "raise":
            return "it may not call raise()"
        if not word.startswith(("--", "/*")):
            before = word
    return "a ( is never closed" if depth else "" if before else "it is empty"


def is_open(word: str) -> bool:
    """Whether a token is a text, a name or a comment that is never closed."""
    if word.startswith("/*"):
        return len(word) < len("/**/") or not word.endswith("*/")
    return (word[0] in "'\"`" and word.count(word[0]) % 2 == 1) or (word[0] == "[" and word[-1] != "]")


def unclosed(sql: str) -> str:
    """What begins a text, a name or a comment that is never closed; empty where all are."""
    words = (match[0] for match in re.finditer(_WORD, sql, re.DOTALL))
    return next((word[: 1 + word.startswith("/*")] for word in words if is_open(word)), "")


class Judge:
    """Compiles what a model says in an empty database under an authorizer, and tells what is wrong; runs nothing."""

    def __init__(self, *, failing: bool = False) -> None:
        """With `failing`, expressions may call FAIL: those that were put together of operations."""
        self._connection = apsw.Connection(":memory:")
        if failing:
            self._connection.create_scalar_function(FAIL, lambda *_: None, 2)
        self._connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
        self._connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
        self._own = f"t{os.urandom(8).hex()}_"  # nobody can name its tables
        self._tables = {f"{self._own}{name}" for name in ("fold", "bare", "feed")}
        self._connection.execute(_TABLES.format(self._own)).fetchall()
        self._deterministic = deterministic_functions(self._connection) | ({FAIL} if failing else set())
        self._denied = ""

    def expression(self, sql: str, *, state: bool) -> str:
        """What is wrong with a scalar expression over `new`, and with `state` over the state; empty: nothing."""
        try:
            sql.encode()
        except UnicodeEncodeError:
            return "it is not valid UTF-8"
        if "\0" in sql:
            return "it holds a NUL"
        if reason := why_not_one_expression(sql):
            return reason
        if reads_clock(sql):
            return "it reads the clock or the time zone: a replay would give another result"
        own, target = self._own, "fold" if state else "bare"
        self._denied = ""
        body = f"update {own}{target} set {own}result = ({sql}\n)"
        try:
            self._connection.execute("drop trigger if exists judged")
            self._connection.execute(f"create trigger judged instead of insert on {own}feed begin {body}; end")
            self._connection.authorizer = self._authorize
            self._connection.execute(f"explain insert into {own}feed (position) values (1)")
        except apsw.Error as error:
            return self._denied or str(error)
        finally:
            self._connection.authorizer = None
        return ""

    def _authorize(self, action: int, first: str | None, second: str | None, _: str | None, trigger: str | None) -> int:
        return self._allow(action, first, second, trigger, self._tables)

    def _allow(self, action: int, first: str | None, second: str | None, trigger: str | None, tables: set[str]) -> int:
        allowed = trigger is None or permitted(action, first, second, tables, self._deterministic)
        return self._answer(action, first, second, allowed=allowed)

    def _answer(self, action: int, first: str | None, second: str | None, *, allowed: bool) -> int:
        """Note the first thing that is not allowed."""
        if not allowed and not self._denied:
            self._denied = _denied(action, first, second)
            if action == apsw.SQLITE_FUNCTION:
                self._denied += ": only functions whose result depends on nothing but their arguments"
        return apsw.SQLITE_OK if allowed else apsw.SQLITE_DENY

    def close(self) -> None:
        """Let go of the empty database."""
        self._connection.close()


@cache
def _modules() -> set[str]:
    return {str(name) for (name,) in apsw.Connection(":memory:").execute("select name from pragma_module_list")}


# Names that are the log's own, or will be.
RESERVED = (
    "head", "streams", "types", "events", "log", "snapshots", "segments", "frames", "archived", "archived_streams",
    "archived_types", "archived_ids", "erased", "leftovers", "projections", "reactions", "dead_letters", "checkpoints",
    "feed", "new", "old", "excluded", "state", "states", "json_each", "json_tree", "_sqlite_migrations"
)  # fmt: skip


def is_taken(name: str) -> bool:
    """Whether a name is that of a table in a log, or of SQLite's own."""
    lower = name.lower()
    return lower.startswith(("sqlite_", "pragma_", "esctl_")) or lower in _modules() or lower in RESERVED


def permitted(action: int, first: str | None, second: str | None, tables: set[str], functions: set[str]) -> bool:
    """Whether a definition may do that: read and update these tables, call these functions."""
    if action == apsw.SQLITE_FUNCTION:
        return (second or "").lower() in functions
    if action == apsw.SQLITE_READ:
        return first in tables or first in _SCANNED or (second == "" and not is_taken(first or ""))
    if action == apsw.SQLITE_UPDATE:
        return first in tables
    return action in (apsw.SQLITE_SELECT, apsw.SQLITE_RECURSIVE)


def deterministic_functions(connection: apsw.Connection) -> set[str]:
    """The names of the functions that give the same result for the same arguments, and of the aggregates among them."""
    flagged = connection.execute("select name from pragma_function_list where flags & 0x800 or type in ('a', 'w')")
    return {name for (name,) in flagged} - _FORBIDDEN_FUNCTIONS


def names_dates(sql: str) -> bool:
    """Whether an expression may call a date function, which could read the clock."""
    return re.search(_NAMES_DATES, sql, re.IGNORECASE | re.DOTALL) is not None


def _as_text(value: object) -> str:
    """A value as the date functions read it: to them a blob is text too, and text ends at a NUL."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text.partition("\0")[0].strip().lower()


def without_clock(connection: apsw.Connection) -> None:
    """Have the date functions of a connection refuse to read the clock or the time zone; costs a call each."""
    real = apsw.Connection(":memory:")

    def shadow(name: str) -> Callable[..., object]:
        def function(*values: object) -> object:
            words = [_as_text(value) for value in values]
            moment = words[1:] if name == "strftime" else words
            if not moment or moment[0] in ("subsec", "subsecond") or {"now", "localtime", "utc"} & set(words):
                raise MisfitError(
                    f"an expression of the model fails on an event: {name}() would read the clock or the time zone",
                    why="a definition gives the same result whenever it is asked",
                    fix="esctl upcast check",
                )
            return real.execute(f"select {name}({', '.join('?' * len(values))})", values).get

        return function

    for name in DATES:
        connection.create_scalar_function(name, shadow(name), -1, deterministic=True)
