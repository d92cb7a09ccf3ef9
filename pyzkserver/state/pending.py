"""What is proposed but not yet applied: an overlay over the tree (``outstandingChanges`` in Apache).

A request is judged against the tree with all that was proposed before it, so that writes need not wait for
each other's flush.  The overlay also knows what the tree's digest will be, for the log stores it beside each
transaction.
"""

from typing import Any

from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CreateContainerTxn, CreateTTLTxn, CreateTxn

from .acl import Acl, intern
from .digest import node_digest
from .node import CONTAINER_OWNER, Node, ttl_owner
from .paths import split_parent
from .pending_node import PendingNode
from .transaction import MultiBody, Transaction
from .tree import DataTree

__all__ = ["Pending"]

_CREATES = frozenset({OpCode.CREATE, OpCode.CREATE2, OpCode.CREATE_TTL, OpCode.CREATE_CONTAINER})
_DIGEST_MASK = 0xFFFF_FFFF_FFFF_FFFF
_FEW = 64


class Pending:
    """The overlay.

    ``latest`` is what each node will be that something in flight changes.  It may hold nodes of which all is
    applied by now: these are as the tree has them.  It is empty when nothing is in flight.  The root stands
    there as in the tree, under both its names.

    ``digest`` is the tree's once everything is applied that was entered before it was counted last; None where
    no digests are kept.  ``uncounted`` are the paths that were changed since, with their shares in it.
    """

    def __init__(self, tree: DataTree) -> None:
        self.tree = tree
        self.latest: dict[str, Node | PendingNode] = {}
        self.uncounted: dict[str, int] = {}
        self.digest: int | None = None
        self.last_zxid = 0
        """Of the last change that was entered."""
        self._owned: dict[int, dict[str, None]] = {}
        """By owner, the paths in ``latest`` that are to have one; those are few where ``latest`` is large."""
        self._multi = 0
        """The zxid of the multi that is being judged; ``_undo`` is what its changes took the place of."""
        self._undo: list[tuple[str, Node | PendingNode | None]] = []
        self._sweep_at = _FEW

    def keep_digest(self) -> None:
        """From now on know the digest of what is proposed.  Only while nothing is."""
        assert not self.latest
        self.tree.digest.let_others_count()
        self.digest = self.tree.digest.value()

    def count(self) -> int | None:
        """The tree's digest after all that is in flight, or None where none are kept.

        A node that was changed many times since the last count is counted once.
        """
        if self.digest is not None:
            digest = self.digest
            pending, applied = self.latest.get, self.tree.nodes.get
            for path, before in self.uncounted.items():
                node = pending(path) or applied(path)
                if node is None or not node.exists:
                    digest -= before
                else:
                    node.digest = share = node_digest(path, node)
                    digest += share - before
            self.digest = digest & _DIGEST_MASK
        self.uncounted.clear()
        return self.digest

    def find(self, path: str) -> Node | PendingNode | None:
        """The node as it will be, or None if there will be none."""
        if self.latest:
            change = self.latest.get(path)
            if change is not None:
                return change if change.exists else None
        return self.tree.nodes.get(path)

    def ephemerals_of(self, session_id: int) -> list[str]:
        """The ephemeral nodes that the session will have, those still on their way included."""
        paths = self.tree.ephemerals.get(session_id, {}) | self._owned.get(session_id, {})
        if not self.latest:
            return list(paths)
        found = ((path, self.find(path)) for path in paths)
        # What was deleted may be there again by then, and another's.
        return [path for path, node in found if node is not None and node.ephemeral_owner == session_id]

    def propose(self, txn: Transaction) -> None:
        """Enter what a transaction will change.  (A multi was entered when it was judged.)"""
        if not isinstance(txn.body, MultiBody):
            # Nobody will withdraw this: what is in the overlay need not be copied to be changed.
            self._multi = 0
            self._undo.clear()
            self._enter(txn.zxid, txn.time, txn.session_id, txn.op, txn.body)

    def propose_one(self, zxid: int, time: int, session_id: int, op: int, body: Any) -> None:
        """Enter what one operation of a multi will change; ``body`` is the record of ``op`` in ``wire.txns``."""
        if self._multi != zxid:
            self._multi = zxid
            self._undo.clear()
        self._enter(zxid, time, session_id, op, body)

    def _enter(self, zxid: int, time: int, session_id: int, op: int, body: Any) -> None:
        self.last_zxid = zxid
        if op in _CREATES:
            self._created(zxid, time, session_id, body)
        elif op in (OpCode.DELETE, OpCode.DELETE_CONTAINER):
            self._deleted(zxid, body.path)
        elif op in (OpCode.SET_DATA, OpCode.RECONFIG):
            node = self._to_change(zxid, body.path)
            node.data, node.version = body.data, body.version
            node.mzxid, node.mtime = zxid, time
        elif op == OpCode.SET_ACL:
            node = self._to_change(zxid, body.path)
            node.acl, node.aversion = intern(body.acl), body.version
        elif op == OpCode.CLOSE_SESSION:
            # What a transaction names, or takes without naming it (closeSessionTxn.enabled=false).
            for path in self.ephemerals_of(session_id):
                self._deleted(zxid, path)

    def _to_change(self, zxid: int, path: str) -> PendingNode:
        """The node, to be changed."""
        before = self.latest.get(path)
        if before is None:
            before = self.tree.nodes.get(path)
        assert before is not None, "only what was judged is proposed"
        assert before.exists, "only what was judged is proposed"
        if self._multi or not isinstance(before, PendingNode):
            node = PendingNode.like(before)
            self._show(path, node)
        else:
            node = before
            self._note(path, node.digest)
        node.zxid = zxid
        return node

    def _show(self, path: str, node: PendingNode) -> None:
        """From now on it is this one."""
        latest = self.latest
        before = latest.get(path)
        if self._multi:
            self._undo.append((path, before))
        old = before or self.tree.nodes.get(path)
        self._note(path, 0 if old is None else old.digest)
        self._own(path, before, node)
        latest[path] = node
        if len(path) < 2:
            latest[""] = latest["/"] = node

    def _own(self, path: str, before: Node | PendingNode | None, after: Node | PendingNode | None) -> None:
        """Another one stands there in ``latest``; None for none."""
        if before is not None and before.ephemeral_owner:
            owned = self._owned.get(before.ephemeral_owner, {})
            owned.pop(path, None)
            if not owned:
                self._owned.pop(before.ephemeral_owner, None)
        if after is not None and after.ephemeral_owner:
            self._owned.setdefault(after.ephemeral_owner, {})[path] = None

    def _note(self, path: str, share: int) -> None:
        """The path must be counted anew; it stands in the digest with that share, unless it was noted before."""
        if self.digest is not None:
            self.uncounted.setdefault("" if path == "/" else path, share)

    def _created(
        self, zxid: int, time: int, session_id: int, body: CreateTxn | CreateTTLTxn | CreateContainerTxn
    ) -> None:
        path = body.path or ""
        parent = self._to_change(zxid, split_parent(path)[0])
        parent.cversion, parent.pzxid = body.parent_c_version, zxid
        parent.child_count += 1
        node = PendingNode()
        node.exists = True
        node.zxid = zxid
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
        self._show(path, node)

    def _deleted(self, zxid: int, path: str) -> None:
        parent = self._to_change(zxid, split_parent(path)[0])
        parent.child_count -= 1
        parent.pzxid = zxid
        gone = PendingNode()
        gone.zxid = zxid
        self._show(path, gone)

    def withdraw(self, zxid: int) -> None:
        """Undo what was entered under this zxid, the last one: a multi that failed half way."""
        if self._multi != zxid:
            return
        for path, before in reversed(self._undo):
            self._own(path, self.latest.get(path), before)
            for name in ("", "/") if len(path) < 2 else (path,):
                if before is None:
                    self.latest.pop(name, None)
                else:
                    self.latest[name] = before
        self._multi = 0
        self._undo.clear()

    def applied(self, zxid: int) -> None:
        """Everything up to ``zxid`` is in the tree now."""
        latest = self.latest
        if zxid >= self.last_zxid:
            for path, change in latest.items():
                self._hand_over(path, change)
            latest.clear()
            self._owned.clear()
            self._undo.clear()
        elif len(latest) >= self._sweep_at:
            done = [path for path, change in latest.items() if _last_change(change) <= zxid]
            for path in done:
                change = latest.pop(path)
                self._own(path, change, None)
                self._hand_over(path, change)
            # Not again before there are twice as many: so each is looked at about twice in all.
            self._sweep_at = max(_FEW, 2 * len(latest))

    def _hand_over(self, path: str, change: Node | PendingNode) -> None:
        """The tree holds all that was proposed of this node."""
        if change.digest and isinstance(change, PendingNode):
            node = self.tree.nodes.get(path)
            if node is not None:
                node.digest = change.digest


def _last_change(node: Node | PendingNode) -> int:
    # A Node stands in the overlay as it was created.
    return node.zxid if isinstance(node, PendingNode) else node.czxid
