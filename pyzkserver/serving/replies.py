"""The replies to writes, made of what applying them gave.  Reads make theirs in ``state.queries``."""

from struct import Struct

from pyzkserver.state.transaction import Applied
from pyzkserver.wire.jute import Record, encode_string
from pyzkserver.wire.records import KEEPER_STATE_SYNC_CONNECTED, EventType, Stat
from pyzkserver.wire.requests import (
    Create2Response,
    CreateResponse,
    MultiResponse,
    MultiResult,
    OpCode,
    SetDataResponse,
    SyncResponse,
)

__all__ = ["notification", "reply_frame", "write_reply"]

_HEADER = Struct(">iiqi")  # length, xid, zxid, err
_HEADER_AND_LENGTH = Struct(">iiqii")
_LENGTH = Struct(">i")
_EVENT = Struct(">iiqiiii")  # length, xid -1, zxid, err 0, type, state, length of the path

_CREATE = int(OpCode.CREATE)
_SYNC = int(OpCode.SYNC)
_RECONFIG = int(OpCode.RECONFIG)
_CREATES_WITH_STAT = frozenset({int(OpCode.CREATE2), int(OpCode.CREATE_TTL), int(OpCode.CREATE_CONTAINER)})


def reply_frame(xid: int, zxid: int, err: int, body: bytes = b"") -> bytes:
    """A whole reply: length, header, body."""
    return _HEADER.pack(16 + len(body), xid, zxid, err) + body


def notification(event: EventType, path: str, zxid: int) -> bytes:
    """A whole watch event."""
    raw = encode_string(path)
    return _EVENT.pack(28 + len(raw), -1, zxid, 0, event, KEEPER_STATE_SYNC_CONNECTED, len(raw)) + raw


def write_reply(applied: Applied, xid: int, zxid: int) -> bytes:
    """The whole reply to a write which was not refused."""
    stat = applied.stat
    if applied.op == _CREATE:
        raw = encode_string(applied.path or "")
        return _HEADER_AND_LENGTH.pack(20 + len(raw), xid, zxid, 0, len(raw)) + raw
    if applied.op == _RECONFIG and stat is not None:
        data = applied.data or b""
        return reply_frame(xid, zxid, 0, _LENGTH.pack(len(data)) + data + stat)
    if stat is not None:
        if applied.op not in _CREATES_WITH_STAT:
            return _HEADER.pack(84, xid, zxid, 0) + stat
        raw = encode_string(applied.path or "")
        return b"".join((_HEADER_AND_LENGTH.pack(88 + len(raw), xid, zxid, 0, len(raw)), raw, stat))
    if applied.parts is not None:
        return reply_frame(xid, zxid, 0, MultiResponse([_result(part) for part in applied.parts]).encode())
    if applied.op == _SYNC:
        return reply_frame(xid, zxid, 0, SyncResponse(applied.path).encode())
    return _HEADER.pack(16, xid, zxid, 0)


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
