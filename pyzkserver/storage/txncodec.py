"""A transaction's payload: what a log's entry holds and a proposal carries.  Framing is not looked at here.

A payload is a TxnHeader, the body for its type, and perhaps a TxnDigest (``SerializeUtils``).
"""

from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Final, NamedTuple

from pyzkserver.state.digest import DIGEST_VERSION
from pyzkserver.state.transaction import MultiBody, Transaction
from pyzkserver.wire.jute import DecodeError, Record
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import (
    TXN_BODIES,
    CloseSessionTxn,
    CreateTxn,
    CreateTxnV0,
    ErrorTxn,
    MultiTxn,
    Txn,
)

__all__ = [
    "HEADER",
    "SMALLEST_PAYLOAD",
    "LogEntry",
    "decode_transaction",
    "encode_digest",
    "encode_transaction",
    "signed",
]

HEADER: Final = Struct(">qiqqi")
"""A TxnHeader: session id, cxid, zxid, time, opcode."""
_DIGEST: Final = Struct(">iq")
_LONG_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF

SMALLEST_PAYLOAD: Final = HEADER.size
"""Bytes: a header without a body."""

# DataTree.processTxn: what may be part of a multi.
_IN_MULTI: Final = frozenset(
    {
        OpCode.CREATE,
        OpCode.CREATE2,
        OpCode.CREATE_TTL,
        OpCode.CREATE_CONTAINER,
        OpCode.DELETE,
        OpCode.DELETE_CONTAINER,
        OpCode.SET_DATA,
        OpCode.CHECK,
        OpCode.ERROR,
    }
)


class LogEntry(NamedTuple):
    """What a payload says.  ``digest`` is (version, digest of the whole tree after it, unsigned 64 bits)."""

    txn: Transaction
    digest: tuple[int, int] | None


def signed(value: int) -> int:
    """The low 64 bits as Java's long."""
    value &= _LONG_MASK
    return value - (1 << 64) if value >> 63 else value


def encode_transaction(txn: Transaction, digest: int | None) -> bytes:
    """A transaction's payload; ``digest`` is that of the whole tree after it, where it is known."""
    out = [HEADER.pack(txn.session_id, txn.cxid, txn.zxid, txn.time, txn.op)]
    body = txn.body
    if isinstance(body, MultiBody):
        MultiTxn([Txn(op, part.encode()) for op, part in body.ops]).encode_to(out)
    elif body is not None:
        body.encode_to(out)
    if digest is not None:
        out.append(encode_digest(digest))
    return b"".join(out)


def encode_digest(digest: int) -> bytes:
    """What may follow a payload that has none: the digest of the whole tree after it."""
    return _DIGEST.pack(DIGEST_VERSION, signed(digest))


def decode_transaction(payload: bytes) -> LogEntry:
    """Read a payload (``SerializeUtils.deserializeTxn``).  Raises DecodeError; ignores what may follow.

    What Apache writes in more than one way comes out in one: a create of the oldest kind has a
    parent_c_version of -1, and a multi that failed consists of errors.
    """
    try:
        session_id, cxid, zxid, time, op = HEADER.unpack_from(payload)
    except StructError:
        raise DecodeError(f"a transaction of {len(payload)} bytes") from None
    body, end = _decode_body(op, payload)
    digest = None
    if len(payload) - end >= _DIGEST.size:
        version, value = _DIGEST.unpack_from(payload, end)
        digest = (version, value & _LONG_MASK)
    return LogEntry(Transaction(session_id, cxid, zxid, time, op, body), digest)


def _decode_body(op: int, payload: bytes) -> tuple[Record | MultiBody | None, int]:
    if op == OpCode.CREATE:
        return _decode_create(payload)
    if op == OpCode.CLOSE_SESSION:
        return _decode_close(payload)
    kind = TXN_BODIES.get(op)
    if kind is None or op == OpCode.CHECK:
        raise DecodeError(f"no transaction has type {op}")
    body, end = kind.decode_from(payload, HEADER.size)
    return (_multi_body(body), end) if isinstance(body, MultiTxn) else (body, end)


def _decode_create(payload: bytes) -> tuple[Record, int]:
    try:
        return CreateTxn.decode_from(payload, HEADER.size)
    except DecodeError:
        # Of a time before parent_c_version was written: -1 asks the tree to count for itself.
        old, end = CreateTxnV0.decode_from(payload, HEADER.size)
        return CreateTxn(old.path, old.data, old.acl, old.ephemeral, -1), end


def _decode_close(payload: bytes) -> tuple[Record | None, int]:
    """There is no body from servers before 3.6, and none where closeSessionTxn.enabled is false."""
    start = HEADER.size
    left = len(payload) - start
    # As a body, twelve bytes that begin with the digest's version would be two empty paths.
    if left == 0 or (left == _DIGEST.size and _DIGEST.unpack_from(payload, start)[0] == DIGEST_VERSION):
        return None, start
    return CloseSessionTxn.decode_from(payload, start)


def _multi_body(multi: MultiTxn) -> MultiBody:
    ops: list[tuple[int, Record]] = []
    for part in multi.txns or ():
        if part.type not in _IN_MULTI:
            raise DecodeError(f"a multi with a transaction of type {part.type}")
        ops.append((part.type, TXN_BODIES[part.type].decode(part.data or b"")))
    for index, (op, _) in enumerate(ops):
        if op == OpCode.ERROR:
            # Apache's log keeps what was judged good before the failure, though it is never applied
            # (DataTree.processTxn).  What comes after the failure are errors anyway.
            return MultiBody([(int(OpCode.ERROR), ErrorTxn(0))] * index + ops[index:])
    return MultiBody(ops)
