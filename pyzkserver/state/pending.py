"""What is proposed but not yet applied: an overlay over the tree (``outstandingChanges`` in Apache).

A request is judged against the tree with all that was proposed before it, so that writes need not wait for
each other's flush.  A node in the overlay answers the questions that ``prepare`` asks, and no others.
"""

from collections import deque
from typing import Any, Protocol

from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CreateContainerTxn, CreateTTLTxn, CreateTxn

from .acl import Acl, intern
from .node import CONTAINER_OWNER, ttl_owner
from .paths import split_parent
from .transaction import MultiBody, Transaction
from .tree import DataTree

__all__ = ["NodeView", "Pending", "PendingNode"]


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
    """A node as it will be once everything proposed is applied."""

    __slots__ = ("acl", "aversion", "child_count", "cversion", "data", "ephemeral_owner", "exists", "version")

    def __init__(self, like: "NodeView | None") -> None:
        self.exists = like is not None
        if like is not None:
            self.data = like.data
            self.acl = like.acl
            self.version = like.version
            self.cversion = like.cversion
            self.aversion = like.aversion
            self.ephemeral_owner = like.ephemeral_owner
            self.child_count = like.child_count


class Pending:
    """The overlay.

    ``changes`` holds every change in order of zxid.  ``latest`` holds the last change of each path; it is
    empty whenever ``changes`` is.
    """

    def __init__(self, tree: DataTree) -> None:
        self.tree = tree
        self.changes: deque[tuple[int, str, PendingNode]] = deque()
        self.latest: dict[str, PendingNode] = {}

    def find(self, path: str) -> NodeView | None:
        """The node as it will be, or None if there will be none."""
        if self.latest:
            change = self.latest.get(path)
            if change is not None:
                return change if change.exists else None
        return self.tree.nodes.get(path)

    def ephemerals_of(self, session_id: int) -> list[str]:
        """The ephemeral nodes that the session will have, those still on their way included."""
        paths = dict(self.tree.ephemerals.get(session_id, {}))
        for _, path, change in self.changes:
            if not change.exists:
                paths.pop(path, None)
            elif change.ephemeral_owner == session_id:
                paths[path] = None
        return list(paths)

    def propose(self, txn: Transaction) -> None:
        """Enter what a transaction will change.  (A multi was entered when it was judged.)"""
        if not isinstance(txn.body, MultiBody):
            self.propose_one(txn.zxid, txn.session_id, txn.op, txn.body)

    def propose_one(self, zxid: int, session_id: int, op: int, body: Any) -> None:
        """Enter what one operation will change; ``body`` is the record of ``op`` in ``wire.txns``."""
        if op in (OpCode.CREATE, OpCode.CREATE2, OpCode.CREATE_TTL, OpCode.CREATE_CONTAINER):
            self._created(zxid, session_id, body)
        elif op in (OpCode.DELETE, OpCode.DELETE_CONTAINER):
            self._deleted(zxid, body.path)
        elif op in (OpCode.SET_DATA, OpCode.RECONFIG):
            node = self._change(zxid, body.path)
            node.data, node.version = body.data, body.version
        elif op == OpCode.SET_ACL:
            node = self._change(zxid, body.path)
            node.acl, node.aversion = intern(body.acl), body.version
        elif op == OpCode.CLOSE_SESSION and body is not None:
            for path in body.paths2_delete or ():
                self._deleted(zxid, path)

    def _change(self, zxid: int, path: str) -> PendingNode:
        change = PendingNode(self.find(path))
        self._enter(zxid, path, change)
        return change

    def _enter(self, zxid: int, path: str, change: PendingNode) -> None:
        self.changes.append((zxid, path, change))
        # The root stands in the tree under two names.
        for alias in ("", "/") if path in ("", "/") else (path,):
            self.latest[alias] = change

    def _created(
        self, zxid: int, session_id: int, body: CreateTxn | CreateTTLTxn | CreateContainerTxn
    ) -> None:
        path = body.path or ""
        parent = self._change(zxid, split_parent(path)[0])
        parent.cversion = body.parent_c_version
        parent.child_count += 1
        node = PendingNode(None)
        node.exists = True
        node.data, node.acl = body.data, intern(body.acl or ())
        node.version = node.cversion = node.aversion = node.child_count = 0
        if isinstance(body, CreateTxn):
            node.ephemeral_owner = session_id if body.ephemeral else 0
        elif isinstance(body, CreateTTLTxn):
            node.ephemeral_owner = ttl_owner(body.ttl) or 0
        else:
            node.ephemeral_owner = CONTAINER_OWNER
        self._enter(zxid, path, node)

    def _deleted(self, zxid: int, path: str) -> None:
        parent = self._change(zxid, split_parent(path)[0])
        parent.child_count -= 1
        self._enter(zxid, path, PendingNode(None))

    def withdraw(self, zxid: int) -> None:
        """Undo what was entered under the last zxid: a multi that failed half way."""
        if not self.changes or self.changes[-1][0] != zxid:
            return
        while self.changes and self.changes[-1][0] == zxid:
            self.changes.pop()
        # Rare, so simply: what remains is entered anew.
        remaining, self.latest = self.changes, {}
        self.changes = deque()
        for older, path, change in remaining:
            self._enter(older, path, change)

    def applied(self, zxid: int) -> None:
        """Everything up to ``zxid`` is in the tree now."""
        changes = self.changes
        while changes and changes[0][0] <= zxid:
            _, path, change = changes.popleft()
            if self.latest.get(path) is change:
                for alias in ("", "/") if path in ("", "/") else (path,):
                    del self.latest[alias]
