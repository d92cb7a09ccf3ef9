"""The few frames of ZooKeeper's client protocol that the benchmarks send, and the little they read back.

Written apart from the package on purpose: what measures a server shares no code with it.  Only struct belongs
here, no sockets and no clocks.
"""

from struct import Struct

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_CHILDREN, GET_CHILDREN2, CLOSE = 1, 2, 3, 4, 5, 8, 12, -11
NO_NODE, NODE_EXISTS = -101, -110

INT = Struct(">i")
_REQUEST = Struct(">iii")  # length, xid, opcode
_REPLY = Struct(">iiqi")  # length, xid, zxid, err
_CONNECT = Struct(">iiqiq")  # length, protocolVersion, lastZxidSeen, timeOut, sessionId
_ANY_VERSION = INT.pack(-1)
_NO_WATCH = b"\0"


class ReplyError(Exception):
    """A reply with an error code, or not the reply that the request asked for."""


def text(value: str) -> bytes:
    """A jute string (and, as they look the same, a buffer of those bytes)."""
    data = value.encode()
    return INT.pack(len(data)) + data


def buffer(data: bytes) -> bytes:
    return INT.pack(len(data)) + data


OPEN_ACL_UNSAFE = INT.pack(1) + INT.pack(31) + text("world") + text("anyone")
_PERSISTENT = INT.pack(0)


def connect_request(timeout_ms: int = 30_000) -> bytes:
    """The first frame of a new session, with a read-only flag as clients since 3.4 send it."""
    return _CONNECT.pack(45, 0, 0, timeout_ms, 0) + buffer(bytes(16)) + b"\0"


def request(xid: int, opcode: int, body: bytes = b"") -> bytes:
    return _REQUEST.pack(8 + len(body), xid, opcode) + body


def get_body(path: str) -> bytes:
    """The body of getData, exists, getChildren and getChildren2: a path and no watch."""
    return text(path) + _NO_WATCH


def set_body(path: str, data: bytes) -> bytes:
    return text(path) + buffer(data) + _ANY_VERSION


def delete_body(path: str) -> bytes:
    return text(path) + _ANY_VERSION


def create_body(path: str, data: bytes) -> bytes:
    """A persistent node that everybody may do everything with."""
    return text(path) + buffer(data) + OPEN_ACL_UNSAFE + _PERSISTENT


def children_in(body: bytes) -> list[str]:
    """The names in a getChildren reply's body."""
    names = []
    at = 4
    for _ in range(INT.unpack_from(body)[0]):
        (size,) = INT.unpack_from(body, at)
        names.append(body[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return names


def split(data: bytes) -> list[tuple[int, int, bytes]]:
    """All complete replies in `data` as (xid, err, body)."""
    replies = []
    at = 0
    while at + 4 <= len(data):
        length, xid, _zxid, err = _REPLY.unpack_from(data.ljust(at + 20, b"\0"), at)
        if at + 4 + length > len(data):
            break
        replies.append((xid, err, data[at + 20 : at + 4 + length]))
        at += 4 + length
    return replies


def check_block(data: bytes, depth: int) -> None:
    """Raise ReplyError unless `data` is the replies to requests 1…depth, in order and all without error."""
    replies = split(data)
    xids = [xid for xid, _, _ in replies]
    errors = sorted({err for _, err, _ in replies if err})
    if errors:
        raise ReplyError(f"error {', '.join(map(str, errors))} in the replies to a block of {depth}")
    if xids != list(range(1, depth + 1)):
        raise ReplyError(f"asked for xids 1 to {depth}, got {xids[:5]}… ({len(xids)} replies)")
