"""What the leader and its learners send each other: QuorumPacket, and what stands in one.

How a stream of them is read is in ``quorum_stream.py``, what a packet means in ``quorum/``; the votes of an
election are in ``election.py``.
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from pyzkserver.errors import PyzkserverError

from .jute import Record, buffer, int32, int64, vector
from .records import Id

__all__ = [
    "ACCEPTED_AGAIN",
    "PROTOCOL_VERSION",
    "SNAPSHOT_SIGNATURE",
    "LearnerInfo",
    "Packet",
    "PacketError",
    "PacketType",
    "QuorumPacket",
    "decode_revalidate",
    "decode_revalidated",
    "decode_touches",
    "encode_identities",
    "encode_revalidate",
    "encode_revalidated",
    "encode_touches",
    "packet",
    "packet_name",
    "proposal_packet",
    "request_packet",
    "short_packet",
    "split_activation",
    "split_request",
]

PROTOCOL_VERSION: Final = 0x10000
"""ZAB 1.0: what LEADERINFO and LearnerInfo say.  Older servers (before 3.4) say less."""

ACCEPTED_AGAIN: Final = -1
"""As the epoch in ACKEPOCH: this epoch was acknowledged before, so this does not count as a vote for it."""

SNAPSHOT_SIGNATURE: Final = b"\0\0\0\nBenWasHere"
"""What follows a snapshot on the wire (``LearnerHandler.run``)."""


class PacketType(IntEnum):
    """``Leader``'s constants."""

    REQUEST = 1
    PROPOSAL = 2
    ACK = 3
    COMMIT = 4
    PING = 5
    REVALIDATE = 6
    SYNC = 7
    INFORM = 8
    COMMITANDACTIVATE = 9
    NEWLEADER = 10
    FOLLOWERINFO = 11
    UPTODATE = 12
    DIFF = 13
    TRUNC = 14
    SNAP = 15
    OBSERVERINFO = 16
    LEADERINFO = 17
    ACKEPOCH = 18
    INFORMANDACTIVATE = 19


def packet_name(type_: int) -> str:
    """A packet's type, for people."""
    try:
        return PacketType(type_).name
    except ValueError:
        return f"a packet of type {type_}"


class QuorumPacket(Record):
    """The declared form.  ``packet`` and ``PacketReader`` (``quorum_stream``) are the quick way to the same bytes."""

    type: int = int32()
    zxid: int = int64()
    data: bytes | None = buffer()
    authinfo: Sequence[Id] | None = vector(Id)


class LearnerInfo(Record):
    """In FOLLOWERINFO and OBSERVERINFO: who comes.  Servers before 3.5 send the first two fields only."""

    serverid: int = int64()
    protocol_version: int = int32()
    config_version: int = int64()


class PacketError(PyzkserverError, ValueError):
    """The other end sent what no packet begins with: the stream cannot be read on."""


class Packet(NamedTuple):
    """A packet that was received.  ``authinfo`` are pairs of scheme and id."""

    type: int
    zxid: int
    data: bytes | None
    authinfo: tuple[tuple[str, str], ...] | None

    @property
    def body(self) -> bytes:
        """The data, empty where it is null."""
        return self.data or b""


# --- to bytes -----------------------------------------------------------------------------------------------

_HEAD: Final = Struct(">iqi")  # type, zxid, length of data
_SHORT: Final = Struct(">iqii")  # no data and no authinfo
_INT: Final = Struct(">i")
_LONG: Final = Struct(">q")
_REQUEST: Final = Struct(">qii")  # session, xid, opcode
_SESSION_TIMEOUT: Final = Struct(">qi")
_SESSION_VALID: Final = Struct(">q?")
_NULL: Final = b"\xff\xff\xff\xff"

_pack_short = _SHORT.pack
_pack_head = _HEAD.pack


def packet(type_: int, zxid: int, data: bytes | None = None, authinfo: bytes = _NULL) -> bytes:
    """A packet's bytes; ``authinfo`` comes from ``encode_identities``."""
    if data is None:
        return _HEAD.pack(type_, zxid, -1) + authinfo
    return _HEAD.pack(type_, zxid, len(data)) + data + authinfo


def short_packet(type_: int, zxid: int) -> bytes:
    """A packet without data: ACK, COMMIT …"""
    return _pack_short(type_, zxid, -1, -1)


def proposal_packet(type_: int, zxid: int, payload: bytes) -> bytes:
    """PROPOSAL or INFORM: ``payload`` is what the log holds of the transaction."""
    return _pack_head(type_, zxid, len(payload)) + payload + _NULL


def request_packet(session_id: int, cxid: int, op: int, body: bytes, authinfo: bytes) -> bytes:
    """REQUEST: what a client asked of a learner (``Learner.request``)."""
    return _pack_head(1, -1, 16 + len(body)) + _REQUEST.pack(session_id, cxid, op) + body + authinfo


def encode_identities(identities: Sequence[tuple[str, str]] | None) -> bytes:
    """A packet's authinfo."""
    if identities is None:
        return _NULL
    out = [_INT.pack(len(identities))]
    for scheme, name in identities:
        Id(scheme, name).encode_to(out)
    return b"".join(out)


def encode_touches(touches: Sequence[tuple[int, int]]) -> bytes:
    """The data of a learner's PING: sessions that were heard of, with their timeouts in milliseconds."""
    return b"".join(_SESSION_TIMEOUT.pack(session, timeout) for session, timeout in touches)


def encode_revalidate(session_id: int, timeout: int) -> bytes:
    """The data of a learner's REVALIDATE."""
    return _SESSION_TIMEOUT.pack(session_id, timeout)


def encode_revalidated(session_id: int, valid: bool) -> bytes:
    """The data of the answer to REVALIDATE."""
    return _SESSION_VALID.pack(session_id, valid)


# --- from bytes ---------------------------------------------------------------------------------------------


def decode_touches(data: bytes) -> Iterator[tuple[int, int]]:
    """Pairs of session and timeout; what is left of an incomplete one is refused.  Raises PacketError."""
    if len(data) % _SESSION_TIMEOUT.size:
        raise PacketError(f"a PING with {len(data)} bytes of sessions, of which each takes 12")
    return iter(_SESSION_TIMEOUT.iter_unpack(data))


def decode_revalidate(data: bytes) -> tuple[int, int]:
    """Session and timeout.  Raises PacketError."""
    session_id, timeout = _unpack(_SESSION_TIMEOUT, data, "REVALIDATE")
    return session_id, timeout


def decode_revalidated(data: bytes) -> tuple[int, bool]:
    """Session, and whether it is valid.  Raises PacketError."""
    session_id, valid = _unpack(_SESSION_VALID, data, "REVALIDATE")
    return session_id, bool(valid)


def split_request(data: bytes) -> tuple[int, int, int, bytes]:
    """A REQUEST's session, xid, opcode and body.  Raises PacketError."""
    session_id, cxid, op = _unpack(_REQUEST, data, "REQUEST")
    return session_id, cxid, op, data[16:]


def split_activation(data: bytes) -> tuple[int, bytes]:
    """Of COMMITANDACTIVATE or INFORMANDACTIVATE: the designated leader, and what follows.  Raises PacketError."""
    (leader,) = _unpack(_LONG, data, "activation")
    return leader, data[8:]


def _unpack(form: Struct, data: bytes, what: str) -> tuple[int, ...]:
    if len(data) < form.size:
        raise PacketError(f"a {what} with {len(data)} bytes of data, where {form.size} are needed")
    return form.unpack_from(data)
