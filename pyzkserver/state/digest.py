"""The digest of a whole tree, as Apache sums it up (``DigestCalculator``, ``AdHash``; ZOOKEEPER-3114).

It is a sum over the nodes, so a change costs only its own nodes; and those are counted when the digest is
asked for, not before: a parent that got a hundred children is counted once.
"""

import zlib
from collections import deque
from struct import Struct
from typing import Protocol

from .node import Node

__all__ = ["DIGEST_VERSION", "EXCLUDED", "FIELDS", "LOG_INTERVAL", "Digestible", "TreeDigest", "node_digest"]

DIGEST_VERSION = 2

FIELDS = Struct(">qqqqqiiiq")
"""What of a node's stat is counted, in its order."""
EXCLUDED = "/zookeeper/"
"""Below it nothing is counted, for quota nodes differ between members (ZOOKEEPER-3114)."""
LOG_INTERVAL = 128  # DataTree.DIGEST_LOG_INTERVAL
_LOG_LIMIT = 1024  # DataTree.DIGEST_LOG_LIMIT


class Digestible(Protocol):
    """What a digest counts of a node, applied or pending."""

    data: bytes | None
    czxid: int
    mzxid: int
    pzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    ephemeral_owner: int


def node_digest(path: str, node: Digestible) -> int:
    """One node's share.  The root counts as the empty path, what is below /zookeeper not at all."""
    if path.startswith(EXCLUDED):
        return 0
    if path.isascii():
        raw = b"" if path == "/" else path.encode()
    else:
        raw = path.encode("utf-8", "surrogatepass")
    fields = FIELDS.pack(
        node.czxid,
        node.mzxid,
        node.pzxid,
        node.ctime,
        node.mtime,
        node.version,
        node.cversion,
        node.aversion,
        node.ephemeral_owner,
    )
    # One call over a copy is quicker than three.
    return zlib.crc32(raw + node.data + fields if node.data else raw + fields)


class TreeDigest:
    """The running sum.  Nodes in ``touched`` are in the tree, and in the sum with what they were before."""

    def __init__(self, enabled: bool) -> None:
        self.log: deque[tuple[int, int]] = deque(maxlen=_LOG_LIMIT)
        """(zxid, digest) at every 128th zxid: what the four-letter word hash tells."""
        self.enabled = enabled
        self.touched: dict[str, Node] | None = {} if enabled else None
        """Nodes that were created or changed since they were last counted; None where that is not noted."""
        self._sum = 0

    def forget(self, path: str, node: Node) -> None:
        """A node was deleted."""
        if self.touched is not None:
            self.touched.pop(path, None)
            self._sum -= node.digest

    def value(self) -> int:
        """The digest now, as an unsigned 64-bit number."""
        if self.touched:
            for path, node in self.touched.items():
                digest = node_digest(path, node)
                self._sum += digest - node.digest
                node.digest = digest
            self.touched.clear()
        self._sum &= 0xFFFF_FFFF_FFFF_FFFF
        return self._sum

    def let_others_count(self) -> None:
        """From now on changes are not noted here: whoever proposes them counts them, and calls ``carry``."""
        self.value()
        self.touched = None

    def count_again(self) -> None:
        """From now on changes are noted here again.  Nodes and sum are as the last ``carry`` left them."""
        if self.enabled and self.touched is None:
            self.touched = {}

    def carry(self, digest: int) -> None:
        """This is the digest now."""
        self._sum = digest

    def reached(self, zxid: int) -> None:
        """A transaction was applied whole whose zxid is a multiple of LOG_INTERVAL."""
        if self.enabled:
            self.log.append((zxid, self.value()))
