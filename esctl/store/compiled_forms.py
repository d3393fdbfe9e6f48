"""The compiled projections that are stored in a log, decoded with SQLite's parser: a cold run would load another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import apsw

from esctl.errors import VerificationError
from esctl.events.query import Shape
from esctl.model.compiled import Compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.model.cache import Cache

_PAIRS = "select key, value from json_each(?, '$.' || ?)"
_SHAPES = """
select t.key, cast(s.key as integer), p.value ->> 0, p.value ->> 1, p.value ->> 2, p.value ->> 3, p.value ->> 4
from json_each(?, '$.upcasting') t, json_each(t.value) s left join json_each(s.value) p order by t.id, s.id, p.id"""


class CompiledForms:
    """The compiled projections of one log, each decoded once."""

    def __init__(self, connection: apsw.Connection, path: str, cache: Callable[[], Cache | None]) -> None:
        self._execute, self._path, self._cache = connection.execute, path, cache
        self._decoded: dict[str, Compiled] = {}

    def decoded(self, serialized: str) -> Compiled:
        """A compiled projection. Raises VerificationError if esctl cannot have compiled it."""
        if serialized not in self._decoded:
            cache = self._cache()
            judged = partial(self._judged, serialized)
            self._decoded[serialized] = cache.get("projection", serialized, judged) if cache else judged()
        return self._decoded[serialized]

    def _judged(self, serialized: str) -> Compiled:
        """Decode a compiled projection and check that it does no more than what esctl compiles."""
        from esctl.model.untrusted import wrong  # noqa: PLC0415 - a cached one was judged

        if not self._execute("select json_type(iif(json_valid(?1), ?1, '0')) = 'object'", (serialized,)).get:
            raise self._altered("it is no JSON object")
        compiled = self._read(serialized)
        if why := wrong(compiled):
            raise self._altered(why)
        return compiled

    def _altered(self, why: str) -> VerificationError:
        return VerificationError(
            f"{self._path} is damaged",
            why=f"a projection in it was not compiled by esctl: {why}; restore a backup",
        )

    def _read(self, serialized: str) -> Compiled:
        def pairs(key: str) -> dict[str, str]:
            return dict(self._execute(_PAIRS, (serialized, key)).fetchall())  # type: ignore[arg-type]  # of two columns

        upcasting: dict[str, dict[int, tuple[Shape, ...]]] = {}
        for type_, schema, *shape in self._execute(_SHAPES, (serialized,)):
            shapes = upcasting.setdefault(str(type_), {}).setdefault(schema, ())
            if shape[0] is not None:
                upcasting[str(type_)][schema] = (*shapes, Shape(*shape))
        engine: int = self._execute("select ifnull(?1 ->> 'engine', 1)", (serialized,)).get
        return Compiled(pairs("tables"), pairs("indexes"), pairs("on"), pairs("columns"), upcasting, engine)
