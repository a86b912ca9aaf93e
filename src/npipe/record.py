"""Immutable value with named fields: the base class of Address and PeerIdentity.

A dataclass would need one line less, but importing ``dataclasses`` takes longer than importing all
the rest of ``npipe``. A named tuple would also be a sequence, and functions that accept either a
sequence or an address could not tell the two apart.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would take as long as importing npipe
if TYPE_CHECKING:
    from typing import Any, ClassVar, NoReturn

__all__ = ["Record"]


class Record:
    """Immutable value that is compared, hashed, printed and pickled by its fields.

    A subclass lists the fields in ``_fields`` and in its slots, in the order of the parameters of
    its ``__init__``, which sets them by ``_set``.
    """

    __slots__ = ()
    _fields: ClassVar[tuple[str, ...]]

    def _set(self, **fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self._fields)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed: make a new one")

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        fields = zip(self._fields, self._values(), strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in fields)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (type(self), dict(zip(self._fields, self._values(), strict=True)))


def _make(kind: type[Record], fields: dict[str, Any]) -> Record:
    """Make the record that ``__reduce__`` pickled; its parameters may be keyword-only."""
    return kind(**fields)
