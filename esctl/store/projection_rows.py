"""The rows of one table of a projection: read, written, copied, and compared with those of another table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import apsw

from esctl.sql.quoting import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Row = tuple[Any, ...]
    Execute = Callable[[str, Sequence[object]], Iterator[Row]]

_COLUMNS = "select name, hidden, pk from pragma_table_xinfo(?, ?)"
_LARGEST = "1.7976931348623157e308"  # a larger number is infinite
_NUMBER = f"""(case typeof({{column}})
  when 'integer' then true
  when 'real' then {{column}} between -{_LARGEST} and {_LARGEST}
  when 'text' then case when json_valid({{column}}) and {{column}} = trim({{column}}, char(9, 10, 13, 32))
    then json_type({{column}}) in ('integer', 'real') else false end
  else false end)"""  # a text may hold an exact decimal
_WITHOUT_ROWID = "select max(wr) from pragma_table_list where name = ? and schema = ?"


class TableRows:
    """The rows of a table in the log (`main`) or of a temporary one (`temp`); its columns, and its primary key (may be
    empty).

    `execute` runs every statement. `key` is for a copy, which has no key of its own.
    """

    def __init__(self, execute: Execute, schema: str, table: str, key: Sequence[str] = ()) -> None:
        found = list(execute(_COLUMNS, (table, schema)))
        by_place = sorted(found, key=lambda column: column[2])
        self.columns = [str(name) for name, _, _ in found]
        self.key = list(key) or [str(name) for name, _, place in by_place if place]
        self._stored = [str(name) for name, hidden, _ in found if not hidden]  # the others are computed
        self._execute, self._schema, self._table = execute, schema, table
        self.source = f"{schema}.{quoted(table)}"
        self._has_key = " and ".join(f"{quoted(column)} is ?" for column in self.key)

    def _run(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        return list(self._execute(sql, parameters))

    # Reading

    def read(
        self,
        where: str | None = None,
        order: Sequence[tuple[str, str]] = (),
        limit: int | None = None,
        sums: Sequence[str] = (),
    ) -> tuple[list[Row], dict[str, Any]]:
        """The rows that meet a condition, in order (column, `asc` or `desc`; else by key), and the sums of some columns
        over them.

        A sum is None if the column has values that are not numbers.
        """
        chosen = f"select * from {self.source}"
        if where is not None:
            from esctl.sql.moments import with_moments  # noqa: PLC0415 - few reads have a condition

            chosen += f" where ({with_moments(where, ())}\n)"
        by = order or [(column, "asc") for column in self.key]
        chosen += f" order by {', '.join(f'{quoted(column)} {way}' for column, way in by)}" if by else ""
        chosen += f" limit {limit}" if limit is not None else ""
        return self._run(chosen), {column: self._sum(column, chosen) for column in sums}

    def _sum(self, name: str, chosen: str) -> Any:
        column = quoted(name)
        number = _NUMBER.format(column=column)
        total = f"decimal_sum({column}) filter (where {number})"
        others = f"count(*) filter (where {column} is not null and not {number})"
        ((found, no_numbers),) = self._run(f"select ifnull({total}, 0), {others} from ({chosen})")
        if isinstance(found, str):  # it has more digits than SQL's numbers
            from decimal import Decimal  # noqa: PLC0415 - few sums are so long

            found = int(found) if found.lstrip("-").isdigit() else Decimal(found)
        return None if no_numbers else found

    def all(self) -> Iterator[Row]:
        """Every row."""
        return self._execute(f"select {_listed(self.columns)} from {self.source}", ())

    def keys(self) -> list[Row]:
        """Every row's key, in order."""
        names = _listed(self.key)
        return self._run(f"select {names} from {self.source} order by {names}")

    def count(self) -> int:
        """The number of rows."""
        ((number,),) = self._run(f"select count(*) from {self.source}")
        return int(number)

    def get(self, key: Sequence[object]) -> dict[str, Any] | None:
        """The row with a key; None if there is none."""
        found = self._run(f"select * from {self.source} where {self._has_key}", key)
        return dict(zip(self.columns, found[0], strict=True)) if found else None

    # Writing

    def replace(self, key: Sequence[object], row: Mapping[str, object]) -> None:
        """Insert a row in place of the one with its key; omitted columns get their defaults."""
        row = {**row, **dict(zip(self.key, key, strict=True))}
        self.delete(key)
        places = ", ".join("?" * len(row))
        self._run(f"insert into {self.source} ({_listed(row)}) values ({places})", tuple(row.values()))

    def delete(self, key: Sequence[object]) -> None:
        """Delete the row with a key, if any."""
        self._run(f"delete from {self.source} where {self._has_key}", key)

    # Copying

    def fill(self, other: TableRows, without: tuple[str, tuple[str, ...]] | None = None) -> None:
        """Insert every row of another table with the same columns, with its row number; except, with `without`, those
        that have one of these texts in this column.
        """
        columns = ", ".join([*self._rowid(), *map(quoted, self._stored)])
        sql, parameters = f"insert into {self.source} ({columns}) select {columns} from {other.source}", []
        if without is not None:
            sql += f" where {quoted(without[0])} not in (select value from carray(?))"
            parameters = [apsw.carray(without[1])]
        self._run(sql, parameters)

    def _rowid(self) -> list[str]:
        """The name of the row number; empty if the table has none, or columns use all its names."""
        ((without,),) = self._run(_WITHOUT_ROWID, (self._table, self._schema))
        taken = {column.lower() for column in self.columns}
        return [name for name in ("rowid", "_rowid_", "oid") if name not in taken and not without][:1]

    def copy_to(self, table: str) -> None:
        """Copy the rows to a new temporary table, with an index on the key."""
        self._run(f"create temp table {quoted(table)} as select * from {self.source}")
        if self.key:
            self._run(f"create index temp.{quoted(f'{table}_key')} on {quoted(table)}({_listed(self.key)})")

    # Comparing

    def missing_from(self, other: TableRows, key: Sequence[str]) -> Iterator[Row]:
        """The rows whose key the other table lacks, by key."""
        return self._execute(
            f"select {_listed(self.columns, 'a')} from {self.source} a where not exists"
            f" (select 1 from {other.source} b where {_same(key)}) order by {_listed(key)}",
            (),
        )

    def changed(self, other: TableRows, key: Sequence[str], columns: Sequence[str]) -> Iterator[Row]:
        """For each common key with different values in some columns: the key, the values here, the values there.

        A column that a table lacks counts as null.
        """
        here, there = (
            [f"{alias}.{quoted(column)}" if column in side.columns else "null" for column in columns]
            for alias, side in (("a", self), ("b", other))
        )
        differs = " or ".join(f"{one} is not {two}" for one, two in zip(here, there, strict=True))
        return self._execute(
            f"select {_listed(key, 'b')}, {', '.join(here)}, {', '.join(there)} from {self.source} a"
            f" join {other.source} b on {_same(key)} where {differs} order by {_listed(key, 'b')}",
            (),
        )

    def surplus(self, other: TableRows, columns: Sequence[str]) -> Iterator[Row]:
        """The rows that occur more often here than in the other table, each as often as the other one lacks it."""

        def numbered(source: str) -> str:
            names = _listed(columns)
            return f"select {names}, row_number() over (partition by {names}) from {source}"

        return self._execute(f"{numbered(self.source)} except {numbered(other.source)}", ())


def _same(key: Sequence[str]) -> str:
    return " and ".join(f"a.{quoted(column)} is b.{quoted(column)}" for column in key)


def _listed(columns: Sequence[str] | Mapping[str, object], of: str = "") -> str:
    return ", ".join(f"{of}{'.' * bool(of)}{quoted(column)}" for column in columns)
