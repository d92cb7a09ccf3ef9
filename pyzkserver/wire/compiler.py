"""The record compiler: from a record's declaration to the source of its codec, and from there to functions.

Nested records are dissolved into their parent, so that a run of fixed-size fields, with the length of what
follows it, is one precompiled Struct.  What the generated decoder cannot take in its stride (short input,
invalid UTF-8, another buffer than ``bytes``) it hands to the plain way of ``primitives.py``, which decodes it
or explains why not.

Compiling takes some 0.2 ms a function, and there are many records of which a server meets few: each part of a
codec is compiled when it is first used.

No protocol knowledge lives here: what a field means is said where the record is declared.
"""

from collections.abc import Callable, Iterator
from functools import cache
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .primitives import (
    FIXED_SIZES,
    STRING,
    VECTOR,
    Field,
    decode_plainly,
    encode_string,
    minimum_size,
)

if TYPE_CHECKING:
    from .jute import Record

__all__ = ["install_constructor", "install_decoder", "install_encoder"]


class _Unfit(Exception):
    """The generated decoder gives up; the plain one takes over."""


class _Leaf(NamedTuple):
    """A field that is no record: where its value is when encoding, which local takes it when decoding."""

    field: Field
    source: str
    local: str


class _Nested(NamedTuple):
    """A record inside the record: its local name, where it hangs, its class, its attributes' locals."""

    local: str
    source: str
    of: "type[Record]"
    attributes: list[tuple[str, str]]


_COMMON: Final[dict[str, Any]] = {
    "StructError": StructError,
    "Unfit": _Unfit,
    "decode_plainly": decode_plainly,
    "encode_string": encode_string,
    "join": b"".join,
    "new": object.__new__,
    "pack_length": Struct(">i").pack,
    "unpack_length": Struct(">i").unpack_from,
}

_STRING_BYTES: Final = "{0}.encode() if {0}.isascii() else encode_string({0})"


def install_constructor(record: "type[Record]") -> None:
    """Give a record its ``__init__``."""
    _install(record, "__init__", _Compiler.constructor_source)


def install_decoder(record: "type[Record]") -> None:
    """Give a record ``decode`` and ``decode_from``."""
    _install(record, "decode_from", _Compiler.decoder_source)


def install_encoder(record: "type[Record]") -> None:
    """Give a record ``encode`` and ``encode_to``."""
    _install(record, "encode_to", _Compiler.encoder_source)


def _install(record: "type[Record]", what: str, emit: "Callable[[_Compiler], Iterator[str]]") -> None:
    # Two threads may do this at once: they install the same.
    if what in record.__dict__:
        return
    compiler = _Compiler(record)
    code = compile("\n".join(emit(compiler)), f"<codec of {record.__name__}>", "exec")
    exec(code, compiler.names)
    for name in compiler.made:
        function = compiler.names[name]
        function.__qualname__ = f"{record.__qualname__}.{name}"
        function.__module__ = record.__module__
        setattr(record, name, staticmethod(function) if name.startswith("decode") else function)


@cache
def _struct(codes: str) -> Struct:
    return Struct(">" + codes)


class _Compiler:
    """Emits the source of one record's codec; ``names`` are the globals that it runs with."""

    def __init__(self, record: "type[Record]") -> None:
        self.record = record
        self.names: dict[str, Any] = {**_COMMON, "Self": record}
        self.made: list[str] = []
        self.leaves: list[_Leaf] = []
        self.nested: list[_Nested] = []
        self.attributes = self._dissolve(record, "self")

    def _dissolve(self, record: "type[Record]", source: str) -> list[tuple[str, str]]:
        attributes = []
        for name, field in record.fields.items():
            if field.of is None:
                local = f"v{len(self.leaves)}"
                self.leaves.append(_Leaf(field, f"{source}.{name}", local))
            else:
                local = f"r{len(self.nested)}"
                inner = _Nested(local, f"{source}.{name}", field.of, [])
                self.nested.append(inner)
                inner.attributes.extend(self._dissolve(field.of, local))
                self.names[f"T{local}"] = field.of
            attributes.append((name, local))
        return attributes

    def constructor_source(self) -> Iterator[str]:
        yield self._def("__init__", "self", *self.record.fields)
        for name in self.record.fields:
            yield f"    self.{name} = {name}"

    def _def(self, name: str, *parameters: str) -> str:
        self.made.append(name)
        return f"def {name}({', '.join(parameters)}):"

    # --- decoding: (data, offset) -> (record, end)

    def decoder_source(self) -> Iterator[str]:
        yield self._def("decode_from", "data", "offset")
        yield "    if data.__class__ is not bytes: return decode_plainly(Self, data, offset)"
        yield "    try:"
        yield "        at = offset"
        if not all(leaf.field.kind in FIXED_SIZES for leaf in self.leaves):
            yield "        size = len(data)"
        run: list[tuple[str, str]] = []  # (Struct code, local)
        for leaf in self.leaves:
            if leaf.field.kind in FIXED_SIZES:
                run.append((leaf.field.kind, leaf.local))
                continue
            yield from self._unpack([*run, ("i", "n")])
            run = []
            yield from (f"        {line}" for line in self._decode_sized(leaf))
        yield from self._unpack(run)
        yield "    except (StructError, Unfit, UnicodeDecodeError): return decode_plainly(Self, data, offset)"
        for inner in reversed(self.nested):  # the innermost come last
            yield from self._construct(inner.local, f"T{inner.local}", inner.attributes)
        yield from self._construct("self", "Self", self.attributes)
        yield "    return self, at"
        yield self._def("decode", "data", "offset=0") + " return decode_from(data, offset)[0]"

    def _unpack(self, run: list[tuple[str, str]]) -> Iterator[str]:
        if run:
            codes = "".join(code for code, _ in run)
            unpack = self._bind("unpack", codes.replace("?", "b"), _struct(codes).unpack_from)
            yield f"        {', '.join(local for _, local in run)}, = {unpack}(data, at)"
            yield f"        at += {_struct(codes).size}"

    def _decode_sized(self, leaf: _Leaf) -> Iterator[str]:
        """The value whose length or count is in the local ``n``."""
        if leaf.field.kind != VECTOR:
            yield "if n >= 0:"
            yield "    end = at + n"
            yield "    if end > size: raise Unfit"
            yield f"    {leaf.local} = data[at:end]{'.decode()' if leaf.field.kind == STRING else ''}"
            yield "    at = end"
            yield f"elif n == -1: {leaf.local} = None"
            yield "else: raise Unfit"
            return
        element = leaf.field.element
        assert element is not None
        yield f"if n == -1: {leaf.local} = None"
        yield "else:"
        yield f"    {leaf.local} = items = []"
        yield f"    if n * {minimum_size(element)} > size - at: raise Unfit"
        yield "    for _ in range(n):"
        if element.of is not None:
            install_decoder(element.of)
            decode = self._bind("decode", leaf.local, element.of.decode_from)
            yield f"        item, at = {decode}(data, at)"
            yield "        items.append(item)"
        else:
            yield "        n, = unpack_length(data, at)"
            yield "        at += 4"
            yield "        end = at + n"
            yield "        if n < 0 or end > size: raise Unfit"
            yield "        items.append(data[at:end].decode())"
            yield "        at = end"

    def _construct(self, local: str, of: str, attributes: list[tuple[str, str]]) -> Iterator[str]:
        yield f"    {local} = new({of})"
        for name, value in attributes:
            yield f"    {local}.{name} = {value}"

    # --- encoding: pieces for bytes.join

    def encoder_source(self) -> Iterator[str]:
        batches = list(self._batches())
        yield self._def("encode_to", "self", "out")
        for values, pieces, vector in batches:
            yield from values
            if pieces:
                yield f"    out += ({', '.join(pieces)},)"
            yield from vector
        yield self._def("encode", "self")
        if not batches[0][2]:  # no vector: one expression
            values, pieces, _ = batches[0]
            yield from values
            joined = ", ".join(pieces)
            yield f"    return {joined}" if len(pieces) == 1 else f"    return join(({joined}))"
        else:
            yield "    out = []"
            yield "    encode_to(self, out)"
            yield "    return join(out)"

    def _batches(self) -> Iterator[tuple[list[str], list[str], list[str]]]:
        """(statements that prepare values, pieces to append, a loop over the vector that ends the batch)."""
        values = [f"    {inner.local} = {inner.source}" for inner in self.nested]
        pieces: list[str] = []
        run: list[tuple[str, str]] = []
        for leaf in self.leaves:
            kind, local = leaf.field.kind, leaf.local
            if kind in FIXED_SIZES:
                run.append((kind, leaf.source))
                continue
            values.append(f"    {local} = {leaf.source}")
            if kind == VECTOR:
                pieces += self._pack([*run, ("i", f"-1 if {local} is None else len({local})")])
                yield values, pieces, list(self._encode_vector(leaf))
                values, pieces, run = [], [], []
                continue
            to_bytes = f"{local} = {_STRING_BYTES.format(local)}; " if kind == STRING else ""
            values.append(f"    if {local} is None: {local} = b''; n{local} = -1")
            values.append(f"    else: {to_bytes}n{local} = len({local})")
            pieces += [*self._pack([*run, ("i", f"n{local}")]), local]
            run = []
        pieces += self._pack(run)
        if values or pieces:
            yield values, pieces, []

    def _pack(self, run: list[tuple[str, str]]) -> list[str]:
        if not run:
            return []
        codes = "".join(code for code, _ in run)
        pack = self._bind("pack", codes.replace("?", "b"), _struct(codes).pack)
        return [f"{pack}({', '.join(value for _, value in run)})"]

    def _encode_vector(self, leaf: _Leaf) -> Iterator[str]:
        element = leaf.field.element
        assert element is not None
        yield f"    for item in {leaf.local} or ():"
        if element.of is not None:
            install_encoder(element.of)
            yield f"        {self._bind('encode', leaf.local, element.of.encode_to)}(item, out)"
        else:
            yield f"        item = {_STRING_BYTES.format('item')}"
            yield "        out.append(pack_length(len(item)))"
            yield "        out.append(item)"

    def _bind(self, what: str, key: str, value: Any) -> str:
        name = f"{what}_{key}"
        self.names[name] = value
        return name
