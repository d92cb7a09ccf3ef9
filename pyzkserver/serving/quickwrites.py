"""The quick way of the writes that clients send most, where they have to wait for the disk: set and create.

What follows each other in one batch of a client's requests is one ``Run``: one entry in the client's lane and
among the replica's proposals.  Each request of it is judged in place, and becomes the bytes that the log gets
and the few values that are needed to apply and to answer it.  No records are made of it.

A function of QUICK_WRITES takes only what is plainly all right.  Otherwise it changes nothing and returns
False, and the plain way (``plain``, ``state.prepare``, ``state.pending``, ``state.tree``) accepts or refuses the
request.  Both ways lead to the same transactions, trees, events and replies; tests hold one against the other.
"""

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Any

from pyzkserver.replica.replica import Proposal, Replica
from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.state.digest import LOG_INTERVAL
from pyzkserver.state.node import Node
from pyzkserver.state.pending_node import PendingNode
from pyzkserver.storage.txncodec import HEADER, encode_digest
from pyzkserver.wire.requests import CreateRequest, OpCode

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["QUICK_WRITES", "QuickWrite", "Run"]

_WRITE, _MAY_CREATE = 2, 4
_SET_DATA = int(OpCode.SET_DATA)
_CREATE = int(OpCode.CREATE)
_CREATE2 = int(OpCode.CREATE2)

_LAST_VERSION = 0x7FFF_FFFF
_MARK = LOG_INTERVAL - 1

_int = Struct(">i").unpack_from
_header = HEADER.pack
_version = Struct(">i").pack
_end_of_create = Struct(">?i").pack  # ephemeral, the parent's cversion
_reply = Struct(">iiqi").pack  # length, xid, zxid, err
_reply_with_stat = Struct(">iiqiqqqqiiiqiiq").pack  # the same, and a Stat

# The vector of the one ACL that nearly all nodes have, as requests and transactions hold it.
_OPEN = CreateRequest("", b"", list(OPEN_ACL), 0).encode()[8:-4]


class Run(Proposal):
    """Writes of one client, each right after the other; ``zxid`` is the last one's.

    It is open, and the connection's ``run``, while more may come; ``end_run`` closes it.
    """

    __slots__ = (
        "changes",
        "connection",
        "digests",
        "first",
        "latest",
        "nodes",
        "parent",
        "parent_path",
        "payloads",
        "replica",
        "room",
        "uncounted",
    )

    def __init__(self, connection: "Connection") -> None:
        self.connection = connection
        self.session_id = connection.session_id
        self.time = connection.batch_time()
        self.room = connection.service.config.global_outstanding_limit - connection.lane.writes
        """How many writes it may have."""
        self.replica = replica = connection.replica
        self.nodes = replica.tree.nodes
        self.latest = replica.pending.latest
        self.uncounted = replica.pending.uncounted
        self.first = self.zxid = 0
        self.changes: list[tuple[Any, ...]] = []
        self.payloads: list[bytes] = []
        """What the log gets."""
        self.parent: PendingNode | None = None
        self.parent_path = ""
        """Where the last one was created: judged, to be counted, and in the overlay."""
        self.digests: list[int] = []
        """Those of its transactions whose zxid is a multiple of LOG_INTERVAL."""

    @property
    def count(self) -> int:
        return len(self.changes)

    def enter(self, zxid: int, payload: bytes, change: tuple[Any, ...]) -> None:
        """One more was accepted, and is in the overlay."""
        self.zxid = self.replica.last_proposed = zxid
        changes = self.changes
        if not changes:
            self.first = zxid
            self.connection.lane.enter(self)
            self.replica.in_flight.append(self)
        self.payloads.append(payload)
        changes.append(change)
        if not zxid & _MARK:
            digest = self.replica.pending.count()
            self.parent, self.parent_path = None, ""  # which must be counted anew
            if digest is not None:
                self.payloads[-1] += encode_digest(digest)
                self.digests.append(digest)
        if len(changes) >= self.room:
            self.connection.paused = True

    def end(self) -> None:
        """Nothing more comes to it: it goes to the log."""
        last = self.zxid
        self.replica.pending.last_zxid = last
        digested = not last & _MARK and bool(self.digests)
        self.replica.log.append_payloads(self.first, last, self.payloads, digested)

    def commit(self, replica: Replica) -> None:
        """All of it is decided."""
        self.apply(replica, not self.connection.aborted)
        if replica.pending.latest:
            replica.pending.applied(self.zxid)
        self.connection.run_committed(self)

    def apply(self, replica: Replica, answer: bool) -> None:
        raise NotImplementedError

    def pass_by(self, replica: Replica, zxid: int) -> None:
        """What comes at every LOG_INTERVAL-th zxid when it is applied."""
        if self.digests:
            replica.tree.digest.carry(self.digests.pop(0))
        replica.tree.digest.reached(zxid)


class _Sets(Run):
    """setData: (xid, zxid, path, data, version) each."""

    __slots__ = ()

    def apply(self, replica: Replica, answer: bool) -> None:
        tree, nodes, time, connection = replica.tree, self.nodes, self.time, self.connection
        set_data = tree.set_data
        for xid, zxid, path, data, version in self.changes:
            stat = set_data(path, nodes[path], data, version, zxid, time)
            tree.last_zxid = zxid
            if not zxid & _MARK:
                self.pass_by(replica, zxid)
            if answer:
                connection.outbox.append(_reply(84, xid, zxid, 0) + stat)
                connection.queued += 88


class _Creates(Run):
    """create and create2: (xid, zxid, op, path, encoded path, parent's path, name, node, parent's cversion) each."""

    __slots__ = ()

    def adopt(self, path: str) -> PendingNode | None:
        """The node in the overlay, to be changed, if children may be created there by anybody."""
        node = self.latest.get(path) or self.nodes.get(path)
        if node is None or not node.exists or not node.acl.world & _MAY_CREATE or node.ephemeral_owner:
            return None
        if len(path) < 2 or path[:10] == "/zookeeper":
            return None
        self.uncounted.setdefault(path, node.digest)
        if not isinstance(node, PendingNode):
            node = self.latest[path] = PendingNode.like(node)
        self.parent, self.parent_path = node, path
        return node

    def apply(self, replica: Replica, answer: bool) -> None:
        tree, nodes = replica.tree, self.nodes
        add_node, connection = tree.add_node, self.connection
        current = None
        for xid, zxid, op, path, raw, parent_path, name, node, cversion in self.changes:
            if parent_path is not current:
                current, parent = parent_path, nodes[parent_path]
            add_node(path, node, parent_path, parent, name, cversion)
            tree.last_zxid = zxid
            if not zxid & _MARK:
                self.pass_by(replica, zxid)
            if answer:
                if op == _CREATE:
                    reply = _reply(16 + len(raw), xid, zxid, 0) + raw
                else:
                    reply = b"".join((_reply(84 + len(raw), xid, zxid, 0), raw, node.stat_bytes()))
                connection.outbox.append(reply)
                connection.queued += len(reply)


def _set_data(connection: "Connection", op: int, xid: int, data: bytes, pos: int, end: int) -> bool:
    # path, data, version; nothing behind it, and no path as short as the root's
    if end - pos < 14:
        return False
    at = pos + 4 + _int(data, pos)[0]
    if not pos + 6 <= at <= end - 8 or _int(data, at)[0] != end - at - 8:
        return False
    try:
        path = data[pos + 4 : at].decode()
    except UnicodeDecodeError:
        return False
    run = connection.run
    if run.__class__ is not _Sets:
        run = connection.begin_run(_Sets)
        if run is None:
            return False
    latest, uncounted = run.latest, run.uncounted
    change = latest.get(path) or run.nodes.get(path)
    if change is None or not change.exists or not change.acl.world & _WRITE:
        return False
    version, expected = change.version, _int(data, end - 4)[0]
    if (expected != -1 and expected != version) or version == _LAST_VERSION:
        return False
    version += 1
    replica, time, content = run.replica, run.time, data[at + 4 : end - 4]
    zxid = replica.last_proposed + 1
    payload = _header(run.session_id, xid, zxid, time, op) + data[pos : end - 4] + _version(version)
    if path not in uncounted:
        uncounted[path] = change.digest
    if change.__class__ is not PendingNode:
        change = latest[path] = PendingNode.like(change)
    change.data = content
    change.version = version
    change.zxid = change.mzxid = zxid
    change.mtime = time
    run.enter(zxid, payload, (xid, zxid, path, content, version))
    return True


def _create(connection: "Connection", op: int, xid: int, data: bytes, pos: int, end: int) -> bool:
    # path, data, the open ACL, no flags; nothing behind it
    if end - pos < 16:
        return False
    at = pos + 4 + _int(data, pos)[0]
    if not pos + 4 <= at <= end - 12:
        return False
    stop = at + 4 + _int(data, at)[0]
    if not at + 4 <= stop or data[stop : end - 4] != _OPEN or _int(data, end - 4)[0] != 0:
        return False
    try:
        path = data[pos + 4 : at].decode()
    except UnicodeDecodeError:
        return False
    parent_path, _, name = path.rpartition("/")
    # Names as they nearly always are: printable ASCII, which cannot begin a relative path.
    if not name.isascii() or not name.isprintable() or name[:1] in ".":
        return False
    run = connection.run
    if run.__class__ is not _Creates:
        run = connection.begin_run(_Creates)
        if run is None:
            return False
    latest = run.latest
    if path in latest or path in run.nodes:
        return False
    if parent_path == run.parent_path:
        parent, parent_path = run.parent, run.parent_path
    else:
        parent = run.adopt(parent_path)
    if parent is None or parent.cversion == _LAST_VERSION:
        return False
    replica, time, content = run.replica, run.time, data[at + 4 : stop]
    zxid, cversion = replica.last_proposed + 1, parent.cversion + 1
    payload = (
        _header(run.session_id, xid, zxid, time, op) + data[pos : end - 4] + _end_of_create(False, cversion)
    )
    parent.cversion = cversion
    parent.child_count += 1
    parent.zxid = parent.pzxid = zxid
    # It stands in the overlay as it will stand in the tree; what is to change it there makes a copy.
    node = latest[path] = Node(content, OPEN_ACL, zxid, time)
    run.uncounted[path] = 0
    run.enter(zxid, payload, (xid, zxid, op, path, data[pos:at], parent_path, name, node, cversion))
    return True


QuickWrite = Callable[["Connection", int, int, bytes, int, int], bool]

QUICK_WRITES: dict[int, QuickWrite] = {
    _SET_DATA: _set_data,
    _CREATE: _create,
    _CREATE2: _create,
}
