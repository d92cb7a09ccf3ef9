"""What is proposed but not yet applied: an overlay over the tree (``outstandingChanges`` in Apache).

A request is judged against the tree with all that was proposed before it, so that writes need not wait for
each other's flush.  The overlay also knows what the tree's digest will be, for the log stores it beside each
transaction.
"""

from collections import deque
from typing import Any, Protocol

from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CreateContainerTxn, CreateTTLTxn, CreateTxn

from .acl import Acl, intern
from .digest import node_digest
from .node import CONTAINER_OWNER, Node, ttl_owner
from .paths import split_parent
from .transaction import MultiBody, Transaction
from .tree import DataTree

__all__ = ["NodeView", "Pending", "PendingNode"]

_CREATES = frozenset({OpCode.CREATE, OpCode.CREATE2, OpCode.CREATE_TTL, OpCode.CREATE_CONTAINER})


_ROOT = ("", "/")  # it stands in the tree under two names

_DIGEST_MASK = 0xFFFF_FFFF_FFFF_FFFF


class NodeView(Protocol):
    """What ``prepare`` may ask of a node, applied or pending."""

    @property
    def data(self) -> bytes | None: ...
    @property
    def acl(self) -> Acl: ...
    @property
    def version(self) -> int: ...
    @property
    def cversion(self) -> int: ...
    @property
    def aversion(self) -> int: ...
    @property
    def ephemeral_owner(self) -> int: ...
    @property
    def child_count(self) -> int: ...


class PendingNode:
    """A node as it will be once everything proposed is applied; or that there will be none."""

    __slots__ = (
        "acl",
        "aversion",
        "child_count",
        "ctime",
        "cversion",
        "czxid",
        "data",
        "digest",
        "ephemeral_owner",
        "exists",
        "mtime",
        "mzxid",
        "pzxid",
        "version",
        "zxid",
    )

    def __init__(self) -> None:
        self.exists = False
        self.zxid = 0
        """The last transaction that changes it."""
        self.data: bytes | None = None
        self.acl: Acl
        self.czxid = self.mzxid = self.pzxid = 0
        self.ctime = self.mtime = 0
        self.version = self.cversion = self.aversion = 0
        self.ephemeral_owner = self.child_count = 0
        self.digest = 0

    @classmethod
    def like(cls, node: "Node | PendingNode") -> "PendingNode":
        """A copy, to be changed."""
        copy = cls()
        copy.exists = True
        copy.data, copy.acl = node.data, node.acl
        copy.czxid, copy.mzxid, copy.pzxid = node.czxid, node.mzxid, node.pzxid
        copy.ctime, copy.mtime = node.ctime, node.mtime
        copy.version, copy.cversion, copy.aversion = node.version, node.cversion, node.aversion
        copy.ephemeral_owner, copy.child_count = node.ephemeral_owner, node.child_count
        return copy


class Pending:
    """The overlay.

    ``changes`` holds every change in order of zxid, with what the digest gained by it.  ``latest`` holds the
    last change of each path; it is empty whenever ``changes`` is.  ``digest`` is the tree's once all of it is
    applied, or None where no digests are kept.
    """

    def __init__(self, tree: DataTree) -> None:
        self.tree = tree
        self.changes: deque[tuple[int, str, PendingNode, int]] = deque()
        self.latest: dict[str, PendingNode] = {}
        self.digest: int | None = None
        self._in_place = False

    def keep_digest(self) -> None:
        """From now on know the digest of what is proposed.  Only while nothing is."""
        assert not self.changes
        self.tree.digest.let_others_count()
        self.digest = self.tree.digest.value()

    def find(self, path: str) -> Node | PendingNode | None:
        """The node as it will be, or None if there will be none."""
        if self.latest:
            change = self.latest.get(path)
            if change is not None:
                return change if change.exists else None
        return self.tree.nodes.get(path)

    def ephemerals_of(self, session_id: int) -> list[str]:
        """The ephemeral nodes that the session will have, those still on their way included."""
        paths = dict(self.tree.ephemerals.get(session_id, {}))
        for _, path, change, _ in self.changes:
            if not change.exists:
                paths.pop(path, None)
            elif change.ephemeral_owner == session_id:
                paths[path] = None
        return list(paths)

    def propose(self, txn: Transaction) -> None:
        """Enter what a transaction will change.  (A multi was entered when it was judged.)"""
        if not isinstance(txn.body, MultiBody):
            # Nobody will withdraw this: what is in the overlay already need not be copied.
            self._in_place = True
            self.propose_one(txn.zxid, txn.time, txn.session_id, txn.op, txn.body)
            self._in_place = False

    def propose_one(self, zxid: int, time: int, session_id: int, op: int, body: Any) -> None:
        """Enter what one operation will change; ``body`` is the record of ``op`` in ``wire.txns``."""
        if op in _CREATES:
            self._created(zxid, time, session_id, body)
        elif op in (OpCode.DELETE, OpCode.DELETE_CONTAINER):
            self._deleted(zxid, body.path)
        elif op in (OpCode.SET_DATA, OpCode.RECONFIG):
            node = self._copy(body.path)
            node.data, node.version = body.data, body.version
            node.mzxid, node.mtime = zxid, time
            self._enter(zxid, body.path, node)
        elif op == OpCode.SET_ACL:
            node = self._copy(body.path)
            node.acl, node.aversion = intern(body.acl), body.version
            self._enter(zxid, body.path, node)
        elif op == OpCode.CLOSE_SESSION:
            # What a transaction names, or takes without naming it (closeSessionTxn.enabled=false).
            for path in self.ephemerals_of(session_id):
                self._deleted(zxid, path)

    def _copy(self, path: str) -> PendingNode:
        change = self.latest.get(path)
        if change is not None and self._in_place and change.exists:
            return change
        node = self.find(path)
        assert node is not None, "only what was judged is proposed"
        return PendingNode.like(node)

    def _enter(self, zxid: int, path: str, change: PendingNode) -> None:
        change.zxid = zxid
        gain = 0
        if self.digest is not None:
            before = self._share(path)
            change.digest = node_digest(path, change) if change.exists else 0
            gain = change.digest - before
            self.digest = (self.digest + gain) & _DIGEST_MASK
        self.changes.append((zxid, path, change, gain))
        self._show(path, change)

    def _share(self, path: str) -> int:
        """What the path counts for in the digest so far."""
        change = self.latest.get(path)
        if change is not None:
            return change.digest
        node = self.tree.nodes.get(path)
        return 0 if node is None else node.digest

    def _show(self, path: str, change: PendingNode) -> None:
        self.latest[path] = change
        if path in _ROOT:
            self.latest[""] = self.latest["/"] = change

    def _created(
        self, zxid: int, time: int, session_id: int, body: CreateTxn | CreateTTLTxn | CreateContainerTxn
    ) -> None:
        path = body.path or ""
        parent_path = split_parent(path)[0]
        parent = self._copy(parent_path)
        parent.cversion, parent.pzxid = body.parent_c_version, zxid
        parent.child_count += 1
        self._enter(zxid, parent_path, parent)
        node = PendingNode()
        node.exists = True
        node.data = body.data
        node.acl = body.acl if type(body.acl) is Acl else intern(body.acl or ())
        node.czxid = node.mzxid = node.pzxid = zxid
        node.ctime = node.mtime = time
        if isinstance(body, CreateTxn):
            node.ephemeral_owner = session_id if body.ephemeral else 0
        elif isinstance(body, CreateTTLTxn):
            node.ephemeral_owner = ttl_owner(body.ttl) or 0
        else:
            node.ephemeral_owner = CONTAINER_OWNER
        self._enter(zxid, path, node)

    def _deleted(self, zxid: int, path: str) -> None:
        parent_path = split_parent(path)[0]
        parent = self._copy(parent_path)
        parent.child_count -= 1
        parent.pzxid = zxid
        self._enter(zxid, parent_path, parent)
        self._enter(zxid, path, PendingNode())

    def withdraw(self, zxid: int) -> None:
        """Undo what was entered under the last zxid: a multi that failed half way."""
        if not self.changes or self.changes[-1][0] != zxid:
            return
        while self.changes and self.changes[-1][0] == zxid:
            gain = self.changes.pop()[3]
            if self.digest is not None:
                self.digest = (self.digest - gain) & _DIGEST_MASK
        # Rare, so simply: what remains is shown anew.
        self.latest = {}
        for _, path, change, _ in self.changes:
            self._show(path, change)

    def applied(self, zxid: int) -> None:
        """Everything up to ``zxid`` is in the tree now."""
        changes = self.changes
        while changes and changes[0][0] <= zxid:
            _, path, change, _ = changes.popleft()
            if change.zxid <= zxid:
                self._forget(path, change)

    def _forget(self, path: str, change: PendingNode) -> None:
        """The tree holds all that was proposed of this node."""
        if self.latest.get(path) is change:
            del self.latest[path]
            if path in _ROOT:
                self.latest.pop("", None)
                self.latest.pop("/", None)
        if change.digest:
            node = self.tree.nodes.get(path)
            if node is not None:
                node.digest = change.digest
