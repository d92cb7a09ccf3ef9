"""Jute, the encoding of everything ZooKeeper sends and stores: how a record is declared, and what it can do.

A record is declared once, as a class whose attributes are field specifiers in wire order::

    class ACL(Record):
        perms: int = int32()
        id: Id = record(Id)

Its constructor and its codec are generated from that (``compiler.py``) on first use.  No particular record
lives here.
"""

from typing import Any, ClassVar, Self, TypeVar, cast, dataclass_transform, overload

from .compiler import install_constructor, install_decoder, install_encoder
from .primitives import (
    BUFFER,
    RECORD,
    STRING,
    VECTOR,
    Buffer,
    DecodeError,
    Field,
    decode_string,
    encode_string,
)

__all__ = [
    "Buffer",
    "DecodeError",
    "Record",
    "boolean",
    "buffer",
    "decode_string",
    "encode_string",
    "int32",
    "int64",
    "record",
    "ustring",
    "vector",
]


# --- field specifiers: to a type checker each is the type of the value, in truth each is a Field ------------


def int32() -> int:
    """A signed 32-bit number, big-endian (jute's ``int``)."""
    return cast(int, Field("i"))


def int64() -> int:
    """A signed 64-bit number, big-endian (jute's ``long``)."""
    return cast(int, Field("q"))


def boolean() -> bool:
    """One byte; any but zero is true (``DataInput.readBoolean``)."""
    return cast(bool, Field("?"))


def ustring() -> str | None:
    """A 32-bit length in bytes, then UTF-8 of UTF-16 units; a length of -1 is null."""
    return cast(str, Field(STRING))


def buffer() -> bytes | None:
    """A 32-bit length, then bytes; a length of -1 is null."""
    return cast(bytes, Field(BUFFER))


_R = TypeVar("_R", bound="Record")


def record(of: type[_R]) -> _R:
    """A record in place, which cannot be null."""
    return cast(_R, Field(RECORD, of=of))


@overload
def vector(element: type[_R]) -> list[_R] | None: ...
@overload
def vector(element: str | None) -> list[str] | None: ...
def vector(element: Any) -> Any:
    """A 32-bit count, then that many records, ``vector(ACL)``, or strings, ``vector(ustring())``; -1 is null.

    A null string among the elements is refused with a DecodeError: Apache would let it in, and then fail over
    it (in ``DataTree.setWatches``) with the error that a malformed request gets.
    """
    inner = element if isinstance(element, Field) else Field(RECORD, of=element)
    if inner.kind not in (RECORD, STRING):
        raise TypeError("vectors hold records or strings")
    return Field(VECTOR, element=inner)


# --- records ------------------------------------------------------------------------------------------------


@dataclass_transform(field_specifiers=(int32, int64, boolean, ustring, buffer, record, vector))
class _RecordMeta(type):
    """Takes the specifiers out of the class body, and puts the generated functions in."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> "_RecordMeta":
        # The order of the namespace is the order on the wire.  Annotations are not read: in Python 3.14 they
        # are lazy.
        fields = {key: value for key, value in namespace.items() if isinstance(value, Field)}
        for key in fields:
            del namespace[key]
        if fields:
            namespace |= {"fields": fields, "__slots__": tuple(fields), "__match_args__": tuple(fields)}
        return super().__new__(mcs, name, bases, namespace)


class Record(metaclass=_RecordMeta):
    """Something with a wire form.  Mutable, compared by value, hence not hashable.

    A subclass that declares no fields writes ``__init__``, ``encode_to`` and ``decode_from`` itself.  The
    methods here are what a declared record has until their first use, when generated ones take their place in
    the subclass: a caller in a hurry takes them from the record at the time of the call, and keeps no
    reference.
    """

    __slots__: ClassVar[tuple[str, ...]] = ()
    __hash__: ClassVar[None]  # type: ignore[assignment]
    fields: ClassVar[dict[str, Field]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        install_constructor(type(self))
        type(self).__init__(self, *args, **kwargs)

    def encode(self) -> bytes:
        """The wire form.  A number out of its field's range raises ``struct.error``: a mistake of ours."""
        out: list[bytes] = []
        self.encode_to(out)
        return b"".join(out)

    def encode_to(self, out: list[bytes]) -> None:
        """Append the wire form, in pieces."""
        install_encoder(type(self))
        self.encode_to(out)

    @classmethod
    def decode(cls, data: Buffer, offset: int = 0) -> Self:
        """Read a record that begins at ``offset``, not negative.  What follows it is ignored, as Apache does.

        Raises DecodeError, and nothing else whatever the bytes are.
        """
        return cls.decode_from(data, offset)[0]

    @classmethod
    def decode_from(cls, data: Buffer, offset: int) -> tuple[Self, int]:
        """``decode``, and the offset of the first byte after the record."""
        install_decoder(cls)
        return cls.decode_from(data, offset)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __repr__(self) -> str:
        values = (f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({', '.join(values)})"
