"""Data records, the records that frame every request and reply, and the numbers that appear inside them.

Names are zookeeper.jute's in Python spelling.  The records of single operations are in ``requests.py``, those
of the transaction log in ``txns.py``.
"""

from enum import IntEnum, IntFlag
from typing import Final

from .jute import (
    Buffer,
    DecodeError,
    Record,
    boolean,
    buffer,
    int32,
    int64,
    record,
    ustring,
)

__all__ = [
    "ACL",
    "AUTH_XID",
    "KEEPER_STATE_SYNC_CONNECTED",
    "NOTIFICATION_XID",
    "PING_XID",
    "SET_WATCHES_XID",
    "AddWatchMode",
    "ClientInfo",
    "ConnectRequest",
    "ConnectResponse",
    "CreateFlag",
    "ErrorResponse",
    "EventType",
    "Id",
    "MultiHeader",
    "Perms",
    "ReplyHeader",
    "RequestHeader",
    "Stat",
    "StatPersisted",
    "WatcherEvent",
    "WatcherType",
    "decode_connect_request",
    "encode_connect_response",
]


# --- data ---------------------------------------------------------------------------------------------------


class Perms(IntFlag):
    """What an ACL grants (``ZooDefs.Perms``)."""

    READ = 1
    WRITE = 2
    CREATE = 4
    DELETE = 8
    ADMIN = 16
    ALL = 31


class Id(Record):
    """Who an ACL speaks of: ``world:anyone``, ``digest:user:hash`` …"""

    scheme: str | None = ustring()
    id: str | None = ustring()


class ACL(Record):
    """One entry of an access control list; ``perms`` may hold bits beyond Perms, which are kept."""

    perms: int = int32()
    id: Id = record(Id)


class Stat(Record):
    """What clients are told about a node.  Times are milliseconds since 1970."""

    czxid: int = int64()
    mzxid: int = int64()
    ctime: int = int64()
    mtime: int = int64()
    version: int = int32()
    cversion: int = int32()
    aversion: int = int32()
    ephemeral_owner: int = int64()
    data_length: int = int32()
    num_children: int = int32()
    pzxid: int = int64()


class StatPersisted(Record):
    """What a snapshot keeps about a node; here ``cversion`` counts the children ever created."""

    czxid: int = int64()
    mzxid: int = int64()
    ctime: int = int64()
    mtime: int = int64()
    version: int = int32()
    cversion: int = int32()
    aversion: int = int32()
    ephemeral_owner: int = int64()
    pzxid: int = int64()


class ClientInfo(Record):
    """One of a connection's identities, as whoAmI reports it."""

    auth_scheme: str | None = ustring()
    user: str | None = ustring()


class CreateFlag(IntEnum):
    """``CreateMode.toFlag``."""

    PERSISTENT = 0
    EPHEMERAL = 1
    PERSISTENT_SEQUENTIAL = 2
    EPHEMERAL_SEQUENTIAL = 3
    CONTAINER = 4
    PERSISTENT_WITH_TTL = 5
    PERSISTENT_SEQUENTIAL_WITH_TTL = 6


# --- the handshake ------------------------------------------------------------------------------------------


class ConnectRequest(Record):
    """A connection's first packet.  ``time_out`` is in milliseconds; session 0 asks for a new one."""

    protocol_version: int = int32()
    last_zxid_seen: int = int64()
    time_out: int = int32()
    session_id: int = int64()
    passwd: bytes | None = buffer()
    read_only: bool = boolean()


class ConnectResponse(Record):
    """The answer to it.  A ``time_out`` of 0 means that the session is not (or no longer) known."""

    protocol_version: int = int32()
    time_out: int = int32()
    session_id: int = int64()
    passwd: bytes | None = buffer()
    read_only: bool = boolean()


def decode_connect_request(data: Buffer) -> tuple[ConnectRequest, bool]:
    """A connect request, and whether it had the trailing readOnly byte, which old clients do not send.

    The answer must then lack it too (``ProtocolManager.deserializeConnectRequest``).  Raises DecodeError.
    """
    try:
        return ConnectRequest.decode(data), True
    except DecodeError:
        # Whatever else may be wrong with it is still wrong with one byte more.
        return ConnectRequest.decode(bytes(data) + b"\0"), False


def encode_connect_response(response: ConnectResponse, with_read_only: bool) -> bytes:
    """37 bytes if the request had the readOnly byte, else 36."""
    return response.encode() if with_read_only else response.encode()[:-1]


# --- headers and what is no answer to a request -------------------------------------------------------------

NOTIFICATION_XID: Final = -1
PING_XID: Final = -2
AUTH_XID: Final = -4
SET_WATCHES_XID: Final = -8


class RequestHeader(Record):
    """Comes before every request but the connect request."""

    xid: int = int32()
    type: int = int32()


class ReplyHeader(Record):
    """Comes before every reply but the connect response; no body follows if ``err`` is not 0."""

    xid: int = int32()
    zxid: int = int64()
    err: int = int32()


class MultiHeader(Record):
    """Comes before every operation and result of a multi; the one that ends them is (-1, True, -1)."""

    type: int = int32()
    done: bool = boolean()
    err: int = int32()


class ErrorResponse(Record):
    """A body that is just an error code: of a multi's failed operation, and of addWatch's reply."""

    err: int = int32()


class EventType(IntEnum):
    """``Watcher.Event.EventType``."""

    NONE = -1
    NODE_CREATED = 1
    NODE_DELETED = 2
    NODE_DATA_CHANGED = 3
    NODE_CHILDREN_CHANGED = 4
    DATA_WATCH_REMOVED = 5
    CHILD_WATCH_REMOVED = 6
    PERSISTENT_WATCH_REMOVED = 7


KEEPER_STATE_SYNC_CONNECTED: Final = 3


class WatcherEvent(Record):
    """A notification's body: an EventType, a keeper state, and the node that changed."""

    type: int = int32()
    state: int = int32()
    path: str | None = ustring()


class WatcherType(IntEnum):
    """Which watches checkWatches and removeWatches mean (``Watcher.WatcherType``)."""

    CHILDREN = 1
    DATA = 2
    ANY = 3
    PERSISTENT = 4
    PERSISTENT_RECURSIVE = 5


class AddWatchMode(IntEnum):
    """``org.apache.zookeeper.AddWatchMode``."""

    PERSISTENT = 0
    PERSISTENT_RECURSIVE = 1
