"""The tree of znodes: transactions go in, and watchers hear of what they changed (``DataTree``).

Nothing is judged here: a transaction that comes here was found good by ``prepare``, on this server or on
another, and is applied as it is.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pyzkserver.errors import ErrorCode, ZooKeeperError
from pyzkserver.wire.jute import Record
from pyzkserver.wire.records import ACL, EventType
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import (
    CloseSessionTxn,
    CreateContainerTxn,
    CreateTTLTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    SetACLTxn,
    SetDataTxn,
)

from .acl import OPEN_ACL, READ_ONLY_ACL, Acl, intern
from .digest import LOG_INTERVAL, TreeDigest
from .node import CONTAINER_OWNER, Node, NodeKind, kind_of, ttl_owner, wrap32
from .paths import CONFIG_NODE, LIMIT_NODE, PROC_NODE, QUOTA_NODE, STAT_NODE, split_parent
from .quota import Quotas
from .transaction import Applied, MultiBody, Transaction
from .watches import Watches

__all__ = ["DataTree"]

logger = logging.getLogger("pyzkserver.tree")

_PLAIN_CREATE = int(OpCode.CREATE)  # the one kind that is answered without a Stat

_QUOTA_NAMES = frozenset({LIMIT_NODE, STAT_NODE})

_CREATED = EventType.NODE_CREATED
_DELETED = EventType.NODE_DELETED
_DATA_CHANGED = EventType.NODE_DATA_CHANGED
_CHILDREN_CHANGED = EventType.NODE_CHILDREN_CHANGED


class DataTree:
    """All znodes by path.  The root stands there twice, as ``/`` and as the empty string, as in Apache's."""

    def __init__(
        self, watches: Watches | None = None, *, extended_types: bool = False, digest_enabled: bool = True
    ) -> None:
        self.watches = Watches() if watches is None else watches
        self.extended_types = extended_types
        self.nodes: dict[str, Node] = {}
        self.ephemerals: dict[int, dict[str, None]] = {}
        self.containers: dict[str, None] = {}
        self.ttl_nodes: dict[str, None] = {}
        self.quotas = Quotas()
        self.digest = TreeDigest(digest_enabled)
        self.data_size = 0
        """The length of all paths and data together (``approximate_data_size``)."""
        self.last_zxid = 0
        """The last transaction that was applied whole."""
        self.lineage = object()
        """Another one when the nodes were exchanged for those of another history (``state.savepoint``)."""
        self._apply: dict[int, Callable[[Transaction, Any], Applied]] = {
            OpCode.CREATE: self._create,
            OpCode.CREATE2: self._create,
            OpCode.CREATE_TTL: self._create,
            OpCode.CREATE_CONTAINER: self._create,
            OpCode.DELETE: self._delete,
            OpCode.DELETE_CONTAINER: self._delete,
            OpCode.SET_DATA: self._set_data,
            OpCode.RECONFIG: self._reconfigure,
            OpCode.SET_ACL: self._set_acl,
            OpCode.CHECK: self._nothing,
            OpCode.CREATE_SESSION: self._nothing,
            OpCode.CLOSE_SESSION: self._close_session,
            OpCode.MULTI: self._multi,
            OpCode.ERROR: self._error,
        }
        self._furnish()

    def _furnish(self) -> None:
        root = self.nodes["/"] = self.nodes[""] = Node(b"")
        proc = self.nodes[PROC_NODE] = Node(b"")
        self.nodes[QUOTA_NODE] = Node(b"")
        config = self.nodes[CONFIG_NODE] = Node(b"", READ_ONLY_ACL)
        config.aversion = -1  # as Apache's has it, which sets this ACL with version -1
        root.add_child("zookeeper")
        proc.add_child("config")
        proc.add_child("quota")
        for path, node in self.nodes.items():
            self.data_size += len(path)
            if path != "/":
                self._touch(path, node)

    def _touch(self, path: str, node: Node) -> None:
        """The digest must count this node anew."""
        touched = self.digest.touched
        if touched is not None:
            touched[path] = node

    # what others ask

    def find(self, path: str | None) -> Node:
        """The node.  Raises NO_NODE; a null path is what Apache stumbles over, so MARSHALLING_ERROR."""
        node = self.nodes.get(path)  # type: ignore[arg-type]
        if node is None:
            code = ErrorCode.MARSHALLING_ERROR if path is None else ErrorCode.NO_NODE
            raise ZooKeeperError(code, path)
        return node

    def ephemeral_count(self) -> int:
        """How many ephemeral nodes there are."""
        return sum(len(paths) for paths in self.ephemerals.values())

    def descendant_count(self, path: str) -> int:
        """How many nodes are below (``DataTree.getAllChildrenNumber``)."""
        if path == "/":
            return len(self.nodes) - 2
        return sum(1 for other in self.nodes if other.startswith(path + "/"))

    # transactions

    def apply(self, txn: Transaction) -> Applied:
        """Apply a transaction whole.  Watchers are told before this returns."""
        try:
            applied = self._apply[txn.op](txn, txn.body)
        except ZooKeeperError as error:
            # Only when a log is replayed over a snapshot that already holds part of it.
            applied = Applied(txn.op, error.code, error.path)
        zxid = txn.zxid
        if zxid > self.last_zxid:
            self.last_zxid = zxid
        if not zxid % LOG_INTERVAL:
            self.digest.reached(zxid)
        return applied

    def _error(self, txn: Transaction, body: ErrorTxn) -> Applied:
        return Applied(OpCode.ERROR, body.err)

    def _nothing(self, txn: Transaction, body: Record | None) -> Applied:
        return Applied(txn.op)

    def _multi(self, txn: Transaction, body: MultiBody) -> Applied:
        applied = Applied(OpCode.MULTI)
        applied.parts = parts = []
        for op, part in body.ops:
            single = Transaction(txn.session_id, txn.cxid, txn.zxid, txn.time, op, part)
            try:
                parts.append(self._apply[op](single, part))
            except ZooKeeperError as error:
                # As in ``apply``: what the snapshot holds already must not keep the rest from it.
                parts.append(Applied(op, error.code, error.path))
                applied.err = applied.err or error.code
        return applied

    def _create(self, txn: Transaction, body: CreateTxn | CreateTTLTxn | CreateContainerTxn) -> Applied:
        path = body.path or ""
        owner = shown_owner = 0
        if type(body) is CreateTxn:
            if body.ephemeral:
                owner = shown_owner = txn.session_id
        elif type(body) is CreateTTLTxn:
            owner = ttl_owner(body.ttl) or 0
        else:
            owner = CONTAINER_OWNER
        acl = body.acl if type(body.acl) is Acl else _stored(body.acl)
        parent_path, _, name = path.rpartition("/")
        parent = self.nodes.get(parent_path)
        if parent is None:
            raise ZooKeeperError(ErrorCode.NO_NODE, path)
        if path in self.nodes:
            self._replayed_create(path, parent_path, parent, acl, body.parent_c_version, txn.zxid)
        node = Node(body.data, acl, txn.zxid, txn.time, 0, owner)
        if owner:
            self._enter_owner(path, owner, node, shown_owner)
        stat = node.stat_bytes() if txn.op != _PLAIN_CREATE else None  # a zookeeper_stats: before it counts
        cversion = body.parent_c_version
        if cversion == -1:
            cversion = wrap32(parent.cversion + 1)
        self.add_node(path, node, parent_path, parent, name, cversion)
        return Applied(txn.op, 0, path, stat)

    def add_node(
        self, path: str, node: Node, parent_path: str, parent: Node, name: str, cversion: int
    ) -> None:
        """There is this node from now on, whoever decided it; watchers are told.  ``cversion``: the parent's."""
        zxid, size = node.czxid, len(node.data) if node.data else 0
        if cversion > parent.cversion:
            # A log that is replayed over a newer snapshot must not turn the counters back.
            parent.cversion = cversion
            parent.pzxid = zxid
        parent.add_child(name)
        self.nodes[path] = node
        self.data_size += len(path) + size
        touched = self.digest.touched
        if touched is not None:
            touched[parent_path] = parent
            touched[path] = node
        quotas = self.quotas
        if name in _QUOTA_NAMES and parent_path.startswith(QUOTA_NODE):
            quotas.node_created(self.nodes, parent_path, name)
        if quotas.paths:
            quotas.count(self.nodes, path, 1, size)
        watches = self.watches
        if watches.data.by_path:
            watches.data.trigger(path, _CREATED, zxid, node.acl)
        if watches.child.by_path:
            watches.child.trigger(parent_path or "/", _CHILDREN_CHANGED, zxid, parent.acl)

    def _replayed_create(
        self, path: str, parent_path: str, parent: Node, acl: Acl, cversion: int, zxid: int
    ) -> None:
        """The snapshot has this node already, perhaps of another session: the counters still move on."""
        self.nodes[path].acl = acl
        if cversion > parent.cversion:
            parent.cversion = cversion
            parent.pzxid = zxid
            parent.changed()
            self._touch(parent_path, parent)
        raise ZooKeeperError(ErrorCode.NODE_EXISTS, path)

    def _enter_owner(self, path: str, owner: int, node: Node, shown_owner: int) -> None:
        node.shown_owner = shown_owner
        kind = kind_of(owner, self.extended_types)
        if kind is NodeKind.CONTAINER:
            self.containers[path] = None
        elif kind is NodeKind.TTL:
            self.ttl_nodes[path] = None
        else:
            self.ephemerals.setdefault(owner, {})[path] = None

    def _delete(self, txn: Transaction, body: DeleteTxn) -> Applied:
        self._remove(body.path or "", txn.zxid)
        return Applied(txn.op, 0, body.path)

    def _remove(self, path: str, zxid: int) -> None:
        parent_path, name = split_parent(path)
        parent = self.nodes.get(parent_path)
        if parent is None:
            raise ZooKeeperError(ErrorCode.NO_NODE, path)
        parent.remove_child(name)
        if zxid > parent.pzxid:
            parent.pzxid = zxid
        self._touch(parent_path, parent)
        node = self.nodes.pop(path, None)
        if node is None:
            raise ZooKeeperError(ErrorCode.NO_NODE, path)
        size = len(node.data) if node.data else 0
        self.data_size -= len(path) + size
        self.digest.forget(path, node)
        if node.ephemeral_owner:
            self._strike_owner(path, node.ephemeral_owner)
        if name == LIMIT_NODE and parent_path.startswith(QUOTA_NODE):
            self.quotas.discard(parent_path[len(QUOTA_NODE) :])
        self.quotas.count(self.nodes, path, -1, -size)
        told = self.watches.data.trigger(path, _DELETED, zxid, node.acl)
        self.watches.child.trigger(path, _DELETED, zxid, node.acl, told)
        self.watches.child.trigger(parent_path or "/", _CHILDREN_CHANGED, zxid, parent.acl)

    def _strike_owner(self, path: str, owner: int) -> None:
        kind = kind_of(owner, self.extended_types)
        if kind is NodeKind.CONTAINER:
            self.containers.pop(path, None)
        elif kind is NodeKind.TTL:
            self.ttl_nodes.pop(path, None)
        elif (paths := self.ephemerals.get(owner)) is not None:
            paths.pop(path, None)
            if not paths:
                del self.ephemerals[owner]

    def _set_data(self, txn: Transaction, body: SetDataTxn) -> Applied:
        path = body.path or ""
        node = self.find(path)
        return Applied(
            txn.op, 0, path, self.set_data(path, node, body.data, body.version, txn.zxid, txn.time)
        )

    def set_data(
        self, path: str, node: Node, data: bytes | None, version: int, zxid: int, time: int
    ) -> bytes:
        """A node's data is this from now on, whoever decided it; watchers are told.  Returns the encoded Stat."""
        growth = (len(data) if data else 0) - (len(node.data) if node.data else 0)
        node.data = data
        node.mtime = time
        node.mzxid = zxid
        node.version = version
        touched = self.digest.touched
        if touched is not None:
            touched["" if path == "/" else path] = node
        if self.quotas.paths:
            self.quotas.count(self.nodes, path, 0, growth)
        self.data_size += growth
        stat = node.changed_stat_bytes()
        watches = self.watches.data
        if watches.by_path:
            watches.trigger(path, _DATA_CHANGED, zxid, node.acl)
        return stat

    def _reconfigure(self, txn: Transaction, body: SetDataTxn) -> Applied:
        applied = self._set_data(txn, body)
        applied.data = body.data
        return applied

    def _set_acl(self, txn: Transaction, body: SetACLTxn) -> Applied:
        path = body.path or ""
        node = self.find(path)
        node.acl = _stored(body.acl)
        node.aversion = body.version
        node.changed()
        self._touch("" if path == "/" else path, node)
        return Applied(txn.op, 0, path, node.stat_bytes())

    def _close_session(self, txn: Transaction, body: CloseSessionTxn | None) -> Applied:
        mine = self.ephemerals.pop(txn.session_id, {})
        named = (body.paths2_delete or ()) if body is not None else ()
        self._remove_all(named, txn.zxid)
        self._remove_all([path for path in mine if path in self.nodes], txn.zxid)
        return Applied(txn.op)

    def _remove_all(self, paths: Iterable[str], zxid: int) -> None:
        for path in paths:
            try:
                self._remove(path, zxid)
            except ZooKeeperError:
                logger.warning("ephemeral node %s was gone before its session", path)


def _stored(acl: Sequence[ACL] | None) -> Acl:
    """The ACL of a transaction.  A null one, of a server that knew no better, is open to all."""
    return OPEN_ACL if acl is None else intern(acl)
