"""Check that a log's own tables are those of every log. A stranger's file may have a view in place of one, or a trigger
on it, whose SQL would run on plain reads and appends.
"""

from __future__ import annotations

from esctl.errors import VerificationError, word
from esctl.events import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    import apsw

Rows = dict[str, tuple[str, str, bytes]]
"""Type, table and statement (as SQLite keeps it) of each object, by name."""

OWN = frozenset(
    (
        "head", "streams", "types", "events", "log", "snapshots", "segments", "frames", "archived_streams",
        "archived_types", "archived_ids", "erased", "leftovers", "projections", "block_summaries",
        "block_type_summaries", "type_summaries", "reactions", "dead_letters", "esctl_links",
        "_sqlite_migrations",
    )
)  # fmt: skip
MIGRATIONS = "_sqlite_migrations"  # its statement depends on the version of sqlite-utils
DIGESTS = {  # of this storage version
    "archived_ids": "45a77a3436c4df9cf78ddfbafe05121d",
    "archived_streams": "0f5097a66aa04652a47c1932015e7861",
    "archived_types": "5c46e7cf5875511b835027dd0751b278",
    "block_summaries": "3fcd24de0f72c6e4225006a4a43282d5",
    "block_type_summaries": "6f8fcd89994640b67465809085b41607",
    "dead_letters": "91191ccea7882da273b0b1ff95a06cd0",
    "erased": "d5b73f3149b60571677bccf3b580d821",
    "esctl_links": "a29559c3c6cc5cae918778100c044f4b",
    "events": "138b093a80298847d20b800c4325ac46",
    "frames": "4158dafc30d72c21db2ee67ddf1dcb4c",
    "head": "225f89f790eb9a745e77f6bbe0f6e0eb",
    "leftovers": "c7deb23a0f44ad52e4d9749d633c1d57",
    "log": "9c42d78f626b33dff991422360dd6dc6",
    "projections": "b91dff990a335f0e517a9113d788d071",
    "reactions": "8995e6dc13bf7fff5070840780761410",
    "segments": "4f29dfbbbd09347add022511284ec45a",
    "snapshots": "b92b67bbb20c46cdb22f5b2f1adb5ddc",
    "streams": "24203d1f1992a6fcd5e854431f02f91a",
    "type_summaries": "cefa128dab7fbc550da74a5117d77f0f",
    "types": "dc241b7efc294ab30c9a790e24be9a83",
}
ALL = """select lower(name), type, lower(tbl_name), cast(sql as blob), name || tbl_name from sqlite_schema
where sql is not null"""
_TABLE = b"create table "  # so begins the statement of every table, except of virtual ones
_PROJECTED = """
select version, lower(key) from projections, json_each(iif(json_valid(compiled), compiled, '{}'), '$.tables')"""


def check(connection: apsw.Connection, path: str) -> None:
    """Check the schema of a log of this storage version. Raises VerificationError, which names what is wrong."""
    rows = rows_of(connection)
    refuse_differences(rows, DIGESTS, path)
    refuse_strangers(connection, rows, path)


def rows_of(connection: apsw.Connection) -> Rows:
    """All that a file's schema has, except the indexes that SQLite makes by itself."""
    return read(connection.execute(ALL))


def read(found: Iterable[Any]) -> Rows:
    """The rows of `ALL`. Names of the log's own are compared letter by letter, others as SQLite does."""
    return {
        name: (kind, table if name not in OWN or stated == name + table else stated, sql)
        for name, kind, table, sql, stated in found
    }


def digests(rows: Rows) -> dict[str, str]:
    """The first 16 bytes of the SHA-256 of each of the log's own tables, and of its view (hexadecimal), by name."""
    own = sorted((OWN & rows.keys()) - {MIGRATIONS})
    return {name: chain.sha256(repr(rows[name]).encode()).hexdigest()[:32] for name in own}


def refuse_differences(rows: Rows, expected: dict[str, str], path: str) -> None:
    """Raise VerificationError if one of the log's own tables, or its view, is not as it is expected."""
    found = digests(rows)
    if found == expected:
        return
    for name in sorted({*found, *expected}):
        if name not in found:
            raise _differs(path, f"its own {name} is missing")
        if found[name] != expected.get(name):
            raise _differs(path, f"the {rows[name][0]} {name} is not that of every log")


def refuse_strangers(connection: apsw.Connection, rows: Rows, path: str) -> None:
    """Raise VerificationError for a trigger or an index on the log's own tables, and for a view or a virtual table in
    place of a projection's table.
    """
    if rows.get(MIGRATIONS, ("table",))[0] != "table":
        raise _altered(path, f"{MIGRATIONS} is not a table")
    odd = []
    for name, (kind, table, sql) in rows.items():
        if table in OWN and name not in OWN and not (table == MIGRATIONS and kind == "index"):
            raise _altered(path, f"the {kind} {name} on {table} is none of the log's")
        if kind == "view" or (kind == "table" and sql[: len(_TABLE)].lower() != _TABLE):
            odd.append(name)
    if "projections" in rows and set(odd) - OWN:
        _refuse_in_place_of_projections(connection, set(odd), path)


def _refuse_in_place_of_projections(connection: apsw.Connection, names: set[str], path: str) -> None:
    """Others may have views of their own in the file, but not by the name of a projection's table."""
    for version, table in connection.execute(_PROJECTED):
        for name in {table, f"{table}__{version}"} & names:
            raise _altered(path, f"{name} is in place of the table of a projection")


def _differs(path: str, what: str) -> VerificationError:
    saved = f"{path}.salvaged"
    return VerificationError(
        f"{path} is damaged",
        why=f"{what}; restore a backup, or all that is whole",
        fix=f"esctl restore --salvage {word(path)} --log {word(saved)}",
    )


def _altered(path: str, what: str) -> VerificationError:
    return VerificationError(f"{path} is damaged", why=f"{what}; remove it with sqlite3, or restore a backup")
