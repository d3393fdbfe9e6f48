"""Check that a log's own tables are those of every log. A stranger's file may have a view in place of one, or a trigger
on it, whose SQL would run on plain reads and appends.
"""

from __future__ import annotations

from esctl.errors import VerificationError
from esctl.events import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import apsw

Rows = dict[str, tuple[str, str, bytes]]
"""Type, table and statement (as SQLite keeps it) of each object, by name."""

OWN = frozenset(
    (
        "head", "streams", "types", "events", "log", "snapshots", "segments", "frames", "archived_streams",
        "archived_types", "archived_ids", "erased", "leftovers", "projections", "_sqlite_migrations"
    )
)  # fmt: skip
MIGRATIONS = "_sqlite_migrations"  # its statement depends on the version of sqlite-utils
DIGEST = "9f5656ba1d1492c252ac97743044244aaefeb49e9354ca52fceef6862dfdc01e"  # of this storage version
ALL = "select lower(name), type, lower(tbl_name), cast(sql as blob) from sqlite_schema where sql is not null"
_TABLE = b"create table "  # so begins the statement of every table, except of virtual ones
_PROJECTED = """
select version, lower(key) from projections, json_each(iif(json_valid(compiled), compiled, '{}'), '$.tables')"""


def check(connection: apsw.Connection, path: str) -> None:
    """Check the schema of a log of this storage version. Raises VerificationError, which names what is wrong."""
    rows = rows_of(connection)
    if digest(rows) != DIGEST:
        from esctl.store import migrations  # noqa: PLC0415 - sqlite-utils, for a damaged log only

        refuse_differences(rows, migrations.schema(), path)
    refuse_strangers(connection, rows, path)


def rows_of(connection: apsw.Connection) -> Rows:
    """All that a file's schema has, except the indexes that SQLite makes by itself."""
    return {name: (kind, table, sql) for name, kind, table, sql in connection.execute(ALL)}


def digest(rows: Rows) -> str:
    """SHA-256 of the log's own tables and its view (hexadecimal)."""
    own = sorted((name, *row) for name, row in rows.items() if name in OWN and name != MIGRATIONS)
    return chain.sha256(repr(own).encode()).hexdigest()


def refuse_differences(rows: Rows, expected: Rows, path: str) -> None:
    """Raise VerificationError if one of the log's own tables, or its view, is not as it is expected."""
    for name in sorted((OWN & {*rows, *expected}) - {MIGRATIONS}):
        if name not in rows:
            raise _altered(path, f"the {expected[name][0]} {name} is missing")
        if rows[name] != expected.get(name):
            raise _altered(path, f"the {rows[name][0]} {name} is not that of every log")


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


def _altered(path: str, what: str) -> VerificationError:
    return VerificationError(f"{path} is damaged", why=f"{what}; remove it with sqlite3, or restore a backup")
