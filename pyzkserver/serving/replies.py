"""The replies to writes, made of what applying them gave.  Reads make theirs in ``state.queries``."""

from struct import Struct

from pyzkserver.state.tree import Applied
from pyzkserver.wire.jute import Record, encode_string
from pyzkserver.wire.records import EventType, Stat
from pyzkserver.wire.requests import (
    Create2Response,
    CreateResponse,
    MultiResponse,
    MultiResult,
    OpCode,
    SetDataResponse,
)

__all__ = ["notification", "reply_frame", "write_reply"]

_HEADER = Struct(">iiqi")  # length, xid, zxid, err
_LENGTH = Struct(">i")
_EVENT = Struct(">iiqiiii")  # length, xid -1, zxid, err 0, type, state, length of the path
_SYNC_CONNECTED = 3

_CREATE = int(OpCode.CREATE)
_CREATES_WITH_STAT = frozenset({int(OpCode.CREATE2), int(OpCode.CREATE_TTL), int(OpCode.CREATE_CONTAINER)})


def reply_frame(xid: int, zxid: int, err: int, body: bytes = b"") -> bytes:
    """A whole reply: length, header, body."""
    return _HEADER.pack(16 + len(body), xid, zxid, err) + body


def notification(event: EventType, path: str, zxid: int) -> bytes:
    """A whole watch event."""
    raw = encode_string(path)
    return _EVENT.pack(28 + len(raw), -1, zxid, 0, event, _SYNC_CONNECTED, len(raw)) + raw


def write_reply(applied: Applied) -> bytes:
    """The body that answers a write which was not refused."""
    if applied.parts is not None:
        return MultiResponse([_result(part) for part in applied.parts]).encode()
    if applied.op in _CREATES_WITH_STAT or applied.op == _CREATE:
        raw = encode_string(applied.path or "")
        return b"".join((_LENGTH.pack(len(raw)), raw, applied.stat or b""))
    return applied.stat or b""


def _result(applied: Applied) -> MultiResult:
    """One result of a multi.  Every kind of create that tells a Stat is answered as create2."""
    op = applied.op
    body: Record | None = None
    if op == OpCode.ERROR:
        return MultiResult(op, applied.err, None)
    if op == _CREATE:
        return MultiResult(op, 0, CreateResponse(applied.path))
    if applied.stat is not None:
        stat = Stat.decode(applied.stat)
        if op in _CREATES_WITH_STAT:
            return MultiResult(OpCode.CREATE2, 0, Create2Response(applied.path, stat))
        body = SetDataResponse(stat)
    # A container's deletion cannot be in a multi; delete and check say nothing.
    return MultiResult(op, 0, body)
