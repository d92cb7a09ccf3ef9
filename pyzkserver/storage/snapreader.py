"""Reading snapshots: bytes into a tree.  How a snapshot is laid out is said in ``snaplayout.py``.

The reader is pushed: it takes chunks as they come, so that a million nodes are never held twice, and whoever
reads them from a leader can do other things between two chunks.  Nothing here opens a file, and nothing is
decompressed here (``snapcodec.py``).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from struct import error as StructError  # noqa: N812
from typing import Final
from zlib import crc32

from pyzkserver.state.acl import OPEN_ACL, Acl, intern
from pyzkserver.state.digest import EXCLUDED, FIELDS, node_digest
from pyzkserver.state.node import Node, NodeKind, kind_of
from pyzkserver.state.tree import DataTree
from pyzkserver.wire.jute import DecodeError, decode_string

from .snapbytes import PushedBytes
from .snaplayout import (
    COUNT,
    END_OF_NODES,
    FILE_HEADER,
    MAGIC,
    NOBODY,
    NODE,
    OPEN_ACL_ID,
    SESSION,
    SNAPSHOT_VERSION,
    AclEntry,
    NodeEntry,
    SnapshotDigest,
    decode_ending,
)

__all__ = ["Snapshot", "SnapshotReader"]

_LONGEST_ENDING: Final = 1024  # bytes
_COUNTED: Final = FIELDS.pack


@dataclass
class Snapshot:
    """What a snapshot says beyond the tree."""

    sessions: dict[int, int] = field(default_factory=dict)
    """Timeouts in milliseconds by session id."""
    digest: SnapshotDigest | None = None
    """What a log that is replayed over the snapshot must lead to; None where it is not said."""
    last_zxid: int | None = None
    """The last transaction before the snapshot was complete, which is not before the one it is named by."""
    unknown_acls: dict[str, int] = field(default_factory=dict)
    """Paths of nodes whose ACL the snapshot does not hold, and the ids it has for them.

    Apache's server writes such a snapshot when a node gets a new ACL in the meantime.  They have NOBODY until
    the log is replayed, which must have set every one of them.
    """


class SnapshotReader(PushedBytes):
    """Fills a tree with a snapshot that comes in chunks.

    The tree should be one that nobody uses yet: it is emptied first, and if anything is raised it is of no
    use.  Its ``last_zxid`` is set by the caller, who knows the snapshot's name.  A snapshot that is not
    ``sealed`` is what a leader sends: without a header, and with nothing behind the nodes.
    """

    def __init__(self, tree: DataTree, *, sealed: bool = True) -> None:
        super().__init__()
        self.snapshot = Snapshot()
        self.done = False
        """All nodes are there.  What is fed after that is the ending of a file, or none of the snapshot."""
        self._tree = tree
        self._sealed = sealed
        self._acls: dict[int, Acl] = {OPEN_ACL_ID: OPEN_ACL}
        self._left = 0
        self._digesting = tree.digest.enabled
        self._digest_sum = 0
        self._count = 0
        self._part: Callable[[], bool] = self._read_header if sealed else self._read_session_count

    @property
    def rest(self) -> bytes:
        """What was fed and is behind the nodes."""
        self._gather()
        return self._data[self._at :]

    def feed(self, chunk: bytes) -> None:
        """The next bytes.  Raises SnapshotDamaged."""
        if self.done and self._have > _LONGEST_ENDING and self._sealed:
            return  # later versions may have more to say; what it is, we do not know
        self._chunks.append(chunk)
        self._have += len(chunk)
        if self._have >= self._needed and not self.done:
            self._gather()
            # Each part says whether it found all it needs, so that the next one may have a look.
            while self._part():
                pass
            self._have = len(self._data) - self._at

    def finish(self) -> Snapshot:
        """There is no more.  Raises SnapshotDamaged unless all was there and is as it was written."""
        if not self.done:
            self._fail("the snapshot ends before its nodes do", self._at + self._have)
        if self._sealed:
            checksum = self._sum_up()
            try:
                self.snapshot.digest, self.snapshot.last_zxid = decode_ending(self.rest, checksum)
            except ValueError as reason:
                self._fail(str(reason))
        return self.snapshot

    # its parts, in the order in which they stand there

    def _read_header(self) -> bool:
        if len(self._data) < FILE_HEADER.size:
            return self._wait(FILE_HEADER.size)
        magic, version, _ = FILE_HEADER.unpack_from(self._data)
        if magic != MAGIC:
            self._fail(f"the file begins with {magic!r}, so it is no snapshot")
        if version != SNAPSHOT_VERSION:
            self._fail(f"a snapshot of version {version}, not {SNAPSHOT_VERSION}", 4)
        self._at = FILE_HEADER.size
        self._part = self._read_session_count
        return True

    def _read_session_count(self) -> bool:
        return self._read_count("sessions", self._read_sessions)

    def _read_count(self, what: str, then: Callable[[], bool]) -> bool:
        found = self._take(COUNT)
        if found is None:
            return self._wait(COUNT.size)
        self._left = found[0]
        if self._left < 0:
            self._fail(f"{self._left} {what}", self._at - COUNT.size)
        self._part = then
        return True

    def _read_sessions(self) -> bool:
        size = SESSION.size
        count = min(self._left, (len(self._data) - self._at) // size)
        end = self._at + count * size
        self.snapshot.sessions.update(SESSION.iter_unpack(self._data[self._at : end]))
        self._at = end
        self._left -= count
        if self._left:
            return self._wait()
        self._part = self._read_acl_count
        return True

    def _read_acl_count(self) -> bool:
        return self._read_count("ACLs", self._read_acls)

    def _read_acls(self) -> bool:
        while self._left:
            try:
                entry, end = AclEntry.decode_from(self._data, self._at)
            except DecodeError as reason:
                return self._wait_or_fail(reason)
            if entry.acl is None:
                self._fail("an ACL that is null")
            self._acls[entry.id] = intern(entry.acl)
            self._at = end
            self._left -= 1
        self._part = self._read_root
        return True

    def _read_root(self) -> bool:
        """The first node, read the plain way: its path is empty, and nothing is above it."""
        try:
            entry, end = NodeEntry.decode_from(self._data, self._at)
        except DecodeError as reason:
            return self._wait_or_fail(reason)
        if entry.path != "":
            self._fail(f"the first node is {entry.path!r}, not the root")
        tree, stat = self._tree, entry.stat
        for emptied in (tree.nodes, tree.ephemerals, tree.containers, tree.ttl_nodes, tree.quotas.paths):
            emptied.clear()
        root = Node(entry.data, self._acl("/", entry.acl_id), stat.czxid, stat.ctime, stat.cversion)
        root.ephemeral_owner = stat.ephemeral_owner
        root.mzxid, root.pzxid, root.mtime = stat.mzxid, stat.pzxid, stat.mtime
        root.version, root.aversion = stat.version, stat.aversion
        if self._digesting:
            root.digest = self._digest_sum = node_digest("", root)
        tree.nodes["/"] = tree.nodes[""] = root
        tree.data_size = len("/") + len(entry.data or b"")
        self._at = end
        self._part = self._read_nodes
        return True

    def _read_nodes(self) -> bool:
        """All other nodes, as many as are there."""
        nodes, acls = self._tree.nodes, self._acls
        digest_sum = size = count = 0
        parent_path, siblings, counted = None, {}, False
        for raw, data, numbers in self._whole_nodes():
            acl_id, czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, pzxid = numbers
            try:
                path = raw.decode()
            except UnicodeDecodeError:
                path = decode_string(raw)
                raw = path.encode("utf-8", "surrogatepass")
            above, slash, name = path.rpartition("/")
            if above != parent_path or not slash:
                siblings = self._siblings(path, above)
                parent_path, counted = above, self._digesting and not path.startswith(EXCLUDED)
            acl = acls.get(acl_id)
            if acl is None:
                acl = self._acl(path, acl_id)
            node = nodes[path] = Node(data, acl, czxid, ctime, cversion, owner)
            siblings[name] = None
            # Mostly these are as they began; then the number is one object, and not two or three.
            if mzxid != czxid:
                node.mzxid = mzxid
            if pzxid != czxid:
                node.pzxid = pzxid
            if mtime != ctime:
                node.mtime = mtime
            node.version, node.aversion = version, aversion
            if owner:
                self._enter_owner(path, node)
            if counted:
                # The same as node_digest, in one go.
                stat = _COUNTED(czxid, mzxid, pzxid, ctime, mtime, version, cversion, aversion, owner)
                digest_sum += (digest := crc32(raw + data + stat if data else raw + stat))
                node.digest = digest
            size += len(path) + len(data) if data else len(path)
            count += 1
        self._tree.data_size += size
        self._digest_sum += digest_sum
        self._count += count
        return self._part != self._read_nodes

    def _whole_nodes(self) -> Iterator[tuple[bytes, bytes | None, tuple[int, ...]]]:
        """(path, data, numbers) of each node, up to the end of what is there or the end of the nodes."""
        data, unpack_length, unpack = self._data, COUNT.unpack_from, NODE.unpack_from
        at = self._at
        try:
            while True:
                (length,) = unpack_length(data, at)
                if length < 2:
                    return self._end_of_nodes(length)
                middle = at + 4 + length
                (size,) = unpack_length(data, middle)
                start = middle + 4
                end = start + size if size > 0 else start
                numbers = unpack(data, end)
                if size < -1:
                    self._fail(f"data with a length of {size}", middle)
                yield data[at + 4 : middle], data[start:end] if size >= 0 else None, numbers
                at = self._at = end + NODE.size
        except StructError:
            self._wait_for_node()

    def _end_of_nodes(self, length: int) -> None:
        """Instead of a node's path there is one that is too short for that: the string ``/`` ends them."""
        if length != 1:
            self._fail(f"a path with a length of {length}")
        if len(self._data) - self._at < len(END_OF_NODES):
            self._wait(len(END_OF_NODES))
            return
        if not self._data.startswith(END_OF_NODES, self._at):
            self._fail(f"a node's path is {self._data[self._at + 4 : self._at + 5]!r}")
        self._at += len(END_OF_NODES)
        self._part = self._complete_tree

    def _wait_for_node(self) -> None:
        """How much there is of a node cannot be known before its two lengths are there."""
        left = len(self._data) - self._at
        size = COUNT.size
        for _ in range(2):
            if left < size:
                break
            (length,) = COUNT.unpack_from(self._data, self._at + size - COUNT.size)
            size += max(length, 0) + COUNT.size
        self._wait(size)

    def _siblings(self, path: str, above: str) -> dict[str, None]:
        parent = self._tree.nodes.get(above)
        if parent is None or path[0] != "/":
            self._fail(f"{path!r} comes before its parent, or has none")
        if parent.children is None:
            parent.children = {}
        return parent.children

    def _acl(self, path: str, acl_id: int) -> Acl:
        acl = self._acls.get(acl_id)
        if acl is None:
            self.snapshot.unknown_acls[path] = acl_id
            return NOBODY
        return acl

    def _enter_owner(self, path: str, node: Node) -> None:
        owner = node.ephemeral_owner
        kind = kind_of(owner, self._tree.extended_types)
        if kind is NodeKind.CONTAINER:
            self._tree.containers[path] = None
        elif kind is NodeKind.TTL:
            self._tree.ttl_nodes[path] = None
        else:
            node.shown_owner = owner
            self._tree.ephemerals.setdefault(owner, {})[path] = None

    # when all nodes are there

    def _complete_tree(self) -> bool:
        if len(self._tree.nodes) != self._count + 2:  # the root twice
            self._fail("a path stands there twice")
        digest = self._tree.digest
        if digest.touched is not None:
            digest.touched.clear()
        digest.carry(self._digest_sum)
        self._tree.quotas.set_up(self._tree.nodes)
        self.done = True
        return False
