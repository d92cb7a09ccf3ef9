"""Jute's primitives: strings and their odd UTF-8, the kinds of field, and the plain way to decode a record.

The plain way walks a declaration field by field.  It is slow and obvious: it finds the words for a
``DecodeError``, it decodes what the generated code leaves alone, and the tests hold the generated code
against it.  No record is declared here, and no code is generated here (``compiler.py`` does that).
"""

import codecs
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from pyzkserver.errors import PyzkserverError

if TYPE_CHECKING:
    from .jute import Record

__all__ = [
    "BUFFER",
    "FIXED_SIZES",
    "RECORD",
    "STRING",
    "VECTOR",
    "Buffer",
    "DecodeError",
    "Field",
    "decode_plainly",
    "decode_string",
    "encode_string",
    "minimum_size",
]

Buffer: TypeAlias = bytes | bytearray | memoryview

STRING: Final = "string"
BUFFER: Final = "buffer"
RECORD: Final = "record"
VECTOR: Final = "vector"

# The fixed-size kinds are named by their code in a big-endian Struct.
FIXED_SIZES: Final = {"?": 1, "i": 4, "q": 8}


class DecodeError(PyzkserverError, ValueError):
    """Bytes are no record of the kind they were taken for.  The message names record, field and offset."""


class Field(NamedTuple):
    """One field of a declaration; ``of`` is a nested record's class, ``element`` a vector's element."""

    kind: str
    of: "type[Record] | None" = None
    element: "Field | None" = None


def minimum_size(field: Field) -> int:
    """The bytes that a field takes at least.  Bounds a vector's count before anything is allocated."""
    if field.of is not None:
        return sum(minimum_size(inner) for inner in field.of.fields.values())
    return FIXED_SIZES.get(field.kind, 4)  # the others begin with a length


# --- strings ------------------------------------------------------------------------------------------------


def encode_string(s: str) -> bytes:
    """The bytes of a ustring, without their length.

    Apache encodes UTF-16 unit by unit (``BinaryOutputArchive.stringToByteBuffer``): what lies beyond U+FFFF
    becomes six bytes, a lone surrogate three.
    """
    if s.isascii():
        return s.encode()
    if max(s) <= "\uffff":
        return s.encode("utf-8", "surrogatepass")
    units = "".join(c if c <= "\uffff" else _surrogate_pair(ord(c) - 0x10000) for c in s)
    return units.encode("utf-8", "surrogatepass")


def _surrogate_pair(above: int) -> str:
    return chr(0xD800 | above >> 10) + chr(0xDC00 | above & 0x3FF)


def decode_string(raw: Buffer) -> str:
    """A ustring from its bytes.  Never fails: what is no UTF-8 becomes U+FFFD, as often as in Java.

    ``BinaryInputArchive.readString`` uses ``new String(bytes, UTF_8)``: four-byte sequences are accepted,
    though Apache never writes them, and six-byte pairs are not, though it does.
    """
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        return str(raw, "utf-8", _LIKE_JAVA)


_LIKE_JAVA: Final = "pyzkserver.like_java"


def _replace_like_java(error: UnicodeError) -> tuple[str, int]:
    # Both languages replace the longest prefix of something valid by one U+FFFD.  They differ over
    # surrogates: to Python ED A0 is no prefix of anything, to Java it begins a sequence of three that is
    # refused as a whole.
    assert isinstance(error, UnicodeDecodeError)
    raw, start = error.object, error.start
    if raw[start] == 0xED and start + 1 < len(raw) and 0xA0 <= raw[start + 1] <= 0xBF:
        third = start + 2
        return "\ufffd", third + 1 if third < len(raw) and raw[third] & 0xC0 == 0x80 else third
    return "\ufffd", error.end


codecs.register_error(_LIKE_JAVA, _replace_like_java)


# --- the plain way ------------------------------------------------------------------------------------------

_STRUCTS: Final = {code: Struct(">" + code) for code in FIXED_SIZES}


def decode_plainly(record: "type[Record]", data: Buffer, offset: int) -> "tuple[Record, int]":
    """Decode a declared record, and say where it ends.  Raises DecodeError."""
    values: list[object] = []
    for name, field in record.fields.items():
        value, offset = _read(field, f"{record.__name__}.{name}", data, offset)
        values.append(value)
    return record(*values), offset


def _read(field: Field, where: str, data: Buffer, offset: int) -> tuple[object, int]:
    if field.kind in FIXED_SIZES:
        _check(where, data, offset, FIXED_SIZES[field.kind])
        return _STRUCTS[field.kind].unpack_from(data, offset)[0], offset + FIXED_SIZES[field.kind]
    if field.kind == RECORD:
        assert field.of is not None
        return decode_plainly(field.of, data, offset)
    _check(where, data, offset, 4)
    length = _STRUCTS["i"].unpack_from(data, offset)[0]
    offset += 4
    if length == -1:
        return None, offset
    if field.kind == VECTOR:
        assert field.element is not None
        return _read_vector(field.element, length, where, data, offset)
    if length < 0:
        raise DecodeError(f"{where} at offset {offset - 4}: a length of {length}")
    _check(where, data, offset, length)
    raw = data[offset : offset + length]
    return decode_string(raw) if field.kind == STRING else bytes(raw), offset + length


def _read_vector(element: Field, count: int, where: str, data: Buffer, offset: int) -> tuple[object, int]:
    # A negative count other than -1 is an empty vector: BinaryInputArchive.BinaryIndex.done is n <= 0.
    _check(where, data, offset, count * minimum_size(element), f" for {count} elements")
    values: list[object] = []
    for index in range(count):
        value, end = _read(element, f"{where}[{index}]", data, offset)
        if value is None:
            raise DecodeError(f"{where}[{index}] at offset {offset}: null is no element")
        values.append(value)
        offset = end
    return values, offset


def _check(where: str, data: Buffer, offset: int, needed: int, what: str = "") -> None:
    left = len(data) - offset
    if needed > left:
        raise DecodeError(f"{where} at offset {offset}: {needed} bytes needed{what}, {max(left, 0)} left")
