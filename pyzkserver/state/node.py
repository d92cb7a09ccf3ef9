"""A znode, and what its owner field says about its kind.

Encodings that are asked for again and again are kept here until what they show changes.
"""

from enum import Enum
from struct import Struct

from pyzkserver.wire.jute import encode_string
from pyzkserver.wire.records import Stat

from .acl import OPEN_ACL, Acl

__all__ = ["CONTAINER_OWNER", "Node", "NodeKind", "kind_of", "ttl_of", "ttl_owner", "wrap32"]

CONTAINER_OWNER = -(1 << 63)
"""ephemeralOwner of a container (``EphemeralType.CONTAINER_EPHEMERAL_OWNER``)."""

_TTL_MASK = -(1 << 56)  # the top byte set: an extended type; the next two bytes zero: the type is TTL
_TTL_MAX = (1 << 40) - 1

_STAT = Struct(">qqqqiiiqiiq")
_LENGTH = Struct(">i")


class NodeKind(Enum):
    """What a node's stored owner makes of it (``EphemeralType``)."""

    PERSISTENT = "persistent"
    EPHEMERAL = "ephemeral"
    CONTAINER = "container"
    TTL = "ttl"


def kind_of(owner: int, extended: bool) -> NodeKind:
    """The kind that a stored ephemeralOwner means; ``extended``: whether TTL nodes exist on this server."""
    if owner == 0:
        return NodeKind.PERSISTENT
    if extended and _TTL_MASK <= owner <= _TTL_MASK + _TTL_MAX:
        return NodeKind.TTL
    if owner == CONTAINER_OWNER:
        return NodeKind.CONTAINER
    return NodeKind.EPHEMERAL


def ttl_owner(ttl: int) -> int | None:
    """The ephemeralOwner of a node with this ttl in milliseconds, or None for an impossible one."""
    return _TTL_MASK | ttl if 0 < ttl <= _TTL_MAX else None


def ttl_of(owner: int) -> int:
    """The ttl in milliseconds that ``ttl_owner`` put there."""
    return owner & _TTL_MAX


def wrap32(value: int) -> int:
    """An int as Java's: versions go round at 2^31."""
    return (value + 0x8000_0000 & 0xFFFF_FFFF) - 0x8000_0000


class Node:
    """One znode.  The tree alone changes it, and calls ``changed`` when it did."""

    exists = True
    """As opposed to a pending one that stands for a deletion."""

    __slots__ = (
        "_listing",
        "_stat",
        "acl",
        "aversion",
        "children",
        "ctime",
        "cversion",
        "czxid",
        "data",
        "digest",
        "ephemeral_owner",
        "mtime",
        "mzxid",
        "pzxid",
        "shown_owner",
        "version",
    )

    def __init__(
        self,
        data: bytes | None,
        acl: Acl = OPEN_ACL,
        zxid: int = 0,
        time: int = 0,
        cversion: int = 0,
        owner: int = 0,
    ) -> None:
        self.data = data
        self.acl = acl
        self.czxid = self.mzxid = self.pzxid = zxid
        self.ctime = self.mtime = time
        self.version = 0
        self.cversion = cversion
        """How many children were ever created here: the next sequence number.  Clients see another number."""
        self.aversion = 0
        self.ephemeral_owner = owner
        self.shown_owner = 0
        """The owner that clients see: a session's id, and 0 for containers and TTL nodes."""
        self.children: dict[str, None] | None = None
        """The names of the children.  A dict for its order; None while there is none, to save the memory."""
        self.digest = 0
        """This node's share of the tree's digest, as last counted."""
        self._stat: bytes | None = None
        self._listing: bytes | None = None

    def become(self, other: "Node") -> None:
        """Take over everything from another node of the same path; that one stays as it is."""
        self.data, self.acl, self.children = other.data, other.acl, None
        if other.children is not None:
            self.children = other.children.copy()
        self.czxid, self.mzxid, self.pzxid = other.czxid, other.mzxid, other.pzxid
        self.ctime, self.mtime = other.ctime, other.mtime
        self.version, self.cversion, self.aversion = other.version, other.cversion, other.aversion
        self.ephemeral_owner, self.shown_owner = other.ephemeral_owner, other.shown_owner
        self.digest = other.digest
        self._stat, self._listing = other._stat, other._listing

    @property
    def child_count(self) -> int:
        """How many children there are now."""
        return len(self.children) if self.children else 0

    def changed(self) -> None:
        """Forget what was encoded: something that a Stat shows has changed."""
        self._stat = None

    def add_child(self, name: str) -> None:
        """Enter a child.  The counters are the tree's business."""
        self._listing = self._stat = None
        children = self.children
        if children is None:
            children = self.children = {}
        children[name] = None

    def remove_child(self, name: str) -> None:
        """Strike a child off, if it is there."""
        if self.children is not None:
            self.children.pop(name, None)
            if not self.children:
                self.children = None
        self._listing = self._stat = None

    def stat(self) -> Stat:
        """What clients may know of the node (``DataNode.copyStat``)."""
        return Stat(*_STAT.unpack(self.stat_bytes()))

    def stat_bytes(self) -> bytes:
        """The encoded Stat: 68 bytes."""
        return self._stat or self.changed_stat_bytes()

    def changed_stat_bytes(self) -> bytes:
        """The same, and ``changed`` in one."""
        children = len(self.children) if self.children else 0
        encoded = self._stat = _STAT.pack(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            # Clients see changes, not creations: a deletion for each child that is no longer here.
            wrap32(self.cversion * 2 - children),
            self.aversion,
            self.shown_owner,
            len(self.data) if self.data else 0,
            children,
            self.pzxid,
        )
        return encoded

    def listing_bytes(self) -> bytes:
        """The encoded vector of the children's names."""
        encoded = self._listing
        if encoded is None:
            parts = [_LENGTH.pack(len(self.children or ()))]
            for name in self.children or ():
                raw = encode_string(name)
                parts += _LENGTH.pack(len(raw)), raw
            encoded = self._listing = b"".join(parts)
        return encoded
