"""Named tuples without importing `typing`; they are declared like `typing.NamedTuple`.

Every cold start needs these classes, and importing `typing` would take a tenth of it. So the type checker sees
NamedTuple here, while the program runs the few lines of it that it needs.
"""

from __future__ import annotations

__all__ = ["Record"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as Record
else:
    from _collections import _tuplegetter  # the descriptor of a NamedTuple's fields

    _Method = type((lambda: None).__get__(0))  # types.MethodType, without `types`

    class _Declared(type):
        """Makes the annotations of each direct subclass of Record its fields."""

        def __new__(mcs, name, bases, namespace):  # noqa: ANN001, ANN204
            direct = bases != (tuple,) and bases[0] is Record
            cls = super().__new__(mcs, name, bases, {"__slots__": (), **namespace} if direct else namespace)
            cls._make = _Method(tuple.__new__, cls)  # at the speed of C
            if direct:
                cls._fields = tuple(cls.__annotations__)
                cls._field_defaults = {field: namespace[field] for field in cls._fields if field in namespace}
                for place, field in enumerate(cls._fields):
                    setattr(cls, field, _tuplegetter(place, f"Field {place}."))
            return cls

    class Record(tuple, metaclass=_Declared):
        """The base of a named tuple: `_fields`, `_make`, `_replace` and `_asdict` are those of a NamedTuple.

        `_make` does not check the number of values, because hot loops call it.
        """

        __slots__ = ()
        _fields, _field_defaults = (), {}

        def __new__(cls, *values, **named):  # noqa: ANN002, ANN003, ANN204
            """A tuple of the values by place, by name, or by default."""
            if named or len(values) != len(cls._fields):
                later = cls._fields[len(values) :]
                given = {**cls._field_defaults, **named}
                if len(values) > len(cls._fields) or not set(later) <= given.keys() or not named.keys() <= set(later):
                    raise TypeError(f"{cls.__name__} has the fields {', '.join(cls._fields)}")
                values = (*values, *(given[field] for field in later))
            return tuple.__new__(cls, values)

        def _replace(self, **changed):  # noqa: ANN003, ANN202
            values = [changed.pop(name, value) for name, value in zip(self._fields, self, strict=True)]
            if changed:
                raise TypeError(f"{type(self).__name__} has no field {', '.join(changed)}")
            return self._make(values)

        def _asdict(self):  # noqa: ANN202
            return dict(zip(self._fields, self, strict=True))

        def __getnewargs__(self):  # noqa: ANN204
            return tuple(self)

        def __repr__(self) -> str:
            fields = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({fields})"
