"""How a snapshot is laid out (``FileSnap``, ``DataTree.serialize``): its numbers, records and checksums.

::

    "ZKSN" version:int dbid:long                                        in a file; not in what a leader sends
    count:int { session:long timeout:int }*
    count:int { id:long vector<ACL> }*                                  the map of ACLs
    { path:string data:buffer acl:long StatPersisted }*                 parents first; the root's path is ""
    "/"                                                                 the end of the nodes
    adler32:long "/"                                                    a seal; from here on in a file only
    zxid:long version:int digest:long, adler32:long "/"                 since 3.6, unless digest.enabled=false
    zxid:long, adler32:long "/"                                         since 3.9, serializeLastProcessedZxid

Each seal holds the checksum of everything before it.  Nothing here knows a tree.
"""

from struct import Struct
from typing import Final, NamedTuple
from zlib import adler32

from pyzkserver.state.acl import Acl
from pyzkserver.wire.jute import Record, buffer, int64, record, ustring, vector
from pyzkserver.wire.records import ACL, Id, StatPersisted

__all__ = [
    "COUNT",
    "DBID",
    "END_OF_NODES",
    "FILE_HEADER",
    "MAGIC",
    "NOBODY",
    "NODE",
    "OPEN_ACL_ID",
    "SESSION",
    "SNAPSHOT_VERSION",
    "AclEntry",
    "Ending",
    "NodeEntry",
    "SnapshotDigest",
    "decode_ending",
    "encode_ending",
]

MAGIC: Final = b"ZKSN"
SNAPSHOT_VERSION: Final = 2
DBID: Final = -1
FILE_HEADER: Final = Struct(">4siq")

COUNT: Final = Struct(">i")
SESSION: Final = Struct(">qi")
NODE: Final = Struct(">qqqqqiiiqq")
"""What stands behind a node's data: the ACL's id, and the fields of StatPersisted."""
END_OF_NODES: Final = b"\0\0\0\1/"
"""The string ``/``, for the root is written as the empty string."""

OPEN_ACL_ID: Final = -1
"""Stands for world:anyone with all permissions, and is in no map (``ReferenceCountedACLCache``)."""
NOBODY: Final = Acl([ACL(0, Id("world", "anyone"))])
"""Permits nothing: for a node that will get its ACL only when the log is replayed."""


class AclEntry(Record):
    """An entry of the map of ACLs."""

    id: int = int64()
    acl: list[ACL] | None = vector(ACL)


class NodeEntry(Record):
    """A node, and where it is."""

    path: str | None = ustring()
    data: bytes | None = buffer()
    acl_id: int = int64()
    stat: StatPersisted = record(StatPersisted)


class SnapshotDigest(NamedTuple):
    """The digest of the whole tree at some zxid, as an unsigned 64-bit number."""

    zxid: int
    version: int
    value: int


class Ending(NamedTuple):
    """What follows the nodes in a file.  Each part is None where it was not written."""

    digest: SnapshotDigest | None
    last_zxid: int | None


_SEAL: Final = Struct(">q5s")
_DIGEST: Final = Struct(">qiq")
_OLD_DIGEST: Final = Struct(">qii")  # the third is the length of a string
_LAST_ZXID: Final = Struct(">q")
_LONG_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF


def encode_ending(checksum: int, ending: Ending) -> bytes:
    """What stands behind the nodes, if ``checksum`` is that of everything up to there."""
    encoded = _seal(b"", checksum)
    if ending.digest is not None:
        zxid, version, value = ending.digest
        value &= _LONG_MASK
        part = _DIGEST.pack(zxid, version, value - (1 << 64) if value >> 63 else value)
        encoded += _seal(part, adler32(encoded, checksum))
    if ending.last_zxid is not None:
        encoded += _seal(_LAST_ZXID.pack(ending.last_zxid), adler32(encoded, checksum))
    return encoded


def decode_ending(rest: bytes, checksum: int) -> Ending:
    """Read it again.  Raises ValueError, with what is wrong; what follows it is for later versions.

    Which parts there are is nowhere said, but only the right way to take them apart has checksums that fit.
    (Apache's server refuses a snapshot that was written with another digest.enabled than its own.)
    """
    if not _is_sealed(rest, 0, checksum):
        raise ValueError("the nodes do not fit the checksum behind them")
    checksum, rest = _behind(rest, 0, checksum)
    size, digest = _decode_digest(rest)
    if _is_sealed(rest, size, checksum):
        checksum, rest = _behind(rest, size, checksum)
    else:
        digest = None
    if _is_sealed(rest, _LAST_ZXID.size, checksum):
        return Ending(digest, _LAST_ZXID.unpack_from(rest)[0])
    if rest:
        raise ValueError("the digest or the last zxid, behind the nodes, does not fit its checksum")
    return Ending(digest, None)


def _seal(part: bytes, checksum: int) -> bytes:
    return part + _SEAL.pack(adler32(part, checksum), END_OF_NODES)


def _is_sealed(rest: bytes, size: int, checksum: int) -> bool:
    """Whether a seal follows ``size`` bytes: of those, and of all before ``rest``, which has ``checksum``."""
    if len(rest) < size + _SEAL.size:
        return False
    found, path = _SEAL.unpack_from(rest, size)
    return bool(path == END_OF_NODES and found == adler32(rest[:size], checksum))


def _behind(rest: bytes, size: int, checksum: int) -> tuple[int, bytes]:
    """The checksum up to the end of such a seal, and what follows it."""
    end = size + _SEAL.size
    return adler32(rest[:end], checksum), rest[end:]


def _decode_digest(rest: bytes) -> tuple[int, SnapshotDigest | None]:
    """Its size, and what it says: without a zxid, nothing (``DataTree.ZxidDigest``)."""
    if len(rest) < _DIGEST.size:
        return _DIGEST.size, None
    zxid, version, value = _DIGEST.unpack_from(rest)
    if version < 2:
        # A hexadecimal string, of a digest that is not counted like ours.
        return _OLD_DIGEST.size + max(0, _OLD_DIGEST.unpack_from(rest)[2]), None
    return _DIGEST.size, SnapshotDigest(zxid, version, value & _LONG_MASK) if zxid > 0 else None
